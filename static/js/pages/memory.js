import { calmly, listen } from "../lib/news.js";
import { refresh } from "../lib/refresh.js";

listen(document.getElementById("memory").dataset.newsPath, calmly(2_000, refresh));
