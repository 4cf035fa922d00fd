"""Equal time, trained by tokens: rates become a budget once, fairly, and by the server's clock."""

import statistics
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import cast as typed

import pytest

from evolution.models import Experiment, Variant
from sandbox import probe
from sandbox.devices import devices
from sandbox.drivers.base import Limits, SandboxError
from sandbox.drivers.bubblewrap import Bubblewrap
from sandbox.models import Attempt, AttemptState, Purpose, Trial
from sandbox.outcome import Outcome
from sandbox.probe import Look, ProbeFailed, Rate, in_batches, steady
from sandbox.trial import Order
from tests import cast
from tests.sandbox import boxes
from tests.trainer.conftest import sentences
from trainer.contract import Cause, read_genome
from trainer.harness.outside.server import Report
from trainer.harness.outside.text import prepare

SECONDS = 50.0


def looks(count: int, *, every: float = 0.1, tokens: int = 100, slow: int = 0) -> list[Look]:
    """What is seen of `count` batches, the first `slow` of which take a second more."""
    return [Look(n * every + min(n, slow), n * tokens, n) for n in range(1, count + 1)]


# Rates.


def test_a_rate_is_tokens_over_seconds_once_both_are_enough() -> None:
    seen = looks(200)
    first = next(n for n in range(len(seen)) if steady(seen[:n], seconds=5.0) is not None)
    assert seen[first - 1].at - seen[probe.WARM_BATCHES].at == pytest.approx(5.0)
    rate = steady(seen, seconds=5.0)
    assert rate is not None
    assert rate.tokens_per_second == pytest.approx(1000)
    assert rate.batch_tokens == 100


def test_seconds_alone_are_not_enough() -> None:
    assert steady(looks(20, every=0.5), seconds=2.0) is None


def test_the_first_batches_do_not_count() -> None:
    rate = steady(looks(100, slow=probe.WARM_BATCHES), seconds=5.0)
    assert rate is not None
    assert rate.tokens_per_second == pytest.approx(1000)


def test_very_slow_batches_need_not_be_many() -> None:
    rate = steady(looks(probe.WARM_BATCHES + 6, every=8.0), seconds=2.0)
    assert rate is not None
    assert rate.tokens_per_second == pytest.approx(12.5)


def test_a_training_shorter_than_the_probe_is_taken_by_what_there_was() -> None:
    assert steady(looks(3), seconds=5.0) is None
    rate = steady(looks(3), seconds=5.0, over=True)
    assert rate is not None
    assert rate.tokens_per_second == pytest.approx(1000)
    assert steady(looks(1), seconds=5.0, over=True) is None


@pytest.mark.parametrize(("tokens", "batch", "expected"), [
    (1000.0, 100.0, 1000), (1099.9, 100.0, 1000), (10.0, 100.0, 100), (1000.0, 128.0, 896), (1e30, 1.0, 10**13),
])
def test_a_budget_is_whole_batches_and_at_least_one(tokens: float, batch: float, expected: int) -> None:
    assert in_batches(tokens, batch) == expected


# Who is run when, on a machine that gets slower and slower.


