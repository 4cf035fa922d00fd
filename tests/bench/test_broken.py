"""The corpus of broken patches fits the genomes it is made of, and what can be read is found by reading."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bench.patches import CLASSES, Patch, builtin, corpus
from evolution.effect import effect
from evolution.forbidden import forbidden
from evolution.genomes import read_directory
from evolution.syntax import check
from tests.trainer.adapters import tiny

READ = {"syntax": "parse", "forbidden": "allowed"}
# Found by reading alone, beside all of READ: what lies in torch, or in values, is found by running it.
NAMED = {"names": 6, "imports": 4, "signatures": 4, "no-op": 3}


@pytest.fixture(scope="module")
def genomes() -> Iterator[dict[str, dict[str, bytes]]]:
    with tempfile.TemporaryDirectory() as folder:
        yield {"builtin": builtin(), "command": read_directory(tiny.genome(Path(folder) / "tiny"))}


def texts(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: content.decode() for path, content in files.items() if path.endswith(".py")}


def rung_of(patch: Patch, files: Mapping[str, bytes]) -> str:
    """The first rung that reads code which stops it, empty for none."""
    before, after = texts(files), texts(patch.applied(files))
    found = check({"files": after, "entries": ["train.py", "model.py"]})
    if found["parse"]:
        return "parse"
    changed = effect({"before": before, "after": after, "starts": ["main", "load"]})
    if changed["same"] or changed["idle"]:
        return "change"
    if found["names"]:
        return "names"
    sides = {path: {"before": before[path], "after": text} for path, text in after.items() if before[path] != text}
    return "allowed" if forbidden({"files": sides})["forbidden"] else ""


def test_there_are_at_least_sixty_patches_of_every_class_with_names_of_their_own() -> None:
    assert len(corpus()) >= 60
    assert {one.kind for one in corpus()} == set(CLASSES)
    assert len({one.name for one in corpus()}) == len(corpus())


def test_every_patch_fits_and_what_can_be_read_is_found(genomes: dict[str, dict[str, bytes]]) -> None:
    found = {one: rung_of(one, genomes[one.genome]) for one in corpus()}
    wrong = [one.name for one, rung in found.items() if one.kind in READ and rung != READ[one.kind]]
    assert wrong == []
    count = Counter(one.kind for one, rung in found.items() if rung)
    assert {kind: count[kind] for kind in NAMED} == NAMED


def test_a_patch_that_no_longer_fits_says_so() -> None:
    with pytest.raises(ValueError, match="0 times"):
        corpus()[0].applied({**builtin(), corpus()[0].edits[0].path: b"nothing of it"})
