"""What language models get nearly right: quoted lines with other white space, and hunks with wrong numbers."""

import re
from collections.abc import Sequence

HEADER = re.compile(r"^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)$|^@@.*$")


def settled(text: str, search: str, replace: str) -> tuple[str, str]:
    """`search` as it stands in `text`, and `replace` with the indentation that belongs there.

    Unchanged when `search` occurs as it is, or when its lines, compared without the white space around them, are in
    no one place. Lines are never guessed: only white space may differ.
    """
    if not search.strip() or search in text:
        return search, replace
    wanted = [line.strip() for line in search.strip("\n").splitlines()]
    lines = text.splitlines(keepends=True)
    bare = [line.strip() for line in lines]
    places = [at for at in range(len(bare) - len(wanted) + 1) if bare[at : at + len(wanted)] == wanted]
    if len(places) != 1:
        return search, replace
    found = lines[places[0] : places[0] + len(wanted)]
    shift = _shift(search.strip("\n").splitlines(), found)
    moved = _moved(replace.strip("\n").splitlines(), shift) if shift is not None else replace.strip("\n").splitlines()
    end = "\n" if found[-1].endswith("\n") else ""
    return "".join(found), "\n".join(moved) + end if moved else ""


def _shift(quoted: Sequence[str], found: Sequence[str]) -> tuple[str, str] | None:
    """(indentation as quoted, as it is) of the first line that has something on it; None where they are the same."""
    for one, other in zip(quoted, found, strict=True):
        if one.strip():
            old, new = _indentation(one), _indentation(other)
            return None if old == new else (old, new)
    return None


def _moved(lines: Sequence[str], shift: tuple[str, str]) -> list[str]:
    old, new = shift
    return [new + line[len(old) :] if line.startswith(old) and line.strip() else line for line in lines]


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def renumbered(diff: str) -> str:
    """`diff` with the lengths in its hunk headers counted again, and headers without numbers given some.

    Where a hunk really belongs is found by its lines when it is applied.
    """
    lines = diff.splitlines()
    result: list[str] = []
    for at, line in enumerate(lines):
        header = HEADER.match(line)
        if header is None:
            # Models leave out the space of an empty context line.
            result.append(" " if not line and _inside_hunk(result) and at + 1 < len(lines) else line)
            continue
        old, new = _lengths(lines[at + 1 :])
        start, target = header.group(1) or "1", header.group(2) or "1"
        result.append(f"@@ -{start},{old} +{target},{new} @@{header.group(3) or ''}")
    return "\n".join(result) + "\n"


def _inside_hunk(before: Sequence[str]) -> bool:
    return any(line.startswith("@@") for line in before)


def _lengths(following: Sequence[str]) -> tuple[int, int]:
    """How many lines the hunk has before and after, up to the next header."""
    old = new = 0
    for at, line in enumerate(following):
        if line.startswith(("@@", "diff ")) or (line.startswith("--- ") and _is_header(following, at)):
            break
        if line.startswith("\\") or (not line and at + 1 == len(following)):
            continue
        old += not line.startswith("+")
        new += not line.startswith("-")
    return old, new


def _is_header(lines: Sequence[str], at: int) -> bool:
    return at + 1 < len(lines) and lines[at + 1].startswith("+++ ")
