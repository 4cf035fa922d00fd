"""Patches: how they are read and applied, and the gate that every changed file passes."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import pygit2
from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, PatchedFile, PatchSet

from evolution.errors import PatchRefused
from trainer.contract import MANIFEST, Genome

MAX_LINES = 2_000  # changed, added and removed together
MAX_FILE_BYTES = 256 << 10
MAX_PATH = 200
INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0")  # letters that show nothing
UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})  # control, format (bidirectional marks), line separators

Files = dict[str, bytes]


def gate(genome: Genome, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
    """Raise PatchRefused unless the step from `before` to `after` changes something, and only what `genome` allows."""
    changed = changed_paths(before, after)
    if not changed:
        raise PatchRefused("the patch changes nothing: change at least one line")
    for path in changed:
        _check_path(genome, path)
        if path in after:
            _check_content(path, before.get(path, b""), after[path])
    _check_tree(after)
    lines = lines_changed(before, after)
    if lines > MAX_LINES:
        raise PatchRefused(f"the patch changes {lines} lines: split it, at most {MAX_LINES} may change at once")


def changed_paths(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """Paths that were added, removed or changed, sorted."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def lines_changed(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> int:
    """Lines added and removed, together."""
    total = 0
    for path in changed_paths(before, after):
        patch = pygit2.Patch.create_from(before.get(path), after.get(path))
        _, added, removed = patch.line_stats
        total += added + removed
    return total


def apply_edits(files: Mapping[str, bytes], edits: Sequence[Mapping[str, str]]) -> Files:
    """`files` after `edits`, each {"path", "search", "replace"} or {"path", "content"}, in order.

    A search text matches exactly once; PatchRefused says which one does not.
    """
    result = dict(files)
    for position, edit in enumerate(edits, 1):
        path = edit.get("path", "")
        if "content" in edit:
            result[path] = _bytes(path, edit["content"])
        elif "search" in edit and "replace" in edit:
            result[path] = _bytes(path, _replace(result, path, edit["search"], edit["replace"], position))
        else:
            raise PatchRefused(f"edit {position} has neither “content” nor “search” and “replace”: give one of them")
    return result


def apply_unified(files: Mapping[str, bytes], patch_text: str) -> Files:
    """`files` after a unified diff, context lines matched exactly; PatchRefused says what does not fit.

    A hunk whose line numbers are off is applied where its lines occur, if they occur only once.
    """
    try:
        patches = PatchSet(patch_text)
    except (UnidiffParseError, ValueError) as error:
        raise PatchRefused(f"this is not a readable unified diff ({error}): make it with git diff") from error
    if "\nGIT binary patch" in patch_text:
        raise PatchRefused("the patch holds a binary file: a patch may hold text only")
    if not patches:
        raise PatchRefused("the patch is empty: make it with git diff")
    result = dict(files)
    for patched in patches:
        _apply_file(result, patched)
    return result


def _replace(files: Files, path: str, search: str, replace: str, position: int) -> str:
    if path not in files:
        raise PatchRefused(f"edit {position} names {path}, which is not there: name a file of the genome")
    text = _text(path, files[path])
    found = text.count(search) if search else 0
    if found != 1:
        raise PatchRefused(
            f"the search text of edit {position} occurs {found} times in {path}: give a text that occurs exactly once"
        )
    return text.replace(search, replace)


def _apply_file(files: Files, patched: PatchedFile) -> None:
    if patched.is_symlink or patched.is_submodule:
        raise PatchRefused(f"{patched.path} is a link or a submodule: a patch may hold regular files only")
    if patched.is_binary_file:
        raise PatchRefused(f"{patched.path} is binary: a patch may hold text only")
    source, target = _name(patched.source_file), _name(patched.target_file)
    if source is not None and source not in files:
        raise PatchRefused(f"the patch changes {source}, which is not there: make it against the parent's files")
    if source is None and target in files:
        raise PatchRefused(f"the patch adds {target}, which is there already: make it against the parent's files")
    lines = _lines(_text(source, files[source])) if source else []
    text = "".join(_apply_hunks(lines, patched, source or target or ""))
    if source is not None and source != target:
        del files[source]
    if target is not None:
        files[target] = _bytes(target, text)
    elif text:
        raise PatchRefused(f"the patch removes {source}, but not all of its lines: make it against the parent's files")


