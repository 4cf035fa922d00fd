// One file's difference in CodeMirror: two sides or one column, the proposed side editable.

import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import { bracketMatching, HighlightStyle, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { Change, diff, getChunks, MergeView, unifiedMergeView } from "@codemirror/merge";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { lineChanges } from "./linediff.js";
import { nonce } from "./nonce.js";

const FOLD = { margin: 4, minSize: 6 };
const CLOSE_LOOK = 4_000; // characters of a block up to which its changed words are marked

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: "var(--code-keyword)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--code-string)" },
  { tag: tags.comment, color: "var(--code-comment)", fontStyle: "italic" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--code-number)" },
  { tag: [tags.function(tags.variableName), tags.function(tags.definition(tags.variableName))], color: "var(--code-function)" },
  { tag: [tags.className, tags.definition(tags.className), tags.typeName, tags.self], color: "var(--code-type)" },
  { tag: tags.invalid, color: "var(--status-bad)" },
]);

const look = EditorView.theme({
  "&": { backgroundColor: "transparent", color: "var(--text)", fontSize: "var(--text-sm)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--font-code)", lineHeight: "20px" },
  ".cm-content": { padding: "0", caretColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--faint)", border: "0" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 8px 0 12px", minWidth: "40px" },
  ".cm-line": { padding: "0 8px" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "transparent" },
  ".cm-activeLine": { boxShadow: "inset 2px 0 0 var(--accent)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--accent-soft)" },
  ".cm-specialChar": { color: "var(--status-bad)", border: "1px solid currentcolor", borderRadius: "3px", padding: "0 2px" },
  "&.cm-merge-a .cm-changedLine, .cm-deletedChunk": { backgroundColor: "var(--diff-removed)" },
  "&.cm-merge-b .cm-changedLine, .cm-inlineChangedLine": { backgroundColor: "var(--diff-added)" },
  "&.cm-merge-a .cm-changedText, .cm-deletedChunk .cm-deletedText": { background: "var(--diff-removed-strong)", borderRadius: "2px" },
  "&.cm-merge-b .cm-changedText": { background: "var(--diff-added-strong)", borderRadius: "2px" },
  ".cm-deletedChunk": { paddingLeft: "8px" },
  ".cm-changeGutter": { width: "3px", paddingLeft: "0" },
  "&.cm-merge-a .cm-changedLineGutter, .cm-deletedLineGutter": { background: "var(--minus)" },
  "&.cm-merge-b .cm-changedLineGutter": { background: "var(--plus)" },
  ".cm-collapsedLines": {
    padding: "3px 12px", background: "var(--sunken)", color: "var(--muted)", fontFamily: "var(--font-text)",
    fontSize: "var(--text-sm)", borderBlock: "1px solid var(--line)",
  },
  ".cm-collapsedLines:hover": { color: "var(--text)" },
  ".cm-collapsedLines:before, .cm-collapsedLines:after": { content: "'⋯'", color: "var(--faint)" },
});

/** What cannot be seen is shown as the server shows it. */
const unseen = highlightSpecialChars({
  addSpecialChars: /[\u202a-\u202e\u2060-\u206f\u115f\u1160\u2800\u3164\uffa0\ue000-\uf8ff]/g,
  render: (code) => {
    const box = document.createElement("span");
    box.className = "cm-specialChar";
    box.textContent = code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
    return box;
  },
});

/**
 * Shows `before` against `text` in `parent`. `change(text)` is called after every edit. `layout` is "side" or "unified";
 * `ignoreSpace` hides differences in white space, and then nothing can be edited: the two sides no longer correspond
 * character by character.
 */
