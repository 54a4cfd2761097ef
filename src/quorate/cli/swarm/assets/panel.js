// The panel beside the lanes: every server as the cursor finds it, the chosen event, and those around.

const BEFORE = 12, AFTER = 40;

function drawPanel() {
  const order = position();
  byId("clock").textContent = seconds(cursor.now);
  byId("span").textContent = `${duration(view.span)} on the screen`;
  byId("moment").textContent = `At ${seconds(cursor.now)}`;
  const changed = cursor.event?.type === "became" ? cursor.event.of : null;
  const body = byId("servers").tBodies[0];
  body.replaceChildren(...nodes.map((node) => serverRow(node, stateAt(node, order), changed)));
  drawLogBars(order);
  showDetails();
  listEvents(order);
  for (const [id, list, by] of [["back", steps, -1], ["on", steps, 1], ["turn-back", turns, -1], ["turn-on", turns, 1]]) {
    byId(id).disabled = !list.length || (by > 0 ? list[list.length - 1].order <= order : list[0].order >= order + (cursor.event ? 0 : 1));
  }
}

function serverRow(node, state, changed) {
  const row = html("tr", failure?.nodes.includes(node) ? "failing" : "");
  row.append(html("td", "", String(node)));
  const is = html("td"), chip = html("span", "chip", state ? shortRole(state.role) + (state.is_paused ? " ‖" : "") : "not started");
  const role = state?.role ?? "down";
  chip.style.background = colour(role);
  chip.style.color = role === "down" ? colour("soft") : inkOn(role);
  is.append(chip);
  row.append(is);
  if (!state || state.role === "down") {
    const why = html("td", "why", state?.why ?? "");
    why.colSpan = 7;
    row.append(why);
    return row;
  }
  const before = changed?.node === node ? changed.before : null;
  const cell = (name, text) => row.append(html("td", before && before[name] !== state[name] ? "changed" : "", text));
  cell("term", String(state.term));
  cell("leader", state.leader ? String(state.leader) : "–");
  cell("commit_index", String(state.commit_index));
  cell("last_applied", String(state.last_applied));
  cell("durable_index", String(state.durable_index));
  cell("last_index", state.last_index ? `${state.last_index} (${state.last_term})` : "–");
  cell("snapshot_index", state.snapshot_index ? String(state.snapshot_index) : "–");
  return row;
}

/** The ends of all logs under each other: what is committed, durable, and neither. */
function drawLogBars(order) {
  const canvas = byId("logs");
  const present = nodes.map((node) => [node, stateAt(node, order)]);
  const up = present.map(([, state]) => state).filter((state) => state && state.role !== "down");
  canvas.hidden = canvas.nextElementSibling.hidden = !up.length;
  if (!up.length) return;
  const row = 13, ratio = devicePixelRatio || 1, width = canvas.clientWidth || 430, height = nodes.length * row + 16;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const draw = canvas.getContext("2d");
  draw.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw.font = SMALL;
  draw.textBaseline = "middle";
  const high = Math.max(1, ...up.map((state) => state.last_index));
  const low = Math.max(0, Math.min(high - 12, Math.max(high - 60, Math.min(...up.map((state) => state.commit_index)) - 6)));
  const left = 26, place = (index) => left + Math.max(0, (index - low) / (high - low)) * (width - left - 14);
  present.forEach(([node, state], k) => {
    const top = k * row + 2;
    draw.fillStyle = colour("soft");
    draw.fillText(String(node), 14, top + row / 2);
    if (!state || state.role === "down") return;
    const bar = (from, to, style, alpha) => {
      draw.fillStyle = style;
      draw.globalAlpha = alpha;
      draw.fillRect(place(from), top + 1, Math.max(0, place(to) - place(from)), row - 3);
      draw.globalAlpha = 1;
    };
    bar(low, Math.min(state.log_start, state.last_index), colour("snapshots"), 0.4);
    bar(Math.max(low, state.log_start), state.commit_index, colour("replication"), 0.65);
    bar(Math.max(state.commit_index, state.log_start), state.last_index, colour("follower"), 0.45);
    draw.fillStyle = colour("ink");
    draw.fillRect(place(state.last_applied) - 1, top, 2, row - 1);
    draw.strokeStyle = colour("ink");
    draw.lineWidth = 1;
    draw.strokeRect(place(Math.max(low, state.log_start)) + 0.5, top + 1.5, Math.max(0, place(state.durable_index) - place(Math.max(low, state.log_start)) - 1), row - 4);
  });
  draw.fillStyle = colour("soft");
  draw.fillText(String(low), left, height - 7);
  draw.textAlign = "right";
  draw.fillText(String(high), width - 12, height - 7);
  draw.textAlign = "left";
}