def _apply_hunks(lines: list[str], hunks: Iterable[Hunk], path: str) -> list[str]:
    result: list[str] = []
    done = 0
    for number, hunk in enumerate(hunks, 1):
        old = list(_side(hunk, "-"))
        start = _place(lines, old, done, hunk)
        if start is None:
            raise PatchRefused(
                f"hunk {number} does not apply to {path}: its lines are not there, or more than once; "
                "make the patch against the parent's files"
            )
        result += lines[done:start]
        result += _side(hunk, "+")
        done = start + len(old)
    return result + lines[done:]


def _side(hunk: Hunk, sign: str) -> Iterator[str]:
    """The lines before ("-") or after ("+") the hunk. A “no newline” mark takes the end off the line above it."""
    for line, following in pairwise([*hunk, None]):
        if line is not None and line.line_type in (" ", sign):
            bare = following is not None and following.line_type == "\\"
            yield line.value.rstrip("\n") if bare else line.value


def _place(lines: list[str], old: list[str], done: int, hunk: Hunk) -> int | None:
    stated = hunk.source_start - 1 if old else hunk.source_start
    if done <= stated <= len(lines) and lines[stated : stated + len(old)] == old:
        return stated
    if not old:
        return None
    found = [at for at in range(done, len(lines) - len(old) + 1) if lines[at : at + len(old)] == old]
    return found[0] if len(found) == 1 else None


def _name(header: str) -> str | None:
    """The path in a `---` or `+++` line, without git's prefix; None for /dev/null."""
    if header == "/dev/null":
        return None
    return header[2:] if header[:2] in ("a/", "b/") else header


def _text(path: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise PatchRefused(f"{path} is not UTF-8 text: only text may be changed") from error


def _bytes(path: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise PatchRefused(f"{path} would hold half a character: write only whole ones") from error


def _lines(text: str) -> list[str]:
    """Lines with their ends, as git counts them: str.splitlines would also split at form feeds."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _check_path(genome: Genome, path: str) -> None:
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or any(part in ("", ".", "..", ".git") for part in parts):
        raise PatchRefused(f"{path!a} leads out of the genome: use a plain relative path")
    if len(path) > MAX_PATH or not _showable(path):
        raise PatchRefused(f"the file name {path!a} is too long or cannot be shown: choose a plain one")
    if path == MANIFEST:
        raise PatchRefused(f"{MANIFEST} may not be changed by a patch: leave it as it is")
    if not genome.may_edit(path):
        allowed = ", ".join(genome.editable)
        raise PatchRefused(f"{path} may not be changed: [evolve] editable in {MANIFEST} allows {allowed}")


def _check_content(path: str, before: bytes, after: bytes) -> None:
    if len(after) > MAX_FILE_BYTES:
        raise PatchRefused(f"{path} would have {len(after)} bytes: at most {MAX_FILE_BYTES >> 10} kB are allowed")
    known = set(before.decode(errors="replace").split("\n"))
    for number, line in enumerate(_text(path, after).split("\n"), 1):
        # Only new lines are looked at: what the genome already held is not the patch's doing.
        if line not in known and not _showable(line.removesuffix("\r").replace("\t", " ")):
            raise PatchRefused(
                f"{path}:{number} holds control, bidirectional or invisible characters: write them as escapes"
            )


def _check_tree(after: Mapping[str, bytes]) -> None:
    folded: dict[str, str] = {}
    for path in sorted(after):
        other = folded.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
        if other != path:
            raise PatchRefused(f"{path} and {other} are one file where letters have no case: choose another name")
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in after:
                raise PatchRefused(f"{path} needs a directory where a file is: choose another name")


def _showable(text: str) -> bool:
    return (text.isascii() and text.isprintable()) or not any(
        unicodedata.category(letter) in UNSHOWN or letter in INVISIBLE for letter in text
    )
