// Logging in and enrolling. Passwords and codes go to the gate in the body of one request and are kept nowhere.
"use strict";

const at = (id) => document.getElementById(id);
const REFUSED = {
  wrong: "Name, password or code is wrong. Each code is taken once: wait for the next one.",
  code: "That code is wrong, or was used already. Wait for the next one.",
  over: "This set-up code is wrong, was used, or is too old. Print a new one at the device.",
  unfit: "This password is too easy to guess: ten characters at least, five of them different, and not your name.",
  "not-here": "Passwords are taken at the gate itself or over https only.",
  failed: "The gate does not answer. Look at the device.",
};

async function send(address, body) {
  try {
    const answer = await fetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const told = answer.headers.get("Content-Type").startsWith("application/json") ? await answer.json() : { no: "failed" };
    return { good: answer.ok, told };
  } catch {
    return { good: false, told: { no: "failed" } };
  }
}

function why(told) {
  if (told.no === "wait") return "Too many tries. Try again in " + told.wait_s + " s.";
  return REFUSED[told.no] || "That did not work.";
}

function codes() {
  const [first, second] = ["code", "code-2"].map((place) => at(place).value.replace(/[\s-]/g, ""));
  return at("second-code").hidden ? [first] : [first, second];
}

// The sentence is read out, and the field that comes next has the cursor.
function say(place, words, field) {
  at(place).textContent = words;
  if (field) at(field).focus();
}

function refused(place, told) {
  if (told.no === "two-codes") {
    at("second-code").hidden = false;
    at("code").value = "";
    say(place, "Please give two codes in a row.", "code");
    return;
  }
  at("code").value = at("code-2").value = "";
  say(place, why(told), "code");
}

async function busy(form, work) {
  const button = form.querySelector("button");
  if (button.disabled) return;
  button.disabled = true;
  await work();
  button.disabled = false;
}

function logIn(event) {
  event.preventDefault();
  busy(event.target, async () => {
    const { good, told } = await send("/act/login", { name: at("name").value.trim().toLowerCase(), password: at("password").value, codes: codes() });
    if (good) location.replace("/");
    else refused("said", told);
  });
}

function enrol(event) {
  event.preventDefault();
  if (at("password").value !== at("password-2").value) return say("said", "The two passwords differ.", "password-2");
  busy(event.target, async () => {
    const { good, told } = await send("/act/enrol", { setup: at("setup").value, password: at("password").value });
    if (!good) return say("said", why(told), told.no === "unfit" ? "password" : "setup");
    at("enrol").hidden = true;
    at("confirm").hidden = false;
    at("hello").textContent = "Hello " + told.name + ". You will be enrolled as " + told.role + ".";
    at("key").textContent = new URL(told.address).searchParams.get("secret").replace(/(.{4})/g, "$1 ").trim();
    at("code-picture").replaceChildren(drawn(told));
    at("app").href = told.address;
    at("code").focus();
  });
}

function confirm(event) {
  event.preventDefault();
  busy(event.target, async () => {
    const { good, told } = await send("/act/confirm", { setup: at("setup").value, codes: codes() });
    if (!good) return refused("said-2", told);
    at("confirm").hidden = true;
    at("code-picture").replaceChildren();
    at("app").removeAttribute("href");
    at("key").textContent = at("password").value = at("password-2").value = "";
    at("done").hidden = false;
    document.querySelector("#done a").focus();
  });
}

function drawn(told) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", "-4 -4 " + (told.modules + 8) + " " + (told.modules + 8));
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", "QR code with the key for the app");
  const dark = document.createElementNS(space, "path");
  dark.setAttribute("d", told.path);
  picture.append(dark);
  return picture;
}

if (at("login")) at("login").addEventListener("submit", logIn);
if (at("enrol")) at("enrol").addEventListener("submit", enrol);
if (at("confirm")) at("confirm").addEventListener("submit", confirm);
(at("name") || at("setup")).focus();
