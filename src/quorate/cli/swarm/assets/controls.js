// What the reader does: buttons, keys, mouse, filters, search; and how it all begins.

const SCREEN_S = 10;
let playing = null;

function drawAll() {
  drawCalls();
  drawLanes();
  drawOverview();
  drawPanel();
}

function play(on) {
  if (on === (playing !== null)) return;
  byId("play").textContent = on ? "❚❚ stop" : "▶ play";
  byId("play").setAttribute("aria-pressed", String(on));
  if (!on) {
    cancelAnimationFrame(playing);
    playing = null;
    return;
  }
  let last = performance.now();
  if (cursor.now >= end) moveTo(0);
  const tick = (now) => {
    moveTo(cursor.now + ((now - last) / 1000 / SCREEN_S) * view.span);
    last = now;
    follow(cursor.now);
    playing = requestAnimationFrame(tick);
    if (cursor.now >= end) play(false);
  };
  playing = requestAnimationFrame(tick);
}

// ---------------------------------------------------------------------- filters

function box(name, isOn, change, mark = null) {
  const label = html("label"), input = html("input");
  input.type = "checkbox";
  input.checked = isOn;
  input.addEventListener("change", () => { change(input.checked); select(); });
  label.append(input);
  if (mark) label.append(mark);
  label.append(name);
  return label;
}

function patch(name, isLine = false) {
  const made = html("i", isLine ? "" : "patch");
  made.style[isLine ? "borderColor" : "background"] = `var(--${name.replace(" ", "-")})`;
  return made;
}

const toggle = (set, member) => (on) => (on ? set.add(member) : set.delete(member));

/** Shows one kind of message alone; if it is alone, all of them. */
function alone(name) {
  const all = GROUPS.map((group) => group.name);
  shown.groups = new Set(shown.groups.size === 1 && shown.groups.has(name) ? all : [name]);
  for (const label of document.querySelectorAll("[data-group]")) {
    label.querySelector("input").checked = shown.groups.has(label.dataset.group);
  }
  select();
}

function fillFilters() {
  const filters = byId("filters");
  filters.append(html("b", "", "Messages"));
  for (const { name } of GROUPS) {
    if (messages.some((message) => message.group === name)) {
      const label = box(name, shown.groups.has(name), (on) => toggle(shown.groups, name)(on), patch(name, true));
      label.dataset.group = name;
      label.addEventListener("dblclick", (event) => { event.preventDefault(); alone(name); });
      filters.append(label);
    }
  }
  filters.append(box("lost only", false, (on) => { shown.lostOnly = on; }));
  filters.append(html("b", "", "Nodes"));
  for (const node of nodes) filters.append(box(String(node), true, toggle(shown.nodes, node)));
  filters.append(html("b", "", "Also"));
  if (marks.some((mark) => !mark.isWanted)) filters.append(box("faults", true, (on) => { shown.marks = on; }));
  if (marks.some((mark) => mark.isWanted)) filters.append(box("operator", true, (on) => { shown.wanted = on; }));
  if (calls.length) filters.append(box("calls", true, (on) => { shown.calls = on; }));
  filters.append(box("growth of logs, when stepping", false, (on) => { shown.growth = on; }));
  const legend = html("span", "legend");
  const roles = ["leader", "candidate", "pre-candidate", "follower", "learner", "outsider"];
  for (const role of roles.filter((name) => states.some((state) => state.role === name))) {
    const entry = html("span");
    entry.append(patch(role), role === "outsider" ? "no member" : role);
    legend.append(entry);
  }
  for (const outcome of OUTCOMES.filter((name) => calls.some((call) => call.outcome === name))) {
    const entry = html("span");
    entry.append(patch(outcome === "not answered" ? "pending" : outcome), outcome);
    legend.append(entry);
  }
  filters.append(legend);
}

// ---------------------------------------------------------------------- mouse

function hitAt(canvas, px, py) {
  let best = null, least = 6;
  for (const hit of canvas === "lanes" ? hits : callHits) {
    if (hit.box) {
      const [left, top, width, height] = hit.box;
      if (px >= left - 1 && px <= left + width + 1 && py >= top && py <= top + height) best = best && best.way ? best : hit;
    } else {
      const far = distance(px, py, hit.way);
      if (far < least) [best, least] = [hit, far];
    }
  }
  return best?.message && best.message.over && Math.abs(px - best.way[2]) < Math.abs(px - best.way[0])
    ? { ...best, event: best.message.over } : best;
}

function tip(event, mouse) {
  const shownBox = byId("tip");
  shownBox.replaceChildren();
  facts(event).forEach(([name, value], k) => shownBox.append(k ? html("small", "", `${name}: ${value}`) : html("div", "", `${name} ${value}`)));
  shownBox.style.display = "block";
  shownBox.style.left = `${Math.min(mouse.clientX + 14, innerWidth - shownBox.offsetWidth - 8)}px`;
  shownBox.style.top = `${Math.min(mouse.clientY + 16, innerHeight - shownBox.offsetHeight - 8)}px`;
}

const untip = () => { byId("tip").style.display = "none"; };

