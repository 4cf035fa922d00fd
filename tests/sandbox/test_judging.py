"""The judge's containers in a real sandbox: started early, and in front of models that do not behave."""

import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from sandbox import hashes, judging
from sandbox.conduct import conduct
from sandbox.drivers.base import Driver, Limits, SandboxError
from sandbox.models import AttemptState, Purpose
from sandbox.outcome import Outcome
from sandbox.readiness import driver as driver_named
from sandbox.trial import Baseline, Order
from tests.sandbox.boxes import MB
from trainer.contract import CONFIG_FILE, MODEL_FILE, Cause, parse_genome
from trainer.harness.outside.server import Report
from trainer.harness.outside.text import Text, prepare

CONTEXT = 16
MANIFEST = f"""
name = "hostile"
[train]
entry = "model:main"
[judge]
load = "model:load"
context = {CONTEXT}
[evolve]
editable = ["*.py"]
"""
HONEST = """
import safetensors.torch, torch
from torch import nn

class Model(nn.Module):
    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, tokens):
        return self.table[tokens]

def load(directory, device):
    return Model(safetensors.torch.load_file(directory / "model.safetensors")["table"])
"""
LIMITS = Limits(memory_bytes=1024 * MB, pids=64, tmp_bytes=4 * MB, out_bytes=8 * MB, cache_bytes=8 * MB, cpus=1.0,
                wall_seconds=120)


class Watch:
    def phase(self, state: AttemptState, container: str) -> None: ...
    def report(self, report: Report) -> None: ...
    def tick(self, progress: float) -> None: ...


@pytest.fixture(scope="module")
def text() -> Text:
    rng = np.random.default_rng(3)
    return prepare(bytes(rng.integers(97, 123, size=20_000).astype(np.uint8)), vocabulary="bytes", context=CONTEXT)


Make = Callable[..., Order]


@pytest.fixture
def make(text: Text) -> Iterator[Make]:
    """Makes the order of a trial whose training is over, for a genome with this model.py."""
    folders: list[Path] = []

    def order(code: str = HONEST, **changes: Any) -> Order:
        folder = Path(tempfile.mkdtemp(prefix="dw-"))
        folders.append(folder)
        folder.chmod(0o755)
        genome = folder / "genome"
        genome.mkdir(mode=0o755)
        (genome / "genome.toml").write_text(MANIFEST)
        (genome / "model.py").write_text(code)
        made = Order(
            name=f"test-{uuid.uuid4().hex[:12]}", purpose=Purpose.CHECK, genome_dir=genome,
            genome=parse_genome(MANIFEST), folder=folder, text=text, seed=1, budget_tokens=1000, budget_seconds=None,
            threads=1, limits=LIMITS, image="an image",
        )
        return replace(made, **changes)

    yield order
    for folder in folders:
        shutil.rmtree(folder)


def save(order: Order) -> Order:
    table = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    safetensors.numpy.save_file({"table": table}, order.folder / MODEL_FILE)
    (order.folder / CONFIG_FILE).write_text(json.dumps({"vocab_size": 256}))
    return order


def judged(order: Order, driver: Driver, *, early: bool = False) -> Outcome:
    outcome = Outcome(numbers={"tokens_per_second": 10.0, "train_tokens": 1000, "device_seconds": 100.0})
    prepared = judging.prepare(order, driver) if early else None
    judging.judge(save(order), driver, Watch(), outcome, prepared)
    assert [driver.adopt(f"{order.name}-{part}") for part in ("window", "prefix")] == [None, None]
    json.dumps(outcome.record(), allow_nan=False)
    return outcome


