// Which lines differ: Myers' greedy algorithm (1986) on whole lines, between the common head and tail.

const DEEPEST = 1_500; // edits; what differs more is one block, and the page stays quick

/** [[fromA, toA, fromB, toB], …] in line numbers from 0, for two lists of lines. `key` says which lines count as equal. */
export function lineChanges(a, b, key = (line) => line) {
  const names = new Map();
  const name = (line) => {
    const text = key(line);
    if (!names.has(text)) names.set(text, names.size);
    return names.get(text);
  };
  const x = a.map(name);
  const y = b.map(name);
  let head = 0;
  while (head < x.length && head < y.length && x[head] === y[head]) head++;
  let tail = 0;
  while (tail < x.length - head && tail < y.length - head && x[x.length - 1 - tail] === y[y.length - 1 - tail]) tail++;
  const middle = blocks(x.slice(head, x.length - tail), y.slice(head, y.length - tail));
  return middle.map((block) => block.map((line) => line + head));
}

function blocks(x, y) {
  if (!x.length && !y.length) return [];
  if (!x.length || !y.length) return [[0, x.length, 0, y.length]];
  const trace = search(x, y);
  return trace ? walkBack(trace, x.length, y.length) : [[0, x.length, 0, y.length]];
}

/** The furthest reaching paths of every depth, as far as they were needed. */
function search(x, y) {
  const deepest = Math.min(x.length + y.length, DEEPEST);
  const reach = new Int32Array(2 * deepest + 3);
  const zero = deepest + 1;
  const trace = [];
  for (let depth = 0; depth <= deepest; depth++) {
    trace.push(reach.slice(zero - depth - 1, zero + depth + 2));
    for (let k = -depth; k <= depth; k += 2) {
      const down = k === -depth || (k !== depth && reach[zero + k - 1] < reach[zero + k + 1]);
      let i = down ? reach[zero + k + 1] : reach[zero + k - 1] + 1;
      let j = i - k;
      while (i < x.length && j < y.length && x[i] === y[j]) i++, j++;
      reach[zero + k] = i;
      if (i >= x.length && j >= y.length) return trace;
    }
  }
  return null;
}

function walkBack(trace, i, j) {
  const found = [];
  for (let depth = trace.length - 1; depth > 0; depth--) {
    const at = (k) => trace[depth][k + depth + 1];
    const k = i - j;
    const down = k === -depth || (k !== depth && at(k - 1) < at(k + 1));
    const fromI = at(down ? k + 1 : k - 1);
    const fromJ = fromI - (down ? k + 1 : k - 1);
    const edge = down ? [fromI, fromI, fromJ, fromJ + 1] : [fromI, fromI + 1, fromJ, fromJ];
    const last = found.at(-1);
    if (last && last[0] === edge[1] && last[2] === edge[3]) [last[0], last[2]] = [edge[0], edge[2]];
    else found.push(edge);
    [i, j] = [fromI, fromJ];
  }
  return found.reverse();
}
