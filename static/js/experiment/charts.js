// Perplexity or loss over tokens, MFU by variant, and the Pareto front of both.

import { between, draw, palette } from "../lib/charts.js";
import { fixed, percent } from "../lib/format.js";

const X = { tokens: [1, "training tokens"], step: [0, "step"], seconds: [2, "seconds of training"] };
const SYMBOL = {
  survived: "circle", culled: "circle-open", measured: "circle-dot", rejected: "octagon", training: "triangle-right-open",
};

const option = (name) => document.getElementById(name).value;
const label = (row) => `<b>v${row.n}</b> ${escaped(row.title)}`;
// Plotly reads a small HTML of its own in hover texts.
const escaped = (text) => text.slice(0, 70).replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

export async function drawCharts(state, curves, open) {
  const rows = new Map(state.variants.map((row) => [row.n, row]));
  const look = looks(state);
  await Promise.all([
    drawCurves(state, curves, rows, look, open),
    drawMfu(state, look, open),
    drawPareto(state, look, open),
  ]);
}

/** Generations go from pale to the accent; what trains now and the champion stand out. */
function looks(state) {
  const colours = palette();
  const share = (generation) => (state.generations ? generation / state.generations : 0);
  return {
    colours,
    generation: (row) => between(colours.faint, colours.accent, share(row.generation)),
    live: colours["status-active"],
    good: colours["status-good"],
    of(row) {
      if (row.status === "training") return this.live;
      return row.n === state.champion ? this.good : this.generation(row);
    },
  };
}

function drawCurves(state, curves, rows, look, open) {
  const [column, xTitle] = X[option("chart-x")];
  const asLoss = option("chart-y") === "loss";
  const y = (loss) => (loss == null ? null : asLoss ? loss : Math.exp(Math.min(loss, 50)));
  const traces = [];
  const byGeneration = new Map();
  const ends = [];
  for (const { variant, points } of curves.trials.values()) {
    const row = rows.get(variant);
    if (!row || points.length === 0) continue;
    ends.push([row, points.at(-1)[column]]);
    if (row.status === "training" || row.n === state.champion) {
      traces.push(line(row, points, column, y, look.of(row), row.status === "training" ? 2.25 : 2));
    } else {
      gather(byGeneration, row, points, column, y);
    }
  }
  const pale = [...byGeneration.values()].map(({ row, ...data }) => dashed(data, look.generation(row), 1.25));
  const measured = ends.filter(([row]) => row.perplexity != null);
  const scale = document.getElementById("chart-log").checked ? "log" : "linear";
  const range = scale === "log" ? null : interesting([...curves.trials.values()], column, y);
  return draw(document.getElementById("chart-curves"), [...pale, ...traces, points(measured, asLoss, look)], {
    xaxis: { title: xTitle, rangemode: "tozero" },
    yaxis: { title: asLoss ? "loss, nats per token" : "perplexity", type: scale, ...(range && { range }) },
    uirevision: `${column} ${asLoss} ${scale}`, // another axis is another view
    ...(ends.length === 0 && nothing("The first curve appears as soon as a variant trains.", look)),
  }, open);
}

const STEEP = 0.2; // of the way: where every curve still falls

