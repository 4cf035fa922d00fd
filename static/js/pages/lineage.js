// The tree of every variant. Only what is in view exists as elements, so that ten thousand stay smooth.

import { between, palette } from "../lib/charts.js";
import { make, marks } from "../lib/dom.js";
import { fixed } from "../lib/format.js";
import { arrange, firstAt, prune, roadTo } from "../lib/lineage.js";
import { calmly, getJson, listen } from "../lib/news.js";

const page = document.getElementById("lineage").dataset;
const view = document.getElementById("lineage-view");
const svg = document.getElementById("lineage-tree");
const control = (name) => document.getElementById(`lineage-${name}`);
const urlOf = (number) => page.variantUrl.replace("NUMBER", number);

const TOP = 32;
const LEFT = 20;
const MARGIN = 12; // rows drawn beyond what is seen
const ENDED_BADLY = new Set(["vetoed", "failed", "stillborn", "duplicate", "rejected", "cancelled", "superseded"]);

let rows = []; // all
let shown = []; // laid out, by row
let byNumber = new Map();
let champion = null;
let road = new Set();
let focused = null; // the number that the keyboard is at
let first = null; // shift-clicked: the next one is compared with it
let column = 240;
let height = 28;

const x = (row) => LEFT + row.generation * column + (row.kind === "edit" ? column * 0.12 : 0);
const y = (row) => TOP + (row.row + 0.5) * height;

const read = calmly(1_000, async () => {
  const answer = await getJson(page.dataUrl);
  rows = answer.rows.map((values) => Object.fromEntries(values.map((value, at) => [answer.fields[at], value])));
  champion = answer.champion;
  layout();
});

function layout() {
  const compact = control("compact").checked;
  height = compact ? 12 : 28;
  const hide = control("hide").checked;
  const generations = Math.max(0, ...rows.map((row) => row.generation)) + 1;
  column = compact ? 96 : Math.max(190, Math.min(300, (view.clientWidth - LEFT - 24) / generations));
  shown = arrange(prune(rows, (row) => hide && ENDED_BADLY.has(row.status)));
  byNumber = new Map(shown.map((row) => [row.n, row]));
  road = roadTo(rows, champion);
  focused = byNumber.has(focused) ? focused : champion ?? shown[0]?.n ?? null;
  svg.setAttribute("width", LEFT + generations * column + 24);
  svg.setAttribute("height", TOP + (Math.max(0, ...shown.map((row) => row.row)) + 1) * height + 16);
  control("count").textContent = shown.length === rows.length ? `${rows.length}` : `${shown.length} of ${rows.length}`;
  draw();
}

function draw() {
  const focus = document.activeElement?.closest?.(".node") != null;
  const [from, to] = [view.scrollTop - TOP, view.scrollTop + view.clientHeight - TOP].map((at) => at / height);
  const visible = shown.slice(firstAt(shown, from - MARGIN), firstAt(shown, to + MARGIN));
  const colour = colours();
  const words = control("search").value.trim().toLowerCase();
  svg.replaceChildren(
    ...trunks(from - MARGIN, to + MARGIN),
    ...visible.filter((row) => byNumber.has(row.parent)).map(branch),
    ...visible.filter((row) => byNumber.has(row.other)).map(crossing),
    ...visible.map((row) => node(row, colour(row), words)),
    ...heads(),
  );
  if (focus) svg.querySelector('.node[tabindex="0"]')?.focus({ preventScroll: true });
}

function heads() {
  const generations = [...new Set(shown.map((row) => row.generation))];
  return [
    make("rect", { class: "head-back", y: view.scrollTop, width: "100%", height: 26 }),
    ...generations.map((number) => make("text", { class: "head", x: LEFT + number * column - 6, y: 18 + view.scrollTop }, number ? `generation ${number}` : "baseline")),
  ];
}

/** One line down per parent, however many children: their lines would lie on each other. */
function trunks(from, to) {
  const lines = [];
  for (const row of shown) {
    if (row.children.length === 0) continue;
    const ends = row.children.map((child) => child.row);
    const [low, high] = [Math.min(row.row, ...ends), Math.max(row.row, ...ends)];
    if (high < from || low > to) continue;
    const at = x(row) + 12;
    const [start, end] = [Math.max(low, from), Math.min(high, to)].map((value) => TOP + (value + 0.5) * height);
    lines.push(make("path", { class: "edge", d: `M${x(row)} ${y(row)}H${at}M${at} ${start}V${end}` }));
    const heir = row.children.find((child) => road.has(child.n));
    if (road.has(row.n) && heir) lines.push(make("path", { class: "edge edge-road", d: `M${x(row)} ${y(row)}H${at}V${y(heir)}` }));
  }
  return lines;
}

function branch(row) {
  const parent = byNumber.get(row.parent);
  const onRoad = road.has(row.n) && road.has(parent.n);
  return make("path", { class: `edge${onRoad ? " edge-road" : ""}`, d: `M${x(parent) + 12} ${y(row)}H${x(row) - 8}` });
}

function crossing(row) {
  const other = byNumber.get(row.other);
  const [x0, y0, x1, y1] = [x(other), y(other), x(row) - 8, y(row)];
  const bend = Math.max(40, (x1 - x0) / 2);
  return make("path", { class: "edge edge-crossing", d: `M${x0} ${y0}C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}` });
}

