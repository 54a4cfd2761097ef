// The servers: a lane for each, with what it was, how its log grew and what befell it; above them the
// strip with the whole life.

const AXIS = 22, MARKS = 20, BAR = 15;
const LAST = 9; // so wide is at least what a server was in the end
let laneHeight = 70;
let hits = [];

const shownNodes = () => nodes.filter((node) => shown.nodes.has(node));
const laneTop = (row) => AXIS + MARKS + row * laneHeight;
const barTop = (row) => laneTop(row) + laneHeight * 0.36 - BAR / 2;

const ICONS = [
  [/operator/, "☞"], [/ambush/, "◎"], [/heal/, "✚"], [/power/, "⚡"], [/kill/, "✕"],
  [/frozen|paused|suspended/, "‖"], [/client/, "⇄"], [/slow/, "≈"], [/cut|link/, "✂"],
  [/clock/, "◷"], [/snapshot/, "▣"], [/disk|sync|log/, "▤"],
];
const iconOf = (mark) => (ICONS.find(([pattern]) => pattern.test(mark.what)) ?? [null, "●"])[1];

/** The round steps in which an axis is divided. */
function tickStep() {
  const wanted = 110 / scale();
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= wanted);
}

function drawAxis(draw, height) {
  const each = Math.max(1, tickStep()), digits = Math.max(0, 6 - Math.floor(Math.log10(each)));
  draw.lineWidth = 1;
  for (let time = Math.max(0, Math.ceil(view.from / each) * each); time <= Math.min(end, view.from + view.span); time += each) {
    const here = Math.round(x(time)) + 0.5;
    draw.strokeStyle = colour("rule");
    line(draw, here, AXIS - 6, here, height);
    draw.fillStyle = colour("soft");
    draw.fillText(`${(time / 1e6).toFixed(digits)} s`, here + 4, 10);
  }
}

/** The colour of a text on a role's colour. */
function inkOn(role) {
  if (role === "pre-candidate") return colour("on-pre-candidate");
  return role === "leader" || role === "candidate" || role === "learner" ? colour("on-role") : colour("on-pale");
}

/** Those of a server's states that can be seen on the screen, each with the time until which it lasts. */
function* visible(own) {
  const to = view.from + view.span, least = 0.5 / scale();
  let k = Math.max(0, lowerBound(own, (state) => state.at <= view.from) - 1);
  while (k < own.length && own[k].at <= to) {
    const state = own[k++];
    if (k < own.length && own[k].at < state.at + least) k = lowerBound(own, (other) => other.at <= state.at + least) - 1;
    yield [state, k < own.length ? own[k].at : end];
  }
}

function drawRoles(draw, node, row) {
  const top = barTop(row);
  for (const [state, until] of visible(turnsOf.get(node))) {
    const left = Math.max(GUTTER, x(state.at)), right = Math.min(view.width, x(until));
    if (right < GUTTER) continue;
    const width = Math.max(until === end ? LAST : 1, right - left);
    draw.fillStyle = colour(state.role);
    draw.fillRect(left, top, width, BAR);
    if (state.role === "down") {
      draw.strokeStyle = colour("fault");
      draw.lineWidth = 1;
      draw.setLineDash([3, 3]);
      line(draw, left, top + 0.5, left + width, top + 0.5);
      line(draw, left, top + BAR - 0.5, left + width, top + BAR - 0.5);
      draw.setLineDash([]);
    }
    if (state.is_paused) hatch(draw, left, top, width, BAR, colour("ink"));
    if (width > 3) {
      draw.fillStyle = colour("paper");
      draw.fillRect(left, top, 1, BAR);
    }
    const words = state.role === "down" ? `down: ${state.why}` : `${state.term} ${roleOf(state)}`;
    const text = fitted(words, width - 8) || (state.role === "down" ? "" : fitted(String(state.term), width - 3));
    if (text) {
      draw.fillStyle = state.role === "down" ? colour("fault") : inkOn(state.role);
      draw.fillText(text, left + 4, top + BAR / 2 + 0.5);
    }
    hits.push({ event: events[state.order], box: [left, top, width, BAR] });
  }
}

