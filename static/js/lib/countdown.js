// Undo windows: each line counts its seconds down and goes when they are over.

let timer = null;

/** Start the lines in `box`; `over()` is called when one has ended. */
export function countDown(box, over) {
  clearInterval(timer);
  const lines = [...box.querySelectorAll("[data-seconds]")].map((line) => ({ line, end: performance.now() + Number(line.dataset.seconds) * 1000 }));
  if (!lines.length) return;
  const tick = () => {
    for (const { line, end } of lines.filter((one) => one.line.isConnected)) {
      const left = (end - performance.now()) / 1000;
      line.querySelector("[data-left]").textContent = Math.max(0, Math.ceil(left));
      if (left > 0) continue;
      line.remove();
      setTimeout(over, 600); // the station needs a moment
    }
    if (!box.querySelector("[data-seconds]")) clearInterval(timer);
  };
  timer = setInterval(tick, 200);
  tick();
}
