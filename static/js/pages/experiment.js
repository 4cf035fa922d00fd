// The experiment page: state and curves come over HTTP, news over a socket; the parts are drawn in ../experiment/.

import { drawCharts } from "../experiment/charts.js";
import { Curves } from "../experiment/curves.js";
import { drawHeader } from "../experiment/header.js";
import { drawHealth, drawPopulation } from "../experiment/population.js";
import { watchTable } from "../experiment/table.js";
import { watchThought } from "../experiment/thought.js";
import { json } from "../lib/dom.js";
import { calmly, getJson, listen } from "../lib/news.js";
import { refresh, showReviewCount } from "../lib/refresh.js";
import "../lib/times.js";

const page = document.getElementById("experiment").dataset;
const urlOf = (number) => page.variantUrl.replace("NUMBER", number);
const openVariant = (number) => number != null && location.assign(urlOf(number));

let state = json("state");
const curves = new Curves(page.curvesUrl);
const readThought = watchThought(page.thoughtUrl);
const drawTable = watchTable(urlOf, () => state);

const redraw = calmly(200, () => drawCharts(state, curves, openVariant));

function show() {
  drawHeader(state);
  drawPopulation(state, urlOf);
  drawHealth(state);
  drawTable();
  redraw();
}

/** What the server-rendered panel of the champion depends on. */
const proven = ({ champion, contests, best }) => JSON.stringify([champion, contests, best?.number]);

const readState = calmly(400, async () => {
  const fresh = await getJson(page.stateUrl);
  if (fresh.waiting !== state.waiting || proven(fresh) !== proven(state)) refresh();
  state = fresh;
  showReviewCount(fresh.review_count);
  show();
});

const readPoints = calmly(250, async () => {
  if (await curves.read()) redraw();
});

show();
readThought();
document.addEventListener("darwin:theme", redraw);
document.querySelectorAll("[data-chart-option]").forEach((box) => box.addEventListener("change", redraw));
listen(page.newsPath, (frame) => {
  if (!frame?.kinds || frame.kinds.some((kind) => kind !== "thought")) readPoints();
  const kinds = frame?.kinds;
  if (!kinds || kinds.includes("thought")) readThought();
  if (!kinds || kinds.some((kind) => kind !== "points" && kind !== "thought")) readState();
}, { thoughts: true });
setInterval(() => state.running && !document.hidden && readState(), 4_000); // progress moves without any news
