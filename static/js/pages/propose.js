// A person's own change: the files in CodeMirror, what was written kept until it is sent.

import { json } from "../lib/dom.js";
import { dropDraft, forgetOld, keepDraft, keptDraft } from "../lib/drafts.js";
import { showFile } from "../lib/merge.js";

const form = document.getElementById("propose");
const { key, shown } = form.dataset;
const WORDS = ["title", "hypothesis", "diff"].filter((name) => form.elements[name]);
const plain = (text) => text.replace(/\r\n?/g, "\n"); // as the editor counts; the server puts CR LF back
const word = (name) => `:${name}`; // no file is called so: what a person says, beside the files
const files = form.querySelector("[data-file]") ? json("texts").map(openFile) : [];


function openFile(given, place) {
  const section = form.querySelector(`[data-file="${place}"]`);
  const area = section.querySelector("[data-plain]");
  const file = { path: given.path, before: plain(given.before), section, area, editor: null };
  area.disabled = true; // only what was changed is sent
  area.hidden = true;
  section.querySelector("[data-editor]").hidden = false;
  section.addEventListener("toggle", () => section.open && show(file));
  return file;
}

function show(file) {
  file.editor ??= showFile(file.section.querySelector("[data-editor]"), {
    path: file.path, before: file.before, text: file.area.value, editable: true, layout: "unified", ignoreSpace: false,
    unfold: true, change: (text) => set(file, text),
  });
}

function set(file, text) {
  file.area.value = text;
  mark(file);
  keep();
}

function mark(file) {
  const isEdited = plain(file.area.value) !== file.before;
  file.area.disabled = !isEdited;
  file.section.querySelector("[data-edited]").hidden = !isEdited;
}

function written() {
  const edited = files.filter((file) => !file.area.disabled).map((file) => [file.path, file.area.value]);
  const said = WORDS.map((name) => [word(name), form.elements[name].value]).filter(([, text]) => text.trim());
  return Object.fromEntries([...edited, ...said]);
}

const keep = () => keepDraft(key, shown, written());

function restore() {
  const kept = keptDraft(key, shown);
  const isRefused = !document.getElementById("refused").hidden; // the server sent everything back
  if (isRefused) return;
  for (const name of WORDS) if (kept[word(name)]) form.elements[name].value = kept[word(name)];
  for (const file of files) {
    if (kept[file.path] === undefined) continue;
    file.area.value = kept[file.path];
    file.section.open = true;
  }
  document.getElementById("draft").hidden = !Object.keys(kept).length;
}

function say(sentence) {
  const note = document.getElementById("refused");
  note.textContent = sentence;
  note.hidden = false;
  note.scrollIntoView({ block: "center" });
}

async function send() {
  const button = form.querySelector(".button-main");
  button.disabled = true;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { Accept: "application/json" } });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) return say(told.message ?? `The server answered ${answer.status}: nothing was proposed and nothing is lost, try again.`);
    dropDraft(key);
    location.assign(told.next);
  } catch {
    say("The server does not answer: nothing was proposed and nothing is lost, try again.");
  } finally {
    button.disabled = false;
  }
}

forgetOld();
restore();
for (const file of files) {
  mark(file);
  if (file.section.open) show(file);
}
for (const part of document.querySelectorAll("[data-no-script]")) part.hidden = true;
form.addEventListener("input", (event) => event.target.closest("[data-editor]") || keep());
form.addEventListener("submit", (event) => (event.preventDefault(), send()));
form.addEventListener("click", (event) => {
  if (!event.target.closest("[data-discard]")) return;
  dropDraft(key);
  location.assign(location.href);
});
document.querySelector("[data-target]").addEventListener("change", (event) => event.target.form.requestSubmit());
