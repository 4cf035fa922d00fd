"""Changes that stand in a reply as plain text: a unified diff, or search/replace blocks. Line by line, in one pass."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PATH = re.compile(r"[*`#\s]*([\w./-]+\.\w+)[*`:\s]*")
OF_A_DIFF = (" ", "+", "-", "@@", "\\", "diff --git ", "index ", "new file", "deleted file", "similarity", "rename ")
OF_GIT = ("diff --git ", "index ", "old mode", "new mode", "new file", "deleted file", "similarity", "rename ")
SEARCH, MIDDLE, REPLACE = re.compile(r"<{5,} ?SEARCH"), re.compile(r"={5,}\s*"), re.compile(r">{5,} ?REPLACE")
ABOVE = 3  # lines above a block in which its file may be named


@dataclass(frozen=True)
class Found:
    """Changes and the line they begin at: either `edits` or a `diff`."""

    start: int
    edits: tuple[Mapping[str, str], ...] = ()
    diff: str = ""


@dataclass(frozen=True)
class Fence:
    """The text between two ``` lines, and the line of the first."""

    start: int
    text: str


def fenced(lines: Sequence[str]) -> list[Fence]:
    """Every fence that is closed."""
    found: list[Fence] = []
    opened: int | None = None
    for at, line in enumerate(lines):
        if line.startswith("```") and opened is None:
            opened = at
        elif line.strip() == "```" and opened is not None:
            found.append(Fence(opened, _joined(lines[opened + 1 : at])))
            opened = None
    return found


def files(lines: Sequence[str]) -> Found | None:
    """Every fence with the name of a file right above it, as that whole file."""
    named = [(path, fence) for fence in fenced(lines) if (path := _named(lines, fence.start))]
    if not named:
        return None
    return Found(_beginning(lines, named[0][1].start), edits=tuple(
        {"path": path, "content": fence.text} for path, fence in named
    ))


def unified(lines: Sequence[str]) -> Found | None:
    """The first unified diff in `lines`: from its header to the first line that is none of its own."""
    for at, line in enumerate(lines[:-2]):
        if line.startswith("--- ") and lines[at + 1].startswith("+++ "):
            end = at
            while end < len(lines) and (not lines[end] or lines[end].startswith(OF_A_DIFF)):
                end += 1
            begin = at
            while begin and lines[begin - 1].startswith(OF_GIT):
                begin -= 1  # a link says so there
            return Found(_beginning(lines, at), diff="\n".join(lines[begin:end]).rstrip("\n") + "\n")
    return None


def replacements(lines: Sequence[str]) -> Found | None:
    """Every block of <<<<<<< SEARCH, =======, >>>>>>> REPLACE below the name of its file."""
    edits: list[Mapping[str, str]] = []
    first: int | None = None
    path = ""
    at = 0
    while at < len(lines):
        if SEARCH.fullmatch(lines[at].strip()):
            named = _named(lines, at)
            path = named or path
            middle, end = _next(lines, at, MIDDLE), _next(lines, at, REPLACE)
            if not path or middle is None or end is None or end < middle:
                return None
            first = _beginning(lines, at) if first is None else first
            edits.append({
                "path": path, "search": _joined(lines[at + 1 : middle]), "replace": _joined(lines[middle + 1 : end]),
            })
            at = end
        at += 1
    return Found(first, edits=tuple(edits)) if first is not None else None


def _named(lines: Sequence[str], at: int) -> str:
    """The file that one of the lines right above names."""
    for line in reversed(lines[max(at - ABOVE, 0) : at]):
        if found := PATH.fullmatch(line):
            return found.group(1)
        if line.strip() and not line.startswith("```"):
            return ""
    return ""


def _next(lines: Sequence[str], at: int, wanted: re.Pattern[str]) -> int | None:
    return next((place for place in range(at, len(lines)) if wanted.fullmatch(lines[place].strip())), None)


def _joined(lines: Sequence[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _beginning(lines: Sequence[str], at: int) -> int:
    """Where the change begins, with the fence, the name and git's own lines that stand right above it."""
    while at > 0 and (
        lines[at - 1].startswith(("```", "diff --git ", "index ", "new file")) or PATH.fullmatch(lines[at - 1])
    ):
        at -= 1
    return at
