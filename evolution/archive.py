"""An experiment as files: the manifest of an export, and the search for a changed byte. No database is needed."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from evolution import chain, documents, durable, objects
from evolution.chain import Broken, Line
from evolution.errors import BadInput
from evolution.objects import Recorded

MEMORY = "memory"
GENOMES = "genomes.git"
REPORT = "report.html"
MANIFEST = "manifest.json"
FORMAT = 1


class NotAnExport(BadInput):
    """The directory holds neither an export nor an experiment."""


def require(directory: Path) -> None:
    """Raise NotAnExport unless `directory` looks like an export or an experiment's folder."""
    if not (directory / MANIFEST).is_file() and not (directory / MEMORY / chain.JOURNAL).is_file():
        raise NotAnExport(
            f"{directory} is neither an export nor an experiment's folder: name one that has {MEMORY}/{chain.JOURNAL}"
        )


def changes(directory: Path) -> list[str]:
    """One sentence for everything in `directory` that is not as it was written; empty when it is intact.

    Works on an export, where every file is in the manifest, and on an experiment's folder in use, where the journal's
    chain and its head cover the documents, the commits and the refs. NotAnExport when it is neither.
    """
    require(directory)
    memory = directory / MEMORY
    if not memory.is_dir():
        return [f"{MEMORY}/ is missing", *_against_manifest(directory)]
    with durable.locked(memory, shared=True):
        return [*_against_manifest(directory), *_against_journal(directory)]


def write_manifest(directory: Path, *, experiment: str) -> None:
    """Write the sha256 of every file in `directory`; the last step of an export."""
    durable.write(directory / MANIFEST, _manifest(experiment, {
        path: durable.sha256_of(directory / path) for path in _files(directory)
    }))


def _manifest(experiment: str, files: dict[str, str]) -> bytes:
    table = {"format": FORMAT, "experiment": experiment, "files": files}
    return (json.dumps(table, indent=1, sort_keys=True) + "\n").encode()


def _files(directory: Path) -> list[str]:
    """Every file and link below `directory` but the manifest, sorted."""
    return sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*")
        if (path.is_symlink() or not path.is_dir()) and path != directory / MANIFEST
    )


def _against_manifest(directory: Path) -> Iterator[str]:
    path = directory / MANIFEST
    if not path.is_file():
        if (directory / REPORT).exists():
            yield f"{MANIFEST} is missing"
        return
    table = _read_manifest(path)
    if table is None:
        yield f"{MANIFEST} was changed"
        return
    recorded: dict[str, str] = table["files"]
    present = _files(directory)
    yield from (f"{name} is not in the manifest" for name in sorted({*present} - {*recorded}))
    for name, sha256 in recorded.items():
        if name not in present:
            yield f"{name} is missing"
        elif (directory / name).is_symlink() or durable.sha256_of(directory / name) != sha256:
            yield f"{name} was changed"


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest, if every byte of it is as we write it and it is about the experiment beside it."""
    try:
        content = path.read_bytes()
        table: dict[str, Any] = json.loads(content)
        exact = content == _manifest(table["experiment"], table["files"])
        own = documents.read_experiment(path.parent / MEMORY)["slug"] == table["experiment"]
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        return None
    return table if exact and own else None


def _against_journal(directory: Path) -> Iterator[str]:
    memory = directory / MEMORY
    found: list[Line] = []
    try:
        found.extend(chain.lines(memory))
        _check_head(memory, found)
    except Broken as error:
        # What the lines behind a broken one say is worth nothing; the documents are checked against those before it.
        yield str(error).partition(": restore")[0]
        return
    yield from _changed_documents(memory, found)
    yield from objects.changes(directory / GENOMES, _commits(found))


def _check_head(memory: Path, found: list[Line]) -> None:
    head = chain.read_head(memory)
    if not head.seq:
        if found and not (memory / chain.HEAD).exists():
            raise Broken(f"{chain.HEAD} is missing")
        return
    if head.seq > len(found):
        raise Broken(f"{chain.JOURNAL} line {len(found) + 1} and what follows it is cut off or was changed")
    if chain.head_of(found[head.seq - 1]) != head:
        raise Broken(f"{chain.JOURNAL} line {head.seq} was changed, or {chain.HEAD}")


def _commits(found: Iterable[Line]) -> list[Recorded]:
    return [
        Recorded(variant=line.data["variant"], commit=line.data["commit"], files=line.data["files"])
        for line in found if line.kind == "commit.written"
    ]


def _changed_documents(memory: Path, found: list[Line]) -> Iterator[str]:
    history: dict[str, list[str]] = {}
    for line in found:
        if line.kind == "document.written":
            history.setdefault(line.data["path"], []).append(line.data["sha256"])
    present = {path.relative_to(memory).as_posix() for path in memory.rglob("*") if not path.is_dir()}
    strangers = present - {*history, chain.JOURNAL, chain.HEAD}
    yield from (f"{MEMORY}/{name} is in no line of the journal" for name in sorted(strangers) if not _waits(name))
    for name, hashes in history.items():
        if not _intact(memory / name, hashes):
            yield f"{MEMORY}/{name} was changed or is missing"


def _waits(name: str) -> bool:
    return name.endswith(durable.STAGED)


def _intact(path: Path, hashes: list[str]) -> bool:
    """Whether `path` holds what the newest line says, or a crash left that beside it and the one before in place."""
    now = durable.sha256_of(path) if path.is_file() else None
    if now == hashes[-1]:
        return True
    waiting = durable.staged(path)
    staged = waiting.is_file() and durable.sha256_of(waiting) == hashes[-1]
    return staged and now == (hashes[-2] if len(hashes) > 1 else None)
