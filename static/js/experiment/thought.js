// What a model says while it is asked: the text grows in a box of fixed height, so that nothing jumps.

import { count, fixed } from "../lib/format.js";
import { calmly, getJson } from "../lib/news.js";

/** Fills the panel from `url`; the function it returns reads again, a few times a second at most. */
export function watchThought(url) {
  const panel = document.getElementById("thought");
  if (!panel) return () => {};
  const part = (name) => panel.querySelector(`[data-thought="${name}"]`);
  let shown = { call: -1, seq: -1 };
  return calmly(250, async () => {
    const now = await getJson(url);
    if (now.call < shown.call || (now.call === shown.call && now.seq < shown.seq)) return; // an answer that came late
    draw(part, now, now.call !== shown.call);
    panel.dataset.state = now.thinking ? "thinking" : now.error ? "failed" : "over";
    shown = now;
  });
}

function draw(part, now, isNew) {
  const text = part("text");
  const follows = isNew || text.scrollHeight - text.scrollTop - text.clientHeight < 30;
  part("says").textContent = now.says ?? "No model was asked yet";
  part("note").textContent = now.call ? notes(now).join(" · ") : "";
  text.textContent = now.text || (now.thinking ? "…" : now.error ? `(${now.error})` : "");
  if (follows) text.scrollTop = text.scrollHeight;
}

function notes(now) {
  const cost = now.cost_usd == null ? null : `$${fixed(now.cost_usd, 4)}`;
  return [now.model, now.thinking ? null : now.error || null, now.tokens ? `${count(now.tokens)} tokens` : null, cost].filter(Boolean);
}
