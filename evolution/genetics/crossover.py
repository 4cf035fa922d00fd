"""Crossover of two programs: a three-way merge of their trees against the nearest common ancestor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

Files = dict[str, bytes]
Edit = tuple[int, int, list[bytes]]  # base[start:end] becomes these lines


@dataclass(frozen=True)
class Conflicts:
    """The parents changed the same places of these files, each in its own way."""

    paths: tuple[str, ...]


def merge(base: Mapping[str, bytes], first: Mapping[str, bytes], second: Mapping[str, bytes]) -> Files | Conflicts:
    """The tree that has the changes of both parents, or the paths where they collide.

    Per path: what only one parent changed is taken from it; what both changed is merged by lines (diff3, Khanna,
    Kunal & Pierce 2007).
    """
    merged: Files = {}
    conflicts: list[str] = []
    for path in sorted({*base, *first, *second}):
        try:
            content = _merge_file(base.get(path), first.get(path), second.get(path))
        except _Collision:
            conflicts.append(path)
            continue
        if content is not None:
            merged[path] = content
    return Conflicts(tuple(conflicts)) if conflicts else merged


class _Collision(Exception):
    """Both parents changed the same lines."""


def _merge_file(base: bytes | None, first: bytes | None, second: bytes | None) -> bytes | None:
    if second in (first, base):
        return first
    if first == base:
        return second
    if base is None or first is None or second is None:
        raise _Collision  # both added it, or one removed what the other changed
    return _merge_lines(base.splitlines(True), first.splitlines(True), second.splitlines(True))


def _merge_lines(base: list[bytes], first: list[bytes], second: list[bytes]) -> bytes:
    result: list[bytes] = []
    done = 0
    for start, end, lines in _united(_edits(base, first), _edits(base, second)):
        result += base[done:start] + lines
        done = end
    return b"".join(result + base[done:])


def _edits(base: Sequence[bytes], changed: Sequence[bytes]) -> list[Edit]:
    matcher = SequenceMatcher(None, base, changed, autojunk=False)
    return [(i, j, list(changed[k:m])) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]


def _united(first: list[Edit], second: list[Edit]) -> list[Edit]:
    """Both lists of edits in order; two that overlap or touch collide, unless they are the same edit.

    As in diff3, changes need an unchanged line between them: what was written side by side was not written together.
    """
    every = sorted([*first, *(edit for edit in second if edit not in first)], key=lambda edit: edit[:2])
    for (_, end, _), (start, _, _) in pairwise(every):
        if start <= end:
            raise _Collision
    return every
