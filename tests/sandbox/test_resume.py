"""A container that is lost: its training goes on from the state it saved, and nothing is counted twice."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from evolution.models import Status, Variant
from sandbox import attempts, orders, runner
from sandbox.devices import devices
from sandbox.drivers.base import Driver, SandboxError
from sandbox.models import ACTIVE, Attempt, AttemptState, Purpose
from sandbox.outcome import Outcome
from sandbox.readiness import driver as driver_named
from sandbox.training import train
from sandbox.trial import Abandoned, Order
from tests import cast
from tests.sandbox.trainings import CONTEXT, Watch, ordered
from trainer.contract import MODEL_FILE, Cause
from trainer.harness.outside import state
from trainer.harness.outside.state import Saved, State

STEPS = 60
TOKENS = STEPS * 8 * CONTEXT

TRAIN = b'''\
import time

import torch
from torch.nn import functional

from model import Bigram

EVERY = 7  # steps


def main(run):
    model = Bigram(run.vocab_size)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    first = 0
    saved = run.load_state()
    if saved is not None:
        tensors, numbers = saved
        model.load_state_dict({name[6:]: one for name, one in tensors.items() if name.startswith("model.")})
        state = optimizer.state_dict()
        state["state"] = {0: {"momentum_buffer": tensors["momentum"]}}
        optimizer.load_state_dict(state)
        torch.set_rng_state(tensors["random"])
        first = numbers["step"] + 1
    for step, (x, y) in enumerate(run.batches(8, 16), first):
        x = torch.where(torch.rand(x.shape) < 0.1, 0, x)
        loss = functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 1.0 - run.progress / 2
        optimizer.step()
        run.report(step=step, loss=loss, first=first)
        if step % EVERY == EVERY - 1:
            run.save_state(
                {**{f"model.{name}": one for name, one in model.state_dict().items()},
                 "momentum": optimizer.state[model.table.weight]["momentum_buffer"], "random": torch.get_rng_state()},
                {"step": step},
            )
        time.sleep(0.05)
    run.save(model, {})
'''


class Lost(Watch):
    """Ends the runner's work, and with it the container, once `step` was reported."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def tick(self, progress: float) -> None:
        if any(report.step >= self.step for report in self.reports):
            raise Abandoned(Cause.INTERRUPTED)


@pytest.fixture
def bubblewrapped() -> Driver:
    return driver_named("bubblewrap")


def lose(order: Order, driver: Driver, *, step: int) -> None:
    with pytest.raises(Abandoned):
        train(order, driver, Lost(step), Outcome())


def weights(order: Order) -> bytes:
    return (order.folder / MODEL_FILE).read_bytes()


def test_the_weights_are_those_of_a_training_that_was_never_interrupted(driver: Driver) -> None:
    with ordered(tokens=TOKENS, train=TRAIN) as order:
        assert train(order, driver, Watch(), whole := Outcome()), whole.sentence()
        expected = weights(order)
    with ordered(tokens=TOKENS, train=TRAIN) as order:
        lose(order, driver, step=25)
        left = state.read(order.folder)
        assert left.saved is not None
        assert left.saved.tokens < left.tokens < TOKENS
        watch, outcome = Watch(), Outcome()
        assert train(order, driver, watch, outcome), outcome.sentence()
        assert weights(order) == expected
    assert watch.reports[0].step == left.saved.number + 1
    assert watch.reports[0].tokens == left.saved.tokens + 8 * CONTEXT
    assert outcome.numbers["train_tokens"] == TOKENS
    assert outcome.numbers["train_seconds"] > left.saved.seconds
    assert outcome.numbers["device_seconds"] > left.saved.device_seconds > 0


@pytest.mark.bubblewrap
def test_without_a_saved_state_a_lost_container_is_ours_to_start_again(bubblewrapped: Driver) -> None:
    with ordered(tokens=TOKENS, train=TRAIN.replace(b"EVERY = 7", b"EVERY = 1000")) as order:
        lose(order, bubblewrapped, step=2)
        with pytest.raises(SandboxError, match="saved no state"):
            train(order, bubblewrapped, Watch(), Outcome())


def folders(order: Order) -> list[Path]:
    return sorted(order.folder.glob("state-*"))


@pytest.mark.bubblewrap
def test_one_state_is_kept(bubblewrapped: Driver) -> None:
    with ordered(tokens=TOKENS, train=TRAIN) as order:
        train(order, bubblewrapped, Watch(), Outcome())
        assert [one.name for one in folders(order)] == [f"state-{STEPS // 7 - 1}"]


@pytest.fixture
def var(db: None, tmp_path: Path) -> Iterator[None]:
    """A var/ of its own: rows of other tests are gone, and their numbers are used again."""
    with override_settings(DARWIN_VAR=tmp_path):
        yield


def attempt_of(name: str) -> Attempt:
    variant = cast.move(cast.mutation(cast.bred(cast.experiment(name))), Status.SCREENED)
    return next_attempt(variant)


def next_attempt(variant: Variant) -> Attempt:
    Attempt.objects.filter(state__in=ACTIVE).update(state=AttemptState.ENDED)
    attempt = attempts.open_attempt(variant, Purpose.CHECK, devices()[0])
    assert attempt is not None
    return attempt


def leave_state(attempt: Attempt) -> State:
    """What a lost container of `attempt` left."""
    left = State(number=9, tokens=1000, saved=Saved(save=2, number=6, tokens=700, seconds=1.5, device_seconds=3.0))
    folder = orders.attempt_folder(attempt.pk)
    state.folder_of(folder, 2).mkdir()
    (state.folder_of(folder, 2) / MODEL_FILE).write_bytes(b"tensors")
    state.write(folder, left)
    return left


@pytest.mark.usefixtures("var")
@pytest.mark.parametrize("cause", [Cause.INFRASTRUCTURE, Cause.INTERRUPTED])
def test_the_next_attempt_gets_what_a_lost_one_saved(cause: Cause) -> None:
    lost = attempt_of(f"lost by {cause}")
    left = leave_state(lost)
    runner.hand_over(lost, Outcome(cause=cause))
    shutil.rmtree(orders.attempt_folder(lost.pk))
    following = next_attempt(lost.trial.variant)
    runner.take_over(following)
    folder = orders.attempt_folder(following.pk)
    assert state.read(folder) == left
    assert (state.folder_of(folder, 2) / MODEL_FILE).read_bytes() == b"tensors"


@pytest.mark.usefixtures("var")
def test_a_trial_that_is_over_leaves_no_state() -> None:
    lost = attempt_of("over")
    leave_state(lost)
    runner.hand_over(lost, Outcome(cause=Cause.INFRASTRUCTURE))
    runner.hand_over(lost, Outcome(cause=Cause.CRASHED))
    following = next_attempt(lost.trial.variant)
    runner.take_over(following)
    assert list(orders.attempt_folder(following.pk).iterdir()) == []


@pytest.mark.usefixtures("var")
def test_an_attempt_that_has_begun_keeps_its_own_state() -> None:
    lost = attempt_of("begun")
    leave_state(lost)
    runner.hand_over(lost, Outcome(cause=Cause.INFRASTRUCTURE))
    following = next_attempt(lost.trial.variant)
    own = State(number=3, tokens=300)
    state.write(orders.attempt_folder(following.pk), own)
    runner.take_over(following)
    assert state.read(orders.attempt_folder(following.pk)) == own
