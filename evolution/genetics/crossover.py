"""Crossover of two programs: a three-way merge of their trees against the nearest common ancestor."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from random import Random

Files = dict[str, bytes]
Edit = tuple[int, int, list[bytes]]  # base[start:end] becomes these lines
Sides = tuple[list[Edit], list[Edit]]  # the first parent's edits of a place, and the second's


@dataclass(frozen=True)
class Conflicts:
    """The parents changed the same places of these files, each in its own way."""

    paths: tuple[str, ...]


def merge(
    base: Mapping[str, bytes], first: Mapping[str, bytes], second: Mapping[str, bytes], *, rng: Random | None = None
) -> Files | Conflicts:
    """The tree that has the changes of both parents, or the paths where they collide.

    Per path: what only one parent changed is taken from it; what both changed is merged by lines (diff3, Khanna,
    Kunal & Pierce 2007). With `rng`, lines on which they collide come from the one or the other parent, drawn for each
    place; then only files that one parent removed and the other changed are left as conflicts.
    """
    merged: Files = {}
    conflicts: list[str] = []
    for path in sorted({*base, *first, *second}):
        try:
            content = _merge_file(base.get(path), first.get(path), second.get(path), rng)
        except _Collision:
            conflicts.append(path)
            continue
        if content is not None:
            merged[path] = content
    return Conflicts(tuple(conflicts)) if conflicts else merged


class _Collision(Exception):
    """Both parents changed the same lines."""


def _merge_file(
    base: bytes | None, first: bytes | None, second: bytes | None, rng: Random | None
) -> bytes | None:
    if second in (first, base):
        return first
    if first == base:
        return second
    if first is None or second is None:
        raise _Collision  # one removed what the other changed
    if base is None:
        if rng is None:
            raise _Collision  # both added it
        return rng.choice([first, second])
    return _merge_lines(base.splitlines(True), first.splitlines(True), second.splitlines(True), rng)


def _merge_lines(base: list[bytes], first: list[bytes], second: list[bytes], rng: Random | None) -> bytes:
    result: list[bytes] = []
    done = 0
    for edits in _places(_edits(base, first), _edits(base, second)):
        for start, end, lines in _settled(edits, rng):
            result += base[done:start] + lines
            done = end
    return b"".join(result + base[done:])


def _edits(base: Sequence[bytes], changed: Sequence[bytes]) -> list[Edit]:
    matcher = SequenceMatcher(None, base, changed, autojunk=False)
    return [(i, j, list(changed[k:m])) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]


def _places(first: list[Edit], second: list[Edit]) -> Iterator[Sides]:
    """The edits of both parents in order, those that overlap or touch together.

    As in diff3, changes need an unchanged line between them: what was written side by side was not written together.
    """
    every = sorted([*((edit, 0) for edit in first), *((edit, 1) for edit in second)], key=lambda one: one[0][:2])
    together: Sides = ([], [])
    end = -1
    for edit, side in every:
        if edit[0] > end and any(together):
            yield together
            together = ([], [])
        together[side].append(edit)
        end = max(end, edit[1])
    if any(together):
        yield together


def _settled(sides: Sides, rng: Random | None) -> list[Edit]:
    """The edits of one place: the only parent's, what both agree on, or the side that is drawn."""
    one, other = sides
    if not one or not other or one == other:
        return one or other
    if rng is None:
        raise _Collision
    return rng.choice(sides)
