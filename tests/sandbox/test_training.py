"""The clocks of a training: what counts as device time, and who is told when it is nearly over.

Most tests speak for a container that is none: the script plays the client and says what its clock showed.
"""

import contextlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox import training
from sandbox.drivers.base import Box, Exit, Job, Usage
from sandbox.models import Purpose
from sandbox.outcome import Outcome
from sandbox.training import train
from sandbox.trial import Baseline, Order, socket_of
from tests import cast
from tests.sandbox.trainings import Watch
from tests.trainer.conftest import Client, sentences
from tests.trainer.test_checkpoint import CONFIG, GOOD
from tests.trainer.test_server import upload
from trainer.contract import CONFIG_FILE, MODEL_FILE, Cause, parse_genome
from trainer.harness.inside.line import Line
from trainer.harness.outside.text import Text, prepare

CONTEXT = 16
BATCHES = 10
Script = Callable[["Played", Client], None]


class Played:
    """A container whose clock shows what its script says."""

    def __init__(self, name: str, script: Script, path: Path) -> None:
        self.name = name
        self.labels: Mapping[str, str] = {}
        self.clock = 0.0
        self._exit: Exit | None = None
        self._client: Client | None = None
        self._thread = threading.Thread(target=self._play, args=(script, path), daemon=True)
        self._thread.start()

    def _play(self, script: Script, path: Path) -> None:
        try:
            self._client = self._connected(path)
            script(self, self._client)
        except ConnectionError:  # it was killed
            return
        self._exit = self._exit or Exit(0)

    def _connected(self, path: Path) -> Client:
        """The client inside waits for the server."""
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return Client(path)
            time.sleep(0.01)

    def poll(self) -> Exit | None:
        return self._exit

    def usage(self) -> Usage:
        return Usage(cpu_seconds=self.clock, peak_memory_bytes=1 << 20)

    def log(self, limit: int = 8192) -> str:
        return ""

    def kill(self) -> None:
        self._exit = self._exit or Exit(137)
        with contextlib.suppress(OSError):  # it hung up already
            assert self._client is not None
            self._client.connection.shutdown(socket.SHUT_RDWR)

    def remove(self) -> None:
        self.kill()
        self._thread.join(10)
        assert self._client is not None
        self._client.connection.close()


class Playing:
    """A driver whose containers play `script`."""

    name = "played"
    warning = ""

    def __init__(self, script: Script, path: Path) -> None:
        self._script, self._path = script, path

    def start(self, job: Job) -> Box:
        return Played(job.name, self._script, self._path)

    def adopt(self, name: str) -> Box | None:
        return None

    def check(self) -> None: ...

    def image(self) -> str:
        return "played"

    def boxes(self) -> list[Box]:
        return []

    def visible(self) -> AbstractContextManager[list[Path]]:
        return nullcontext([])


class Outliving(Playing):
    """A driver whose container outlives its runner, which is killed once the container's clock shows `seconds`."""

    def __init__(self, script: Script, path: Path, *, seconds: float) -> None:
        super().__init__(script, path)
        self._seconds = seconds
        self._box: Played | None = None

    def start(self, job: Job) -> Box:
        self._box = box = Played(job.name, self._script, self._path)
        remove, box.remove = box.remove, lambda: None  # type: ignore[method-assign]

        def poll() -> Exit | None:
            if box.clock < self._seconds:
                return None
            box.poll, box.remove = lambda: box._exit, remove  # type: ignore[method-assign]
            raise Killed

        box.poll = poll  # type: ignore[method-assign]
        return box

    def adopt(self, name: str) -> Box | None:
        return self._box


class Killed(Exception):
    """The end of a runner."""


@pytest.fixture(scope="module")
def text() -> Text:
    return prepare(sentences(1, 3000), vocabulary="bytes", context=CONTEXT)


@pytest.fixture
def order(text: Text) -> Iterator[Order]:
    with tempfile.TemporaryDirectory(prefix="darwin-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield Order(
            name=folder.name, purpose=Purpose.SCORE, genome_dir=cast.genome(folder / "genome"),
            genome=parse_genome(cast.MANIFEST.decode()), folder=folder, text=text, seed=3,
            budget_tokens=BATCHES * 2 * CONTEXT, budget_seconds=None, threads=1,
        )


