"""From a checkout of somebody's trainer to a genome in var/genomes: nothing of it is run, and nothing of it changed."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.text import slugify

from evolution.confined import Unparsable, confined
from evolution.errors import BadInput
from evolution.genomes import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, SKIPPED, genome_of, supported
from evolution.models import Experiment
from evolution.outline import packed, unpacked
from trainer.contract import MANIFEST, Genome, GenomeError

RESERVED = frozenset({"builtin"})
MAX_WALKED = 20_000
MAX_READ_BYTES = 256 << 20


@dataclass(frozen=True)
class Imported:
    """What was written to `folder`, and which files of the checkout were left out."""

    folder: Path
    genome: Genome
    files: tuple[str, ...]
    left_out: tuple[str, ...]


def import_genome(
    directory: Path, *, name: str, adapter: str, config: str | None = None, changed: Mapping[str, str] | None = None
) -> Imported:
    """Write the trainer in `directory` to var/genomes/`name` as a genome; BadInput says what is in the way.

    `config` is one of its configuration files, `changed` gives values of settings in place of those in it.
    """
    folder = _place(name)
    found = dict(_readable(directory))
    if MANIFEST in found:
        raise BadInput(f"{directory} has a {MANIFEST}: it is a genome already, so name it with --genome {directory}")
    files = _adopted(directory, found, adapter=adapter, name=name, config=config, settings=dict(changed or {}))
    try:
        genome = supported(genome_of(files))
    except GenomeError as error:
        raise BadInput(f"{directory} cannot be imported: {error}") from error
    if len(files) > MAX_FILES or sum(map(len, files.values())) > MAX_TOTAL_BYTES:
        raise BadInput(f"{directory} holds more than {MAX_TOTAL_BYTES >> 20} MB or {MAX_FILES} files: take some away")
    _write(files, folder)
    return Imported(folder, genome, tuple(sorted(files)), tuple(sorted(_names(directory) - set(files))))


def _adopted(directory: Path, found: dict[str, bytes], **wanted: Any) -> dict[str, bytes]:
    """Parsed in a child with limits: nobody knows whose code this is."""
    try:
        told = confined("adopt", {**wanted, "files": packed(found)})
    except Unparsable as error:
        raise BadInput(f"{directory} cannot be imported: {error}") from error
    if "refused" in told:
        raise BadInput(f"{directory} cannot be imported: {told['refused']}")
    return unpacked(told["files"])


def _place(name: str) -> Path:
    if not name or slugify(name) != name or name in RESERVED:
        raise BadInput(f"“{name}” cannot be the name of a genome: use lower-case letters, digits and hyphens")
    if Experiment.objects.filter(slug=name).exists():
        raise BadInput(f"there is an experiment “{name}”, and --genome {name} means its champion: choose another name")
    folder = Path(settings.DARWIN_VAR) / "genomes" / name
    if folder.exists():
        raise BadInput(f"{folder} exists: choose another name, or remove it")
    return folder


def _readable(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Regular files that a genome may hold: no link is followed, what is too large is left out."""
    total = 0
    for name, path in _regular(directory):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror}): make it readable") from error
        total += len(content)
        if total > MAX_READ_BYTES:
            raise BadInput(f"{directory} holds more than {MAX_READ_BYTES >> 20} MB: name a checkout of the trainer")
        yield name, content


def _regular(directory: Path) -> Iterator[tuple[str, Path]]:
    for name, path in _walk(directory):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_FILE_BYTES and name.isprintable():
            yield name, path


def _walk(directory: Path) -> Iterator[tuple[str, Path]]:
    if not directory.is_dir():
        raise BadInput(f"{directory} is not a directory: name a checkout of the trainer")
    count = 0
    for folder, folders, names in os.walk(directory, followlinks=False):
        folders[:] = sorted(set(folders) - SKIPPED)
        for name in sorted(names):
            count += 1
            if count > MAX_WALKED:
                raise BadInput(f"{directory} holds more than {MAX_WALKED:,} files: name a checkout of the trainer")
            path = Path(folder) / name
            yield path.relative_to(directory).as_posix(), path


def _names(directory: Path) -> set[str]:
    return {name for name, _ in _walk(directory)}


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    """All of it or nothing."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name, content in files.items():
        path = partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    partial.replace(folder)
