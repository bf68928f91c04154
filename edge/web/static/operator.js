// Keeps the operator page true to the log. Text only ever goes in as text, never as markup.
"use strict";

const ROWS = 100;
const SILENT_MS = 35000; // the gate speaks every 15 s
const VISITS = { granted: "✓ Granted", denied: "✕ Denied", override: "✓ Override" };
const PASSAGES = { taken: "went through", "not-taken": "did not pass" };
const SCREENS = { idle: "ready", reading: "reading a card", look: "look here", welcome: "welcome", refused: "refused", "step-back": "step back out", assisted: "see the reception", alarm: "alarm", fire: "fire alarm", closed: "locked down", "out-of-service": "out of service" };

const CLOCKS = { synced: "certain", held: "held since it was certain", floor: "only known not to be earlier", unknown: "unknown" };

const ALARMS = ["alarm", "fire"]; // screens that are no service

const by = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hour12: false });
const title = document.title;
const alarms = new Map(); // by kind, those that nobody at this browser has seen yet
let last = "";
let silent = null;
let caughtUp = false;
let loud = false;
let closed = null; // as the log tells, which may be less than the gate knows
let overruleMs = 60000;

function make(name, content, className) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (content !== undefined && content !== null) element.append(content);
  return element;
}

function time(at) {
  if (!at) return make("span", "time unknown", "quiet");
  const element = make("time", clock.format(new Date(at)));
  element.dateTime = at;
  element.title = calendar.format(new Date(at));
  return element;
}

function day(at) {
  const element = make("time", calendar.format(new Date(at)));
  element.dateTime = at;
  return element;
}

// Only what differs is replaced: whoever reads a list with a screen reader keeps the place.
function fill(id, rows, draw) {
  const place = by(id);
  rows.forEach((row, number) => {
    const told = JSON.stringify(row);
    const old = place.children[number];
    if (old && old.told === told) return;
    const fresh = draw(row);
    fresh.told = told;
    if (old) old.replaceWith(fresh);
    else place.append(fresh);
  });
  while (place.children.length > rows.length) place.lastElementChild.remove();
}

function put(id, ...content) {
  const fresh = make("span");
  fresh.append(...content);
  if (by(id).textContent !== fresh.textContent) by(id).replaceChildren(...fresh.childNodes);
}

function why(entry) {
  const cell = make("td", entry.sentence, "why");
  if (entry.detail) cell.append(make("span", entry.detail, "detail"));
  return cell;
}

function visit(entry) {
  const row = make("tr");
  row.id = "visit-" + entry.index;
  row.dataset.kind = entry.kind;
  row.born = entry.age_s === null ? null : performance.now() - entry.age_s * 1000; // no wall clock: the gate's may be slow, this one's wrong
  row.append(make("td", time(entry.at)), make("td", VISITS[entry.kind], "outcome " + (entry.kind === "denied" ? "denied" : "granted")), why(entry),
    make("td", "", "passage"), make("td", entry.took_ms === null ? "" : String(entry.took_ms), "number"));
  by("visit-rows").prepend(row);
  by("no-visits").hidden = true;
  if (by("visit-rows").rows.length > ROWS) by("visit-rows").lastElementChild.remove();
  if (caughtUp && entry.kind === "denied") by("newest").textContent = entry.sentence;
  offer();
}

function happening(entry) {
  const words = make("span", entry.sentence);
  if (entry.detail) words.append(make("span", entry.detail, "detail"));
  const item = make("li");
  item.append(time(entry.at), words);
  by("events").prepend(item);
  by("no-events").hidden = true;
  if (by("events").children.length > ROWS) by("events").lastElementChild.remove();
}

