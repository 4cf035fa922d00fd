"""What a change changed: regions of code, names, kind of change and a sketch; read in the limited child, never run.

A sketch is a bottom-k sketch of the changed tokens (Broder 1997, "On the resemblance and containment of documents",
section 4): two sketches estimate Jaccard's index of the two changes, exactly while both together hold no more than
SKETCH shingles. Standard library only, no Django.
"""

import ast
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from evolution.families import kind_of

SKETCH = 128  # shingles kept of a change
SHINGLE = 3  # tokens
EXACT = 16  # whole numbers up to here are themselves; the others count by their size
MOST_TOKENS = 500  # of a block whose tokens are compared one by one; a larger one counts as exchanged
KIN = 0.5  # below this likeness a block of lines was exchanged, and what it shares with the old one is chance

_TOKEN = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d*)?(?:e[+-]?\d+)?|[^\w\s]+", re.IGNORECASE)

Regions = dict[str, list[str]]  # "Block.forward" -> its lines, written the one way ast.unparse writes them


def changed(payload: Mapping[str, Any]) -> dict[str, Any]:
    """`{"files": {path: {"before": text | None, "after": text | None}}}` -> what the change is.

    `{"family": kind of change, "regions": ["model.py:Block.forward", …], "shingles": [at most SKETCH numbers of 32
    bits, in order]}`. SyntaxError when a Python file of either side is none.
    """
    touched: list[str] = []
    shingles: set[str] = set()
    for path, sides in sorted(payload["files"].items()):
        before, after = (_regions(path, sides[side]) for side in ("before", "after"))
        names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
        touched += [f"{path}:{name}" if name else path for name in _collapsed(names, before, after)]
        for name in names:
            shingles.update(_shingles(before.get(name, []), after.get(name, [])))
    return {"family": kind_of(touched, shingles), "regions": touched, "shingles": sketch(shingles)}


def sketch(shingles: set[str]) -> list[int]:
    """The SKETCH smallest of the shingles' hashes."""
    hashed = {int.from_bytes(hashlib.blake2b(one.encode(), digest_size=4).digest(), "big") for one in shingles}
    return sorted(hashed)[:SKETCH]


def similarity(one: Sequence[int], other: Sequence[int]) -> float:
    """Jaccard's index of two changes, 0 … 1, from their sketches; 0 where one of them is empty."""
    shared = set(one).intersection(other)
    if not shared:
        return 0.0
    smallest = sorted({*one, *other})[:SKETCH]
    return len(shared.intersection(smallest)) / len(smallest)


def _regions(path: str, text: str | None) -> Regions:
    if text is None:
        return {}
    if not path.endswith(".py"):
        return {"": text.splitlines()}
    found: Regions = {}
    for node in ast.parse(text, filename=path).body:
        for name, part in _parts(node):
            found.setdefault(name, []).extend(ast.unparse(part).splitlines())
    return found


def _parts(node: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    """A statement of a module by the name of its region; a class in its methods and what is left of it."""
    _drop_docstrings(node)
    if isinstance(node, ast.ClassDef):
        methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        yield from ((f"{node.name}.{one.name}", one) for one in methods)
        node.body = [one for one in node.body if one not in methods] or [ast.Pass()]
        yield node.name, node
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name, node
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield "imports", node
    elif not _is_text(node):
        yield _assigned(node) or "module", node


def _drop_docstrings(node: ast.stmt) -> None:
    for one in ast.walk(node):
        body = getattr(one, "body", None)
        if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body and _is_text(body[0]):
            one.body = one.body[1:] or [ast.Pass()]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _assigned(node: ast.stmt) -> str:
    target = None
    if isinstance(node, ast.Assign):
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign):
        target = node.target
    return target.id if isinstance(target, ast.Name) else ""


def _collapsed(names: Sequence[str], before: Regions, after: Regions) -> list[str]:
    """`names`, a class that came or went whole named once."""
    whole = {name for name in names if "." not in name and ((name in before) != (name in after))}
    return [name for name in names if name.partition(".")[0] not in whole or name in whole]


def _shingles(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """The shingles of what was taken out of and put into a region."""
    for _, i, j, k, m in _differing(before, after):
        old, new = (_TOKEN.findall("\n".join(lines)) for lines in (before[i:j], after[k:m]))
        if not old or not new or max(len(old), len(new)) > MOST_TOKENS or _likeness(old, new) < KIN:
            yield from _grams("-", old)
            yield from _grams("+", new)
        else:
            yield from _token_shingles(old, new)


def _differing(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    """What is not equal. Lines or tokens that fill a long region are no landmarks: without that it takes minutes."""
    return [code for code in SequenceMatcher(None, old, new).get_opcodes() if code[0] != "equal"]


def _likeness(old: Sequence[str], new: Sequence[str]) -> float:
    """0 … 1; where a quick upper bound is low already, the bound."""
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    bound = matcher.quick_ratio()
    return bound if bound < KIN else matcher.ratio()


def _token_shingles(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for _, i, j, k, m in _differing(old, new):
        pairs = list(zip(old[i:j], new[k:m], strict=False))
        if j - i == m - k and all(_is_number(one) for pair in pairs for one in pair):
            yield from (_turned(_name_before(old, i), *map(float, pair)) for pair in pairs)
        else:
            yield from _grams("-", old[max(i - 1, 0):j + 1] if j > i else [])
            yield from _grams("+", new[max(k - 1, 0):m + 1] if m > k else [])


def _grams(sign: str, tokens: Sequence[str]) -> Iterator[str]:
    """`tokens` in overlapping runs of SHINGLE; fewer are one run."""
    words = [_bucket(token) for token in tokens]
    for at in range(max(len(words) - SHINGLE, 0) + 1 if words else 0):
        yield f"{sign} {' '.join(words[at:at + SHINGLE])}"


def _turned(name: str, old: float, new: float) -> str:
    """A number that was changed counts by its factor, in half octaves, so that it is the same from any start."""
    if old > 0 and new > 0:
        return f"{name} x2^{round(2 * math.log2(new / old)) / 2:g}"
    return f"{name} {_bucket(str(old))} to {_bucket(str(new))}"


def _bucket(token: str) -> str:
    if not _is_number(token):
        return token
    value = float(token)
    if value == int(value) and value <= EXACT:
        return str(int(value))
    return f"1e{round(2 * math.log10(value)) / 2:g}"


def _is_number(token: str) -> bool:
    return token[:1].isdigit() and math.isfinite(float(token))


def _name_before(tokens: Sequence[str], at: int) -> str:
    return next((token for token in reversed(tokens[:at]) if token.isidentifier()), "")
