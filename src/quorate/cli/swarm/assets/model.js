// The recording: its rows as objects, everything that happened as one list of events in the order of
// time, and what is said of each. Knows nothing of the screen.

const page = JSON.parse(document.getElementById("recording").textContent);
const life = page.life;

const GROUPS = [
  { name: "elections", kinds: ["PreVote", "PreVoteAnswer", "RequestVote", "RequestVoteAnswer", "TimeoutNow"] },
  { name: "replication", kinds: ["AppendEntries", "AppendEntriesAnswer"] },
  { name: "heartbeats", kinds: ["Heartbeat", "HeartbeatAnswer"] },
  { name: "snapshots", kinds: ["InstallSnapshot", "InstallSnapshotAnswer", "SnapshotNeeded"] },
  { name: "reads", kinds: ["ReadIndex", "ReadIndexAnswer"] },
  { name: "forwards", kinds: ["Forward", "ForwardAnswer"] },
  { name: "hellos", kinds: ["Hello"] },
];
const groupOf = new Map(GROUPS.flatMap((group) => group.kinds.map((kind) => [kind, group.name])));
const OUTCOMES = ["acknowledged", "answered", "not executed", "unknown", "pending", "not answered"];

function objects(name) {
  const fields = page.fields[name];
  return life[name].map((row) => {
    const made = {};
    for (let k = 0; k < fields.length; k++) made[fields[k]] = row[k];
    return made;
  });
}

const nodes = life.nodes;
const states = objects("states"), messages = objects("messages"), marks = objects("marks"), calls = objects("calls");
for (const mark of marks) mark.isWanted = mark.what.startsWith("operator: ");
const failure = life.failure;
const end = Math.max(1, life.ended);

// ---------------------------------------------------------------------- what is known of each

const statesOf = new Map(nodes.map((node) => [node, []]));
for (const state of states) {
  const own = statesOf.get(state.node);
  state.before = own.length ? own[own.length - 1] : null;
  state.turns = !state.before || ["role", "why", "is_paused", "term", "leader"].some((name) => state[name] !== state.before[name]);
  own.push(state);
}

const turnsOf = new Map(nodes.map((node) => [node, statesOf.get(node).filter((state) => state.turns)]));

const exchanges = new Map();
for (const message of messages) {
  message.group = groupOf.get(message.kind) ?? "hellos";
  message.isAnswer = message.kind.endsWith("Answer") || message.kind === "SnapshotNeeded";
  message.isLost = message.fate === "lost" || message.fate === "cut off";
  if (!message.id) continue;
  const asker = message.isAnswer ? message.to : message.sender, asked = message.isAnswer ? message.sender : message.to;
  const key = `${asker} ${asked} ${message.id}`;
  if (!exchanges.has(key)) exchanges.set(key, []);
  exchanges.get(key).push(message);
  message.exchange = exchanges.get(key);
}
const longestWay = messages.reduce((most, m) => Math.max(most, (m.ended ?? end) - m.sent), 0);
const usualWay = (() => {
  const ways = messages.filter((m) => m.fate === "arrived").map((m) => m.ended - m.sent).sort((a, b) => a - b);
  return ways.length ? ways[ways.length >> 1] : 500;
})();

// ---------------------------------------------------------------------- events

/** What comes first of what has the same time: a fault makes a server end, and waits for one that begins to lead. */
const rank = ({ type, of }) => (type === "became" && (of.role === "down" || of.is_paused) ? 2.5 : RANK[type]);
const RANK = { ended: 0, became: 1, marked: 2, sent: 3, called: 4, returned: 5, failed: 6 };
const events = [];
for (const state of states) events.push({ type: "became", at: state.at, of: state });
for (const message of messages) {
  events.push(message.began = { type: "sent", at: message.sent, of: message });
  if (message.ended !== null && message.fate !== "lost") events.push(message.over = { type: "ended", at: message.ended, of: message });
}
for (const mark of marks) events.push(mark.event = { type: "marked", at: mark.at, of: mark });
for (const call of calls) {
  events.push(call.began = { type: "called", at: call.begun, of: call });
  if (call.ended !== null) events.push(call.over = { type: "returned", at: call.ended, of: call });
}
if (failure) events.push({ type: "failed", at: failure.at, of: failure });
events.sort((one, other) => one.at - other.at || rank(one) - rank(other));
events.forEach((event, order) => { event.order = order; });
for (const event of events) if (event.type === "became") event.of.order = event.order;

const isTurn = (event) => event.type === "marked" || event.type === "failed" || (event.type === "became" && event.of.turns);

