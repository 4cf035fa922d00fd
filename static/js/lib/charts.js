// Plotly under our Content-Security-Policy and in our colours. It is loaded when the first chart is drawn.

import { nonce } from "./nonce.js";

let loading = null;

export function plotly() {
  loading ??= load();
  return loading;
}

async function load() {
  // Plotly adds style elements without a nonce; the policy wants ours on each of them.
  const make = document.createElement;
  document.createElement = function (tag, ...rest) {
    const element = make.call(this, tag, ...rest);
    if (String(tag).toLowerCase() === "style") element.nonce = nonce;
    return element;
  };
  return (await import("plotly.js-cartesian-dist-min")).default;
}

const CONFIG = {
  displaylogo: false,
  showSendToCloud: false,
  responsive: true,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  displayModeBar: "hover",
};

/** The tokens of static/css/tokens.css as the theme has them now. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  return new Proxy({}, { get: (_, name) => style.getPropertyValue(`--${name}`).trim() });
}

/** Draws or redraws `traces` in `box`; `layout` has axes x and y with a title each. Clicks call `open(customdata)`. */
export async function draw(box, traces, layout, open) {
  const library = await plotly();
  const first = !box.classList.contains("js-plotly-plot");
  await library.react(box, traces, themed(layout), { ...CONFIG, toImageButtonOptions: { filename: box.id, scale: 2 } });
  if (!first) return;
  box.classList.remove("skeleton");
  if (open) box.on("plotly_click", (event) => open(event.points[0].customdata));
}

function themed({ xaxis, yaxis, ...rest }) {
  const colours = palette();
  const axis = {
    gridcolor: colours.line, linecolor: colours.line, zeroline: false, ticks: "", tickfont: { size: 11 }, automargin: true,
  };
  const titled = ({ title, ...more }) => ({ ...axis, title: { text: title, standoff: 6, font: { size: 11 } }, ...more });
  return {
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: colours["font-text"], size: 11, color: colours.muted },
    margin: { l: 48, r: 14, t: 8, b: 38 },
    showlegend: false,
    hovermode: "closest",
    hoverlabel: {
      bgcolor: colours.raised, bordercolor: colours["line-strong"], font: { color: colours.text, size: 12 }, align: "left",
    },
    uirevision: "kept", // a redraw keeps the reader's zoom
    xaxis: titled(xaxis),
    yaxis: titled(yaxis),
    ...rest,
  };
}

/** A colour between two hex colours. */
export function between(from, to, share) {
  const parse = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const [a, b] = [parse(from), parse(to)];
  return `rgb(${a.map((value, i) => Math.round(value + (b[i] - value) * share)).join(",")})`;
}
