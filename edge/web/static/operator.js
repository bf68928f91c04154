// Keeps the operator page true to the log. Text only ever goes in as text, never as markup.
"use strict";

const ROWS = 100;
const SILENT_MS = 35000; // the gate speaks every 15 s
const VISITS = { granted: "✓ Granted", denied: "✕ Denied", override: "✓ Override" };
const PASSAGES = { taken: "went through", "not-taken": "did not pass" };
const SCREENS = { idle: "ready", reading: "reading a card", look: "look here", welcome: "welcome", refused: "refused", assisted: "see the reception", alarm: "alarm", fire: "fire alarm", "out-of-service": "out of service" };

const CLOCKS = { synced: "certain", held: "held since it was certain", floor: "only known not to be earlier", unknown: "unknown" };

const by = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hour12: false });
let last = "";
let silent = null;
let caughtUp = false;

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

function why(entry) {
  const cell = make("td", entry.sentence, "why");
  if (entry.detail) cell.append(make("span", entry.detail, "detail"));
  return cell;
}

function visit(entry) {
  const row = make("tr");
  row.id = "visit-" + entry.index;
  row.dataset.kind = entry.kind;
  row.dataset.at = entry.at || "";
  row.append(make("td", time(entry.at)), make("td", VISITS[entry.kind], "outcome " + (entry.kind === "denied" ? "denied" : "granted")), why(entry),
    make("td", "", "passage"), make("td", entry.took_ms === null ? "" : String(entry.took_ms), "number"));
  by("visit-rows").prepend(row);
  by("no-visits").hidden = true;
  if (by("visit-rows").rows.length > ROWS) by("visit-rows").lastElementChild.remove();
  if (caughtUp) by("newest").textContent = entry.sentence;
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

function entered(event) {
  last = event.lastEventId;
  const entry = JSON.parse(event.data);
  if (VISITS[entry.kind]) return visit(entry);
  const row = PASSAGES[entry.kind] && entry.visit !== null && by("visit-" + entry.visit);
  if (row) row.querySelector(".passage").textContent = PASSAGES[entry.kind];
  else happening(entry);
}

function stands(told) {
  caughtUp = true;
  tell(told.serving ? "good" : "bad", told.serving ? "In service: " + (SCREENS[told.screen] || told.screen) : "Out of service");
  by("attacks").hidden = told.detects_attacks === true;
  by("attacks").textContent = told.detects_attacks === false ? "Attacks by photo or screen are not detected (pilot)." : "It is not known yet whether attacks by photo or screen are detected.";
  by("trouble").hidden = !told.trouble;
  by("trouble").textContent = told.trouble ? "The log cannot be read; what is shown here is old. " + told.trouble : "";
  for (const name of ["granted", "denied", "size"]) by(name).textContent = told[name].toLocaleString();
  by("sealed").textContent = told.sealed === null ? "unknown" : told.sealed.toLocaleString();
  by("profile").textContent = told.profile || "not told yet";
  by("screen").textContent = SCREENS[told.screen] || told.screen;
  by("trust").replaceChildren(told.trust || "not told yet", told.trust ? ", " : "", ...(told.trust ? since(told.trust_at) : []));
  by("booted").textContent = told.booted_at ? calendar.format(new Date(told.booted_at)) : "not told yet";
  by("newest-at").textContent = told.newest_at ? calendar.format(new Date(told.newest_at)) : "none";
  by("status-age").replaceChildren(...since(told.status_at));
  by("clock").textContent = CLOCKS[told.clock] || told.clock || "not told yet";
  by("celsius").textContent = told.celsius === null ? "not measured here" : Math.round(told.celsius) + " °C" + (told.celsius >= 80 ? " – too hot" : "");
  by("storage").textContent = told.used === null ? "not known" : Math.round(100 * told.used) + " % used, " + Math.round(told.free_bytes / 1e6).toLocaleString() + " MB free" + (told.used > 0.9 ? " – nearly full" : "");
  if (told.closed !== null) lockedDown(told.closed);
  const busy = JSON.stringify(told.busy);
  if (busy !== by("busy").dataset.told) {
    by("busy").dataset.told = busy;
    by("busy").replaceChildren(throughput(told.busy).drawn);
  }
  by("latency-rows").replaceChildren(...latency(told.latency));
  by("no-latency").hidden = told.latency.length > 0;
  devices(told.devices);
  refusals(Object.entries(told.refusals));
}

// When, and how long ago in words.
function since(at) {
  if (!at) return ["not told yet"];
  const minutes = Math.max(0, Math.round((Date.now() - Date.parse(at)) / 60000));
  const ago = minutes < 120 ? minutes + " min ago" : minutes < 2880 ? Math.round(minutes / 60) + " h ago" : Math.round(minutes / 1440) + " days ago";
  return [time(at), " (" + ago + ")"];
}

function devices(told) {
  by("devices").replaceChildren(...Object.entries(told).map(([name, device]) => {
    const item = make("li");
    const state = make("span", (device.ok ? "works" : "fails") + (device.since ? " since " : ""));
    if (device.since) state.append(time(device.since));
    item.append(make("span", device.ok ? "✓" : "✕", "mark " + (device.ok ? "granted" : "denied")), make("strong", name), state);
    if (!device.ok && device.detail) item.append(make("span", device.detail, "detail"));
    return item;
  }));
  by("no-devices").hidden = Object.keys(told).length > 0;
}

function refusals(told) {
  const most = told.length ? told[0][1] : 1;
  by("refusals").replaceChildren(...told.map(([reason, count]) => {
    const item = make("li");
    const bar = make("span", make("span"), "bar");
    bar.firstChild.style.width = (100 * count) / most + "%"; // through the object model, which the policy allows
    item.append(make("span", reason), make("span", count.toLocaleString(), "number"), bar);
    return item;
  }));
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
  gate.addEventListener("standing", (event) => {
    wait();
    stands(JSON.parse(event.data));
  });
  gate.addEventListener("over", () => location.replace("/login"));
  gate.onerror = () => (gate.readyState === EventSource.CLOSED ? again() : tell("bad", "No connection to the gate’s pages"));
  wait();
}

addEventListener("load", follow);