/** The values after the steep beginning, so that differences can be seen; nothing while there is little to see. */
function interesting(trials, column, y) {
  const end = Math.max(0, ...trials.map(({ points }) => points.at(-1)?.[column] ?? 0));
  let [low, high] = [Infinity, -Infinity];
  for (const { points } of trials) {
    for (const point of points) {
      if (point[column] < STEEP * end || point[3] == null) continue;
      const value = y(point[3]);
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  const room = (high - low) * 0.04;
  return high > low ? [low - room, high + room] : null;
}

function gather(groups, row, points, column, y) {
  const group = groups.get(row.generation) ?? { row, x: [], y: [], text: [], customdata: [] };
  groups.set(row.generation, group);
  for (const point of [...points, null]) {
    group.x.push(point && point[column]); // null ends the line: many curves in one trace are quick to draw
    group.y.push(point && y(point[3]));
    group.text.push(point && label(row));
    group.customdata.push(row.n);
  }
}

function line(row, points, column, y, colour, width) {
  return dashed({
    x: points.map((point) => point[column]), y: points.map((point) => y(point[3])),
    text: points.map(() => label(row)), customdata: points.map(() => row.n),
  }, colour, width);
}

const dashed = (data, colour, width) => ({
  ...data, mode: "lines", line: { color: colour, width, dash: "3px,2px" }, connectgaps: false,
  hovertemplate: "%{text}<br>%{y:.4~g} claimed at %{x:.3~s}<extra></extra>",
});

function points(measured, asLoss, look) {
  const value = (row) => (asLoss ? Math.log(row.perplexity) : row.perplexity);
  const error = (row) => (row.error == null ? 0 : asLoss ? row.error / row.perplexity : row.error);
  return {
    x: measured.map(([, x]) => x), y: measured.map(([row]) => value(row)),
    error_y: { type: "data", array: measured.map(([row]) => error(row)), thickness: 1, width: 3, color: look.colours.muted },
    text: measured.map(([row]) => label(row)), customdata: measured.map(([row]) => row.n), mode: "markers",
    marker: marker(measured.map(([row]) => row), look),
    hovertemplate: "%{text}<br>%{y:.4~g} measured<extra></extra>",
  };
}

const marker = (rows, look) => ({
  size: rows.map((row) => (row.status === "survived" ? 9 : 8)),
  symbol: rows.map((row) => SYMBOL[row.status] ?? "circle-open"),
  color: rows.map((row) => look.of(row)),
  line: { width: 1.5, color: rows.map((row) => look.of(row)) },
});

function drawMfu(state, look, open) {
  const done = state.variants.filter((row) => row.mfu != null);
  const running = state.variants.filter((row) => row.mfu == null && row.mfu_so_far != null);
  const baseline = done.find((row) => row.n === state.baseline);
  const trace = (rows, value, word) => ({
    x: rows.map((row) => row.n), y: rows.map((row) => 100 * value(row)), text: rows.map(label), customdata: rows.map((row) => row.n),
    mode: "markers", marker: marker(rows, look), hovertemplate: `%{text}<br>%{y:.3~g} % ${word}<extra></extra>`,
  });
  return draw(document.getElementById("chart-mfu"), [
    trace(done, (row) => row.mfu, "measured"), trace(running, (row) => row.mfu_so_far, "so far, estimated"),
  ], {
    xaxis: {
      title: "variant", tickformat: "d", tickprefix: "v", dtick: state.variants.length < 9 ? 1 : undefined,
      range: [-0.04, 1.04].map((share) => share * Math.max(4, state.variants.length - 1)),
    },
    yaxis: { title: "MFU", ticksuffix: " %" },
    shapes: baseline ? [level(100 * baseline.mfu, look)] : [],
    ...(done.length + running.length === 0 && nothing("The judge measures MFU<br>after each training.", look)),
  }, open);
}

function drawPareto(state, look, open) {
  const rows = state.variants.filter((row) => row.mfu != null && row.perplexity != null && row.status !== "rejected");
  const front = paretoFront(rows);
  return draw(document.getElementById("chart-pareto"), [
    {
      x: front.map((row) => 100 * row.mfu), y: front.map((row) => row.perplexity), mode: "lines", hoverinfo: "skip",
      line: { shape: "vh", color: look.colours["line-strong"], width: 1.5 },
    },
    {
      x: rows.map((row) => 100 * row.mfu), y: rows.map((row) => row.perplexity), mode: "markers", marker: marker(rows, look),
      text: rows.map((row) => `${label(row)}<br>perplexity ${fixed(row.perplexity)}, MFU ${percent(row.mfu)}`),
      customdata: rows.map((row) => row.n), hovertemplate: "%{text}<extra></extra>",
    },
  ], {
    xaxis: { title: "MFU, more is better", ticksuffix: " %" },
    yaxis: { title: "perplexity, less is better" },
    ...(rows.length === 0 && nothing("Measured variants<br>appear here.", look)),
  }, open);
}

/** Nobody else is both more exact and faster; from slow to fast. */
export function paretoFront(rows) {
  const front = [];
  for (const row of [...rows].sort((a, b) => b.mfu - a.mfu || a.perplexity - b.perplexity)) {
    if (front.length === 0 || row.perplexity < front.at(-1).perplexity) front.push(row);
  }
  return front.reverse();
}

const level = (y, look) => ({
  type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: look.colours["line-strong"], width: 1, dash: "dot" },
});

/** Instead of axes without data: what will be here. */
const nothing = (text, look) => ({
  xaxis: { visible: false },
  yaxis: { visible: false },
  annotations: [{
    text, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5, font: { color: look.colours.muted, size: 12 },
  }],
});
