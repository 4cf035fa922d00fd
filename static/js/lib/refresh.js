// Keeps the parts of a server-rendered page that are marked data-live (each with an id) as the server would render them now.

import { tellTimes } from "./times.js";

export async function refresh() {
  const answer = await fetch(location.href);
  if (answer.redirected || !answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (!now || now.innerHTML === part.dataset.shown || part.contains(document.activeElement)) continue;
    part.dataset.shown = now.innerHTML;
    part.replaceChildren(...now.childNodes);
    part.hidden = now.hidden;
  }
  showReviewCount(Number(fresh.querySelector("[data-review-count]")?.textContent || 0));
  tellTimes();
}

export function showReviewCount(count) {
  const badge = document.querySelector("[data-review-count]");
  badge.textContent = count || "";
  badge.setAttribute("aria-label", `${count} waiting for you`);
}
