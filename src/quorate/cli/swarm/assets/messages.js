// The messages: arrows between the lanes.

function visibleMessages() {
  const to = view.from + view.span, found = [];
  for (let k = lowerBound(messages, (m) => m.sent < view.from - longestWay); k < messages.length && messages[k].sent <= to; k++) {
    const message = messages[k];
    if ((message.ended ?? end) >= view.from && showsMessage(message)) found.push(message);
  }
  return found;
}

/** Where a message goes on the screen; one that is lost goes a part of its way. */
function wayOf(message, rowOf) {
  const from = rowOf.get(message.sender), to = rowOf.get(message.to), down = to > from;
  const y1 = barTop(from) + (down ? BAR : 0), y2 = barTop(to) + (down ? 0 : BAR);
  const x1 = x(message.sent);
  const part = message.fate === "lost" ? 0.4 : message.fate === "cut off" ? 0.86 : 1;
  const x2 = message.fate === "lost" ? x(message.sent + usualWay) : x(message.ended ?? end);
  return [x1, y1, x1 + (x2 - x1) * part, y1 + (y2 - y1) * part];
}

function drawMessages(draw, rows) {
  const rowOf = new Map(rows.map((node, row) => [node, row]));
  const list = visibleMessages(), crowded = list.length > 1500, drawn = new Set(), labels = [];
  const chosen = cursor.event && (cursor.event.type === "sent" || cursor.event.type === "ended") ? cursor.event.of : null;
  for (const message of list) {
    if (crowded) {
      // One of many that would look the same is enough.
      const looks = message.isLost ? GROUPS.length : GROUPS.findIndex((group) => group.name === message.group);
      const pair = rowOf.get(message.sender) * 64 + rowOf.get(message.to);
      const key = ((Math.round(x(message.sent)) * 4096 + pair) * 16 + looks) * 2 + Number(standsBack(message));
      if (drawn.has(key)) continue;
      drawn.add(key);
    }
    const way = wayOf(message, rowOf);
    draw.globalAlpha = standsBack(message) ? 0.1 : crowded ? 0.4 : message.isAnswer ? 0.75 : 1;
    drawArrow(draw, message, way, list.length < 400);
    if (list.length < 60) drawLabel(draw, message, way, rowOf, labels);
    hits.push({ event: message.began, way, message });
  }
  if (chosen && showsMessage(chosen)) {
    draw.globalAlpha = 1;
    for (const other of chosen.exchange ?? []) {
      if (other !== chosen && showsMessage(other)) drawArrow(draw, other, wayOf(other, rowOf), true, 2);
    }
    drawArrow(draw, chosen, wayOf(chosen, rowOf), true, 3.2);
  }
  draw.globalAlpha = 1;
}

function drawArrow(draw, message, [x1, y1, x2, y2], whole, width = 1.2) {
  draw.strokeStyle = draw.fillStyle = message.isLost ? colour("wrong") : colour(message.group);
  draw.lineWidth = width;
  if (message.isAnswer) draw.setLineDash([5, 2.5]);
  line(draw, x1, y1, x2, y2);
  draw.setLineDash([]);
  const angle = Math.atan2(y2 - y1, x2 - x1);
  if (message.isLost) {
    const arm = whole ? 4 : 2;
    draw.lineWidth = Math.max(1.8, width);
    line(draw, x2 - arm, y2 - arm, x2 + arm, y2 + arm);
    line(draw, x2 - arm, y2 + arm, x2 + arm, y2 - arm);
  } else if (whole && nobodyHeard(message)) {
    draw.beginPath();
    draw.arc(x2, y2, 3.2, 0, 7);
    draw.stroke();
  } else if (whole && message.fate === "arrived") {
    draw.beginPath();
    draw.moveTo(x2, y2);
    draw.lineTo(x2 - 8 * Math.cos(angle - 0.33), y2 - 8 * Math.sin(angle - 0.33));
    draw.lineTo(x2 - 8 * Math.cos(angle + 0.33), y2 - 8 * Math.sin(angle + 0.33));
    draw.fill();
  }
}

/** What a message says, along its arrow as far as the next lane, if there is room. */
function drawLabel(draw, message, [x1, y1, x2, y2], rowOf, labels) {
  const lanes = Math.max(1, Math.abs(rowOf.get(message.sender) - rowOf.get(message.to)));
  const part = 0.5 / lanes, atX = x1 + (x2 - x1) * part, atY = y1 + (y2 - y1) * part;
  if (labels.some(([otherX, otherY]) => Math.abs(otherX - atX) < 14 && Math.abs(otherY - atY) < 60)) return;
  const room = Math.hypot(x2 - x1, y2 - y1) / lanes - 20, told = message.fields.split(", ")[1] ?? "";
  const whole = told ? `${message.kind}: ${told}` : message.kind;
  const text = whole.length * LETTER <= room ? whole : fitted(message.kind, room);
  if (text.length < 6) return;
  labels.push([atX, atY]);
  draw.save();
  draw.translate(atX, atY);
  draw.rotate(Math.atan2(y2 - y1, x2 - x1));
  draw.textAlign = "center";
  draw.lineWidth = 3;
  draw.strokeStyle = colour("paper");
  draw.strokeText(text, 0, -7);
  draw.fillStyle = message.isLost ? colour("wrong") : colour(message.group);
  draw.fillText(text, 0, -7);
  draw.restore();
}
