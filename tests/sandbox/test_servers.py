"""A trainer that owns its loop: what its container gets, and how it ends."""

import io
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evolution.errors import BadInput
from sandbox import servers
from sandbox.drivers.base import Driver, Limits
from sandbox.drivers.bubblewrap import Bubblewrap
from sandbox.drivers.docker import Docker
from sandbox.models import Purpose
from sandbox.outcome import Outcome
from sandbox.training import train
from sandbox.trial import Baseline, Order, job
from tests.sandbox.trainings import Watch
from tests.trainer.adapters import tiny
from tests.trainer.conftest import sentences
from trainer.contract import Cause, read_genome
from trainer.harness.outside.server import Report
from trainer.harness.outside.text import needles, prepare

TEXT = prepare(sentences(1, 3000), vocabulary="chars", context=16)
DRIVERS = [
    pytest.param(Docker, marks=pytest.mark.docker, id="docker"),
    pytest.param(Bubblewrap, marks=pytest.mark.bubblewrap, id="bubblewrap"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="darwin-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def order(folder: Path, *, edits: dict[str, tuple[bytes, bytes]] | None = None, **changes: object) -> Order:
    genome = tiny.genome(folder / "genome", edits=edits)
    made = Order(
        name=folder.name, purpose=Purpose.SCORE, genome_dir=genome, genome=read_genome(genome), folder=folder,
        text=TEXT, seed=3, budget_tokens=12_800, budget_seconds=None, threads=1,
        limits=replace(Limits(), wall_seconds=120.0),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def words(order: Order) -> dict[str, str]:
    """The arguments after the genome's own command."""
    server = servers.command_server(order, lambda report: None)
    told = server._command.words[len(order.genome.command or ()) :]
    return dict(word.removeprefix("--").split("=") for word in told)


def test_the_training_container_alone_sees_a_copy_of_the_training_text(folder: Path) -> None:
    made = order(folder)
    training = servers.training_job(made)
    window = job(made, "window", module="judge", limits=made.limits, weights=folder / "weights")
    data = [mount for mount in training.mounts if mount.target == "/genome/data/darwin"]
    assert [mount.source for mount in data] == [folder / "data"]
    assert not any(mount.target.startswith("/genome/data") for mount in window.mounts)
    assert not any((made.genome_dir / "data" / "darwin").iterdir())  # a place for the mount, and nothing in it


def test_no_held_out_text_is_laid_out(folder: Path) -> None:
    servers.training_job(order(folder))
    tokens = np.concatenate([np.fromfile(folder / "data" / name, dtype="<u2") for name in ("train.bin", "val.bin")])
    letters = servers.training_text(TEXT).alphabet or ()
    laid_out = "".join(letters[token] for token in tokens).encode()
    assert len(tokens) == len(TEXT.train)
    strings = needles(TEXT, np.random.default_rng(0), 20)
    assert strings
    assert not any(bytes(string) in laid_out for string in strings)


def test_a_variant_trains_as_many_iterations_as_the_baseline_whatever_batch_it_sets(folder: Path) -> None:
    larger = {"config/train_tiny_char.py": (b"batch_size = 8", b"batch_size = 80")}
    variant = order(folder, edits=larger, baseline=Baseline(tokens_per_iteration=128))
    assert words(variant)["max_iters"] == "100"
    assert words(replace(variant, baseline=Baseline()))["max_iters"] == "10"  # as a baseline it counts its own


def test_a_check_reads_no_code_and_trains_two_iterations(folder: Path) -> None:
    broken = order(folder, edits={"train.py": (b"import math", b"import math (")}, purpose=Purpose.CHECK)
    assert words(broken)["max_iters"] == "2"
    with pytest.raises(BadInput, match="cannot be read as Python"):
        words(replace(broken, purpose=Purpose.SCORE))


def test_what_it_says_of_tokens_is_claimed_and_never_measured(folder: Path) -> None:
    outcome = Outcome(numbers={"train_tokens": 500, "tokens_per_second": 10.0, "device_seconds": 3.0})
    servers.settle(order(folder), outcome)
    assert outcome.numbers["train_tokens"] is None
    assert outcome.numbers["tokens_per_second"] is None
    assert (outcome.claimed["train_tokens"], outcome.claimed["tokens_per_second"]) == (500, 10.0)
    assert outcome.numbers["tokens_per_iteration"] == 128


# --- in real sandboxes ----------------------------------------------------------------------------------------------


def trained(order: Order, driver: Driver) -> tuple[Outcome, list[Report]]:
    outcome, watch = Outcome(), Watch()
    train(order, driver, watch, outcome)
    return outcome, watch.reports


@pytest.mark.parametrize("driver", DRIVERS)
def test_it_trains_saves_and_is_heard(folder: Path, driver: type[Docker] | type[Bubblewrap]) -> None:
    outcome, reports = trained(order(folder), driver())
    assert outcome.cause is None, outcome.sentence() + outcome.log_tail
    assert zipfile.is_zipfile(io.BytesIO((folder / "ckpt.pt").read_bytes()))
    assert outcome.claimed["step"] == 100
    assert outcome.claimed["train_tokens"] == 12_800
    assert outcome.claimed["val_loss"] is not None
    assert reports[0].loss is not None
    assert outcome.numbers["device_seconds"] > 0


@pytest.mark.docker
def test_its_last_line_says_why_it_failed(folder: Path) -> None:
    edits = {"train.py": (b"    optimizer.step()\n", b"    raise ValueError('one step too far')\n")}
    outcome, _ = trained(order(folder, edits=edits), Docker())
    assert outcome.cause == Cause.CRASHED
    assert outcome.detail == "ValueError: one step too far"


@pytest.mark.docker
def test_a_trainer_that_never_saves_has_no_checkpoint(folder: Path) -> None:
    edits = {"train.py": (b"                save(best_val_loss)\n", b"                pass\n")}
    outcome, _ = trained(order(folder, edits=edits), Docker())
    assert outcome.cause == Cause.NO_CHECKPOINT
    assert "ckpt.pt" in outcome.detail


@pytest.mark.docker
def test_device_time_stops_it_at_a_checkpoint_that_is_complete(folder: Path) -> None:
    endless = {"train.py": (b"    if iter_num > max_iters:\n        break\n", b"")}
    made = order(folder, edits=endless, budget_tokens=None, budget_seconds=8.0)
    outcome, _ = trained(made, Docker())
    assert outcome.cause is None, outcome.sentence() + outcome.log_tail
    assert zipfile.is_zipfile(folder / "ckpt.pt")
    assert outcome.numbers["device_seconds"] >= 8.0


@pytest.mark.docker
def test_a_variant_that_takes_its_time_is_ended_by_the_baselines(folder: Path) -> None:
    known = Baseline(device_seconds=3.0, setup_device_seconds=0.1, tokens_per_iteration=128)
    outcome, _ = trained(order(folder, budget_tokens=10**9, baseline=known), Docker())
    assert outcome.cause == Cause.DEVICE_TIME
    assert not (folder / "ckpt.pt").exists()
