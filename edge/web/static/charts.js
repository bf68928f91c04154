// Drawings of what the gate told: people per five minutes, and how long they waited. Each has a table beside it.
"use strict";

const SPACE = "http://www.w3.org/2000/svg";
const SLOT_S = 300;
const SLOTS = 48;

function shape(name, attributes, content) {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (content !== undefined) element.append(content);
  return element;
}

function picture(width, height, label, ...shapes) {
  const element = shape("svg", { viewBox: "0 0 " + width + " " + height, role: "img", "aria-label": label });
  element.append(...shapes);
  return element;
}

// Two bars upon each other per slot; denied is hatched as well as coloured.
function throughput({ now: present, rows }) {
  const now = present !== null ? present : rows.length ? rows[rows.length - 1][0] : 0;
  const first = now - (SLOTS - 1) * SLOT_S;
  const most = Math.max(1, ...rows.map(([, granted, denied]) => granted + denied));
  const shapes = [shape("line", { x1: 0, y1: 100.5, x2: 480, y2: 100.5, class: "axis" })];
  for (const [at, granted, denied] of rows) {
    const left = ((at - first) / SLOT_S) * 10;
    const high = (100 * granted) / most;
    const rest = (100 * denied) / most;
    shapes.push(shape("rect", { x: left + 1, y: 100 - high, width: 8, height: high, class: "granted-bar" }));
    shapes.push(shape("rect", { x: left + 1, y: 100 - high - rest, width: 8, height: rest, class: "denied-bar" }));
  }
  for (const back of [0, 12, 24, 36]) {
    const label = now ? hour(now - back * SLOT_S) : "";
    shapes.push(shape("text", { x: 476 - back * 10, y: 116, class: "tick", "text-anchor": "end" }, label));
  }
  shapes.push(shape("text", { x: 0, y: 14, class: "tick" }, String(most)));
  const all = rows.reduce((sum, [, granted, denied]) => [sum[0] + granted, sum[1] + denied], [0, 0]);
  const when = present !== null ? "In the last four hours " : "In the four hours before the last visit ";
  const label = when + (rows.length ? all[0] + " granted and " + all[1] + " denied, at most " + most + " people in five minutes." : "nobody came.");
  return { told: JSON.stringify([now, rows]), drawn: () => picture(480, 118, label, ...shapes) };
}

const hour = (at) => new Date(at * 1000).toTimeString().slice(0, 5);

function slot([at, granted, denied]) {
  const line = document.createElement("tr");
  line.append(...[hour(at), granted, denied].map(cell));
  return line;
}

// The first names the row.
function cell(words, place) {
  const element = document.createElement(place ? "td" : "th");
  if (!place) element.scope = "row";
  else element.className = "number";
  element.textContent = words;
  return element;
}

// The upper edge of a bucket, in words; null is above the last.
function edge(upper) {
  return upper === null ? "over 10 s" : upper < 1 ? Math.round(upper * 1000) + " ms" : upper + " s";
}

// Half of them, and 95 of 100, were done within: the upper edge of the bucket that reaches it.
function within(row, part) {
  let sum = 0;
  for (const [upper, count] of row.buckets) {
    sum += count;
    if (sum >= part * row.count) return edge(upper);
  }
  return "–";
}

function latency(row) {
  const line = document.createElement("tr");
  const most = Math.max(1, ...row.buckets.map(([, count]) => count));
  const bars = row.buckets.map(([, count], place) => shape("rect", { x: place * 7, y: 20 - (20 * count) / most, width: 5, height: (20 * count) / most, class: "plain-bar" }));
  const spread = row.buckets.filter(([, count]) => count).map(([upper, count]) => count + " × " + edge(upper)).join(", ");
  const cells = [row.name === "whole" ? "code to open gate" : row.name, row.mean_ms.toLocaleString() + " ms", within(row, 0.5), within(row, 0.95)].map(cell);
  const drawing = document.createElement("td");
  drawing.className = "spread";
  drawing.append(picture(row.buckets.length * 7, 20, spread, ...bars));
  line.append(...cells, drawing);
  return line;
}
