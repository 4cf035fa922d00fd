"""A genome with a byte-pair vocabulary of its own, trained and judged in a real sandbox."""

import math
from pathlib import Path

import pytest

from tests import cast
from tests.flow.stage import Stage, last_object
from tests.trainer import pairs

LOADS = cast.MODEL.replace(b"model = Bigram(256)", b"""import json
    model = Bigram(json.loads((directory / "config.json").read_text())["vocab_size"])""")


RAW_BYTES, MERGES = 150_000, 100


@pytest.fixture
def lengths(stage: Stage, shakespeare: Path) -> list[int]:
    """Bytes per token of the directory DARWIN_VAR/data/pairs."""
    ids, lengths = pairs.encoded(shakespeare.read_bytes()[:RAW_BYTES], merges=MERGES)
    pairs.written(stage.var / "data" / "pairs", ids, lengths)
    return lengths


@pytest.fixture
def genome(stage: Stage) -> str:
    directory = stage.genome(model=LOADS, train=cast.TRAIN.replace(b"learning_rate = 1.0", b"learning_rate = 30.0"))
    (directory / "genome.toml").write_bytes(cast.MANIFEST.replace(b'"bytes"', b'"pairs"'))
    return str(directory)


@pytest.mark.bubblewrap
def test_a_genome_is_scored_on_its_own_tokens(stage: Stage, genome: str, lengths: list[int]) -> None:
    run = stage.manage("score", genome, "--budget-tokens", "30000", "--sandbox", "bubblewrap", "--json")
    assert run.returncode == 0, run.stderr
    told = last_object(run.stdout)
    assert told["verdict"] == "measured"
    assert 2.0 < told["val_loss"] < math.log(len(lengths))  # nats per token; guessing costs as much
    # Per byte, as for a vocabulary of bytes: a token stands for one to some bytes of text.
    bits_per_token = told["val_loss"] / math.log(2)
    assert bits_per_token / max(lengths) < told["bits_per_byte"] < bits_per_token
    assert list((stage.var / "cache").iterdir())


def test_data_beside_tokens_and_missing_tokens_are_bad_input(
    stage: Stage, genome: str, lengths: list[int], shakespeare: Path
) -> None:
    refused = stage.manage("score", genome, "--data", str(shakespeare), "--json")
    assert refused.returncode == 2
    assert "brings its own tokens" in refused.stderr
    (stage.var / "data" / "pairs" / "heldout.bin").unlink()
    gone = stage.manage("score", genome)
    assert gone.returncode == 2
    assert "has no heldout.bin" in gone.stderr