/** The first place in a sorted list whose element is not before what is sought. */
function lowerBound(list, isBefore) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(list[middle])) low = middle + 1; else high = middle;
  }
  return low;
}

/** The order of the last event that has happened by a time. */
const orderAt = (time) => lowerBound(events, (event) => event.at <= time) - 1;

/** What a server is when the event of this order has happened; null before it first runs. */
function stateAt(node, order) {
  const own = statesOf.get(node);
  return own[lowerBound(own, (state) => state.order <= order) - 1] ?? null;
}

const wrongCalls = calls.filter((call) => call.is_wrong);

/** What of a life that failed is to be looked at. */
function failing() {
  if (!failure) return null;
  const last = wrongCalls[wrongCalls.length - 1];
  return last ? last.over ?? last.began : events.find((event) => event.type === "failed");
}

// ---------------------------------------------------------------------- in words

const number = (count) => count.toLocaleString("en");
const plural = (count, what) => `${number(count)} ${what}${count === 1 ? "" : "s"}`;
const seconds = (time) => `${(time / 1e6).toFixed(6)} s`;
const named = (list) => (list.length === 1 ? `node ${list[0]}` : list.length ? `nodes ${list.join(", ")}` : "");
const brief = (text) => text.replace(/x{10,}/g, "x…"); // some clients have long names on purpose
const clientOf = (call) => brief(call.connection ? `${call.client}-${call.connection}` : call.client);

function duration(us) {
  if (us < 1000) return `${us} µs`;
  return us < 1e6 ? `${Number((us / 1000).toPrecision(3))} ms` : `${Number((us / 1e6).toPrecision(3))} s`;
}

function roleOf(state) {
  const role = state.role === "down" ? "down" : state.is_paused ? `${state.role}, paused` : state.role;
  return state.role === "outsider" ? role.replace("outsider", "no member") : role;
}

function change(state) {
  const before = state.before;
  if (state.role === "down") return `is down: ${state.why}`;
  if (!before || before.role === "down") return `starts as ${roleOf(state)} of term ${state.term}, with entries up to ${state.last_index}`;
  const said = [];
  if (before.role !== state.role) said.push(`${before.role} → ${state.role}`);
  if (before.term !== state.term) said.push(`term ${before.term} → ${state.term}`);
  if (before.is_paused !== state.is_paused) said.push(state.is_paused ? "stands still" : "goes on");
  if (before.leader !== state.leader && state.leader !== state.node) said.push(state.leader ? `follows node ${state.leader}` : "knows no leader");
  for (const [name, word] of LOG_FIELDS) if (before[name] !== state[name]) said.push(`${word} ${before[name]} → ${state[name]}`);
  return said.join(", ");
}

const LOG_FIELDS = [
  ["last_index", "last"], ["durable_index", "durable"], ["commit_index", "commit"],
  ["last_applied", "applied"], ["log_start", "log behind"], ["snapshot_index", "snapshot"],
];

function nobodyHeard(message) {
  return message.fate === "arrived" && message.over && (stateAt(message.to, message.over.order)?.role ?? "down") === "down";
}

function fateOf(message) {
  if (nobodyHeard(message)) return `arrived after ${duration(message.ended - message.sent)}, but node ${message.to} was down`;
  switch (message.fate) {
    case "arrived": return `arrived after ${duration(message.ended - message.sent)}`;
    case "lost": return "lost as it was sent";
    case "cut off": return `lost after ${duration(message.ended - message.sent)}: the link is cut`;
    default: return "still on its way at the end";
  }
}

const told = (message) => (message.fields ? `: ${message.fields}` : "");

/** What happened, in one line. */
function say(event) {
  const it = event.of;
  switch (event.type) {
    case "sent": return `${it.sender} → ${it.to}  ${it.kind}${it.fate === "lost" ? " ✗ lost" : ""}${told(it)}`;
    case "ended": return `${it.to} ← ${it.sender}  ${it.kind}${it.fate === "cut off" ? " ✗ cut off" : " arrives"}${told(it)}`;
    case "became": return `node ${it.node} ${change(it)}`;
    case "marked": return it.nodes.length ? `${it.what}: ${named(it.nodes)}` : it.what;
    case "called": return `${clientOf(it)}: ${it.what}`;
    case "returned": return `${clientOf(it)}: ${it.what} ⇒ ${it.outcome}${it.result ? `, ${it.result}` : ""}`;
    default: return `${it.kind}: ${brief(it.text)}`;
  }
}