// What somebody must look at stays above everything until it is seen, by kind; each browser keeps what was seen there.
function alarmed(entry, id) {
  if (!later(id, seen()[entry.kind])) return;
  const count = (alarms.get(entry.kind) || { count: 0 }).count + 1;
  alarms.set(entry.kind, { id, count });
  let banner = by("alarm-" + entry.kind);
  if (!banner) {
    banner = make("div", null, "banner bad alarm");
    banner.id = "alarm-" + entry.kind;
    const button = make("button", "Seen");
    button.type = "button";
    button.setAttribute("aria-label", "Seen: " + entry.sentence);
    button.addEventListener("click", () => acknowledge(entry.kind));
    banner.append(make("p"), button);
    by("alarms").append(banner);
  }
  const words = make("p", entry.sentence + " ");
  words.setAttribute("role", "alert");
  words.append(entry.detail ? entry.detail + ". " : "", entry.at ? day(entry.at) : "", count > 1 ? ", " + count + " times" : "");
  banner.firstChild.replaceWith(words);
  marked();
}

function acknowledge(kind) {
  remember({ ...seen(), [kind]: alarms.get(kind).id });
  alarms.delete(kind);
  by("alarm-" + kind).remove();
  by("visits").focus();
  marked();
}

function remember(ids) {
  try {
    localStorage.setItem("seen", JSON.stringify(ids));
  } catch {} // then it is shown again by the next page
}

function seen() {
  try {
    return JSON.parse(localStorage.getItem("seen")) || {};
  } catch {
    return {};
  }
}

function later(id, than) {
  if (!than) return true;
  const [epoch, index] = id.split("-").map(Number);
  const [oldEpoch, oldIndex] = than.split("-").map(Number);
  return epoch !== oldEpoch || index > oldIndex;
}

function marked() {
  document.title = (alarms.size || loud ? "⚠ " : "") + title;
}

function entered(event) {
  last = event.lastEventId;
  const entry = JSON.parse(event.data);
  if (entry.alarm) alarmed(entry, last);
  if (VISITS[entry.kind]) return visit(entry);
  const row = PASSAGES[entry.kind] && entry.visit !== null && by("visit-" + entry.visit);
  if (row) row.querySelector(".passage").textContent = PASSAGES[entry.kind];
  else happening(entry);
}

function stands(told) {
  caughtUp = true;
  const screen = SCREENS[told.screen] || told.screen;
  loud = ALARMS.includes(told.screen);
  marked();
  if (loud) tell("bad", screen[0].toUpperCase() + screen.slice(1));
  else tell(told.serving ? "good" : "bad", told.serving ? "In service: " + screen : "Out of service");
  by("attacks").hidden = told.detects_attacks === true;
  put("attacks", told.detects_attacks === false ? "Attacks by photo or screen are not detected (pilot)." : "It is not known yet whether attacks by photo or screen are detected.");
  by("trouble").hidden = !told.trouble;
  put("trouble", told.trouble ? "The log cannot be read; what is shown here is old. " + told.trouble : "");
  for (const name of ["granted", "denied", "size"]) put(name, told[name].toLocaleString());
  put("sealed", told.sealed === null ? "unknown" : told.sealed.toLocaleString());
  put("profile", told.profile || "not told yet");
  put("screen", screen);
  const floor = told.clock === "floor";
  put("trust", told.trust || "not told yet", ...(told.trust ? issued(told.trust_at, told.trust_age_s, floor) : []), told.trust_old ? make("strong", " – old", "denied") : "");
  put("status-age", told.trust ? (told.status_at ? "oldest list" : "no list is here") : "not told yet", ...(told.status_at ? issued(told.status_at, told.status_age_s, floor) : []));
  put("booted", told.booted_at ? calendar.format(new Date(told.booted_at)) : "not told yet");
  put("newest-at", told.newest_at ? calendar.format(new Date(told.newest_at)) : "none");
  put("clock", CLOCKS[told.clock] || told.clock || "not told yet");
  put("celsius", told.celsius === null ? "not measured here" : Math.round(told.celsius) + " °C" + (told.celsius >= 80 ? " – too hot" : ""));
  put("storage", told.used === null ? "not known" : Math.round(100 * told.used) + " % used, " + Math.round(told.free_bytes / 1e6).toLocaleString() + " MB free" + (told.used > 0.9 ? " – nearly full" : ""));
  if (told.closed !== closed) lockedDown((closed = told.closed));
  if (told.overrule_s !== null) overruleMs = told.overrule_s * 1000;
  offer();
  const busy = throughput(told.busy);
  if (by("busy").told !== busy.told) by("busy").replaceChildren(busy.drawn());
  by("busy").told = busy.told;
  fill("busy-rows", told.busy.rows, slot);
  by("busy-table").hidden = told.busy.rows.length === 0;
  fill("latency-rows", told.latency, latency);
  by("no-latency").hidden = told.latency.length > 0;
  devices(Object.entries(told.devices));
  refusals(Object.entries(told.refusals));
}

