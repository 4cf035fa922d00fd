// Times are relative and stay true; the exact local time is in the title.

import { duration } from "./format.js";

export function tellTimes() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const moment = new Date(time.dateTime);
    const seconds = (Date.now() - moment) / 1000;
    time.textContent = seconds < 5 ? "just now" : `${duration(seconds)} ago`;
    time.title = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
  }
}

tellTimes();
setInterval(tellTimes, 10_000);
