import { calmly, listen } from "../lib/news.js";
import { refresh } from "../lib/refresh.js";

listen("/ws/news/", calmly(1_000, refresh));
