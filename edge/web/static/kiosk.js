// Shows what the gate shows. It decides nothing: screen and words come from the gate, and when they stop coming it says so.
"use strict";

const SILENT_MS = 12000; // the gate speaks every 5 s
const PATIENCE_MS = 3000; // a restart of the pages takes less
const TURN_MS = 3500; // how long another language stays
const QUIET = ["idle", "closed", "connecting"]; // nobody is there
const AT_ONCE = ["fire", "alarm"]; // these wait for no sentence
const LONGEST_MS = 30000; // no sentence takes longer; some voices do not say that they have ended

const by = (id) => document.getElementById(id);
const connecting = { screen: "connecting", hint: "", sound: false, speech: false, notice: "", receipt: null, words: [{ lang: document.documentElement.lang, dir: by("first").dir, say: by("say").textContent, step: by("step").textContent }] };
let shown = "";
let others = [];
let turn = 0;
let lost = null;
let silent = null;
let audio = null;
let sounded = "";
let sentence = ""; // spoken, or about to be
let number = ""; // of the receipt that is
let next = []; // what is still to be said
let saying = null;

function say(state) {
  const told = JSON.stringify(state);
  if (told === shown) return;
  shown = told;
  const [first, ...rest] = state.words;
  document.body.dataset.screen = state.screen;
  document.body.dataset.hint = state.hint;
  document.documentElement.lang = first.lang;
  document.documentElement.dir = first.dir;
  by("first").setAttribute("aria-live", state.screen === "look" ? "polite" : "assertive"); // a hint cuts nothing off
  put("first", "say", "step", first);
  others = rest;
  turn = 0;
  receipt(state.receipt);
  by("notice").hidden = !state.notice;
  by("notice").textContent = state.notice;
  fit();
  if (state.sound) audio = audio || new AudioContext();
  if (state.sound && state.screen !== sounded) sound(state.screen);
  sounded = state.screen;
  if (state.speech && window.speechSynthesis) speak(state);
}

// Said once, in the first language, by a voice of this machine; without one, not at all. A sentence is said to its end, and
// then only the newest: what came between the two helps nobody any more.
function speak(state) {
  const words = state.words[0];
  const text = aloud(words);
  if (text !== sentence) next = QUIET.includes(state.screen) ? [] : [text];
  const gone = number && !state.receipt; // the next person is there
  if (gone || (text !== sentence && AT_ONCE.includes(state.screen))) hush();
  sentence = text;
  if (state.receipt && state.receipt.number !== number) {
    next.push(aloud(state.receipt.words[0]) + " " + spelt(state.receipt.number));
  }
  number = state.receipt ? state.receipt.number : "";
  go(words.lang);
}

function go(lang) {
  if (saying || !next.length) return;
  const voice = speechSynthesis.getVoices().find((one) => one.lang.toLowerCase().split(/[-_]/)[0] === lang && one.localService);
  const text = next.shift();
  if (!voice) return;
  const said = new SpeechSynthesisUtterance(text);
  said.voice = voice;
  said.lang = voice.lang;
  const done = () => {
    clearTimeout(late);
    if (saying !== said) return;
    saying = null;
    go(lang);
  };
  const late = setTimeout(() => {
    if (saying === said) speechSynthesis.cancel();
    done();
  }, LONGEST_MS);
  said.onend = done;
  said.onerror = done;
  saying = said;
  speechSynthesis.speak(said);
}

function hush() {
  saying = null;
  speechSynthesis.cancel();
}

// With a pause between what is so and what to do.
function aloud(words) {
  return words.say + (/\p{P}$/u.test(words.say) ? " " : ". ") + words.step;
}

// Letter by letter: "1-20-AB" is "1, 2 0, A B".
function spelt(told) {
  return told.split("-").map((part) => [...part].join(" ")).join(", ");
}

function receipt(told) {
  by("receipt").hidden = !told;
  document.body.toggleAttribute("data-receipt", Boolean(told));
  by("receipt-code").replaceChildren(...(told ? [drawn(told)] : []));
  by("receipt-number").textContent = told ? told.number : "";
  by("receipt-letters").textContent = told ? spelt(told.number) : "";
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

// Long sentences get smaller letters rather than a cut: as the longest of the languages needs it, once for each screen, so
// that nothing changes its size while they take turns.
function fit() {
  const main = document.querySelector("main");
  let scale = 1;
  const tight = () => {
    main.style.setProperty("--fit", scale.toFixed(2));
    return main.scrollHeight > main.clientHeight + 1 || main.scrollWidth > main.clientWidth + 1;
  };
  by("other").hidden = others.length === 0;
  for (let place = 0; place === 0 || place < others.length; place += 1) {
    if (others.length) put("other", "other-say", "other-step", others[place]);
    while (tight() && scale > 0.5) scale -= 0.05;
  }
  other();
}

function put(place, sayId, stepId, words) {
  by(place).lang = words.lang;
  by(place).dir = words.dir;
  by(sayId).textContent = words.say;
  by(stepId).textContent = words.step;
}

function other() {
  if (others.length) put("other", "other-say", "other-step", others[turn++ % others.length]);
}

const TONES = { welcome: [660, 880], refused: [330, 247], "step-back": [330, 247], assisted: [440, 440], look: [550], alarm: [300, 300, 300], fire: [800, 600, 800, 600] };

function sound(screen) {
  if (audio.state !== "running") {
    audio.resume(); // once the browser lets it; what could not be heard then is not made up for
    return;
  }
  (TONES[screen] || []).forEach((pitch, place) => {
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
