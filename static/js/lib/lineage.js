// Where every variant of a family stands: a column per generation, a row per leaf, parents amid their children.

import { stratify } from "d3-hierarchy";

/**
 * Lays out `rows` ({n, generation, parent, …}, one of them without parent). Gives each a `row` (leaves 0, 1, 2 …),
 * `children`, and returns them ordered by row. Subtrees take rows of their own, so that nothing overlaps.
 */
export function arrange(rows) {
  if (rows.length === 0) return [];
  const known = new Set(rows.map((row) => row.n));
  const top = rows.find((row) => row.parent == null) ?? rows[0];
  const parentOf = (row) => (row === top ? null : known.has(row.parent) ? row.parent : top.n);
  const root = stratify().id((row) => row.n).parentId(parentOf);
  let next = 0;
  root(rows)
    .sort((a, b) => a.data.generation - b.data.generation || a.data.n - b.data.n)
    .eachAfter((node) => {
      node.data.children = (node.children ?? []).map((child) => child.data);
      node.data.row = node.children ? middle(node.data.children) : next++;
    });
  return [...rows].sort((a, b) => a.row - b.row || a.generation - b.generation);
}

// A whole row, so that labels of neighbours never touch; an only child stands beside its parent.
const middle = (children) => Math.floor((children[0].row + children.at(-1).row) / 2);

/** Without the rows that `hidden` names, except those that have kept descendants. */
export function prune(rows, hidden) {
  const parents = new Map(rows.map((row) => [row.n, row]));
  const kept = new Set();
  for (const row of rows) {
    if (hidden(row)) continue;
    for (let at = row; at && !kept.has(at.n); at = parents.get(at.parent)) kept.add(at.n);
  }
  return rows.filter((row) => kept.has(row.n));
}

/** The numbers on the road from the baseline to `number`. */
export function roadTo(rows, number) {
  const parents = new Map(rows.map((row) => [row.n, row.parent]));
  const road = new Set();
  for (let at = number; at != null && !road.has(at); at = parents.get(at)) road.add(at);
  return road;
}

/** The first index of the ordered `rows` whose row is at least `row`: a binary search. */
export function firstAt(rows, row) {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middleAt = (low + high) >> 1;
    if (rows[middleAt].row < row) low = middleAt + 1;
    else high = middleAt;
  }
  return low;
}
