"""Code for the page: highlighted line by line, and the difference of two trees as rows."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer, TextLexer, TOMLLexer

from darwin_web.templatetags.darwin import visible

LEXERS = {".py": PythonLexer, ".toml": TOMLLexer}
CONTEXT = 4
MAX_LINES = 20_000


@dataclass(frozen=True)
class Row:
    """One line of a difference. `sign` is "+", "-", " " or "@"; a missing number is an empty cell."""

    sign: str
    old: int | None
    new: int | None
    html: SafeString


@dataclass(frozen=True)
class FileDiff:
    path: str
    added: int
    removed: int
    rows: list[Row]


def text_of(content: bytes) -> str:
    """Untrusted bytes as text; characters nobody could see are shown as escapes."""
    return visible(content.decode("utf-8", "replace").replace("\r\n", "\n"))


def highlighted(path: str, text: str) -> list[SafeString]:
    """The lines of `text` as HTML with Pygments' classes; everything in it is escaped."""
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        return [escape(line) for line in lines]
    suffix = path[path.rfind(".") :]
    lexer = LEXERS.get(suffix, TextLexer)(stripnl=False, ensurenl=False)
    html = highlight(text, lexer, HtmlFormatter(nowrap=True))
    return [mark_safe(line) for line in html.split("\n")]  # noqa: S308 Pygments escaped it


def difference(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[FileDiff]:
    """What changed from `old` to `new`, file by file, in the order of the paths."""
    changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    return [_file(path, text_of(old.get(path, b"")), text_of(new.get(path, b""))) for path in changed]


def _file(path: str, before: str, after: str) -> FileDiff:
    rows = list(_rows(path, before, after))
    return FileDiff(
        path=path, rows=rows, added=sum(row.sign == "+" for row in rows), removed=sum(row.sign == "-" for row in rows)
    )


def _rows(path: str, before: str, after: str) -> Iterator[Row]:
    old, new = before.split("\n") if before else [], after.split("\n") if after else []
    old_html, new_html = highlighted(path, before), highlighted(path, after)
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT):
        first, last = group[0], group[-1]
        yield Row("@", None, None, escape(f"lines {first[3] + 1} to {last[4]}"))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (Row(" ", i + 1, j1 + i - i1 + 1, new_html[j1 + i - i1]) for i in range(i1, i2))
                continue
            yield from (Row("-", i + 1, None, old_html[i]) for i in range(i1, i2))
            yield from (Row("+", None, j + 1, new_html[j]) for j in range(j1, j2))
