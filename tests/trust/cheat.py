"""What a cheat is: a few lines of a genome, what they would gain without the guard, and what they gain with it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

from sandbox import training
from sandbox.outcome import Outcome
from sandbox.trial import Baseline
from tests.trust import genomes
from tests.trust.trials import Ended, held_to, limits_off, trial
from trainer.contract import REJECTIONS, Cause
from trainer.harness.outside import scorer, server
from trainer.harness.outside.judge import Asker
from trainer.harness.outside.nats import log_probabilities

NEVER_BETTER = 0.002  # nats: what the audit lets through


@dataclass(frozen=True)
class Tried:
    """What became of a cheat. `gain` is what it would have gained without its guard, in the unit of its margin."""

    outcome: Outcome
    gain: float
    advantage: float | None  # nats by which its score is better than the honest twin's


Gain = Callable[["Cheat", Ended, Outcome], float]  # of the guarded trial and the honest twin's outcome


def without_limits(cheat: "Cheat", ended: Ended, twin: Outcome) -> float:
    """Nats: the scorer's limits and its correction are off; same weights, same questions, same answers."""
    loss = ended.unlimited.val_loss if ended.unlimited else None
    return nats(twin) - loss if loss is not None else 0.0


def not_held(cheat: "Cheat", ended: Ended, twin: Outcome) -> float:
    """Nats: another trial, held to no baseline and with time to save."""
    with mock.patch.object(server, "SAVE_SECONDS", 600.0), mock.patch.object(training, "SAVE_SECONDS", 600.0):
        return nats(twin) - nats(trial(cheat.made(), look_for_text=False).outcome)


def claimed(name: str) -> Gain:
    """By how much what it reports under `name` is lower than the honest twin's measured loss."""

    def gain(cheat: "Cheat", ended: Ended, twin: Outcome) -> float:
        value = ended.outcome.claimed.get(name)
        return nats(twin) - value if value is not None else 0.0

    return gain


def reported(name: str) -> Gain:
    """What its own report says under `name`: that the deed was done."""

    def gain(cheat: "Cheat", ended: Ended, twin: Outcome) -> float:
        return ended.outcome.claimed.get(name) or 0.0

    return gain


def saved(name: str) -> Gain:
    """By how much the number `name` in its config.json is lower than the honest twin's measured loss."""

    def gain(cheat: "Cheat", ended: Ended, twin: Outcome) -> float:
        return nats(twin) - float(json.loads(ended.config)[name])

    return gain


def with_another_judge(patched: Callable[[], AbstractContextManager[Any]]) -> Gain:
    """Nats: another trial, judged by a judge with a weakness."""

    def gain(cheat: "Cheat", ended: Ended, twin: Outcome) -> float:
        with patched():
            weak = trial(cheat.made()).outcome
        return nats(twin) - nats(weak)

    return gain


@dataclass(frozen=True)
class Cheat:
    """One cheat. Its code is `model` (what is judged), `train` (the training) and `more` files.

    `gains` says what it would gain without its guard, `margin` how much that must be at least. With the guard it is
    rejected for one of `causes`, or, with none of them, no better than its honest twin.
    """

    name: str
    does: str  # one sentence, for the page
    guard: str  # what stops it, for the page
    gains: Gain
    margin: float
    causes: frozenset[Cause] = frozenset()
    worthless: bool = False  # it may also be measured, and be no better than its honest twin
    model: str = genomes.JUDGED
    train: str = genomes.MAIN
    more: Callable[[], Mapping[str, bytes]] = dict
    held: bool = False  # to what its honest twin needed
    changes: Mapping[str, Any] = field(default_factory=dict)  # of the order
    unit: str = "nats"

    def made(self) -> dict[str, bytes]:
        """The files of the genome."""
        return genomes.files(model=self.model, train=self.train, more=self.more())

    def try_it(self, twin: Outcome) -> Tried:
        """With its guard and without."""
        baseline = held_to(twin) if self.held else Baseline()
        ended = trial(self.made(), baseline=baseline, **self.changes)
        loss = ended.outcome.numbers.get("val_loss") if ended.outcome.cause is None else None
        return Tried(
            outcome=ended.outcome, gain=self.gains(self, ended, twin),
            advantage=nats(twin) - loss if loss is not None else None,
        )

    @property
    def verdict(self) -> str:
        """For the page."""
        names = [f"{'rejected' if cause in REJECTIONS else 'failed'}: {cause}" for cause in sorted(self.causes)]
        return ", or ".join([*names, *(["worthless"] if self.worthless else [])])


def nats(outcome: Outcome) -> float:
    loss = outcome.numbers.get("val_loss")
    assert outcome.cause is None, outcome.sentence()
    assert loss is not None
    return float(loss)


# Judges with a weakness: what the real one does not do.


@contextmanager
def believing() -> Iterator[None]:
    """Takes what is answered for log-probabilities."""

    def believed(logits: Any, targets: Any) -> Any:
        chosen = np.take_along_axis(logits, targets[..., None].astype(np.int64), axis=-1)[..., 0]
        return np.clip(chosen, -50, 50).astype(np.float64)

    with mock.patch.object(scorer, "log_probabilities", believed), mock.patch.object(scorer, "MAX_GAIN", 1e9):
        yield


@contextmanager
def forgiving() -> Iterator[None]:
    """Leaves out the places at which the answer is no number."""
    strict = log_probabilities

    def forgiven(logits: Any, targets: Any) -> Any:
        lost = ~np.isfinite(logits).all(axis=-1)
        return np.where(lost, 0.0, strict(np.where(lost[..., None], 0.0, logits).astype(np.float32), targets))

    with mock.patch.object(scorer, "log_probabilities", forgiven):
        yield


@contextmanager
def in_one_container() -> Iterator[None]:
    """Asks the container that saw the windows about their prefixes too."""
    judge = scorer.judge

    def one(window: Any, prefix: Any, *, practice: Any = None, **given: Any) -> Any:
        return judge(window, window, **given)  # nor is it timed: looking things up takes its time

    with mock.patch.object(scorer, "judge", one):
        yield


@contextmanager
def telling() -> Iterator[None]:
    """Sends the targets along with the question."""
    send, judge = Asker._send, scorer.judge
    known: dict[bytes, list[int]] = {}

    def knowing(window: Any, prefix: Any, *, windows: Any, **given: Any) -> Any:
        known.update((row[:-1].astype("<u2").tobytes(), row[1:].tolist()) for row in windows)
        return judge(window, prefix, windows=windows, **given)

    def more(asker: Any, header: Mapping[str, Any], payload: bytes = b"") -> None:
        if header["op"] == "logits":
            width = 2 * header["shape"][1]
            rows = [payload[start : start + width] for start in range(0, len(payload), width)]
            header = {**header, "targets": [known[row] for row in rows if row in known]}
        send(asker, header, payload)

    with (
        mock.patch.object(Asker, "_send", more), mock.patch.object(scorer, "judge", knowing),
        limits_off(),
    ):
        yield
