"""Equal time, trained by tokens: how many tokens a variant gets is decided before its first trial, once for all seeds.

A budget in seconds would make every run stop somewhere else: no two seeds, and no pair of a challenger and a champion,
would see the same text, and a schedule would never know how long it has. So short runs measure steady tokens/s, and S
seconds become S × rate tokens, in whole batches, written into the trial. A variant's rate is the baseline's frozen one
times a ratio, measured in runs that take turns with the baseline's on the same idle device: what slows the machine down
for an hour slows both. On a CPU neighbours come and go within seconds, and the ratio is noisier.

A variant that is slower here than in its trial gives tokens away. One that pretends to be fast is stopped in its trial,
at 1.25 times the baseline's device time.
"""

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from evolution.errors import DarwinError
from evolution.genomes import store_of
from evolution.models import Experiment, Variant
from sandbox.drivers.base import Box, Driver, SandboxError
from sandbox.models import Attempt, AttemptState, Purpose, Trial
from sandbox.outcome import Outcome
from sandbox.servers import training_job
from sandbox.training import IDLE_SECONDS, START_SECONDS, text_server
from sandbox.trial import Order, Watcher
from trainer.contract import Cause, Genome, read_genome
from trainer.harness.outside.server import Progress

ALONE = 3  # runs of the baseline, before anything can be compared with it
PAIRS = 2  # baseline, variant, baseline, variant
WARM_BATCHES = 8  # not timed: lazy compilation, allocators, and a GPU's queue that is still empty
TIMED_BATCHES = 24
TIMED_SHARE = 0.05  # of the budget's seconds, in each run
TIMED_SECONDS = 2.0, 10.0  # at least and at most
PATIENCE = 30.0  # timed seconds after which a few batches are enough
FEW_BATCHES = 4
RUN_SECONDS = 1200.0  # one run, with everything
LOOK_SECONDS = 0.01
MOST_TOKENS = 10**13  # for whoever fetches text without looking at it


class ProbeFailed(DarwinError):
    """A run showed no steady rate by the fault of its own code."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True)
class Look:
    """What the text server had counted when it served its latest batch, at `at` on its own clock."""

    at: float
    tokens: int
    batches: int


@dataclass(frozen=True)
class Rate:
    tokens_per_second: float
    batch_tokens: float  # mean, of one batch


Measure = Callable[[Order], Rate]


def equal_time(experiment: Experiment, genome: Genome) -> bool:
    """Whether trials of `experiment` get S seconds in tokens; a trainer that owns its loop keeps to the clock."""
    return experiment.budget_seconds is not None and experiment.budget_tokens is None and genome.command is None


def frozen_tokens(variant: Variant) -> int | None:
    """The tokens every later run of `variant` gets; None before its first probe, and where budgets are no seconds."""
    experiment = variant.experiment
    if experiment.budget_seconds is None or experiment.budget_tokens is not None:
        return None
    known = Trial.objects.filter(variant=variant, budget_tokens__isnull=False).exclude(purpose=Purpose.CHECK)
    return known.order_by("id").values_list("budget_tokens", flat=True).first()


def freeze(attempt: Attempt, order: Order, driver: Driver, watch: Watcher, outcome: Outcome) -> Order:
    """`order` with its budget in tokens, probed and written into the trial unless that was done before.

    When the variant could not be probed by its own fault, `outcome` has the cause and there is nothing to run.
    """
    trial = attempt.trial
    variant, experiment = trial.variant, trial.variant.experiment
    if order.purpose == Purpose.CHECK or not equal_time(experiment, order.genome):
        return order
    tokens = trial.budget_tokens or frozen_tokens(variant)
    if tokens is None:
        started = time.monotonic()
        try:
            tokens = _probed(experiment, variant, order, lambda one: measure(one, driver, watch), outcome)
        except ProbeFailed as failure:
            outcome.cause, outcome.detail = failure.cause, failure.detail
            return order
        finally:
            outcome.phases["probe"] = time.monotonic() - started
    # The first one to write it wins: a runner that lost its lease meanwhile must not change what another one runs.
    Trial.objects.filter(pk=trial.pk, budget_tokens__isnull=True).update(budget_tokens=tokens)
    trial.refresh_from_db(fields=["budget_tokens"])
    return replace(order, budget_tokens=trial.budget_tokens, budget_seconds=None)


def _probed(experiment: Experiment, variant: Variant, order: Order, run: Measure, outcome: Outcome) -> int:
    seconds = experiment.budget_seconds or 0.0
    baseline = experiment.baseline
    if baseline is None or baseline.pk == variant.pk:
        rate = alone(order, run)
        outcome.numbers["probe_tokens_per_second"] = rate.tokens_per_second
        return in_batches(seconds * rate.tokens_per_second, rate.batch_tokens)
    frozen = frozen_tokens(baseline)
    if frozen is None:
        raise SandboxError(f"the budget of “{experiment.slug}” was never measured: train its baseline again")
    ratios, batch_tokens = against(_order_of(baseline, order, tokens=frozen), replace(order, budget_tokens=frozen), run)
    outcome.numbers.update(probe_ratios=ratios, probe_ratio=statistics.median(ratios))
    return in_batches(frozen * statistics.median(ratios), batch_tokens)


def _order_of(baseline: Variant, order: Order, *, tokens: int) -> Order:
    """The same run with the baseline's code."""
    genome_dir = order.folder / "baseline"
    shutil.rmtree(genome_dir, ignore_errors=True)
    store_of(baseline.experiment).checkout(baseline.commit, genome_dir)
    return replace(
        order, name=f"{order.name}-baseline", genome_dir=genome_dir, genome=read_genome(genome_dir),
        budget_tokens=tokens,
    )