@pytest.mark.parametrize("early", [True, False])
def test_weights_that_come_after_the_containers_are_seen_by_them(driver: Driver, make: Make, early: bool) -> None:
    found = judged(make(purpose=Purpose.SCORE, peak_flops=1e12), driver, early=early)
    assert found.cause is None, found.detail
    assert found.numbers["val_loss"] > 5
    assert found.numbers["parameters"] == 256 * 256
    assert found.numbers["saved_bytes"] > 4 * 256 * 256
    assert found.numbers["judge_seconds_per_token"] > 0
    assert found.numbers["audit_bound"] < 0.02
    assert found.numbers["forward_tokens_per_second"] is None or found.numbers["forward_tokens_per_second"] > 1000


@pytest.fixture(scope="module")
def bubblewrap() -> Driver:
    return driver_named("bubblewrap")


HOSTILE_LOADS = {
    "raises": ("raise KeyError('width')", "KeyError: 'width'"),
    "exits": ("raise SystemExit(0)", "SystemExit"),
    "is gone": ("import os; os._exit(0)", "ended"),
    "is no model": ("return 7", "must return a torch.nn.Module"),
    "hangs": ("import time; time.sleep(600)", "longer than"),
    "hangs up": ("import os; os.closerange(3, 99); return Model(torch.zeros(256, 256))", "while loading"),
    "takes all memory": ("return [bytearray(1 << 28) for _ in range(64)]", "GiB"),
}


