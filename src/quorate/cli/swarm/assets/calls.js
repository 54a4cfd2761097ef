// The clients: a lane for each, with as many rows as it has calls at once.

const LEAST_ROW = 7, MOST_ROW = 13, GAP = 6;
let callHits = [];
let rowHeight = MOST_ROW;

/** The row of each call within its client's lane, and the rows of each lane. */
const clientLanes = (() => {
  const lanes = new Map();
  for (const call of calls) {
    if (!lanes.has(call.client)) lanes.set(call.client, { client: call.client, free: [], calls: [] });
    const lane = lanes.get(call.client);
    let row = lane.free.findIndex((free) => free <= call.begun);
    if (row < 0) row = lane.free.length;
    lane.free[row] = call.ended ?? (call.outcome === "pending" ? Infinity : call.begun + 1);
    call.row = row;
    lane.calls.push(call);
  }
  const made = [...lanes.values()].sort((a, b) => a.client.localeCompare(b.client, "en", { numeric: true }));
  for (const lane of made) {
    lane.rows = lane.free.length;
    lane.longest = lane.calls.reduce((most, call) => Math.max(most, (call.ended ?? end) - call.begun), 0);
    lane.name = lane.client.replace(/-?x{10,}/, "");
  }
  return made;
})();

/** Gives each lane its place, with rows as high as there is room for. Returns the height of all. */
function placeLanes(room) {
  const rows = clientLanes.reduce((sum, lane) => sum + lane.rows, 0);
  rowHeight = Math.min(MOST_ROW, Math.max(LEAST_ROW, Math.floor((room - clientLanes.length * GAP) / Math.max(1, rows))));
  let top = 4;
  for (const lane of clientLanes) {
    lane.top = top;
    lane.height = Math.max(MOST_ROW, lane.rows * rowHeight);
    top += lane.height + GAP;
  }
  return top;
}

/** Scrolls to the row of a call. */
function reveal(call) {
  const below = byId("below");
  placeLanes(below.clientHeight - 1);
  const top = clientLanes.find((lane) => lane.client === call.client).top + call.row * rowHeight;
  if (top < below.scrollTop || top + rowHeight > below.scrollTop + below.clientHeight) below.scrollTop = top - below.clientHeight / 2;
}

function drawCalls() {
  const below = byId("below");
  below.hidden = !shown.calls || !calls.length;
  if (below.hidden) return;
  const height = Math.max(placeLanes(below.clientHeight - 1), below.clientHeight - 1), draw = pen("calls", height);
  callHits = [];
  drawGrid(draw, height);
  clientLanes.forEach((lane, k) => {
    if (k % 2 === 0) {
      draw.fillStyle = colour("ground");
      draw.globalAlpha = 0.65;
      draw.fillRect(0, lane.top - GAP / 2, view.width, lane.height + GAP);
      draw.globalAlpha = 1;
    }
    const to = view.from + view.span, covered = [];
    for (let n = lowerBound(lane.calls, (call) => call.begun < view.from - lane.longest); n < lane.calls.length && lane.calls[n].begun <= to; n++) {
      drawCall(draw, lane, lane.calls[n], covered);
    }
  });
  drawFailureLine(draw, height);
  drawCursor(draw, height);
  draw.fillStyle = colour("paper");
  draw.fillRect(0, 0, GUTTER, height);
  draw.fillStyle = colour("rule");
  draw.fillRect(GUTTER - 1, 0, 1, height);
  draw.font = PLAIN;
  for (const lane of clientLanes) {
    draw.fillStyle = lane.calls.some((call) => call.is_wrong) ? colour("wrong") : colour("ink");
    draw.fillText(lane.name, 12, lane.top + MOST_ROW / 2);
  }
}

function drawGrid(draw, height) {
  const each = Math.max(1, tickStep());
  draw.strokeStyle = colour("rule");
  draw.lineWidth = 1;
  for (let time = Math.max(0, Math.ceil(view.from / each) * each); time <= Math.min(end, view.from + view.span); time += each) {
    const here = Math.round(x(time)) + 0.5;
    line(draw, here, 0, here, height);
  }
}

function drawCall(draw, lane, call, covered) {
  const isOpen = call.ended === null;
  const left = Math.max(GUTTER, x(call.begun));
  const right = isOpen && call.outcome !== "pending" ? left + 9 : Math.min(view.width, x(call.ended ?? end));
  if (right < GUTTER) return;
  const isChosen = cursor.event?.of === call, width = Math.max(1.6, right - left - 0.5), top = lane.top + call.row * rowHeight;
  if (right - (covered[call.row] ?? -1) < 0.8 && !call.is_wrong && !isChosen) return;
  covered[call.row] = left + width;
  const style = colour(call.is_wrong ? "wrong" : call.outcome === "not answered" ? "pending" : call.outcome);
  draw.globalAlpha = standsBack(call) ? 0.15 : 1;
  draw.fillStyle = style;
  draw.strokeStyle = style;
  draw.lineWidth = isChosen || call.is_wrong ? 2 : 1;
  const alpha = draw.globalAlpha;
  draw.globalAlpha = alpha * (isChosen ? 0.6 : call.is_wrong ? 0.45 : isOpen ? 0.12 : 0.34);
  draw.fillRect(left, top + 1, width, rowHeight - 2);
  draw.globalAlpha = alpha;
  if (isOpen) draw.setLineDash([2, 2]);
  if (width > 3) draw.strokeRect(left + 0.5, top + 1.5, width - 1, rowHeight - 3);
  else draw.fillRect(left, top + 1, width, rowHeight - 2);
  draw.setLineDash([]);
  if (width > 60 && rowHeight > 10) {
    draw.fillStyle = colour("ink");
    draw.fillText(fitted(`${call.what} ⇒ ${call.outcome}`, width - 8), left + 4, top + rowHeight / 2);
  }
  draw.globalAlpha = 1;
  callHits.push({ event: call.began, box: [left, top, Math.max(4, width), rowHeight] });
}