function hatch(draw, left, top, width, height, style) {
  draw.save();
  draw.beginPath();
  draw.rect(left, top, width, height);
  draw.clip();
  draw.strokeStyle = style;
  draw.globalAlpha = 0.4;
  draw.lineWidth = 1.4;
  draw.beginPath();
  for (let at = left - height - (left % 6); at < left + width; at += 6) {
    draw.moveTo(at, top + height);
    draw.lineTo(at + height, top);
  }
  draw.stroke();
  draw.restore();
}

/** How far the log reaches and how much of it is committed, on one scale for all servers. */
function drawLogs(draw, rows) {
  let low = Infinity, high = 0;
  for (const node of rows) {
    for (const [state] of visible(statesOf.get(node))) {
      if (state.role === "down") continue;
      low = Math.min(low, state.commit_index);
      high = Math.max(high, state.last_index);
    }
  }
  if (high <= low) return;
  rows.forEach((node, row) => {
    const bottom = laneTop(row) + laneHeight - 5, room = bottom - barTop(row) - BAR - 5;
    if (room < 6) return;
    const level = (index) => bottom - Math.max(0, (index - low) / (high - low)) * room;
    for (const [name, style, alpha] of [["last_index", colour("follower"), 0.28], ["commit_index", colour("replication"), 0.3]]) {
      draw.fillStyle = style;
      draw.globalAlpha = alpha;
      draw.beginPath();
      for (const [state, until] of visible(statesOf.get(node))) {
        if (state.role === "down") continue;
        const left = Math.max(GUTTER, x(state.at)), right = Math.min(view.width, x(until));
        if (right > left) draw.rect(left, level(state[name]), right - left, bottom - level(state[name]));
      }
      draw.fill();
    }
    draw.globalAlpha = 1;
  });
}

// ---------------------------------------------------------------------- what befell them

function drawBands(draw, rows) {
  for (const mark of marks) {
    if (mark.until === null || x(mark.until) < GUTTER || x(mark.at) > view.width) continue;
    const left = Math.max(GUTTER, x(mark.at)), width = Math.max(1.5, Math.min(view.width, x(mark.until)) - left);
    rows.forEach((node, row) => {
      if (!mark.nodes.includes(node)) return;
      draw.fillStyle = colour("fault-wash");
      draw.fillRect(left, laneTop(row) + 1, width, laneHeight - 2);
      draw.fillStyle = colour("fault");
      draw.globalAlpha = 0.55;
      draw.fillRect(left, laneTop(row) + 1, width, 1.5);
      draw.globalAlpha = 1;
    });
  }
}

function drawMarks(draw, rows) {
  const free = new Map();
  let labelled = GUTTER;
  const some = marks.filter((mark) => mark.at >= view.from && mark.at <= view.from + view.span && showsMark(mark));
  some.forEach((mark, k) => {
    const here = x(mark.at), event = mark.event;
    draw.globalAlpha = standsBack(mark) ? 0.2 : 1;
    draw.fillStyle = colour(mark.isWanted ? "soft" : "fault");
    const icon = (top, lane) => {
      if (here - (free.get(lane) ?? -9) < 5) return;
      free.set(lane, here);
      draw.font = '13px "DejaVu Sans", system-ui, sans-serif';
      draw.fillText(iconOf(mark), here - 5, top);
      hits.push({ event, box: [here - 8, top - 8, 16, 16] });
    };
    if (here >= labelled && (!mark.isWanted || !mark.nodes.length)) {
      const next = some.slice(k + 1).find((other) => x(other.at) > here + 3 && !other.isWanted);
      const text = fitted(mark.what, (next ? x(next.at) : view.width) - here - 16);
      draw.font = SMALL;
      if (text) draw.fillText(text, here + 9, AXIS + MARKS / 2);
      labelled = here + 10 + text.length * LETTER;
      icon(AXIS + MARKS / 2, "above");
      hits.push({ event, box: [here - 8, AXIS, 16 + text.length * LETTER, MARKS] });
    }
    rows.forEach((node, row) => { if (mark.nodes.includes(node)) icon(laneTop(row) + 9, row); });
  });
  draw.font = SMALL;
  draw.globalAlpha = 1;
}

// ---------------------------------------------------------------------- all of it

