// Shows what the gate shows. It decides nothing: screen and words come from the gate, and when they stop coming it says so.
"use strict";

const SILENT_MS = 12000; // the gate speaks every 5 s
const PATIENCE_MS = 3000; // a restart of the pages takes less
const TURN_MS = 3500; // how long another language stays
const QUIET = ["idle", "connecting"]; // nobody is there

const by = (id) => document.getElementById(id);
const connecting = { screen: "connecting", hint: "", sound: false, speech: false, notice: "", receipt: null, words: [{ lang: document.documentElement.lang, dir: by("first").dir, say: by("say").textContent, step: by("step").textContent }] };
let shown = "";
let others = [];
let turn = 0;
let lost = null;
let silent = null;
let audio = null;
let sounded = "";
let spoken = "";

function say(state) {
  const told = JSON.stringify(state);
  if (told === shown) return;
  shown = told;
  const [first, ...rest] = state.words;
  document.body.dataset.screen = state.screen;
  document.body.dataset.hint = state.hint;
  document.documentElement.lang = first.lang;
  document.documentElement.dir = first.dir;
  put("first", "say", "step", first);
  others = rest;
  turn = 0;
  receipt(state.receipt);
  by("notice").hidden = !state.notice;
  by("notice").textContent = state.notice;
  other();
  fit();
  if (state.sound && state.screen !== sounded) sound(state.screen);
  sounded = state.screen;
  if (state.speech) speak(first);
}

// Said once, in the first language, by a voice of this machine; without one, not at all.
function speak(words) {
  const text = words.say + " " + words.step;
  if (text === spoken || !window.speechSynthesis) return;
  spoken = text;
  const voice = speechSynthesis.getVoices().find((one) => one.lang.toLowerCase().split(/[-_]/)[0] === words.lang && one.localService);
  speechSynthesis.cancel();
  if (!voice || QUIET.includes(document.body.dataset.screen)) return;
  const said = new SpeechSynthesisUtterance(text);
  said.voice = voice;
  said.lang = voice.lang;
  speechSynthesis.speak(said);
}

function receipt(told) {
  by("receipt").hidden = !told;
  document.body.toggleAttribute("data-receipt", Boolean(told));
  by("receipt-code").replaceChildren(...(told ? [drawn(told)] : []));
  by("receipt-number").textContent = told ? told.number : "";
  if (told) put("receipt", "receipt-say", "receipt-step", told.words[0]);
}

function drawn(told) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", [-4, -4, told.modules + 8, told.modules + 8].join(" "));
  picture.setAttribute("shape-rendering", "crispEdges");
  picture.setAttribute("aria-hidden", "true");
  const dark = document.createElementNS(space, "path");
  dark.setAttribute("d", told.path);
  picture.append(dark);
  return picture;
}

// Long sentences get smaller letters rather than a cut.
function fit() {
  const main = document.querySelector("main");
  let scale = 1;
  do main.style.setProperty("--fit", scale.toFixed(2));
  while ((main.scrollHeight > main.clientHeight + 1 || main.scrollWidth > main.clientWidth + 1) && (scale -= 0.05) > 0.45);
}

function put(place, sayId, stepId, words) {
  by(place).lang = words.lang;
  by(place).dir = words.dir;
  by(sayId).textContent = words.say;
  by(stepId).textContent = words.step;
}

function other() {
  by("other").hidden = others.length === 0;
  if (others.length) put("other", "other-say", "other-step", others[turn++ % others.length]);
  if (others.length) fit();
}

const TONES = { welcome: [660, 880], refused: [330, 247], assisted: [440, 440], look: [550], alarm: [300, 300, 300], fire: [800, 600, 800, 600] };

function sound(screen) {
  const tones = TONES[screen] || [];
  audio = audio || new AudioContext();
  tones.forEach((pitch, place) => {
    const at = audio.currentTime + place * 0.18;
    const tone = audio.createOscillator();
    const level = audio.createGain();
    tone.frequency.value = pitch;
    level.gain.setValueAtTime(0.0001, at);
    level.gain.exponentialRampToValueAtTime(0.3, at + 0.02);
    level.gain.exponentialRampToValueAtTime(0.0001, at + 0.16);
    tone.connect(level).connect(audio.destination);
    tone.start(at);
    tone.stop(at + 0.17);
  });
}

function follow() {
  const gate = new EventSource("/kiosk/events" + location.search);
  const again = () => {
    gate.close();
    clearTimeout(silent);
    lost = lost || setTimeout(() => say(connecting), PATIENCE_MS);
    setTimeout(follow, 500);
  };
  const wait = () => {
    clearTimeout(silent);
    silent = setTimeout(again, SILENT_MS);
  };
  gate.addEventListener("kiosk", (event) => {
    clearTimeout(lost);
    lost = null;
    wait();
    say(JSON.parse(event.data));
  });
  gate.onerror = again;
  wait();
}

addEventListener("resize", fit);
setInterval(other, TURN_MS);
follow();
