"""The corpus of broken patches: what agents do wrong, as edits of two genomes, each of one class."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from evolution.genomes import read_directory

FOLDER = Path(__file__).with_name("broken")
BUILTIN = Path(__file__).resolve().parents[1] / "trainer" / "genome"
CLASSES = (
    "syntax", "names", "imports", "signatures", "forbidden", "shapes", "devices", "dtypes", "nan", "divergence", "hang",
    "memory", "time", "no-op", "no checkpoint", "wrong checkpoint",
)


@dataclass(frozen=True)
class Edit:
    """`search` stands in the file `path` exactly once, and becomes `replace`."""

    path: str
    search: str
    replace: str


@dataclass(frozen=True)
class Patch:
    """A change that should never reach a full training. `genome`: builtin, or command (a trainer with its own loop)."""

    name: str
    kind: str
    genome: str
    edits: tuple[Edit, ...]

    def applied(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """`files` after the patch; ValueError where it does not fit any more."""
        changed = dict(files)
        for edit in self.edits:
            text = changed[edit.path].decode()
            if text.count(edit.search) != 1:
                raise ValueError(f"“{self.name}”: {edit.path} holds {edit.search!r} {text.count(edit.search)} times")
            changed[edit.path] = text.replace(edit.search, edit.replace).encode()
        return changed


@cache
def corpus() -> tuple[Patch, ...]:
    """Every patch, in the order of the classes."""
    found = [_patch(one) for path in sorted(FOLDER.glob("*.toml")) for one in tomllib.loads(path.read_text())["patch"]]
    return tuple(sorted(found, key=lambda one: CLASSES.index(one.kind)))


def builtin() -> dict[str, bytes]:
    """The built-in genome, which the patches are edits of."""
    return {path: content for path, content in read_directory(BUILTIN).items() if not path.startswith("__pycache__")}


def _patch(one: Mapping[str, object]) -> Patch:
    edits = one["edits"]
    assert isinstance(edits, list)
    return Patch(
        str(one["name"]), str(one["class"]), str(one.get("genome", "builtin")), tuple(Edit(**edit) for edit in edits)
    )
