"""Code to work on: the built-in genome, and a training program in the shape people know from nanoGPT."""

from pathlib import Path

import pytest

from evolution.agents.base import Brief
from trainer.contract import Genome, parse_genome

ROOT = Path(__file__).resolve().parents[3]
NANOGPT = Path(__file__).parent / "code" / "nanogpt"
BUILTIN = ROOT / "trainer" / "genome"
MANIFEST = """
name = "gpt"
[train]
entry = "train:main"
[judge]
load = "model:load"
context = 64
[evolve]
editable = ["*.py"]
"""


def texts(name: str) -> dict[str, str]:
    """The Python files of one of our code trees, by path."""
    if name == "nanogpt":
        return {path.stem + ".py": path.read_text() for path in sorted(NANOGPT.glob("*.txt"))}
    return {path.name: path.read_text() for path in sorted(BUILTIN.glob("*.py"))}


@pytest.fixture
def genome() -> Genome:
    return parse_genome(MANIFEST)


@pytest.fixture
def brief(genome: Genome) -> Brief:
    files = {path: text.encode() for path, text in texts("nanogpt").items()}
    return Brief(
        files={**files, "genome.toml": MANIFEST.encode()}, genome=genome, target=31, perplexity=7.9,
        parent_perplexity=8.1,
    )
