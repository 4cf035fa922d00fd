"""Crossover of two programs: a three-way merge of their trees against their common ancestor, collisions as data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import Enum

Files = dict[str, bytes]
Edit = tuple[int, int, list[bytes]]  # base[start:end] becomes these lines
Sides = tuple[list[Edit], list[Edit]]  # the first parent's edits of a place, and the second's
CONTEXT = 8  # lines around a collision that whoever settles it is shown


class Whose(Enum):
    """Which parent changed a place."""

    FIRST = "the first parent's"
    SECOND = "the second parent's"
    BOTH = "the same in both parents"
    CONFLICT = "changed by both parents, each in its own way"


@dataclass(frozen=True)
class Place:
    """A place of the ancestor that a parent changed: what stood there, and what stands there in each parent.

    `line` is its first line in the ancestor's file, from 1. None means that the file is not there at all. `before` and
    `after` are the ancestor's lines around it, and no part of what makes two places the same.
    """

    path: str
    line: int
    base: bytes | None
    first: bytes | None
    second: bytes | None
    before: bytes = field(default=b"", compare=False)
    after: bytes = field(default=b"", compare=False)

    @property
    def whose(self) -> Whose:
        if self.first == self.second:
            return Whose.BOTH
        if self.first == self.base:
            return Whose.SECOND
        return Whose.FIRST if self.second == self.base else Whose.CONFLICT

    @property
    def merged(self) -> bytes | None:
        """What stands here in the child. ValueError where the parents collide."""
        if self.whose == Whose.CONFLICT:
            raise ValueError(f"{self.path}:{self.line} was changed by both parents")
        return self.second if self.whose == Whose.SECOND else self.first


@dataclass(frozen=True)
class Merge:
    """The ancestor's files, cut at the places that a parent changed: unchanged text and places, in order."""

    files: Mapping[str, tuple[bytes | Place, ...]]

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(piece for pieces in self.files.values() for piece in pieces if isinstance(piece, Place))

    @property
    def conflicts(self) -> tuple[Place, ...]:
        return tuple(place for place in self.places if place.whose == Whose.CONFLICT)

    def tree(self, settled: Mapping[Place, bytes | None] | None = None) -> Files:
        """The child's files: what one parent changed is in it, and of each collision what `settled` says.

        So neither parent's change is undone but where they collide. ValueError for a collision that is not settled.
        """
        known = settled or {}
        return {
            path: b"".join(parts)
            for path, pieces in self.files.items()
            if (parts := _parts(pieces, known)) is not None
        }


def _parts(pieces: Sequence[bytes | Place], settled: Mapping[Place, bytes | None]) -> list[bytes] | None:
    found = [piece if isinstance(piece, bytes) else _settled(piece, settled) for piece in pieces]
    parts = [part for part in found if part is not None]
    return parts if len(parts) == len(found) else None


def _settled(place: Place, settled: Mapping[Place, bytes | None]) -> bytes | None:
    # Not get(): a collision has no value of its own to fall back on.
    if place in settled:
        return settled[place]
    return place.merged


def merge(base: Mapping[str, bytes], first: Mapping[str, bytes], second: Mapping[str, bytes]) -> Merge:
    """What two parents made of their ancestor `base`, place by place (diff3, Khanna, Kunal & Pierce 2007)."""
    return Merge({
        path: _pieces(path, base.get(path), first.get(path), second.get(path))
        for path in sorted({*base, *first, *second})
    })


def _pieces(path: str, base: bytes | None, first: bytes | None, second: bytes | None) -> tuple[bytes | Place, ...]:
    """A file that somebody added or removed is one place; every other file is cut by lines."""
    if base is None or first is None or second is None:
        return (Place(path, 1, base, first, second),)
    return tuple(_cut(path, base.splitlines(True), first.splitlines(True), second.splitlines(True)))


def _cut(path: str, base: list[bytes], first: list[bytes], second: list[bytes]) -> Iterator[bytes | Place]:
    done = 0
    for sides in _places(_edits(base, first), _edits(base, second)):
        start = min(edit[0] for side in sides for edit in side)
        end = max(edit[1] for side in sides for edit in side)
        yield b"".join(base[done:start])
        yield Place(
            path, start + 1, b"".join(base[start:end]),
            first=_applied(base, start, end, sides[0]), second=_applied(base, start, end, sides[1]),
            before=b"".join(base[max(0, start - CONTEXT):start]), after=b"".join(base[end:end + CONTEXT]),
        )
        done = end
    yield b"".join(base[done:])


def _applied(base: Sequence[bytes], start: int, end: int, edits: Sequence[Edit]) -> bytes:
    """base[start:end] after `edits`, all of them within."""
    result: list[bytes] = []
    for first, last, lines in edits:
        result += [*base[start:first], *lines]
        start = last
    return b"".join([*result, *base[start:end]])


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