// ---------------------------------------------------------------------- the event

function facts(event) {
  const it = event.of;
  switch (event.type) {
    case "sent": case "ended": {
      const known = [["message", it.kind], ["from, to", `node ${it.sender} → node ${it.to}`], ["sent", seconds(it.sent)], ["fate", fateOf(it), it.isLost]];
      if (it.fields) known.push(["says", it.fields]);
      if (it.is_twin) known.push(["twin", "the network delivers this message twice"]);
      return known;
    }
    case "became": {
      const known = [["node", String(it.node)], ["what", change(it)]];
      return it.role === "down" ? known : [...known, ["is", `${roleOf(it)} of term ${it.term}`],
        ["log", `behind ${it.log_start} up to ${it.last_index}, durable to ${it.durable_index}, committed to ${it.commit_index}, applied to ${it.last_applied}`]];
    }
    case "marked": return [[it.isWanted ? "done" : "fault", it.what], ["whom", named(it.nodes) || "nobody in particular"], ["when", seconds(it.at)],
      ...(it.until === null ? [] : [["until", `${seconds(it.until)}, ${duration(it.until - it.at)}`]])];
    case "called": case "returned": {
      const known = [["client", clientOf(it)], ["call", it.what], ["called", seconds(it.begun)],
        ["returned", it.ended === null ? "never" : `${seconds(it.ended)}, after ${duration(it.ended - it.begun)}`],
        ["outcome", it.outcome + (it.is_wrong ? ": this is among what the check found wrong" : ""), it.is_wrong]];
      if (it.result) known.push(["told", it.result]);
      return known;
    }
    default: return [["failed", it.kind, true], ["at", seconds(it.at)], ["says", brief(it.text), true]];
  }
}

function showDetails() {
  const event = cursor.event, box = byId("details");
  if (showDetails.last === event && event) return;
  showDetails.last = event;
  if (!event) {
    box.replaceChildren(html("span", "note", steps.length ? "None is chosen: step to one, or click on it." : "There is none to step to."));
    return;
  }
  const list = html("dl");
  for (const [name, value, isWrong] of facts(event)) list.append(html("dt", "", name), html("dd", isWrong ? "wrong" : "", value));
  const add = (how, other, text, more) => {
    const link = html("button", "", text), cell = html("dd");
    link.addEventListener("click", () => choose(other.began));
    cell.append(link, ` ${more}`);
    list.append(html("dt", "", how), cell);
  };
  for (const other of event.of.exchange ?? []) {
    const isSame = other.isAnswer === event.of.isAnswer;
    if (other !== event.of) add(isSame ? "also" : other.isAnswer ? "answer" : "answers", other, `${other.kind}, ${seconds(other.sent)}`, fateOf(other));
  }
  if (event.of.is_wrong || event.type === "failed") {
    for (const other of wrongCalls) {
      if (other !== event.of) add("see", other, `${clientOf(other)}, ${seconds(other.begun)}`, other.what);
    }
  }
  box.replaceChildren(list);
}

function listEvents(order) {
  const here = lowerBound(steps, (event) => event.order <= order);
  const some = steps.slice(Math.max(0, here - BEFORE), here + AFTER);
  const items = some.map((event) => {
    const isWrong = event.type === "failed" || event.of.is_wrong || event.of.isLost;
    const item = html("li", `${event === cursor.event ? "chosen" : ""} ${isWrong ? "wrong" : ""}`);
    const text = html("span", "", say(event));
    text.title = say(event);
    item.append(html("b", "", (event.at / 1e6).toFixed(6)), text);
    item.addEventListener("click", () => choose(event));
    return item;
  });
  byId("around").textContent = sought ? `Events with “${sought}”, ${number(steps.length)} in all` : `Events, ${number(steps.length)} in all`;
  byId("events").replaceChildren(...(items.length ? items : [html("li", "empty", "nothing that is shown, here")]));
  const list = byId("events"), chosen = list.querySelector(".chosen") ?? list.children[Math.min(BEFORE, here)];
  if (chosen) list.scrollTop = chosen.offsetTop - list.offsetTop - list.clientHeight / 3;
}