function drawLanes() {
  const rows = shownNodes();
  const most = (byId("stage").clientHeight - 46) * (shown.calls && calls.length ? 0.64 : 0.98) - AXIS - MARKS;
  laneHeight = Math.min(132, Math.max(44, most / Math.max(1, rows.length)));
  const height = laneTop(rows.length) + 2;
  const draw = pen("lanes", height);
  hits = [];
  rows.forEach((_, row) => {
    if (row % 2 === 0) {
      draw.fillStyle = colour("ground");
      draw.globalAlpha = 0.65;
      draw.fillRect(0, laneTop(row), view.width, laneHeight);
      draw.globalAlpha = 1;
    }
  });
  drawAxis(draw, height);
  if (shown.marks) drawBands(draw, rows);
  drawLogs(draw, rows);
  drawLeftOut(draw, height);
  drawMessages(draw, rows);
  rows.forEach((node, row) => drawRoles(draw, node, row));
  drawMarks(draw, rows);
  drawFailureLine(draw, height, AXIS);
  drawCursor(draw, height, AXIS - 8);
  drawNames(draw, rows, height);
}

function drawLeftOut(draw, height) {
  const until = x(life.messages_since);
  if (!life.messages_since || until < GUTTER) return;
  hatch(draw, GUTTER, AXIS + MARKS, Math.min(view.width, until) - GUTTER, height, colour("rule"));
}

const shortRole = (role) => ({ "pre-candidate": "pre-cand.", outsider: "no member" })[role] ?? role;

function drawNames(draw, rows, height) {
  draw.fillStyle = colour("paper");
  draw.fillRect(0, 0, GUTTER, height);
  draw.fillStyle = colour("rule");
  draw.fillRect(GUTTER - 1, 0, 1, height);
  rows.forEach((node, row) => {
    const state = stateAt(node, position()), middle = barTop(row) + BAR / 2;
    draw.fillStyle = failure?.nodes.includes(node) ? colour("wrong") : colour("ink");
    draw.font = PLAIN;
    draw.fillText(`node ${node}`, 12, middle - 7);
    draw.font = SMALL;
    if (!state) return;
    draw.fillStyle = state.role === "down" ? colour("fault") : colour(state.role);
    draw.fillRect(12, middle + 4, 8, 8);
    draw.fillStyle = colour("soft");
    draw.fillText(shortRole(state.role), 24, middle + 9);
  });
  draw.font = PLAIN;
  draw.fillStyle = colour("soft");
  if (shown.marks && marks.length) draw.fillText("faults", 12, AXIS + MARKS / 2);
  draw.font = SMALL;
}

function drawOverview() {
  const height = 46, draw = pen("overview", height), room = view.width - GUTTER;
  const place = (time) => GUTTER + (time / end) * (room - 6);
  const each = Math.min(9, 32 / Math.max(1, nodes.length));
  nodes.forEach((node, row) => {
    const own = turnsOf.get(node);
    own.forEach((state, k) => {
      const left = place(state.at), right = place(own[k + 1]?.at ?? end);
      draw.fillStyle = state.role === "down" ? colour("fault") : colour(state.role);
      draw.globalAlpha = state.role === "down" ? 0.35 : 1;
      draw.fillRect(left, 9 + row * each, Math.max(0.6, right - left), each - 1);
    });
  });
  draw.globalAlpha = 1;
  draw.fillStyle = colour("fault");
  for (const mark of marks) draw.fillRect(place(mark.at), 2, 1.5, 5);
  if (failure) {
    draw.fillStyle = colour("wrong");
    for (const time of new Set([failure.at, failing().at])) draw.fillRect(place(time) - 1, 0, 2.5, height);
  }
  const left = Math.max(GUTTER, place(view.from)), right = Math.min(view.width, place(view.from + view.span));
  draw.fillStyle = colour("focus");
  draw.globalAlpha = 0.12;
  draw.fillRect(left, 1, right - left, height - 2);
  draw.globalAlpha = 1;
  draw.strokeStyle = colour("focus");
  draw.lineWidth = 1.5;
  draw.strokeRect(left, 1, Math.max(3, right - left), height - 2);
  draw.fillStyle = colour("cursor");
  draw.fillRect(place(cursor.now), 0, 1.5, height);
  draw.fillStyle = colour("soft");
  draw.font = PLAIN;
  draw.fillText("whole life", 12, height / 2);
  const slider = byId("overview");
  slider.setAttribute("aria-valuemax", String(end));
  slider.setAttribute("aria-valuenow", String(cursor.now));
  slider.setAttribute("aria-valuetext", seconds(cursor.now));
}