export function showFile(parent, { path, before, text, editable, layout, ignoreSpace, unfold, change }) {
  const diffConfig = { override: (a, b) => changes(a, b, ignoreSpace) };
  const collapseUnchanged = unfold ? undefined : FOLD;
  const right = [
    ...common(path),
    EditorView.contentAttributes.of({ "aria-label": `${path}, proposed${editable ? ", editable" : ""}` }),
    highlightActiveLine(),
    ...(editable && !ignoreSpace ? writing(change) : reading()),
  ];
  let merge = null;
  let view;
  if (layout === "side") {
    const left = [...common(path), EditorView.contentAttributes.of({ "aria-label": `${path}, before` }), ...reading()];
    merge = new MergeView({
      a: { doc: before, extensions: left }, b: { doc: text, extensions: right }, parent, gutter: true, diffConfig, collapseUnchanged,
    });
    view = merge.b;
  } else {
    const unified = unifiedMergeView({ original: before, mergeControls: false, gutter: true, diffConfig, collapseUnchanged });
    view = new EditorView({ doc: text, extensions: [...right, unified], parent });
  }
  return {
    view,
    text: () => view.state.doc.toString(),
    chunks: () => getChunks(view.state)?.chunks ?? [],
    reveal: (position) => reveal(view, position),
    revealLine: (line) => reveal(view, view.state.doc.line(Math.min(line, view.state.doc.lines)).from),
    drop: (chunk) => drop(view, before, chunk),
    destroy: () => (merge ?? view).destroy(),
  };
}

const common = (path) => [
  EditorView.cspNonce.of(nonce),
  lineNumbers(),
  unseen,
  drawSelection(),
  syntaxHighlighting(colours),
  look,
  ...(path.endsWith(".py") ? [python(), indentUnit.of("    ")] : []),
];

const reading = () => [EditorState.readOnly.of(true), EditorView.editable.of(false)];

const writing = (change) => [
  history(),
  bracketMatching(),
  keymap.of([
    { key: "Escape", run: (view) => (view.contentDOM.blur(), true) },
    indentWithTab, ...defaultKeymap, ...historyKeymap,
  ]),
  EditorView.updateListener.of((update) => update.docChanged && change(update.state.doc.toString())),
];

/** Lines first, so that hunks are those of the server; then the words within each block of lines. */
function changes(a, b, ignoreSpace) {
  const [left, right] = [a.split("\n"), b.split("\n")];
  const [startsA, startsB] = [starts(left), starts(right)];
  const key = ignoreSpace ? (line) => line.replace(/\s+/g, "") : undefined;
  return lineChanges(left, right, key).flatMap(([fromLineA, toLineA, fromLineB, toLineB]) => {
    // What is added after the last line begins with the end of that line.
    const back = startsA[fromLineA] > a.length || startsB[fromLineB] > b.length ? 1 : 0;
    const [fromA, toA] = [startsA[fromLineA] - back, Math.min(startsA[toLineA], a.length)];
    const [fromB, toB] = [startsB[fromLineB] - back, Math.min(startsB[toLineB], b.length)];
    if (fromA === toA || fromB === toB || toA - fromA + toB - fromB > CLOSE_LOOK) return [new Change(fromA, toA, fromB, toB)];
    const within = diff(a.slice(fromA, toA), b.slice(fromB, toB), { scanLimit: 500 });
    return within.map((one) => new Change(one.fromA + fromA, one.toA + fromA, one.fromB + fromB, one.toB + fromB));
  });
}

function starts(lines) {
  const found = [0];
  for (const line of lines) found.push(found.at(-1) + line.length + 1);
  return found;
}

function reveal(view, position) {
  const at = Math.min(position, view.state.doc.length);
  view.dispatch({ selection: { anchor: at }, effects: EditorView.scrollIntoView(at, { y: "center" }) });
}

/** Put the lines of before back in place of `chunk`: an edit like any other. */
function drop(view, before, chunk) {
  if (view.state.readOnly) return false;
  let insert = before.slice(chunk.fromA, Math.max(chunk.fromA, chunk.toA - 1));
  const length = view.state.doc.length; // a chunk at the end reaches one past it
  if (chunk.fromA !== chunk.toA && chunk.toB <= length) insert += "\n";
  view.dispatch({ changes: { from: chunk.fromB, to: Math.min(length, chunk.toB), insert }, userEvent: "revert" });
  return true;
}