/** The colour of a row, as chosen: by what became of it, or from pale (worst) to the accent (best perplexity). */
function colours() {
  if (control("colour").value === "status") return (row) => `var(--status-${marks[row.status].tone})`;
  const found = palette();
  const values = shown.map((row) => row.perplexity).filter((value) => value != null).sort((a, b) => a - b);
  const [low, high] = [values[0], values[Math.floor(values.length * 0.9)]];
  const share = (value) => (high > low ? Math.max(0, Math.min(1, (high - value) / (high - low))) : 1);
  return (row) => (row.perplexity == null ? found["line-strong"] : between(found.faint, found.accent, share(row.perplexity)));
}

function node(row, colour, words) {
  const number = row.perplexity == null ? "" : fixed(row.perplexity);
  const found = words && `v${row.n} ${row.title} ${row.author} ${row.status}`.toLowerCase().includes(words);
  const classes = ["node", `status-${row.status}`, road.has(row.n) && "node-road", found && "node-found", words && !found && "node-dim", row.n === first && "node-first"];
  const crossed = byNumber.has(row.other) ? `, crossed with v${row.other}` : "";
  const parent = row.parent == null ? "" : `, child of v${row.parent}${crossed}`;
  const label = `v${row.n}, ${marks[row.status].word}${number && `, perplexity ${number}`}${parent}: ${row.title}`;
  const room = Math.max(4, Math.floor((column - 40) / 6.4) - number.length - `${row.n}`.length - 4);
  return make("a:svg", { href: urlOf(row.n), class: classes.filter(Boolean).join(" "), "data-n": row.n, "aria-label": label, tabindex: row.n === focused ? 0 : -1, transform: `translate(${x(row)} ${y(row)})` },
    make("rect", { class: "halo", x: -9, y: -9, width: 18, height: 18, rx: 4 }),
    make("g", { transform: height > 20 ? "translate(-6 -6)" : "translate(-4.5 -4.5) scale(.75)" }, make("path", { class: "shape", fill: colour, d: marks[row.status].path })),
    height > 20 ? caption(row, number, room) : null,
    titleOf(label));
}

const caption = (row, number, room) => {
  const text = make("text", { x: 17, y: -3 });
  for (const [name, value] of [["label-number", `v${row.n} `], ["label-value", number && `${number} `], ["label-title", row.title.length > room ? `${row.title.slice(0, room - 1)}…` : row.title]]) {
    const piece = document.createElementNS("http://www.w3.org/2000/svg", "tspan");
    piece.setAttribute("class", name);
    piece.textContent = value;
    text.append(piece);
  }
  return text;
};

function titleOf(label) {
  const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
  title.textContent = label;
  return title;
}

function goTo(row, { focus = true } = {}) {
  if (!row) return;
  focused = row.n;
  const [top, left] = [y(row), x(row)];
  if (top < view.scrollTop + 48 || top > view.scrollTop + view.clientHeight - 32) view.scrollTop = top - view.clientHeight / 2;
  if (left < view.scrollLeft + 16 || left > view.scrollLeft + view.clientWidth - 160) view.scrollLeft = left - 80;
  draw();
  if (focus) svg.querySelector('.node[tabindex="0"]')?.focus({ preventScroll: true });
}

const STEPS = {
  ArrowDown: (row) => shown[shown.indexOf(row) + 1],
  ArrowUp: (row) => shown[shown.indexOf(row) - 1],
  ArrowLeft: (row) => byNumber.get(row.parent),
  ArrowRight: (row) => row.children[0],
  Home: () => shown[0],
  End: () => shown.at(-1),
};

svg.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !STEPS[event.key]) return;
  event.preventDefault();
  goTo(STEPS[event.key](byNumber.get(focused)));
});

svg.addEventListener("click", (event) => {
  const number = Number(event.target.closest(".node")?.dataset.n ?? NaN);
  if (!event.shiftKey || Number.isNaN(number)) return;
  event.preventDefault();
  if (first === null || first === number) {
    first = first === number ? null : number;
    draw();
  } else location.assign(`${urlOf(number)}?against=${first}`);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), select, textarea")) return;
  if (event.key === "/") {
    event.preventDefault();
    control("search").focus();
  }
  if (event.key === "h") control("hide").click();
});

control("search").addEventListener("input", () => {
  const words = control("search").value.trim().toLowerCase();
  const row = words && shown.find((one) => `v${one.n} ${one.title} ${one.author} ${one.status}`.toLowerCase().includes(words));
  if (row) goTo(row, { focus: false });
  else draw();
});
control("champion").addEventListener("click", () => goTo(byNumber.get(champion)));
for (const name of ["hide", "compact", "colour"]) control(name).addEventListener("change", layout);

let waiting = false;
view.addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
});
new ResizeObserver(() => rows.length && layout()).observe(view);
document.addEventListener("darwin:theme", draw);
listen(page.newsPath, (frame) => {
  if (frame === null || frame.kinds.some((kind) => kind.startsWith("variant") || kind === "champion.changed")) read();
});
read();