@pytest.mark.bubblewrap
@pytest.mark.parametrize("what", HOSTILE_LOADS)
def test_a_load_that_does_not_behave_has_a_verdict(
    what: str, make: Make, bubblewrap: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "hangs":
        monkeypatch.setattr(judging, "LOAD_SECONDS", 1.0)
    code, detail = HOSTILE_LOADS[what]
    found = judged(make(HONEST + f"\ndef load(directory, device):\n    {code}\n"), bubblewrap)
    assert found.cause in (Cause.LOAD_FAILED, Cause.OUT_OF_MEMORY)
    assert (found.cause == Cause.OUT_OF_MEMORY) == (what == "takes all memory")
    assert detail in found.detail
    assert "val_loss" not in found.numbers


@pytest.mark.bubblewrap
def test_a_flood_of_output_neither_fills_nor_fools_anybody(make: Make, bubblewrap: Driver) -> None:
    # Above 16 MB bubblewrap reads slowly and the writer waits: a gigabyte ends as a load that hangs.
    printing = """
def load(directory, device):
    for _ in range(8):
        print("loss 0.0 " * (1 << 18), flush=True)
    return Model(safetensors.torch.load_file(directory / "model.safetensors")["table"])
"""
    found = judged(make(HONEST + printing), bubblewrap)
    assert found.cause is None, found.detail


HOSTILE_FORWARDS = {
    "a tuple": "return self.table[tokens], None",
    "no tensor": "return 'logits'",
    "whole numbers": "return self.table[tokens].to(torch.int64)",
    "complex numbers": "return self.table[tokens].to(torch.complex64)",
    "truth values": "return self.table[tokens] > 0",
    "NaN": "return self.table[tokens] * float('nan')",
    "infinity": "return self.table[tokens] / 0.0",
    "too large for float32": "return self.table[tokens].double() * 1e300",
    "too few tokens": "return self.table[tokens][..., :100]",
    "the last position only": "return self.table[tokens][:, -1:]",
    "far too many tokens": "return self.table[tokens].repeat(1, 1, 300)",
    "more than a message": "return self.table[tokens][..., :1].expand(-1, -1, 1 << 30)",
    "its end": "import os; os._exit(0)",
    "a polite end": "raise SystemExit(0)",
    "nothing, for ever": "import time; time.sleep(600)",
}


@pytest.mark.bubblewrap
@pytest.mark.parametrize("what", HOSTILE_FORWARDS)
def test_an_answer_that_is_no_answer_has_a_verdict(
    what: str, make: Make, bubblewrap: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what.endswith("for ever"):
        monkeypatch.setattr("trainer.harness.outside.judge.ANSWER_SECONDS", 1.0)
    forward = f"\ndef forward(self, tokens):\n    {HOSTILE_FORWARDS[what]}\nModel.forward = forward\n"
    found = judged(make(HONEST + forward), bubblewrap)
    assert found.cause == (Cause.OUT_OF_TIME if what.endswith("for ever") else Cause.BAD_LOGITS)
    assert found.detail
    assert "val_loss" not in found.numbers


def test_what_is_too_large_is_not_even_loaded(make: Make) -> None:
    class Nobody:
        """A driver that is not asked for anything."""

    found = Outcome()
    baseline = Baseline(saved_bytes=1000, genome_bytes=10_000)
    judging.judge(save(make(baseline=baseline)), Nobody(), Watch(), found)  # type: ignore[arg-type]
    assert (found.cause, found.verdict) == (Cause.TOO_LARGE, "rejected")


class Empty:
    """A driver with nothing in it."""

    def adopt(self, name: str) -> None:
        return None


def ends(cause: Cause | None) -> Callable[..., bool]:
    """A training that prepares the judge and ends so."""

    def train(order: Order, driver: Driver, watch: Any, outcome: Outcome, *, near_end: Callable[[], None]) -> bool:
        near_end()
        outcome.cause = cause
        return cause is None

    return train


def test_containers_that_wait_for_a_training_that_failed_are_closed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Prepared:
        def close(self) -> None:
            closed.append("closed")

    monkeypatch.setattr("sandbox.conduct.train", ends(Cause.CRASHED))
    monkeypatch.setattr("sandbox.conduct.prepare", lambda order, driver: Prepared())
    found = conduct(make(), Empty(), Watch())  # type: ignore[arg-type]
    assert (found.cause, closed) == (Cause.CRASHED, ["closed"])


def test_containers_that_cannot_be_started_early_end_no_training(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(order: Order, driver: Driver) -> None:
        raise SandboxError("the engine is busy")

    judged: list[object] = []
    monkeypatch.setattr("sandbox.conduct.train", ends(None))
    monkeypatch.setattr("sandbox.conduct.prepare", prepare)
    monkeypatch.setattr("sandbox.conduct.judge", lambda *given: judged.append(given[-1]))
    conduct(make(), Empty(), Watch())  # type: ignore[arg-type]
    assert judged == [None]


@pytest.mark.bubblewrap
def test_a_container_that_never_starts_is_our_failure(make: Make, bubblewrap: Driver) -> None:
    order = make()
    prepared = judging.prepare(order, bubblewrap)
    prepared.boxes["window"].kill()
    with pytest.raises(SandboxError, match="container"):
        judging.judge(save(order), bubblewrap, Watch(), Outcome(), prepared)


def test_a_genome_with_held_out_text_is_rejected_untrained(make: Make) -> None:
    class Nobody:
        """A driver that is not asked for anything."""

    found = conduct(make(held_out_in="notes.py"), Nobody(), Watch())  # type: ignore[arg-type]
    assert (found.cause, found.verdict) == (Cause.HELD_OUT_TEXT, "rejected")
    assert "notes.py" in found.detail
    assert set(found.hashes) == {"genome", "text", "scorer", "image"}


def test_every_result_says_what_it_was_made_from(make: Make) -> None:
    order = make()
    found = Outcome(hashes=hashes.of_order(order))
    judging._freeze(save(order), found)
    assert set(found.hashes) == {"genome", "weights", "text", "scorer", "image"}
    assert found.numbers["genome_bytes"] == len(MANIFEST) + len(HONEST)


def test_the_hash_of_a_genome_knows_paths_and_contents(tmp_path: Path) -> None:
    def made(**files: str) -> str:
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
        (folder / "link").symlink_to("/etc/passwd")
        return hashes.of_files(folder, hashes.files(folder))

    assert made(a="1", b="2") == made(b="2", a="1")
    assert len({made(a="1", b="2"), made(a="2", b="1"), made(a="12"), made(c="1", b="2")}) == 4
