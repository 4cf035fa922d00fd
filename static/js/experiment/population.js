// The population at a glance: a row per generation, a mark per variant.

import { make, mark, marks, settle } from "../lib/dom.js";
import { fixed } from "../lib/format.js";

export function drawPopulation(state, urlOf) {
  const generations = new Map();
  for (const row of state.variants) {
    if (!generations.has(row.generation)) generations.set(row.generation, []);
    generations.get(row.generation).push(row);
  }
  const lines = [...generations].sort(([a], [b]) => a - b).map(([number, rows]) =>
    make("li", {},
      make("span", { class: "population-name" }, number ? `gen ${number}` : "baseline"),
      make("span", { class: "population-marks" }, ...rows.map((row) => dot(row, state, urlOf)))));
  settle(document.getElementById("population"), ...lines);
  const present = Object.keys(marks).filter((name) => state.counts[name]);
  settle(document.getElementById("population-legend"), ...present.map((name) =>
    make("li", { class: `status tone-${marks[name].tone}` }, mark(name), `${state.counts[name]} ${marks[name].word}`)));
}

function dot(row, state, urlOf) {
  const number = row.perplexity == null ? "" : `, perplexity ${fixed(row.perplexity)}`;
  const label = `v${row.n}, ${marks[row.status].word}${number}: ${row.title}`;
  return make("a", {
    href: urlOf(row.n), title: label, "aria-label": label,
    class: `dot status-${row.status} tone-${marks[row.status].tone}${row.n === state.champion ? " dot-champion" : ""}`,
  }, mark(row.status));
}
