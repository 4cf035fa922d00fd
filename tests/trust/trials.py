"""Trials for these tests: real sandboxes, the real scorer, no database; judged once as it is and once without limits.

The second judgement asks nothing twice: the answers of the first are remembered, so that guard and control see the same
model at the same questions.
"""

import tempfile
import threading
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from evolution import corpus
from sandbox import leaks, readiness
from sandbox.conduct import conduct
from sandbox.drivers.base import Driver, Limits
from sandbox.models import AttemptState, Purpose
from sandbox.outcome import Outcome
from sandbox.trial import Baseline, Order
from tests.trust import genomes
from trainer.contract import parse_genome
from trainer.harness.outside import scorer
from trainer.harness.outside.scorer import Judgement, Tolerance
from trainer.harness.outside.server import Report
from trainer.harness.outside.text import Text, prepare

MB = 1 << 20
SEED = 3
LIMITS = Limits(memory_bytes=2048 * MB, pids=128, tmp_bytes=16 * MB, out_bytes=48 * MB, cache_bytes=16 * MB,
                cpus=1.0, wall_seconds=120.0)
PEAK_FLOPS = 1e12  # what no CPU of one thread does


@cache
def text(vocabulary: str = "bytes", context: int = genomes.CONTEXT) -> Text:
    """The built-in data, cut short: source code, which is the same on every machine."""
    return prepare(corpus.text()[: genomes.TEXT_BYTES], vocabulary=vocabulary, context=context)


@cache
def driver() -> Driver:
    """Whichever works here: what is tested is the judge, and tests/attacks has both."""
    return readiness.choose()


@dataclass
class Watch:
    """What a runner would be told."""

    reports: list[Report] = field(default_factory=list)

    def phase(self, state: AttemptState, container: str) -> None: ...

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def tick(self, progress: float) -> None: ...


@dataclass(frozen=True)
class Ended:
    """A trial that is over. `unlimited` is what the scorer would have found without its limits."""

    outcome: Outcome
    unlimited: Judgement | None
    config: bytes  # of the frozen checkpoint


def trial(
    files: Mapping[str, bytes], *, baseline: Baseline | None = None, look_for_text: bool = True,
    where: Driver | None = None, below: Path | None = None, **changes: Any,
) -> Ended:
    """Train and judge the genome `files`, held to `baseline`; `changes` are of the order, `where` and `below` say by
    which driver and in which folder."""
    sandboxes = where or driver()
    with tempfile.TemporaryDirectory(prefix="darwin-trust-", dir=below) as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        genome = folder / "genome"
        genome.mkdir(mode=0o755)
        for name, content in files.items():
            path = genome / name
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o644)
        parsed = parse_genome(files["genome.toml"].decode())
        known = text(parsed.vocabulary, parsed.context)
        order = Order(
            name=f"darwin-trust-{uuid.uuid4().hex[:12]}", purpose=Purpose.SCORE, genome_dir=genome, genome=parsed,
            folder=folder, text=known, seed=SEED, budget_tokens=genomes.BUDGET_TOKENS, budget_seconds=None,
            threads=1, baseline=baseline or Baseline(), peak_flops=PEAK_FLOPS, limits=LIMITS,
            held_out_in=leaks.find_known_text(known, sandboxes, genome) if look_for_text else "",
        )
        with _twice_judged() as unlimited:
            outcome = conduct(replace(order, **changes), sandboxes, Watch())
        config = folder / "weights" / "config.json"
        return Ended(outcome, unlimited[0] if unlimited else None, config.read_bytes() if config.exists() else b"")


def held_to(outcome: Outcome) -> Baseline:
    """What variants of the genome that ended with `outcome` may use."""
    return Baseline(**{
        name: outcome.numbers.get(name) for name in Baseline.__dataclass_fields__
    })


@contextmanager
def _twice_judged() -> Iterator[list[Judgement]]:
    """While this lasts every judgement is followed by one without limits, which is added to the list."""
    found: list[Judgement] = []
    judge = scorer.judge

    def both(window: Any, prefix: Any, *, rng: np.random.Generator, **given: Any) -> Judgement:
        seed = int(rng.integers(1 << 62))
        one = Remembering(window)
        two = one if prefix is window else Remembering(prefix)
        guarded = judge(one, two, rng=np.random.default_rng(seed), **given)
        one.repeat()
        two.repeat()
        if guarded.cause is not None:
            with limits_off():
                found.append(judge(one, two, rng=np.random.default_rng(seed), **given))
        else:
            found.append(replace(guarded, val_loss=(guarded.val_loss or 0.0) - (guarded.correction or 0.0)))
        return guarded

    with mock.patch.object(scorer, "judge", both):
        yield found


@contextmanager
def limits_off() -> Iterator[None]:
    """No peeking is too much, no answer too different, and nothing is taken back."""
    anything = Tolerance(drift=float("inf"), noise=float("inf"), apart=float("inf"))
    with mock.patch.multiple(
        scorer, MAX_GAIN=float("inf"), SPEED_DRIFT=float("inf"), FULL=anything, LOW=anything
    ):
        yield


class Remembering:
    """An asker that answers what it was asked before from memory, in the order in which the answers came."""

    def __init__(self, asker: Any) -> None:
        self._asker = asker
        self._lock = threading.Lock()
        self._said: dict[Any, list[Any]] = defaultdict(list)
        self._left: dict[Any, deque[Any]] = {}

    @property
    def low_precision(self) -> bool:
        return bool(self._asker.low_precision)

    def repeat(self) -> None:
        """From here on, begin with the first answers again."""
        self._left = {key: deque(answers) for key, answers in self._said.items()}

    def logits(self, tokens: Any, **given: Any) -> Any:
        key = (tokens.shape, tokens.tobytes(), tuple(sorted(given.items())))
        return self._answer(key, lambda: self._asker.logits(tokens, **given))

    def flops(self, context: int) -> Any:
        return self._answer(("flops", context), lambda: self._asker.flops(context))

    def close(self) -> None:
        """Not yet: it may be asked again."""

    def _answer(self, key: Any, ask: Callable[[], Any]) -> Any:
        if self._left.get(key):
            return self._left[key].popleft()
        answer = ask()
        self._said[key].append(answer)
        return answer
