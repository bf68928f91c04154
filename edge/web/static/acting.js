// What an operator does: log out, let somebody in, lock down, take the log away, look a receipt up. The gate verifies all
// of it; this page only asks.
"use strict";

const REASONS = {
  override: [["identity-checked", "I checked who it is"], ["card-damaged", "The card is damaged"], ["needs-help", "The person needs help"], ["device-fault", "A device fails"], ["emergency", "Emergency"], ["other", "Something else"]],
  "lock-down": [["threat", "Threat"], ["emergency", "Emergency"], ["maintenance", "Maintenance"], ["drill", "Drill"], ["other", "Something else"]],
  lift: [["over", "It is over"], ["drill", "The drill is over"], ["maintenance", "Maintenance is done"], ["other", "Something else"]],
  export: [["audit", "Audit"], ["maintenance", "Maintenance"], ["other", "Something else"]],
};
const TITLES = { override: "Let this person in", "lock-down": "Lock the gate down", lift: "Open the gate again", export: "Take the log away" };
const REFUSED = {
  code: "That code is wrong, or was used already. Wait for the next one.",
  over: "You are logged out. Log in again.",
  role: "Your role does not allow that.",
  "no-visit": "That refusal is too old, or somebody else has come since.",
  "stands": "The site's policy lets nobody overrule that refusal.",
  busy: "Somebody is going through, or stands at the camera, and it would open for them. Try again in a moment.",
  alarm: "The gate has an alarm, and nothing opens before it is over. Clear the lane, close the door or mend the dispenser first.",
  closed: "The gate is locked down. Open it again first.",
  "not-here": "This is taken at the gate itself or over https only.",
  failed: "The gate does not answer. Look at the device.",
};
const ROLES = ["viewer", "operator", "admin"];
const HERE_MS = 60000;
const LEAVING_MS = 13 * 60000; // two minutes before the gate ends what nobody is at

let me = null;
let ordering = null;
let wasHere = 0;

const may = (role) => me !== null && me.name !== "" && ROLES.indexOf(me.role) >= ROLES.indexOf(role);

async function send(address, body) {
  const headers = { "Content-Type": "application/json", "X-Gate-Page": me ? me.token : "" };
  try {
    const answer = await fetch(address, { method: "POST", headers, body: JSON.stringify(body) });
    const told = (answer.headers.get("Content-Type") || "").startsWith("application/json") ? await answer.json() : { no: "failed" };
    return { good: answer.ok, told };
  } catch {
    return { good: false, told: { no: "failed" } };
  }
}

async function know() {
  try {
    const answer = await fetch("/me");
    if (answer.status === 401) return location.replace("/login");
    me = await answer.json();
  } catch {
    me = me || null;
  }
  known();
}

function known() {
  if (!me) return;
  by("who").textContent = me.name ? me.name + " (" + me.role + ")" : "";
  by("log-out").hidden = !me.name;
  by("log-in").hidden = me.name !== "";
  by("acts").hidden = !may("operator");
  by("export").hidden = !may("admin");
  if (me.closed !== null) lockedDown(me.closed);
  offer();
}

function lockedDown(is) {
  by("closed").hidden = is !== true;
  by("lock-down").hidden = is === true;
  by("lift").hidden = is !== true;
}

// Only the newest refusal can be overridden, and only for as long as the profile says.
function offer() {
  const row = by("visit-rows").rows[0];
  const young = row && row.dataset.kind === "denied" && row.born !== null && performance.now() - row.born <= overruleMs;
  const there = document.querySelector("button.let-in");
  if (there && young && may("operator") && row.contains(there)) return;
  if (there) {
    if (there === document.activeElement) by("visits").focus();
    there.remove();
  }
  if (!young || !may("operator")) return;
  const button = make("button", "Let in …", "let-in");
  button.type = "button";
  button.addEventListener("click", () => order("override", Number(row.id.slice("visit-".length)), row.querySelector(".why").firstChild.textContent));
  row.querySelector(".passage").replaceChildren(button);
}

function order(what, visit, words) {
  ordering = { what, visit };
  by("order-title").textContent = TITLES[what];
  by("order-words").textContent = words || "";
  by("order-why").replaceChildren(...REASONS[what].map(([value, said]) => {
    const option = make("option", said);
    option.value = value;
    return option;
  }));
  by("order-code").value = by("order-code-2").value = by("order-said").textContent = "";
  by("order-second").hidden = !me.two_codes;
  by("order").showModal();
}

