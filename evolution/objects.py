"""The files of a git repository, byte by byte: which ones belong to a commit, and whether they are what they were.

Git's own hash covers what an object says, not how it is compressed; the journal keeps the sha256 of the files.
"""

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pygit2

from evolution import durable
from evolution.genomes import REFS

# libgit2 raises KeyError and ValueError besides its own errors, and pygit2 some of the system's.
UNREADABLE = (pygit2.GitError, KeyError, ValueError, OSError)
MAX_OBJECT_BYTES = 64 << 20


@dataclass(frozen=True)
class Recorded:
    """What the journal says about the code of one variant."""

    variant: int
    commit: str
    files: Mapping[str, str]  # sha256 of each file, by its path inside the repository


def loose(repository: Path, commit: str) -> dict[str, str]:
    """The sha256 of every file that holds an object of `commit` and of none of its parents."""
    store = pygit2.Repository(str(repository))
    one = store[commit].peel(pygit2.Commit)
    inherited = {str(oid) for parent in one.parents for oid in _walk(store, parent.tree_id)}
    own = {commit, *(str(oid) for oid in _walk(store, one.tree_id))} - inherited
    paths = {_path(oid) for oid in own}
    return {path: durable.sha256_of(repository / path) for path in sorted(paths) if (repository / path).is_file()}


def changes(repository: Path, recorded: Sequence[Recorded]) -> Iterator[str]:
    """One sentence for each file, object or ref that is not what was recorded."""
    damaged = [*_changed_files(repository, recorded), *_changed_strangers(repository, recorded)]
    if damaged:
        # libgit2 1.9 reads some damaged files for ever: it only gets to see what is whole.
        yield from damaged
        return
    try:
        store = pygit2.Repository(str(repository))
    except UNREADABLE:
        yield f"{repository.name} is not a readable git repository"
        return
    for one in recorded:
        yield from _changed_commit(store, one)
        yield from _changed_ref(repository, store, one)


def _changed_files(repository: Path, recorded: Iterable[Recorded]) -> Iterator[str]:
    for one in recorded:
        for path, sha256 in one.files.items():
            file = repository / path
            # A file that is gone was packed, or its object is missing: the walk over the commit tells.
            if file.is_file() and durable.sha256_of(file) != sha256:
                yield f"{repository.name}/{path} was changed"


def _changed_commit(store: pygit2.Repository, one: Recorded) -> Iterator[str]:
    try:
        commit = store[one.commit].peel(pygit2.Commit)
        for oid in _walk(store, commit.tree_id):
            store.read(oid)  # libgit2 compares the content with the object's name
    except UNREADABLE:
        yield f"{store.path.rstrip('/').rpartition('/')[2]}: the code of v{one.variant} cannot be read"


def _changed_ref(repository: Path, store: pygit2.Repository, one: Recorded) -> Iterator[str]:
    name = f"{REFS}{one.variant}"
    file = repository / name
    if file.is_file():
        intact = file.read_bytes() == f"{one.commit}\n".encode()
    else:
        try:
            intact = str(store.references[name].target) == one.commit
        except UNREADABLE:
            intact = False
    if not intact:
        yield f"{repository.name}/{name} does not name the code of v{one.variant}"


def _changed_strangers(repository: Path, recorded: Iterable[Recorded]) -> Iterator[str]:
    """Packs, and objects left over from a step that was cut: what they say must fit their hash."""
    known = {path for one in recorded for path in one.files}
    for file in sorted((repository / "objects").glob("[0-9a-f][0-9a-f]/*")):
        path = file.relative_to(repository).as_posix()
        if path not in known and re.fullmatch("[0-9a-f]{38}", file.name) and not _fits(file):
            yield f"{repository.name}/{path} was changed"
    for file in sorted((repository / "objects" / "pack").glob("pack-*")):
        if file.suffix in (".pack", ".idx") and not _ends_in_its_hash(file):
            yield f"{repository.name}/{file.relative_to(repository).as_posix()} was changed"


def _ends_in_its_hash(file: Path) -> bool:
    """gitformat-pack: the last 20 bytes of a pack and of its index are the sha1 of all bytes before."""
    content = file.read_bytes()
    return hashlib.sha1(content[:-20], usedforsecurity=False).digest() == content[-20:]


def _fits(file: Path) -> bool:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(file.read_bytes(), MAX_OBJECT_BYTES)
    except zlib.error:
        return False
    whole = unpacker.eof and not unpacker.unused_data
    return whole and hashlib.sha1(content, usedforsecurity=False).hexdigest() == file.parent.name + file.name


def _walk(store: pygit2.Repository, tree: pygit2.Oid) -> Iterator[pygit2.Oid]:
    """`tree` and everything below it."""
    yield tree
    found = store[tree]
    if isinstance(found, pygit2.Tree):
        for entry in found:
            if isinstance(entry, pygit2.Tree):
                yield from _walk(store, entry.id)
            else:
                yield entry.id


def _path(oid: str) -> str:
    return f"objects/{oid[:2]}/{oid[2:]}"
