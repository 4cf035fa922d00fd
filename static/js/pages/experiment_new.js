// Says how long it would take, while one types.

import { duration } from "../lib/format.js";
import { calmly, getJson } from "../lib/news.js";

const form = document.getElementById("new-experiment");
const place = document.getElementById("estimate");

const tell = calmly(250, async () => {
  const data = new FormData(form);
  const asked = new URLSearchParams(["population", "generations", "amount", "budget"].map((name) => [name, data.get(name)]));
  const { trainings, seconds, measured } = await getJson(`${form.dataset.estimateUrl}?${asked}`);
  place.textContent = seconds === null
    ? `Up to ${trainings.toLocaleString("en")} trainings. How long they take is known once the first one on this machine has ended.`
    : `Up to ${trainings.toLocaleString("en")} trainings: about ${duration(seconds)} of computing, from ${measured} measured here. Vetoed and failed proposals take less; your reviews come on top.`;
});

form.addEventListener("input", tell);
tell();