// When somebody signed it, and how long ago that is by the gate's clock, which may only know how long at least.
function issued(at, age_s, floor) {
  if (!at) return [", age not told"];
  const minutes = Math.round(age_s / 60);
  const ago = minutes < 120 ? minutes + " min ago" : minutes < 2880 ? Math.round(minutes / 60) + " h ago" : Math.round(minutes / 1440) + " days ago";
  return [", issued ", day(at), age_s === null ? "" : " (" + (floor ? "at least " : "") + ago + ")"];
}

function devices(told) {
  fill("devices", told, ([name, device]) => {
    const item = make("li");
    const state = make("span", (device.ok ? "works" : "fails") + (device.since ? " since " : ""));
    if (device.since) state.append(time(device.since));
    item.append(make("span", device.ok ? "✓" : "✕", "mark " + (device.ok ? "granted" : "denied")), make("strong", name), state);
    if (!device.ok && device.detail) item.append(make("span", device.detail, "detail"));
    return item;
  });
  by("no-devices").hidden = told.length > 0;
}

function refusals(told) {
  const most = told.length ? told[0][1] : 1;
  fill("refusals", told.map(([reason, count]) => [reason, count, most]), ([reason, count]) => {
    const item = make("li");
    const bar = make("span", make("span"), "bar");
    bar.firstChild.style.width = (100 * count) / most + "%"; // through the object model, which the policy allows
    item.append(make("span", reason), make("span", count.toLocaleString(), "number"), bar);
    return item;
  });
  by("no-refusals").hidden = told.length > 0;
}

function tell(state, words) {
  if (by("state-words").textContent === words) return;
  by("state").dataset.state = state;
  by("state-words").textContent = words;
}

function missed(event) {
  const told = JSON.parse(event.data);
  happening({ at: null, sentence: told.count + " older entries are not shown here.", detail: "" });
}

// Another log begins: what is shown here is of one that is not read any more.
function afresh() {
  caughtUp = false;
  remember({});
  by("visit-rows").replaceChildren();
  by("events").replaceChildren();
  by("no-visits").hidden = by("no-events").hidden = false;
}

function follow() {
  const gate = new EventSource("/events" + (last ? "?after=" + encodeURIComponent(last) : ""));
  const again = () => {
    gate.close();
    clearTimeout(silent);
    tell("bad", "No connection to the gate’s pages");
    know();
    setTimeout(follow, 1000);
  };
  const wait = () => {
    clearTimeout(silent);
    silent = setTimeout(again, SILENT_MS);
  };
  gate.addEventListener("entry", entered);
  gate.addEventListener("gap", missed);
  gate.addEventListener("fresh", afresh);
  gate.addEventListener("standing", (event) => {
    wait();
    stands(JSON.parse(event.data));
  });
  gate.addEventListener("over", () => location.replace("/"));
  gate.onerror = () => (gate.readyState === EventSource.CLOSED ? again() : tell("bad", "No connection to the gate’s pages"));
  wait();
}

addEventListener("load", follow);
