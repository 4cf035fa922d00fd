// The table of variants: sorted, filtered, and its state kept in the page's address.

import { make, marks, settle, status } from "../lib/dom.js";
import { actor, count, duration, fixed, percent, signed } from "../lib/format.js";

const SHOWN = 200;
const ORDER = Object.keys(marks);
const KEYS = {
  n: (row) => row.n, status: (row) => ORDER.indexOf(row.status), title: (row) => row.title.toLowerCase(),
  generation: (row) => row.generation, perplexity: (row) => row.perplexity, change: (row) => row.change, mfu: (row) => row.mfu,
  speed: (row) => row.tokens_per_second, seconds: (row) => row.train_seconds,
};

/** Binds heads and filters; returns the function that draws. */
export function watchTable(urlOf, state) {
  const table = document.getElementById("variants");
  const body = table.tBodies[0];
  const search = document.getElementById("variants-search");
  const only = document.getElementById("variants-status");
  const more = document.getElementById("variants-more");
  let shown = SHOWN;

  const address = new URLSearchParams(location.search);
  search.value = address.get("q") ?? "";
  only.value = address.get("status") ?? "";
  let sort = KEYS[address.get("sort")] ? address.get("sort") : "n";
  let down = address.has("sort") ? address.get("down") === "1" : true;

  function draw() {
    for (const head of table.tHead.querySelectorAll("[data-sort]")) {
      const now = head.dataset.sort === sort ? (down ? "descending" : "ascending") : null;
      if (now) head.setAttribute("aria-sort", now);
      else head.removeAttribute("aria-sort");
    }
    const rows = chosen(state(), search.value, only.value).sort(by(KEYS[sort], down));
    settle(body, ...rows.slice(0, shown).map((row) => line(row, state(), urlOf)));
    document.getElementById("variants-count").textContent = said(rows.length, state().variants.length);
    document.getElementById("variants-empty").hidden = rows.length > 0;
    more.hidden = rows.length <= shown;
  }

  function changed() {
    const kept = { q: search.value, status: only.value, sort: sort === "n" && down ? "" : sort, down: sort !== "n" && down ? "1" : "" };
    const query = new URLSearchParams(Object.entries(kept).filter(([, value]) => value));
    history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
    draw();
  }

  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("[data-sort]");
    if (!head) return;
    down = head.dataset.sort === sort ? !down : head.dataset.sort === "n";
    sort = head.dataset.sort;
    changed();
  });
  search.addEventListener("input", changed);
  only.addEventListener("change", changed);
  more.addEventListener("click", () => {
    shown *= 5;
    draw();
  });
  return draw;
}

const said = (now, all) => (now === all ? `${all}` : `${now} of ${all}`);

function chosen(state, query, only) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const perplexity = new Map(state.variants.map((row) => [row.n, row.perplexity]));
  return state.variants
    .filter((row) => !only || row.status === only)
    .filter((row) => words.every((word) => `v${row.n} ${row.title} ${row.author} ${row.status} ${row.kind}`.toLowerCase().includes(word)))
    .map((row) => {
      const parent = perplexity.get(row.parent);
      return { ...row, change: row.perplexity != null && parent ? row.perplexity / parent - 1 : null };
    });
}

/** Missing numbers come last either way. */
const by = (key, down) => (a, b) => {
  const [x, y] = [key(a), key(b)];
  if (x == null || y == null) return (x == null) - (y == null) || b.n - a.n;
  return (x < y ? -1 : x > y ? 1 : a.n - b.n) * (down ? -1 : 1);
};

function line(row, state, urlOf) {
  const parents = [row.parent, row.other_parent].filter((number) => number != null).map((number) => `v${number}`).join(" × ");
  return make("tr", {},
    make("th", { scope: "row" }, make("a", { href: urlOf(row.n), class: "id" }, `v${row.n}`), row.n === state.champion ? make("span", { class: "crown", title: "champion" }, " ★") : null),
    make("td", {}, row.progress == null ? status(row.status) : make("span", { class: "number" }, status(row.status), make("span", { class: "faint" }, ` ${percent(row.progress, 0)}`))),
    make("td", { class: "wide cut", title: row.reason || row.title }, row.title, make("span", { class: "faint" }, ` ${row.reason && row.perplexity == null ? row.reason : actor(row.author)}`)),
    make("td", { class: "right" }, `${row.generation}`),
    make("td", { class: "number" }, parents || "–"),
    make("td", { class: "right number" }, fixed(row.perplexity), row.error ? make("span", { class: "faint" }, ` ± ${fixed(row.error)}`) : null),
    make("td", { class: "right number" }, signed(row.change) || "–"),
    make("td", { class: "right number" }, percent(row.mfu)),
    make("td", { class: "right number" }, count(row.tokens_per_second)),
    make("td", { class: "right number" }, duration(row.train_seconds)));
}
