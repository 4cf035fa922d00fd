"""The git store: one bare repository per experiment, one commit and one ref per variant."""

import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import pygit2
from pygit2.enums import FileMode, ObjectType

from evolution.errors import BadInput, Infrastructure
from evolution.models import Experiment
from trainer.adapters import NAMES
from trainer.contract import MANIFEST, Genome, GenomeError, parse_genome

REFS = "refs/variants/"
MAX_FILES = 2_000
MAX_FILE_BYTES = 4 << 20  # of a genome as a whole; what a patch may write is limited in patches.py
MAX_TOTAL_BYTES = 16 << 20
SKIPPED = frozenset({".git", ".hg", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


class Store:
    """A bare repository. Objects and ref are on the disk before `commit` returns."""

    def __init__(self, path: Path) -> None:
        try:
            self._repository = pygit2.Repository(str(path))
        except pygit2.GitError as error:
            raise Infrastructure(f"{path} is not a readable git repository: restore it from an export") from error
        # libgit2 knows no core.fsync: this is its own switch, and it holds for the whole process.
        pygit2.settings.enable_fsync_gitdir(True)

    @classmethod
    def create(cls, path: Path) -> "Store":
        """A new, empty store at `path`; opening an existing one is harmless."""
        repository = pygit2.init_repository(str(path), bare=True)
        repository.config["core.fsync"] = "all"  # for whoever uses git itself on it
        return cls(path)

    def commit(
        self, files: Mapping[str, bytes], *, parents: Sequence[str], message: str, author: str, number: int
    ) -> str:
        """Write `files` as variant `number` and return the commit's sha.

        Doing it again with the same files and parents gives the commit that is there. A ref that belongs to other
        files is replaced: the caller holds the number, so what is there was never finished.
        """
        try:
            tree = self._write_tree(files)
            return self._there(number, tree, parents) or self._write_commit(number, tree, parents, message, author)
        except (OSError, pygit2.GitError) as error:
            raise Infrastructure(f"v{number} could not be committed ({error}): free some space on the disk") from error

    def files(self, commit: str) -> dict[str, bytes]:
        """Every file of `commit` by its POSIX path."""
        return dict(sorted(self._walk(self._commit(commit).tree, "")))

    def diff(self, old: str, new: str) -> str:
        """The unified difference from `old` to `new`, as git prints it."""
        difference = self._commit(old).tree.diff_to_tree(self._commit(new).tree)
        difference.find_similar()
        return difference.patch or ""

    def checkout(self, commit: str, directory: Path) -> None:
        """Write the files of `commit` into `directory`, readable by every user and writable by us only."""
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        for path, content in self.files(commit).items():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            for folder in PurePosixPath(path).parents:
                (directory / folder).chmod(0o755)
            target.write_bytes(content)
            target.chmod(0o644)

    def merge_base(self, first: str, second: str) -> str | None:
        """The nearest common ancestor of two commits, if they have one."""
        found = self._repository.merge_base(first, second)
        return str(found) if found else None

    def refs(self) -> dict[int, str]:
        """The commit of every variant by its number."""
        return {
            int(name.removeprefix(REFS)): str(self._repository.references[name].target)
            for name in self._repository.references
            if name.startswith(REFS)
        }

    def _there(self, number: int, tree: pygit2.Oid, parents: Sequence[str]) -> str | None:
        reference = self._repository.references.get(f"{REFS}{number}")
        if reference is None:
            return None
        old = self._commit(str(reference.target))
        same = old.tree_id == tree and [str(parent) for parent in old.parent_ids] == list(parents)
        return str(old.id) if same else None

    def _write_commit(self, number: int, tree: pygit2.Oid, parents: Sequence[str], message: str, author: str) -> str:
        signature = pygit2.Signature(_plain(author) or "DARWIN", "darwin@localhost")
        commit = self._repository.create_commit(None, signature, signature, message, tree, list(parents))
        self._repository.references.create(f"{REFS}{number}", commit, force=True)
        return str(commit)

    def _commit(self, sha: str) -> pygit2.Commit:
        try:
            return self._repository[sha].peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise Infrastructure(f"commit {sha} is not in the experiment's repository: restore it") from error

    def _write_tree(self, files: Mapping[str, bytes]) -> pygit2.Oid:
        index = pygit2.Index()
        for path, content in files.items():
            index.add(pygit2.IndexEntry(path, self._repository.create_blob(content), FileMode.BLOB))
        return index.write_tree(self._repository)

    def _walk(self, tree: pygit2.Tree, prefix: str) -> Iterator[tuple[str, bytes]]:
        for entry in tree:
            path = f"{prefix}{entry.name}"
            if entry.type == ObjectType.TREE and isinstance(entry, pygit2.Tree):
                yield from self._walk(entry, f"{path}/")
            elif isinstance(entry, pygit2.Blob):
                yield path, entry.data


def store_of(experiment: Experiment) -> Store:
    """The store of `experiment`."""
    return Store(experiment.folder / "genomes.git")


def sweep(experiment: Experiment) -> dict[int, str]:
    """Refs that no row knows: a step that was killed between the ref and the row. Harmless, and replaced later."""
    known = set(experiment.variants.values_list("number", flat=True))
    return {number: commit for number, commit in store_of(experiment).refs().items() if number not in known}


def genome_of(files: Mapping[str, bytes]) -> Genome:
    """The manifest among `files`, or GenomeError."""
    if MANIFEST not in files:
        raise GenomeError(f"the genome has no {MANIFEST}: add one, docs/genomes.md shows how")
    try:
        return parse_genome(files[MANIFEST].decode())
    except UnicodeDecodeError as error:
        raise GenomeError(f"{MANIFEST} is not UTF-8 text: save it as UTF-8") from error


def supported(genome: Genome) -> Genome:
    """`genome`, or GenomeError when it asks for what the contract knows and this release cannot do."""
    if genome.command is not None:
        if genome.adapter not in NAMES:
            raise GenomeError(f"there is no adapter “{genome.adapter}”: choose one of {', '.join(NAMES)}")
        if genome.processes != 1:
            raise GenomeError("[train] processes is for an entry: leave it out, a command runs as one process")
    return genome


def read_directory(path: Path) -> dict[str, bytes]:
    """The files of a genome directory by POSIX path; BadInput when it holds what a genome may not.

    No symbolic link is followed; version control, caches and byte code are left out.
    """
    if not path.is_dir():
        raise BadInput(f"{path} is not a directory: name the directory of a genome")
    files: dict[str, bytes] = {}
    total = 0
    for name, file in _regular_files(path):
        files[name] = _read(file)
        total += len(files[name])
        if total > MAX_TOTAL_BYTES or len(files) > MAX_FILES:
            raise BadInput(
                f"{path} holds more than {MAX_TOTAL_BYTES >> 20} MB or {MAX_FILES} files: keep only code in a genome"
            )
    return files


def _regular_files(path: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(path, followlinks=False):
        folders[:] = sorted(set(folders) - SKIPPED)
        for name in sorted([*folders, *names]):
            file = Path(folder) / name
            mode = file.lstat().st_mode
            if stat.S_ISDIR(mode) or name.endswith(".pyc"):
                continue
            if not stat.S_ISREG(mode):
                raise BadInput(f"{file} is a link or a special file: put a regular file in its place")
            yield _posix(file.relative_to(path)), file


def _posix(relative: Path) -> str:
    name = relative.as_posix()
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in name) or "\\" in name:
        raise BadInput(f"the file name {name!a} holds characters that cannot be shown: rename it")
    return name


def _read(file: Path) -> bytes:
    """At most one byte more than allowed is read, from the file that was looked at and not from what a link names."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror}): make it readable or take it away") from error
    with os.fdopen(descriptor, "rb") as opened:
        content = opened.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise BadInput(f"{file} is larger than {MAX_FILE_BYTES >> 20} MB: keep data and weights out of a genome")
    return content


def _plain(text: str) -> str:
    """Git takes no angle brackets and no line ends in a name."""
    return "".join(letter for letter in text if letter not in "<>" and letter.isprintable()).strip()