async function ordered(event) {
  event.preventDefault();
  const button = by("order-do");
  if (button.disabled) return;
  button.disabled = true;
  const given = by("order-second").hidden ? ["order-code"] : ["order-code", "order-code-2"];
  const codes = given.map((place) => by(place).value.replace(/[\s-]/g, ""));
  const body = { why: by("order-why").value, codes };
  const { good, told } = ordering.what === "export" ? await send("/act/export", body) : await send("/act/order", { what: ordering.what, visit: ordering.visit, ...body });
  button.disabled = false;
  if (told.no === "failed") await know(); // what could not be written down may be done all the same
  if (!good) return declined(told);
  by("order").close();
  by("done").textContent = "Done. It is entry " + told.entry.toLocaleString() + " of the log.";
  if (told.link) location.assign(told.link);
  know();
}

function declined(told) {
  if (told.no === "two-codes") {
    by("order-second").hidden = false;
    by("order-said").textContent = "The gate cannot tell the time just now. Please give two codes in a row.";
  } else by("order-said").textContent = told.no === "wait" ? "Too many tries. Try again in " + told.wait_s + " s." : told.no === "failed" && told.detail ? failed(told.detail) : REFUSED[told.no] || "That did not work.";
  by("order-code").value = by("order-code-2").value = "";
  by("order-code").focus();
}

function failed(detail) {
  const done = ordering.what === "lock-down" && me && me.closed;
  return done ? "The gate is locked down, but that is not in the log: " + detail : "That could not be done: " + detail;
}

// Where the button that opened it is gone, the cursor goes to the visits and not to the top.
function closing() {
  if (!document.activeElement || document.activeElement === document.body) by("visits").focus();
}

async function lookUp(event) {
  event.preventDefault();
  const text = by("receipt-text").value.trim();
  const { good, told } = await send("/act/receipt", { text: text.match(/.{1,250}/g) || [] });
  const says = {
    here: () => "Entry " + told.entry.index.toLocaleString() + (told.entry.at ? ", " + calendar.format(new Date(told.entry.at)) : "") + ": " + told.entry.sentence,
    "another-epoch": () => "A receipt of an earlier log (epoch " + told.epoch + "). Use scripts/verify_log.py with its export.",
    another: () => "Not a receipt of this log, or this log was changed. Keep the receipt.",
    none: () => "This log has no such visit, or what it said was taken away by now.",
  };
  by("receipt-said").textContent = good && says[told.found] ? says[told.found]() : told.no === "role" ? "Log in as an operator first." : told.no === "none" ? "That is not a receipt." : "The gate does not answer.";
}

async function logOut() {
  await send("/act/logout", {});
  location.replace("/login");
}

function here() {
  if (!me || !me.name || Date.now() - wasHere < HERE_MS) return;
  wasHere = Date.now();
  leaving();
  send("/act/here", {}).then(({ good, told }) => {
    if (!good && told.no === "over") location.replace("/login");
  });
}

// Who reads with a screen reader may be here for long and press no key that a page hears of.
function leaving() {
  const soon = me !== null && me.name !== "" && Date.now() - wasHere > LEAVING_MS;
  if (soon !== by("leaving").hidden) return;
  if (!soon && by("leaving").contains(document.activeElement)) by("visits").focus();
  by("leaving").hidden = !soon;
}

by("log-out").addEventListener("click", logOut);
by("lock-down").addEventListener("click", () => order("lock-down", -1, "Nobody will be let in until the gate is opened again. The way out stays free."));
by("lift").addEventListener("click", () => order("lift", -1, "Cards will be accepted again."));
by("export").addEventListener("click", () => order("export", -1, "A file with all entries and signatures; it holds no names and no pictures."));
by("order-form").addEventListener("submit", ordered);
by("order").addEventListener("close", closing);
by("order-not").addEventListener("click", () => by("order").close());
by("receipt").addEventListener("submit", lookUp);
by("stay").addEventListener("click", here);
for (const happening of ["pointerdown", "keydown", "focusin"]) addEventListener(happening, here, { passive: true });
setInterval(offer, 5000);
setInterval(leaving, 5000);
know().then(here);
