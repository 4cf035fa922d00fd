// Claimed curves by trial: everything once, then only what is newer than the last point.

import { getJson } from "../lib/news.js";

const TOO_MANY = 1_200; // points of one trial: then the server's buckets are read again

export class Curves {
  constructor(url) {
    this.url = url;
    this.last = null;
    this.trials = new Map(); // trial -> {variant, points: [[step, tokens, seconds, loss], …]}
  }

  /** Reads what is new; whether there was anything. */
  async read() {
    const whole = this.last === null || [...this.trials.values()].some((trial) => trial.points.length > TOO_MANY);
    const answer = await getJson(whole ? this.url : `${this.url}?since=${this.last}`);
    if (whole) this.trials.clear();
    for (const curve of answer.curves) this.#add(curve);
    const news = whole || answer.curves.length > 0;
    this.last = answer.last;
    return news;
  }

  #add({ trial, variant, points }) {
    const known = this.trials.get(trial);
    if (!known) {
      this.trials.set(trial, { variant, points });
      return;
    }
    const newest = known.points.at(-1)?.[0] ?? -1;
    known.points.push(...points.filter(([step]) => step > newest)); // a point may come twice, never count twice
  }
}
