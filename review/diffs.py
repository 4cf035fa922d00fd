"""The difference of two trees, line by line, for the table that needs no JavaScript and for stable hunk ids."""

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

CONTEXT = 3  # unchanged lines around each hunk in the table
LARGEST = 1 << 20  # bytes of a file that is shown as text


@dataclass(frozen=True)
class Side:
    """One line on one side: its number, and its text in three pieces, of which the middle one changed."""

    number: int
    before: str
    changed: str = ""
    after: str = ""


@dataclass(frozen=True)
class Row:
    """One row of the table. A gap has no sides and counts the lines that are folded away."""

    kind: str  # same, changed, removed, added, gap
    left: Side | None = None
    right: Side | None = None
    folded: int = 0


@dataclass(frozen=True)
class Hunk:
    """One change without context. Line numbers count from 1; `id` is the same for the same change of the same file."""

    id: str
    old_start: int
    old: tuple[str, ...]
    new_start: int
    new: tuple[str, ...]


@dataclass(frozen=True)
class FileDiff:
    """One changed file. `before` or `after` is None when it is not there; `readable` is False for what is no text."""

    path: str
    before: str | None
    after: str | None
    readable: bool
    hunks: Sequence[Hunk] = field(default_factory=tuple)

    @property
    def added(self) -> int:
        return sum(len(hunk.new) for hunk in self.hunks)

    @property
    def removed(self) -> int:
        return sum(len(hunk.old) for hunk in self.hunks)

    @property
    def change(self) -> str:
        if self.before is None:
            return "new"
        return "removed" if self.after is None else "changed"

    def rows(self) -> Iterator[Row]:
        """The side-by-side table with CONTEXT lines around each hunk."""
        return _rows((self.before or "").split("\n"), self.hunks)


def file_diffs(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[FileDiff]:
    """Every file that differs, by path."""
    paths = sorted({*before, *after})
    return [_file(path, before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)]


def _file(path: str, old: bytes | None, new: bytes | None) -> FileDiff:
    before, after = _text(old), _text(new)
    readable = (old is None or before is not None) and (new is None or after is not None)
    hunks = tuple(hunks_of(path, before or "", after or "")) if readable else ()
    return FileDiff(path, before, after, readable, hunks)


def _text(content: bytes | None) -> str | None:
    if content is None or len(content) > LARGEST:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def hunks_of(path: str, before: str, after: str) -> Iterator[Hunk]:
    """The changes that lead from `before` to `after`."""
    old, new = before.split("\n"), after.split("\n")
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])  # difflib is quadratic at worst: give it as little as possible
    middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
    seen: dict[str, int] = {}
    for tag, a, a_end, b, b_end in difflib.SequenceMatcher(None, middle_old, middle_new).get_opcodes():
        if tag != "equal":
            gone, came = tuple(middle_old[a:a_end]), tuple(middle_new[b:b_end])
            yield Hunk(_id(path, gone, came, seen), head + a + 1, gone, head + b + 1, came)


def _id(path: str, old: Sequence[str], new: Sequence[str], seen: dict[str, int]) -> str:
    """By content, not by place, so that it outlives changes elsewhere; equal changes of one file are counted."""
    text = "\0".join([path, *(f"-{line}" for line in old), *(f"+{line}" for line in new)])
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
    seen[digest] = seen.get(digest, 0) + 1
    return digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def _rows(old: Sequence[str], hunks: Sequence[Hunk]) -> Iterator[Row]:
    done, shift = 0, 0  # unchanged lines of `old` up to `done` are out; right numbers are left ones plus `shift`
    for position, hunk in enumerate(hunks):
        start = hunk.old_start - 1
        yield from _context(old, done, start, shift, opening=position == 0, closing=False)
        yield from _pairs(hunk)
        done = start + len(hunk.old)
        shift += len(hunk.new) - len(hunk.old)
    yield from _context(old, done, len(old), shift, opening=not hunks, closing=True)


def _context(
    old: Sequence[str], start: int, end: int, shift: int, *, opening: bool, closing: bool
) -> Iterator[Row]:
    head = start if opening else min(start + CONTEXT, end)
    tail = end if closing else max(end - CONTEXT, head)
    if tail - head <= 1:
        head = tail = end
    yield from (_same(old, line, shift) for line in range(start, head))
    if tail > head:
        yield Row("gap", folded=tail - head)
        yield from (_same(old, line, shift) for line in range(tail, end))


def _same(old: Sequence[str], line: int, shift: int) -> Row:
    return Row("same", Side(line + 1, old[line]), Side(line + 1 + shift, old[line]))


def _pairs(hunk: Hunk) -> Iterator[Row]:
    for index in range(max(len(hunk.old), len(hunk.new))):
        gone = hunk.old[index] if index < len(hunk.old) else None
        came = hunk.new[index] if index < len(hunk.new) else None
        left, right = hunk.old_start + index, hunk.new_start + index
        if gone is None and came is not None:
            yield Row("added", None, Side(right, "", came))
        elif came is None and gone is not None:
            yield Row("removed", Side(left, "", gone), None)
        elif gone is not None and came is not None:
            yield Row("changed", _within(left, gone, came), _within(right, came, gone))


def _within(number: int, text: str, other: str) -> Side:
    """`text` cut where it begins and ends to differ from `other`."""
    head = _common(text, other)
    tail = _common(text[head:][::-1], other[head:][::-1])
    return Side(number, text[:head], text[head : len(text) - tail], text[len(text) - tail :])


UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters that show nothing


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """`text` in pieces, and whether each is the escape of a character that could not have been seen."""
    for piece in re.split(r"([^\t -~])", text):
        if len(piece) == 1 and (unicodedata.category(piece) in UNSEEN or piece in BLANK) and piece != "\t":
            yield piece.encode("unicode_escape").decode("ascii"), True
        elif piece:
            yield piece, False
