// Single keys, bound and shown from one table. They can be switched off (WCAG 2.1.4), and none fires while somebody types.

import { make } from "./dom.js";

const OFF = "darwin.keys.off";

/** `table` is [{keys, shown?, what, run(event)}]; `run` returns false when the key means nothing now. */
export function bindKeys(table) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
    const row = table.find((one) => one.run && one.keys.includes(event.key));
    if (!row || (!keysAreOn() && event.key !== "?")) return;
    if (row.run(event) !== false) event.preventDefault();
  });
}

export const keysAreOn = () => localStorage.getItem(OFF) !== "1";

const NOT_TEXT = new Set(["checkbox", "radio", "button", "submit", "reset"]);

/** Whether a key pressed on `target` is meant as text. */
export function isTyping(target) {
  if (target.isContentEditable || target.closest?.("textarea, select, dialog")) return true;
  return target.tagName === "INPUT" && !NOT_TEXT.has(target.type);
}

/** Fill `panel` with the table and the switch. */
export function showKeys(panel, table, close) {
  const box = make("input", { type: "checkbox" });
  box.checked = keysAreOn();
  box.addEventListener("change", () => (box.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1")));
  const button = make("button", { type: "button", class: "button button-plain" }, "Close");
  button.addEventListener("click", close);
  const rows = table.map(({ keys, shown, what }) =>
    make("div", {}, make("dt", {}, ...(shown ?? keys).map((key) => make("kbd", {}, key))), make("dd", {}, what)));
  panel.replaceChildren(
    make("header", { class: "panel-head" }, make("h2", {}, "Keys"), make("span", { class: "side" }, button)),
    make("dl", { class: "keys-rows" }, ...rows),
    make("label", { class: "keys-switch" }, box, " Single keys work on this page"),
  );
}