def held(order: Order, *, training: float = 10.0, setup: float = 2.0) -> Order:
    return replace(order, baseline=Baseline(device_seconds=training, setup_device_seconds=setup))


def played(order: Order, script: Script, **arguments: Any) -> Outcome:
    outcome = Outcome()
    train(order, Playing(script, socket_of(order, "train")), Watch(), outcome, **arguments)
    return outcome


def whole(*, setup: float = 2.0, batches: float = 8.0, after: float = 1.0) -> Script:
    """A training that uses so many device seconds before its first text, for its batches, and after the budget."""

    def script(box: Played, client: Client) -> None:
        client.ask(op="hello", rank=0)
        box.clock = setup
        for number in range(BATCHES):
            client.batch(number, 2, CONTEXT)
            box.clock += batches / BATCHES
        client.batch(BATCHES, 2, CONTEXT)
        box.clock += after
        upload(client)
        client.ask(op="done")

    return script


def test_device_time_goes_from_the_first_text_to_the_end_of_the_process(order: Order) -> None:
    found = played(order, whole(setup=3.0, batches=8.0, after=1.5))
    assert found.cause is None, found.detail
    assert found.numbers["setup_device_seconds"] == pytest.approx(3.0)
    assert found.numbers["device_seconds"] == pytest.approx(9.5)


def test_the_first_text_may_be_validation_text(order: Order) -> None:
    def script(box: Played, client: Client) -> None:
        client.ask(op="validation", index=0, shape=[1, CONTEXT])
        box.clock = 4.0  # trained on what it was shown
        whole(setup=4.0)(box, client)

    found = played(order, script)
    assert found.numbers["setup_device_seconds"] == 0.0
    assert found.numbers["device_seconds"] == pytest.approx(13.0)


def test_a_container_that_outlived_its_runner_keeps_its_clock(order: Order) -> None:
    path = socket_of(order, "train")

    def script(box: Played, _client: Client) -> None:
        box.clock = 3.0
        line = Line(path)
        for number in range(BATCHES + 1):
            line.ask({"op": "batch", "number": number, "shape": [2, CONTEXT]})
            box.clock += 1.0
            time.sleep(0.02)
        for name, content in ((MODEL_FILE, GOOD), (CONFIG_FILE, CONFIG)):
            line.ask({"op": "save", "save": 0, "file": name, "size": len(content), "offset": 0}, content)
        line.ask({"op": "done"})
        line.close()

    driver, outcome = Outliving(script, path, seconds=8.0), Outcome()
    with pytest.raises(Killed):
        train(order, driver, Watch(), Outcome())
    assert train(order, driver, Watch(), outcome), outcome.sentence()
    assert outcome.numbers["setup_device_seconds"] == 3.0
    assert outcome.numbers["device_seconds"] == BATCHES + 1
    assert outcome.numbers["train_tokens"] == order.budget_tokens


def test_an_honest_training_keeps_within_the_baselines(order: Order) -> None:
    found = played(held(order), whole(setup=4.0, batches=11.0))
    assert found.cause is None, found.detail
    assert found.numbers["device_seconds"] == pytest.approx(12.0)


def test_compute_before_the_first_text_counts_as_training(order: Order) -> None:
    found = played(held(order), whole(setup=16.0, batches=8.0))
    assert found.cause == Cause.DEVICE_TIME
    assert "before its first text" in found.detail
    assert "4.5 are free" in found.detail  # 1.25 times the baseline's 2, and 2


def test_compute_that_never_asks_for_text_is_stopped(order: Order) -> None:
    def script(box: Played, client: Client) -> None:
        client.ask(op="warmup")
        box.clock = 100.0
        client.connection.recv(1)

    found = played(held(order), script)
    assert found.cause == Cause.DEVICE_TIME
    assert "of the 100.0 it used before its first text" in found.detail


def test_without_a_baseline_there_is_no_limit(order: Order) -> None:
    assert played(order, whole(setup=1000.0, batches=1000.0)).cause is None


