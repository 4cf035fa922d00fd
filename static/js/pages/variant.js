import { calmly, listen } from "../lib/news.js";
import { refresh } from "../lib/refresh.js";

const page = document.getElementById("variant").dataset;
const number = Number(page.number);

document.getElementById("against")?.addEventListener("change", (event) => event.target.form.requestSubmit());
document.getElementById("file")?.addEventListener("change", (event) => event.target.form.requestSubmit());
document.querySelectorAll("[data-needs-no-script]").forEach((button) => { button.hidden = true; });

const read = calmly(1_000, refresh);
listen(page.newsPath, (frame) => {
  if (frame === null || frame.variants?.includes(number)) read();
});

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.dataset.done = "copied";
    setTimeout(() => delete button.dataset.done, 1_500);
  });
}