function watchMouse(id) {
  const canvas = byId(id);
  let held = null;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) look(view.from + ((event.deltaX || event.deltaY) / scale()), view.span);
    else zoom(Math.exp(-event.deltaY * 0.0022), timeAt(Math.max(GUTTER, event.offsetX)));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY, from: view.from, scroll: byId("below").scrollTop, moved: false };
    canvas.setPointerCapture(event.pointerId);
    untip();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (held) {
      held.moved ||= Math.hypot(event.clientX - held.x, event.clientY - held.y) > 4;
      if (!held.moved) return;
      byId("stage").classList.add("dragging");
      look(held.from - (event.clientX - held.x) / scale(), view.span);
      if (id === "calls") byId("below").scrollTop = held.scroll - (event.clientY - held.y);
      return;
    }
    const hit = hitAt(id, event.offsetX, event.offsetY);
    if (hit) tip(hit.event, event); else untip();
  });
  canvas.addEventListener("pointerup", (event) => {
    byId("stage").classList.remove("dragging");
    if (held && !held.moved && event.offsetX >= GUTTER) {
      const hit = hitAt(id, event.offsetX, event.offsetY);
      if (hit) choose(hit.event); else moveTo(timeAt(event.offsetX));
    }
    held = null;
  });
  canvas.addEventListener("pointerleave", untip);
}

function watchOverview() {
  const canvas = byId("overview");
  let isHeld = false;
  const scrub = (event) => {
    const time = Math.min(end, Math.max(0, ((event.offsetX - GUTTER) / (view.width - GUTTER - 6)) * end));
    if (view.span < end) look(time - view.span / 2, view.span);
    moveTo(time);
  };
  canvas.addEventListener("pointerdown", (event) => { isHeld = true; canvas.setPointerCapture(event.pointerId); scrub(event); });
  canvas.addEventListener("pointermove", (event) => { if (isHeld) scrub(event); });
  canvas.addEventListener("pointerup", () => { isHeld = false; });
}

// ---------------------------------------------------------------------- keys

const back = () => step(steps, -1), on = () => step(steps, 1);
const turnBack = () => step(turns, -1), turnOn = () => step(turns, 1);
const whole = () => look(0, end * 1.04);
const screens = (by) => { look(view.from + by * view.span * 0.9, view.span); moveTo(cursor.now + by * view.span * 0.9); };
const KEYS = {
  ArrowLeft: back, ArrowRight: on, PageUp: () => screens(-1), PageDown: () => screens(1),
  Home: () => { moveTo(0); follow(0); }, End: () => { moveTo(end); follow(end); },
  "+": () => zoom(1.6), "=": () => zoom(1.6), "-": () => zoom(1 / 1.6), "0": whole,
  " ": () => play(playing === null), f: jump, F: jump, "/": () => byId("search").focus(),
  "?": () => byId("help").click(), Escape: () => seek(""),
};

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  if (target.id === "search") {
    if (event.key === "Enter") { (event.shiftKey ? back : on)(); event.preventDefault(); }
    if (event.key === "Escape") { seek(""); target.blur(); }
    return;
  }
  if (event.key === " " && (target.tagName === "BUTTON" || target.tagName === "INPUT")) return;
  const act = event.shiftKey && event.key === "ArrowLeft" ? turnBack : event.shiftKey && event.key === "ArrowRight" ? turnOn : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  if (event.key !== " ") play(false);
  act();
}

function seek(text) {
  if (byId("search").value !== text) byId("search").value = text;
  sought = text.trim().toLowerCase();
  select();
}

// ---------------------------------------------------------------------- beginning

function introduce() {
  document.body.classList.toggle("failed", failure !== null);
  document.title = `${failure ? "failed" : "lived"}: ${page.title}`;
  byId("title").textContent = page.title;
  byId("verdict").textContent = failure ? "failed" : "every promise kept";
  const leaders = new Set(states.filter((state) => state.role === "leader").map((state) => state.term)).size;
  byId("summary").textContent = [
    plural(nodes.length, "server"), `${(end / 1e6).toFixed(1)} s`, plural(leaders, "term") + " with a leader",
    plural(marks.filter((mark) => !mark.isWanted).length, "fault"), plural(messages.length, "message") + ` (${number(messages.filter((m) => m.isLost).length)} lost)`, plural(calls.length, "call"),
  ].join(" · ");
  byId("headline").hidden = byId("jump").hidden = !failure;
  if (failure) byId("headline").textContent = `${failure.kind}: ${brief(failure.text)}`;
  const notes = [];
  if (page.replay) notes.push(`Replay: ${page.replay}`);
  const leftOut = [[life.messages_since, "messages"], [life.calls_since, "calls"], [life.details_since, "how logs grew"]]
    .filter(([since]) => since).map(([since, what]) => `${what} before ${(since / 1e6).toFixed(1)} s`);
  if (leftOut.length) notes.push(`Left out of this long life: ${leftOut.join(", ")}.`);
  if (!nodes.length) notes.push("Nothing was recorded: no server ever ran.");
  byId("note").textContent = notes.join(" · ");
}

introduce();
fillFilters();
for (const [id, act] of [["back", back], ["on", on], ["turn-back", turnBack], ["turn-on", turnOn], ["narrow", () => zoom(1 / 1.6)],
  ["wide", () => zoom(1.6)], ["whole", whole], ["jump", jump], ["previous-match", back], ["next-match", on]]) {
  byId(id).addEventListener("click", () => { play(false); act(); });
}
byId("play").addEventListener("click", () => play(playing === null));
byId("help").addEventListener("click", () => {
  byId("keys").hidden = !byId("keys").hidden;
  byId("help").setAttribute("aria-expanded", String(!byId("keys").hidden));
  refresh();
});
byId("search").addEventListener("input", () => seek(byId("search").value));
document.addEventListener("keydown", pressed);
watchMouse("lanes");
watchMouse("calls");
watchOverview();
new ResizeObserver(refresh).observe(byId("stage"));
whole();
select();
if (/^#\d+$/.test(location.hash)) { look(Number(location.hash.slice(1)) - 30_000, 60_000); moveTo(Number(location.hash.slice(1))); }
else if (failure) jump();
