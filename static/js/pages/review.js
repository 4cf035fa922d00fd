// The review page: wires the diff, the keys, the verdicts and the queue together.

import { bindKeys, showKeys } from "../lib/keys.js";
import { calmly, listen } from "../lib/news.js";
import { countDown } from "../lib/countdown.js";
import { forgetOld } from "../lib/drafts.js";
import { openProposal } from "../lib/proposal.js";
import { showReviewCount } from "../lib/refresh.js";
import { tellTimes } from "../lib/times.js";

const $ = (selector) => document.querySelector(selector);
let proposal = null;
let ahead = null; // {url, page}: the next proposal, fetched before anybody asks for it
let asked = 0;

function start() {
  for (const part of document.querySelectorAll("[data-script]")) part.hidden = false;
  for (const part of document.querySelectorAll("[data-no-script]")) part.hidden = true;
  proposal = $("#proposal[data-key]") ? openProposal($("#proposal"), { decided: go, refused: say }) : null;
  countDown($("#pending"), refreshQueue);
  tellTimes();
  $('.queue-row[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  const url = $("#proposal")?.dataset.next;
  ahead = null;
  if (url) fetchPage(url).then((page) => (ahead = { url: new URL(url, location.href).href, page }), () => {});
}

async function fetchPage(url) {
  const answer = await fetch(url, { headers: { Accept: "text/html" } });
  if (!answer.ok || new URL(answer.url).pathname !== new URL(url, location.href).pathname) throw new Error(answer.status);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

/** Show the page at `url` in place of this one. `fresh`: rows changed, so what was fetched ahead only fills the gap. */
async function go(url, { fresh = false, push = true } = {}) {
  const turn = ++asked;
  const known = ahead?.url === new URL(url, location.href).href ? ahead.page : null;
  if (push) history.pushState(null, "", url);
  if (known) show(known);
  if (known && !fresh) return;
  try {
    const page = await fetchPage(url);
    if (turn !== asked) return;
    if (known) showAround(page);
    else show(page);
  } catch {
    location.assign(url);
  }
}

function show(page) {
  const next = page.getElementById("review");
  if (!next) return location.reload();
  proposal?.close();
  document.title = page.title;
  $(".crumbs").replaceChildren(...page.querySelector(".crumbs").childNodes);
  $("#review").replaceWith(next);
  showReviewCount(Number(page.querySelector("[data-review-count]")?.textContent || 0));
  start();
}

/** The queue, the toasts and the count of `page`; the diff stays as it is. */
function showAround(page) {
  // The page was empty and is not any more: take all of it, while none of its parts has been moved yet.
  if (!$("#proposal")?.dataset.key && page.getElementById("proposal")?.dataset.key) return show(page);
  if (!$("#queue").contains(document.activeElement)) $("#queue").replaceWith(page.getElementById("queue"));
  $("#pending").replaceWith(page.getElementById("pending"));
  const [now, then] = [$("#proposal"), page.getElementById("proposal")];
  const isSame = now?.dataset.key && now.dataset.key === then?.dataset.key;
  if (isSame) {
    for (const name of ["next", "previous"]) name in then.dataset ? (now.dataset[name] = then.dataset[name]) : delete now.dataset[name];
    now.querySelector(".actions-next")?.replaceWith(then.querySelector(".actions-next") ?? "");
    const states = [now, then].map((one) => one.querySelector(".actions")?.dataset.state);
    if (states[0] !== states[1]) proposal?.takeActions(then);
  }
  for (const part of document.querySelectorAll("[data-script]")) part.hidden = false;
  for (const part of document.querySelectorAll("[data-no-script]")) part.hidden = true;
  showReviewCount(Number(page.querySelector("[data-review-count]")?.textContent || 0));
  countDown($("#pending"), refreshQueue);
  tellTimes();
}

const refreshQueue = calmly(1_000, async () => {
  const turn = asked;
  const page = await fetchPage(location.href);
  if (turn === asked) showAround(page);
});

function say(sentence) {
  const note = $("#refused");
  note.textContent = sentence;
  note.hidden = false;
}

const follow = (name) => () => {
  const url = $("#proposal")?.dataset[name];
  return url ? (go(url), true) : false;
};
const undo = () => {
  const form = $("#pending form");
  return form ? (form.requestSubmit(), true) : false;
};
const togglePanel = () => {
  const panel = $("#keys");
  panel.hidden = !panel.hidden;
  if (!panel.hidden) showKeys(panel, table, togglePanel);
  (panel.hidden ? $("[data-keys-open]") : panel.querySelector("button")).focus();
};
const withProposal = (work) => (event) => (proposal ? work(proposal, event) : false);

const table = [
  { keys: ["a"], what: "Accept", run: withProposal((one) => one.accept()) },
  { keys: ["e"], what: "Accept with your edits", run: withProposal((one) => one.edit()) },
  { keys: ["v"], what: "Veto: then a reason", run: withProposal((one) => one.veto()) },
  { keys: ["1", "2", "3", "4", "5", "6", "7"], shown: ["1 – 7"], what: "Choose the reason", run: withProposal((one, event) => one.reason(Number(event.key))) },
  { keys: ["u"], what: "Undo the last verdict", run: undo },
  { keys: ["n", "j"], what: "Next hunk", run: withProposal((one) => one.hunk(1)) },
  { keys: ["p", "k"], what: "Previous hunk", run: withProposal((one) => one.hunk(-1)) },
  { keys: ["x"], what: "Drop this hunk (an edit)", run: withProposal((one) => one.drop()) },
  { keys: ["]"], what: "Next proposal", run: follow("next") },
  { keys: ["["], what: "Previous proposal", run: follow("previous") },
  { keys: ["i"], what: "Side by side or unified", run: withProposal((one) => one.toggleLayout()) },
  { keys: ["w"], what: "Hide or show white space", run: withProposal((one) => one.toggleSpace()) },
  { keys: ["o"], what: "Show all lines or fold", run: withProposal((one) => one.toggleFold()) },
  { keys: ["Escape"], shown: ["Esc"], what: "Leave the editor or a panel", run: () => ($("#keys").hidden ? (proposal?.leave() ?? false) : togglePanel()) },
  { keys: ["?"], what: "These keys", run: togglePanel },
];

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.queue-row, .lately a, [data-go-next]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    if (link.ariaCurrent !== "true") go(link.href); // what is open stays as it is, an open panel too
  }
  if (event.target.closest("[data-keys-open]")) togglePanel();
});
document.addEventListener("change", (event) => event.target.closest("[data-filters]")?.requestSubmit());
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-undo]");
  if (!form) return;
  event.preventDefault();
  const answer = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { Accept: "application/json" } });
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) go(told.next, { fresh: true });
  else say(told.message ?? "The undo was not saved: try again.");
});
addEventListener("popstate", () => go(location.href, { push: false }));

forgetOld();
bindKeys(table);
start();
listen("/ws/news/", refreshQueue);
