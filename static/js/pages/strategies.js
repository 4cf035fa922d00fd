import { calmly, listen } from "../lib/news.js";
import { refresh } from "../lib/refresh.js";

listen(document.getElementById("strategies").dataset.newsPath, calmly(1_000, refresh));
