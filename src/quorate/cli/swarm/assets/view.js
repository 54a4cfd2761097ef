// What is looked at: which part of time, where the cursor stands, what is shown and sought.

const GUTTER = 92;
const LEAST_SPAN = 300;
const byId = (id) => document.getElementById(id);

const view = { from: 0, span: end, width: 800 };
const cursor = { now: 0, event: null };
const shown = {
  groups: new Set(GROUPS.map((group) => group.name).filter((name) => name !== "heartbeats" && name !== "hellos")),
  nodes: new Set(nodes), lostOnly: false, growth: false, marks: true, wanted: true, calls: true,
};
let sought = "", found = null;
let steps = [], turns = [];

const scale = () => (view.width - GUTTER) / view.span;
const x = (time) => GUTTER + (time - view.from) * scale();
const timeAt = (place) => view.from + (place - GUTTER) / scale();

function html(name, className = "", text = null) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== null) made.textContent = text;
  return made;
}

let colours = {};
function colour(name) {
  return colours[name] ??= getComputedStyle(document.documentElement).getPropertyValue(`--${name.replace(" ", "-")}`).trim();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colours = {}; refresh(); });

// ---------------------------------------------------------------------- what is shown

function showsMessage(message) {
  return shown.groups.has(message.group) && shown.nodes.has(message.sender) && shown.nodes.has(message.to)
    && (!shown.lostOnly || message.isLost || nobodyHeard(message));
}

const showsMark = (mark) => (mark.isWanted ? shown.wanted : shown.marks);

function showsEvent(event) {
  switch (event.type) {
    case "sent": case "ended": return showsMessage(event.of);
    case "became": return shown.nodes.has(event.of.node) && (event.of.turns || shown.growth);
    case "marked": return showsMark(event.of);
    case "called": case "returned": return shown.calls;
    default: return true;
  }
}

/** What is shown, or what is sought, has changed. */
function select() {
  steps = events.filter(showsEvent);
  if (sought) {
    steps = steps.filter((event) => (event.words ??= say(event).toLowerCase()).includes(sought));
    found = new Set(steps.map((event) => event.of));
  } else found = null;
  turns = steps.filter(isTurn);
  byId("matches").textContent = sought ? (steps.length ? `${number(steps.length)} found` : "nothing found") : "";
  refresh();
}

/** Whether something is to stand back behind what is sought. */
const standsBack = (it) => found !== null && !found.has(it);

// ---------------------------------------------------------------------- moving

function refresh() {
  if (!refresh.isDue) {
    refresh.isDue = true;
    requestAnimationFrame(() => { refresh.isDue = false; drawAll(); });
  }
}

function look(from, span) {
  view.span = Math.min(end * 1.04, Math.max(LEAST_SPAN, span));
  view.from = Math.min(end - view.span * 0.9, Math.max(-view.span * 0.1, from));
  if (view.span >= end * 1.04) view.from = -end * 0.01;
  refresh();
}

function zoom(factor, around = cursor.now) {
  const place = Math.min(0.98, Math.max(0.02, (around - view.from) / view.span));
  const middle = around >= view.from && around <= view.from + view.span ? around : view.from + place * view.span;
  const span = Math.min(end * 1.04, Math.max(LEAST_SPAN, view.span / factor));
  look(middle - place * span, span);
}

/** Sees to it that a time is on the screen. */
function follow(time) {
  const place = (time - view.from) / view.span;
  if (place < 0.04 || place > 0.94) look(time - view.span * (place < 0.04 ? 0.35 : 0.4), view.span);
}

function moveTo(time) {
  cursor.now = Math.min(end, Math.max(0, Math.round(time)));
  cursor.event = null;
  refresh();
}

function choose(event) {
  if (!event) return;
  cursor.event = event;
  cursor.now = event.at;
  follow(event.at);
  if (event.of.client) reveal(event.of);
  refresh();
}

const position = () => (cursor.event ? cursor.event.order : orderAt(cursor.now));

/** The event of a list that is so many steps from where the cursor stands. */
function step(list, by) {
  const here = cursor.event ? cursor.event.order : by > 0 ? orderAt(cursor.now) : orderAt(cursor.now) + 1;
  if (by > 0) choose(list[lowerBound(list, (event) => event.order <= here)]);
  else choose(list[lowerBound(list, (event) => event.order < here) - 1]);
}

function jump() {
  const event = failing();
  if (!event) return;
  const from = wrongCalls.reduce((least, call) => Math.min(least, call.begun), event.at);
  const to = wrongCalls.reduce((most, call) => Math.max(most, call.ended ?? call.begun), event.at);
  const span = Math.max(60_000, (to - from) * 1.5);
  look(wrongCalls.length ? (from + to - span) / 2 : event.at - span * 0.7, span);
  choose(event);
}

// ---------------------------------------------------------------------- drawing

/** A canvas's pen, with the canvas as large as it is to be on this screen. */
function pen(id, height) {
  const canvas = byId(id), ratio = devicePixelRatio || 1, width = byId("stage").clientWidth;
  const room = byId("below").clientWidth;
  view.width = room || width;
  canvas.style.height = `${height}px`;
  const wide = Math.round((id === "calls" ? view.width : width) * ratio), high = Math.round(height * ratio);
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  const made = canvas.getContext("2d");
  made.setTransform(ratio, 0, 0, ratio, 0, 0);
  made.clearRect(0, 0, width, height);
  made.font = SMALL;
  made.textBaseline = "middle";
  return made;
}

const SMALL = '11px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';
const PLAIN = '12.5px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const LETTER = 6.7;

/** A text that has so much room, or as much of it as fits. */
function fitted(text, room) {
  const letters = Math.floor(room / LETTER);
  return letters >= text.length ? text : letters >= 3 ? `${text.slice(0, letters - 1)}…` : "";
}

function line(draw, x1, y1, x2, y2) {
  draw.beginPath();
  draw.moveTo(x1, y1);
  draw.lineTo(x2, y2);
  draw.stroke();
}

function drawCursor(draw, height, top = 0) {
  const here = x(cursor.now);
  if (here < GUTTER || here > view.width) return;
  draw.strokeStyle = colour("cursor");
  draw.lineWidth = 1.2;
  line(draw, here, top, here, height);
}

function drawFailureLine(draw, height, top = 0) {
  if (!failure) return;
  draw.strokeStyle = colour("wrong");
  draw.lineWidth = 1.6;
  draw.setLineDash([6, 4]);
  line(draw, x(failure.at), top, x(failure.at), height);
  draw.setLineDash([]);
  if (!top) return;
  draw.fillStyle = colour("wrong");
  draw.textAlign = "right";
  draw.fillText(`✗ ${failure.kind}`, x(failure.at) - 5, top + 10);
  draw.textAlign = "left";
}

/** Distance of a point from a line between two points. */
function distance(px, py, [x1, y1, x2, y2]) {
  const dx = x2 - x1, dy = y2 - y1, length = dx * dx + dy * dy;
  const along = length ? Math.min(1, Math.max(0, ((px - x1) * dx + (py - y1) * dy) / length)) : 0;
  return Math.hypot(px - x1 - along * dx, py - y1 - along * dy);
}
