// The spending page follows the calls as they end.

import { calmly, listen } from "../lib/news.js";
import { refresh } from "../lib/refresh.js";
import "../lib/times.js";

listen(document.getElementById("spending").dataset.newsPath, calmly(2_000, refresh));
