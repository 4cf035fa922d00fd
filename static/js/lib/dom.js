// Small elements. Text is always set as text: nothing a variant wrote becomes markup.

import marks from "./marks.json";

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "g", "circle", "text", "line", "rect", "a:svg"]);

/** An element with attributes (null ones are left out) and children (elements or text). */
export function make(tag, attributes = {}, ...children) {
  const found = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag.split(":")[0]) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value != null && value !== false) found.setAttribute(name, value === true ? "" : value);
  }
  found.append(...children.filter((child) => child != null));
  return found;
}

/** The shape of a status; the word stands beside it or in a label. */
export const mark = (status) =>
  make("svg", { class: "glyph", viewBox: "0 0 12 12", "aria-hidden": "true" }, make("path", { d: marks[status].path }));

/** A status as on every page: shape, word, colour. */
export const status = (name) =>
  make("span", { class: `status status-${name} tone-${marks[name].tone}` }, mark(name), marks[name].word);

/** Put `children` into `parent` only if they look different: nothing flickers, nothing loses the focus. */
export function settle(parent, ...children) {
  const box = make("div", {}, ...children);
  if (box.innerHTML === parent.dataset.shown) return false;
  parent.dataset.shown = box.innerHTML;
  parent.replaceChildren(...box.childNodes);
  return true;
}

/** The JSON in <script type="application/json" id=…>. */
export const json = (id) => JSON.parse(document.getElementById(id).textContent);

export { marks };