def test_compute_after_the_budget_counts(order: Order) -> None:
    found = played(held(order), whole(batches=8.0, after=20.0))
    assert found.cause == Cause.DEVICE_TIME
    assert "saving included" in found.detail


def test_compute_after_done_counts(order: Order) -> None:
    def script(box: Played, client: Client) -> None:
        whole()(box, client)
        box.clock += 20.0

    assert played(held(order), script).cause == Cause.DEVICE_TIME


def test_too_many_device_seconds_in_the_middle_are_stopped_there(order: Order) -> None:
    def script(box: Played, client: Client) -> None:
        client.batch(0, 2, CONTEXT)
        box.clock = 50.0
        client.connection.recv(1)

    found = played(held(order), script)
    assert found.cause == Cause.DEVICE_TIME
    assert found.detail.startswith("used 50.0 device seconds from its first text to the end of its budget")
    assert found.exit_code == 137


def test_warming_up_is_counted_apart(order: Order) -> None:
    def script(box: Played, client: Client) -> None:
        client.ask(op="hello", rank=0)
        client.ask(op="warmup")
        threading.Event().wait(0.2)
        whole()(box, client)

    found = played(order, script)
    assert found.numbers["warm_seconds"] >= 0.2
    assert found.phases["setup"] >= 0.2
    assert found.numbers["train_seconds"] <= sum(found.phases.values()) - 0.2


def test_every_second_belongs_to_one_phase(order: Order) -> None:
    found = played(order, whole())
    assert list(found.phases) == ["start", "import", "setup", "train", "save", "end"]
    assert all(seconds >= 0 for seconds in found.phases.values())


def test_whoever_comes_next_is_told_once_and_before_the_end(order: Order) -> None:
    told: list[float] = []
    reached: list[int] = []

    nearly = threading.Event()

    def near_end() -> None:
        told.append(len(reached))
        nearly.set()

    def late(box: Played, client: Client) -> None:
        for number in range(BATCHES):
            client.batch(number, 2, CONTEXT)
            reached.append(number)
        assert nearly.wait(10)  # without it this training would not end
        client.batch(BATCHES, 2, CONTEXT)
        upload(client)
        client.ask(op="done")

    played(order, late, near_end=near_end)
    assert len(told) == 1
    assert told[0] >= BATCHES * 0.9


def test_a_training_that_fails_prepares_nothing(order: Order) -> None:
    def script(box: Played, client: Client) -> None:
        client.batch(0, 2, CONTEXT)
        client.ask(op="failed", error="no", traceback="")

    told: list[int] = []
    assert played(order, script, near_end=lambda: told.append(1)).cause == Cause.CRASHED
    assert told == []


def test_an_error_of_whoever_comes_next_is_ours(order: Order) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        played(order, whole(), near_end=broken)


@pytest.mark.parametrize(("seconds", "fraction", "near"), [
    (1.0, 0.5, False), (1.0, 0.95, True), (1000.0, 0.95, False), (1000.0, 0.995, True),
])
def test_near_the_end_is_the_last_tenth_and_the_last_ten_seconds(seconds: float, fraction: float, near: bool) -> None:
    class Seen:
        phase = "training"

    seen: Any = Seen()
    seen.seconds, seen.fraction = seconds, fraction
    assert training._is_near_end(seen) is near


def test_on_a_gpu_device_time_is_the_time_it_was_held(order: Order) -> None:
    def script(box: Played, client: Client) -> None:
        client.ask(op="hello", rank=0)
        threading.Event().wait(0.2)
        whole(setup=500.0)(box, client)

    found = played(replace(order, gpu="GPU-0"), script)
    assert 0.2 <= found.numbers["setup_device_seconds"] < 100
    assert found.numbers["device_seconds"] < 100


def test_the_memory_of_a_gpu_is_what_its_driver_says(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\nfor word; do case "$word" in --id=GPU-0) echo 1234;; esac; done\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert played(replace(order, gpu="GPU-0"), whole()).numbers["peak_memory_bytes"] == 1234 << 20
