"""What cannot be tried at all is refused before anything starts, in one sentence that says what to do."""

from pathlib import Path
from typing import Any

import pytest

from evolution.errors import BadInput
from sandbox.drivers.bubblewrap import Bubblewrap
from sandbox.scoring import score
from tests.trust import genomes


def scored(folder: Path, *, text: bytes, manifest: str = genomes.MANIFEST, **budgets: Any) -> None:
    genome = folder / "genome"
    genome.mkdir()
    for name, content in {**genomes.files(), "genome.toml": manifest.encode()}.items():
        (genome / name).write_bytes(content)
    (folder / "text").write_bytes(text)
    given = {"budget_tokens": 1000, "budget_seconds": None, **budgets}
    score(genome, str(folder / "text"), Bubblewrap(), seed=1, show=lambda phase, progress: None, **given)


@pytest.mark.parametrize(("text", "changes", "words"), [
    (b"", {}, "give at least"),
    (b"To be, or not to be.\n", {}, "give at least"),
    (b"word " * 9000, {"manifest": genomes.MANIFEST.replace("context = 16", "context = 100000")}, "give at least"),
    (b"a" * 100_000, {}, "repeats itself less"),
    (b"\xff" * 100_000, {"manifest": genomes.MANIFEST.replace('"bytes"', '"chars"')}, "UTF-8"),
    (b"word " * 9000, {"budget_tokens": 0}, "budget"),
    (b"word " * 9000, {"budget_seconds": 0.0, "budget_tokens": None}, "budget"),
    (b"word " * 9000, {"budget_tokens": -5}, "budget"),
])
def test_what_cannot_be_tried_is_refused(tmp_path: Path, text: bytes, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        scored(tmp_path, text=text, **changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
