// The prices page needs times and the count of the rail, and nothing else.

import { calmly, listen } from "../lib/news.js";
import { refresh } from "../lib/refresh.js";
import "../lib/times.js";

listen("/ws/news/", calmly(2_000, refresh));
