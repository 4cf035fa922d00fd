// Where the experiment is, what it found so far, and which buttons make sense now.

import { make, settle } from "../lib/dom.js";
import { count, duration, fixed, percent, signed } from "../lib/format.js";

const BAD = ["failed", "stillborn", "vetoed", "rejected", "duplicate"];
const WORDS = { running: "▶ running", paused: "⏸ paused", finished: "✓ finished", stopped: "■ stopped", failed: "✕ failed" };

export function drawHeader(state) {
  settle(document.getElementById("progress-words"), ...words(state));
  settle(document.getElementById("stepper"), ...steps(state));
  settle(document.getElementById("figures"), ...figures(state));
  const reason = document.getElementById("reason");
  reason.textContent = state.reason;
  reason.hidden = !state.reason;
  for (const control of document.querySelectorAll("[data-when]")) {
    control.hidden = !control.dataset.when.split(" ").includes(state.status);
  }
}

function words(state) {
  const now = state.generation === 0 ? "baseline" : `generation ${state.generation} of ${state.generations}`;
  const left = state.over ? null : state.seconds_left == null
    ? "no estimate before the first training has ended"
    : `about ${duration(state.seconds_left)} of computing left`;
  const waits = state.waiting && !state.over ? `${state.waiting} wait${state.waiting === 1 ? "s" : ""} for a person` : null;
  const spent = state.llm_tokens ? `${count(state.llm_tokens)} model tokens, $${fixed(state.cost_usd)}${state.budget_usd == null ? "" : ` of $${fixed(state.budget_usd)}`}` : null;
  return [
    make("strong", { class: `run-state run-${state.status}` }, WORDS[state.status]),
    ...[now, percent(state.progress, 0), left, waits, spent].filter(Boolean).map((text) => make("span", {}, text)),
  ];
}

/** One piece per generation, the baseline first; the current one fills up. Many generations become one bar. */
function steps(state) {
  const pieces = state.generations <= 24 ? state.generations + 1 : 1;
  const sizes = pieces === 1 ? [1] : [1, ...Array(state.generations).fill(state.population)];
  const total = sizes.reduce((sum, size) => sum + size, 0);
  let before = 0;
  return sizes.map((size, number) => {
    const share = Math.max(0, Math.min(1, (state.progress * total - before) / size));
    before += size;
    const fill = make("rect", { width: `${(100 * share).toFixed(1)}%`, height: "100%" });
    const current = !state.over && number === state.generation && pieces > 1;
    return make("li", { "aria-current": current ? "step" : null },
      make("span", { class: "bar" }, make("svg", { "aria-hidden": "true" }, fill)),
      make("span", { class: "step-name" }, number ? `gen ${number}` : pieces === 1 ? "" : "baseline"));
  });
}

function figures(state) {
  const { best, best_mfu: fastest, counts } = state;
  const all = state.variants.length;
  const bad = BAD.map((name) => [name, counts[name] ?? 0]).filter(([, number]) => number);
  const badTotal = bad.reduce((sum, [, number]) => sum + number, 0);
  return [
    figure("lowest perplexity", best && fixed(best.perplexity), best?.error && `± ${fixed(best.error)}`,
      best ? [...against(best, state), "one seed, unreplicated"] : ["not measured yet"],
      "Of the screening seed. The interval is of the sampled text, 95 %. One seed says nothing about luck: unreplicated."),
    figure("best MFU", fastest && percent(fastest.mfu), null,
      fastest ? [...against(fastest, state), state.mfu_is_informational ? "a CPU's: informational" : "unreplicated"] : ["not measured yet"],
      "Of the device's peak; a CPU's is a timed matrix product, so informational."),
    figure("variants", `${all}`, null, [`${(counts.survived ?? 0)} survived`, `${counts.culled ?? 0} culled`]),
    figure("came to nothing", all ? percent(badTotal / all, 0) : null, null,
      bad.length ? bad.map(([name, number]) => `${number} ${name}`) : ["none failed, none vetoed"]),
    ...repairs(state.repairs),
  ];
}

/** How many broken ideas train now, once one was tried to mend. */
function repairs({ failed, tried, repaired, share, share_interval: interval }) {
  if (!tried) return [];
  return [figure("repaired", percent(share, 0), null,
    [`${repaired} of ${tried} tried`, `${failed} failed`, `95 %: ${percent(interval[0], 0)} to ${percent(interval[1], 0)}`],
    "Broken ideas that train now, of those given back to an agent. The interval is Wilson's, 95 %.")];
}

function against({ number, change }, { baseline }) {
  if (number === baseline) return ["the baseline"];
  return [change == null ? null : `${signed(change)} to the baseline`, `v${number}`].filter(Boolean);
}

const figure = (name, value, error, notes, title) =>
  make("div", { class: "figure", title },
    make("span", { class: "figure-name" }, name),
    make("span", { class: "figure-value" }, value ?? "–", error ? make("small", {}, ` ${error}`) : null),
    make("span", { class: "figure-note" }, notes.join(" · ")));
