// One open proposal: its files as merge views, what was edited, and the verdict.

import { json } from "./dom.js";
import { anyDraft, dropDraft, keepDraft, keptDraft } from "./drafts.js";
import { showFile } from "./merge.js";

const LAYOUT = "darwin.diff.layout";
const SPACE = "darwin.diff.space";
const VIEWED = "darwin.viewed:";

const plain = (text) => text.replace(/\r\n?/g, "\n"); // as the editor counts; the server puts CR LF back

/** `decided(url, {fresh})` is called after a verdict, `refused(sentence)` when there was none. */
export function openProposal(root, { decided, refused }) {
  const { key, shown } = root.dataset;
  const kept = Object.keys(keptDraft(key, shown)).length ? keptDraft(key, shown) : anyDraft(key);
  const files = json("texts").map((file, place) => openFile(root, file, place, kept));
  const settings = { layout: layout(), ignoreSpace: sessionStorage.getItem(SPACE) === "1", unfold: false };
  let current = -1;
  let isSending = false;

  const edits = () => Object.fromEntries(files.filter((file) => file.editable && file.text !== file.after).map((file) => [file.path, file.text]));
  const find = (selector) => root.querySelector(selector);

  function draw() {
    for (const file of files) {
      file.shown?.destroy();
      file.shown = null;
      if (!file.readable) continue;
      file.body.replaceChildren();
      file.shown = showFile(file.body, { ...file, ...settings, change: (text) => changed(file, text) });
    }
    for (const button of root.querySelectorAll("[data-layout]")) button.setAttribute("aria-pressed", button.dataset.layout === settings.layout);
    find("[data-space]").setAttribute("aria-pressed", settings.ignoreSpace);
    find("[data-unfold]").setAttribute("aria-pressed", settings.unfold);
    current = -1;
    count();
  }

  function changed(file, text) {
    file.text = text;
    keepDraft(key, shown, edits());
    count();
  }

  const hunks = () => files.flatMap((file) => (file.shown && !file.folded ? file.shown.chunks().map((chunk) => ({ file, chunk })) : []));

  function count() {
    const all = hunks();
    const total = files.reduce((sum, file) => sum + (file.shown?.chunks().length ?? 0), 0);
    find("[data-hunks]").textContent = current >= 0 ? `hunk ${Math.min(current, all.length - 1) + 1} of ${all.length}` : `${total} hunk${total === 1 ? "" : "s"}`;
    for (const file of files) {
      if (file.shown) file.section.querySelector("[data-file-hunks]").textContent = `${file.shown.chunks().length} hunk${file.shown.chunks().length === 1 ? "" : "s"}`;
      file.section.querySelector("[data-edited]").hidden = file.text === file.after;
    }
    const isEdited = Object.keys(edits()).length > 0;
    const [accept, edit] = [find("[data-accept]"), find("[data-edit]")];
    if (edit) edit.disabled = !isEdited;
    accept?.classList.toggle("button-main", !isEdited);
    edit?.classList.toggle("button-main", isEdited);
  }

  function hunk(step) {
    const all = hunks();
    if (!all.length) return false;
    current = current < 0 ? (step > 0 ? 0 : all.length - 1) : (current + step + all.length) % all.length;
    const { file, chunk } = all[current];
    file.shown.reveal(chunk.fromB);
    for (const one of files) one.section.classList.toggle("is-current", one === file);
    count();
    return true;
  }

  function drop() {
    const found = hunks()[Math.max(0, current)];
    if (!found || !found.file.shown.drop(found.chunk)) return false;
    current = Math.min(current, hunks().length - 1);
    count();
    return true;
  }

  async function send(form, fields) {
    if (isSending) return;
    isSending = true;
    const body = new FormData(form);
    for (const [name, value] of Object.entries(fields)) body.set(name, value);
    try {
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
      const told = await answer.json().catch(() => ({}));
      if (!answer.ok) return refused(told.message ?? `The server answered ${answer.status}: your decision was not saved, try again.`);
      dropDraft(key);
      decided(told.next, { fresh: true });
    } catch {
      refused("The server does not answer: your decision was not saved and your edits are kept, try again.");
    } finally {
      isSending = false;
    }
  }

  /** With unsaved edits, accepting means accepting them. */
  function verdict(name) {
    const form = find("[data-accept]")?.form;
    if (!form) return false;
    const changes = edits();
    const isEdit = Object.keys(changes).length > 0;
    if (name === "edit" && !isEdit) return false;
    const texts = Object.fromEntries(Object.entries(changes).map(([path, text]) => [`file:${path}`, text]));
    send(form, { verdict: isEdit ? "edit" : "accept", ...texts });
    return true;
  }

  function veto() {
    const panel = find("[data-veto]");
    if (!panel) return false;
    panel.open = true;
    (panel.querySelector("input:checked") ?? panel.querySelector("input[type=radio]")).focus();
    return true;
  }

  function reason(number) {
    const panel = find("[data-veto]");
    const choice = panel?.open && panel.querySelectorAll("input[type=radio]")[number - 1];
    if (!choice) return false;
    choice.checked = true;
    panel.querySelector("input[name=reason]").focus();
    return true;
  }

  function leave() {
    const panel = find("[data-veto][open]");
    if (!panel) return false;
    panel.open = false;
    panel.querySelector("summary").focus();
    return true;
  }

  function set(name, value) {
    settings[name] = value;
    if (name === "layout") localStorage.setItem(LAYOUT, value);
    if (name === "ignoreSpace") sessionStorage.setItem(SPACE, value ? "1" : "0");
    draw();
    return true;
  }

  function discard() {
    for (const file of files) file.text = file.after;
    dropDraft(key);
    find("#draft").hidden = true;
    draw();
  }

  function place(link) {
    const file = files.find((one) => one.path === link.dataset.path);
    if (!file?.shown) return false;
    file.fold(false);
    file.shown.revealLine(Number(link.dataset.line));
    return true;
  }

  root.addEventListener("click", (event) => {
    const on = (selector) => event.target.closest(selector);
    if (on("[data-layout]")) set("layout", on("[data-layout]").dataset.layout);
    else if (on("[data-space]")) set("ignoreSpace", !settings.ignoreSpace);
    else if (on("[data-unfold]")) set("unfold", !settings.unfold);
    else if (on("[data-hunk]")) hunk(Number(on("[data-hunk]").dataset.hunk));
    else if (on("[data-edit]")) verdict("edit");
    else if (on("[data-discard]")) discard();
    else if (on(".flag-place") && place(on(".flag-place"))) event.preventDefault();
  });
  root.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-decide]");
    if (!form) return;
    event.preventDefault();
    if (form.closest("[data-veto]")) send(form, {});
    else verdict("accept");
  });
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.closest?.("[data-veto]")) leave();
    if (event.key === "Enter" && event.target.matches?.("[data-veto] input[type=radio]")) event.target.form.requestSubmit();
  });

  draw();
  find("#draft").hidden = !files.some((file) => file.isRestored);
  return {
    hunk, drop, veto, reason, leave,
    accept: () => verdict("accept"),
    edit: () => verdict("edit"),
    toggleLayout: () => set("layout", settings.layout === "side" ? "unified" : "side"),
    toggleSpace: () => set("ignoreSpace", !settings.ignoreSpace),
    toggleFold: () => set("unfold", !settings.unfold),
    takeActions(page) {
      find(".actions").replaceWith(page.querySelector(".actions"));
      count();
    },
    close: () => files.forEach((file) => file.shown?.destroy()),
  };
}

function openFile(root, given, place, kept) {
  const section = root.querySelector(`[data-file="${place}"]`);
  const after = plain(given.after);
  const draft = given.editable ? (given.edited ?? kept[given.path]) : null;
  const file = {
    ...given, section, after, before: plain(given.before), text: draft == null ? after : plain(draft),
    body: section.querySelector(".file-body"), folded: false, shown: null,
  };
  file.isRestored = file.text !== after;
  const box = section.querySelector("[data-viewed]");
  const name = `${VIEWED}${root.dataset.shown}:${given.path}`; // another state of the code is to be looked at again
  file.fold = (on) => {
    box.checked = file.folded = on;
    file.body.hidden = on;
    on ? localStorage.setItem(name, "1") : localStorage.removeItem(name);
  };
  box.addEventListener("change", () => file.fold(box.checked));
  file.fold(localStorage.getItem(name) === "1");
  return file;
}

/** The layout chosen last; without a choice one column where two would be too narrow to read. */
const layout = () => localStorage.getItem(LAYOUT) ?? (innerWidth < 900 ? "unified" : "side");