def alone(order: Order, run: Measure) -> Rate:
    """The median of some runs."""
    rates = sorted((run(order) for _ in range(ALONE)), key=lambda rate: rate.tokens_per_second)
    return rates[len(rates) // 2]


def against(baseline: Order, variant: Order, run: Measure) -> tuple[list[float], float]:
    """How many times faster the variant is, pair by pair, and the tokens of one of its batches.

    A baseline that fails here was measured before: that is the machine's fault, and tried again.
    """
    ratios = []
    for _ in range(PAIRS):
        try:
            usual = run(baseline)
        except ProbeFailed as failure:
            raise SandboxError(f"the baseline could not be timed ({failure})") from failure
        rate = run(variant)
        ratios.append(rate.tokens_per_second / usual.tokens_per_second)
    return ratios, rate.batch_tokens


def in_batches(tokens: float, batch_tokens: float) -> int:
    """The whole batches that fit into so many tokens, at least one."""
    return min(round(max(int(tokens / batch_tokens), 1) * batch_tokens), MOST_TOKENS)


def measure(order: Order, driver: Driver, watch: Watcher) -> Rate:
    """Start the training of `order`, time it on the text server's clock, and end it once its rate is steady.

    ProbeFailed when it ends, or hangs, before it was.
    """
    folder = order.folder / "probe"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    timed = min(max(TIMED_SHARE * (order.budget_seconds or 0.0), TIMED_SECONDS[0]), TIMED_SECONDS[1])
    # Told the tokens it may get, so that a schedule that needs them finds them; never the seconds.
    order = replace(order, name=f"{order.name}-probe", folder=folder, budget_seconds=None)
    left = driver.adopt(f"{order.name}-train")
    if left is not None:  # of a runner that died
        left.remove()
    server = text_server(order, lambda report: None)
    server.start()
    try:
        box = driver.start(training_job(order))
        try:
            watch.phase(AttemptState.STARTING, box.name)
            return _timed(order, box, server.progress, watch, seconds=timed)
        finally:
            box.remove()
    finally:
        server.stop()


def _timed(order: Order, box: Box, progress: Callable[[], Progress], watch: Watcher, *, seconds: float) -> Rate:
    began = time.monotonic()
    looks: list[Look] = []
    while True:
        now, end = progress(), box.poll()
        if now.last_request_at is not None and now.batches and (not looks or now.batches > looks[-1].batches):
            looks.append(Look(now.last_request_at, now.tokens, now.batches))
        over = end is not None or now.phase in ("saving", "done", "failed")
        rate = steady(looks, seconds=seconds, over=over)
        if rate is not None:
            return rate
        watch.tick(0.0)
        if over:
            raise _why_it_ended(order, box, now)
        _be_patient(now, time.monotonic() - began)
        time.sleep(LOOK_SECONDS)


def steady(looks: Sequence[Look], *, seconds: float, over: bool = False) -> Rate | None:
    """The rate after the warm batches, once it was timed for so many batches and `seconds`; None before.

    Slow batches need not be that many. A training that is `over` is taken by what there was of it.
    """
    timed = [look for look in looks if look.batches > WARM_BATCHES] or list(looks[-1:])
    if over and len(timed) <= FEW_BATCHES:  # too short to be warm
        timed = list(looks)
    if len(timed) < 2:
        return None
    first, last = timed[0], timed[-1]
    batches, spent = last.batches - first.batches, last.at - first.at
    enough = spent >= seconds and (batches >= TIMED_BATCHES or (batches >= FEW_BATCHES and spent >= PATIENCE))
    if spent <= 0 or not (enough or over):
        return None
    return Rate((last.tokens - first.tokens) / spent, last.tokens / last.batches)


def _be_patient(progress: Progress, elapsed: float) -> None:
    """Raise ProbeFailed for a training that is alive and does not get on."""
    if elapsed > RUN_SECONDS:
        raise ProbeFailed(Cause.OUT_OF_TIME, f"served too few batches to be timed within {RUN_SECONDS:.0f} seconds")
    if progress.started_at is None:
        if elapsed - progress.warm_seconds > START_SECONDS:
            raise ProbeFailed(Cause.NO_PROGRESS, "asked for no text in a long time")
    elif time.time() - (progress.last_request_at or progress.started_at) > IDLE_SECONDS:
        raise ProbeFailed(Cause.NO_PROGRESS, "asked for no text in a long time")


def _why_it_ended(order: Order, box: Box, progress: Progress) -> ProbeFailed:
    end = box.poll()
    if end is not None and end.out_of_memory:
        return ProbeFailed(Cause.OUT_OF_MEMORY, f"needed more than {order.limits.memory_bytes / (1 << 30):.1f} GiB")
    if progress.phase == "failed":
        return ProbeFailed(Cause.CRASHED, progress.error or "raised an error")
    if progress.phase == "done" or progress.batches:
        return ProbeFailed(Cause.NO_PROGRESS, f"ended after {progress.batches} batches, too few to be timed")
    return ProbeFailed(Cause.CRASHED, f"exited with code {end.code if end else 'none'} before its first batch")