class Machine:
    """Runs orders at the speed of their genome, and at half that speed after every two runs."""

    def __init__(self, *, fails: str = "") -> None:
        self.ran: list[Order] = []
        self.fails = fails

    def __call__(self, order: Order) -> Rate:
        who = "baseline" if "baseline" in order.name else "variant"
        if who == self.fails:
            raise ProbeFailed(Cause.CRASHED, "one step too far")
        speed = {"baseline": 1000.0, "variant": 1500.0}[who]
        self.ran.append(order)
        return Rate(speed / 2 ** ((len(self.ran) - 1) // 2), 64.0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    one = Machine()
    monkeypatch.setattr(probe, "measure", lambda order, driver, watch: one(order))
    return one


@pytest.fixture
def experiment(db: None) -> Experiment:
    return cast.bred(cast.experiment("seconds", budget_tokens=None, budget_seconds=SECONDS))


def attempt_of(variant: Variant, purpose: Purpose = Purpose.SCORE, seed: int = 0) -> Attempt:
    trial = Trial.objects.create(variant=variant, purpose=purpose, seed=seed, budget_seconds=SECONDS)
    return Attempt.objects.create(trial=trial, number=1, device=f"{devices()[0].name}-{trial.pk}")


def order_of(attempt: Attempt, folder: Path, *, tokens: int | None = None) -> Order:
    genome_dir = cast.genome(folder / "genome")
    return Order(
        name="darwin-test", purpose=Purpose(attempt.trial.purpose), genome_dir=genome_dir,
        genome=read_genome(genome_dir), folder=folder, seed=0, budget_tokens=tokens, budget_seconds=SECONDS, threads=1,
        text=prepare(cast.TEXT, vocabulary="bytes", context=16),
    )


def freeze(attempt: Attempt, folder: Path) -> tuple[Order, Outcome]:
    folder.mkdir(exist_ok=True)
    outcome = Outcome()
    frozen = probe.freeze(attempt, order_of(attempt, folder), typed(Any, None), typed(Any, None), outcome)
    return frozen, outcome


@pytest.fixture
def measured(baseline: Variant) -> Variant:
    """The baseline after its first trial."""
    Trial.objects.create(variant=baseline, purpose=Purpose.SCORE, seed=0, budget_tokens=64_000, budget_seconds=SECONDS)
    return baseline


@pytest.fixture
def baseline(experiment: Experiment) -> Variant:
    assert experiment.baseline is not None
    return experiment.baseline


def test_the_baseline_is_measured_alone_and_gets_seconds_times_its_rate(
    baseline: Variant, machine: Machine, tmp_path: Path
) -> None:
    order, outcome = freeze(attempt_of(baseline), tmp_path)
    assert len(machine.ran) == probe.ALONE
    rate = statistics.median([1500.0, 1500.0, 750.0])
    assert order.budget_tokens == int(SECONDS * rate // 64 * 64)
    assert order.budget_seconds is None
    assert outcome.numbers["probe_tokens_per_second"] == rate
    assert probe.frozen_tokens(baseline) == order.budget_tokens


def test_a_variant_takes_turns_with_the_baseline_and_gets_its_rate_times_the_ratio(
    experiment: Experiment, measured: Variant, machine: Machine, tmp_path: Path
) -> None:
    order, outcome = freeze(attempt_of(cast.mutation(experiment)), tmp_path)
    assert ["baseline" in one.name for one in machine.ran] == [True, False, True, False]
    # The machine slowed down by half in the middle, and the ratio did not notice.
    assert outcome.numbers["probe_ratios"] == [1.5, 1.5]
    assert order.budget_tokens == 96_000
    # Both were told the same budget, and no clock.
    assert {one.budget_tokens for one in machine.ran} == {64_000}


def test_the_budget_is_frozen_for_every_seed(
    experiment: Experiment, measured: Variant, machine: Machine, tmp_path: Path
) -> None:
    variant = cast.mutation(experiment)
    first, _ = freeze(attempt_of(variant), tmp_path / "one")
    ran = len(machine.ran)
    second, _ = freeze(attempt_of(variant, Purpose.CONFIRM, seed=9), tmp_path / "two")
    assert len(machine.ran) == ran
    assert first.budget_tokens == second.budget_tokens == probe.frozen_tokens(variant)


def test_a_tried_again_trial_is_not_probed_again(baseline: Variant, machine: Machine, tmp_path: Path) -> None:
    attempt = attempt_of(baseline)
    order, _ = freeze(attempt, tmp_path)
    again, _ = freeze(Attempt.objects.get(pk=attempt.pk), tmp_path)
    assert len(machine.ran) == probe.ALONE
    assert again.budget_tokens == order.budget_tokens


def test_a_runner_that_was_overtaken_changes_nothing(
    baseline: Variant, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = attempt_of(baseline)

    def overtaken(order: Order, driver: Any, watch: Any) -> Rate:
        Trial.objects.filter(pk=attempt.trial_id).update(budget_tokens=777)
        return machine(order)

    monkeypatch.setattr(probe, "measure", overtaken)
    order, _ = freeze(attempt, tmp_path)
    assert order.budget_tokens == 777


def test_a_check_is_not_probed(baseline: Variant, machine: Machine, tmp_path: Path) -> None:
    order, _ = freeze(attempt_of(baseline, Purpose.CHECK), tmp_path)
    assert machine.ran == []
    assert (order.budget_tokens, order.budget_seconds) == (None, SECONDS)


@pytest.mark.django_db
def test_a_budget_in_tokens_is_not_touched(machine: Machine, tmp_path: Path) -> None:
    experiment = cast.bred(cast.experiment("tokens"))
    assert experiment.baseline is not None
    freeze(attempt_of(experiment.baseline), tmp_path)
    assert machine.ran == []
    assert probe.frozen_tokens(experiment.baseline) is None


def test_a_variant_that_fails_in_the_probe_failed_by_its_own_fault(
    experiment: Experiment, measured: Variant, machine: Machine, tmp_path: Path
) -> None:
    machine.fails = "variant"
    attempt = attempt_of(cast.mutation(experiment))
    _, outcome = freeze(attempt, tmp_path)
    assert (outcome.cause, outcome.detail) == (Cause.CRASHED, "one step too far")
    assert "probe" in outcome.phases
    assert probe.frozen_tokens(attempt.trial.variant) is None


def test_a_baseline_that_fails_in_a_variants_probe_is_the_machines_fault(
    experiment: Experiment, measured: Variant, machine: Machine, tmp_path: Path
) -> None:
    machine.fails = "baseline"
    with pytest.raises(SandboxError, match="the baseline could not be timed"):
        freeze(attempt_of(cast.mutation(experiment)), tmp_path)


def test_without_a_measured_baseline_there_is_nothing_to_compare_with(
    experiment: Experiment, machine: Machine, tmp_path: Path
) -> None:
    with pytest.raises(SandboxError, match="train its baseline again"):
        freeze(attempt_of(cast.mutation(experiment)), tmp_path)


# One real training.


class Quiet:
    """Watches nothing."""

    def phase(self, state: AttemptState, container: str) -> None: ...
    def report(self, report: Report) -> None: ...
    def tick(self, progress: float) -> None: ...


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="darwin-probe-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def real(folder: Path, name: str, **files: bytes) -> Order:
    genome_dir = cast.genome(folder / "genome", **files)
    genome_dir.chmod(0o755)
    return Order(
        name=f"darwin-{uuid.uuid4().hex[:8]}-{name}", purpose=Purpose.SCORE, genome_dir=genome_dir,
        genome=read_genome(genome_dir), folder=folder, seed=0, budget_tokens=None, budget_seconds=1.0, threads=1,
        text=prepare(sentences(3, 1000), vocabulary="bytes", context=16),
        limits=Limits(cpus=1.0, wall_seconds=120),
    )


@pytest.mark.bubblewrap
def test_a_real_training_is_timed_and_ended(folder: Path) -> None:
    """Batches that wait a twentieth of a second cannot be faster than that, and are not much slower."""
    order = real(folder, "slow", train=cast.TRAIN.replace(b"loss.backward()", b"loss.backward(); time.sleep(0.05)")
                 .replace(b"import torch\n", b"import time\n\nimport torch\n", 1))
    driver = Bubblewrap()
    rate = probe.measure(order, driver, Quiet())
    assert rate.batch_tokens == 8 * 16
    assert 10 < rate.tokens_per_second < 8 * 16 / 0.05
    assert boxes.residue(driver, f"{order.name}-probe-train") == []


@pytest.mark.bubblewrap
@pytest.mark.parametrize(("broken", "cause", "detail"), [
    (b"raise ValueError('one step too far')", Cause.CRASHED, "one step too far"),
    (b"return", Cause.NO_PROGRESS, "ended after 1 batches"),
])
def test_a_real_training_that_fails_says_why(folder: Path, broken: bytes, cause: Cause, detail: str) -> None:
    order = real(folder, "broken", train=cast.TRAIN.replace(b"loss.backward()", broken))
    with pytest.raises(ProbeFailed, match=detail) as failure:
        probe.measure(order, Bubblewrap(), Quiet())
    assert failure.value.cause == cause
