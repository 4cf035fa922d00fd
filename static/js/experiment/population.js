// The population at a glance: a row per generation, a mark per variant, and how healthy the search is.

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

/** What is watched, each with its numbers in the title; an alarm also says what is done about it. */
export function drawHealth({ health }) {
  const items = health.map(({ name, word, alarm, numbers }) =>
    make("li", { class: alarm ? "status tone-turn" : null, title: numbers },
      alarm ? mark("stillborn") : null, `${name} `, make("strong", {}, word)));
  const done = health.filter(({ alarm }) => alarm).map(({ name, does }) =>
    make("p", { class: "muted small" }, make("span", { class: "health-name" }, `${name}: `), `${does}.`));
  settle(document.getElementById("health"),
    make("div", { class: "health-line" }, make("span", { class: "population-name" }, "health"), make("ul", {}, ...items)), ...done);
}
