"""The ways of spending a budget of trials on better training code that bench/evolution.py compares.

Every arm gets the same baseline, the same number of trainings of the same length, and a sandbox that ends whatever
uses more than 1.25 times the baseline's device time.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import optuna
from django.conf import settings

from bench import constants
from bench.trials import Ledger, Trial
from evolution import contests, repair
from evolution.agents.builtin import readable
from evolution.confined import confined
from evolution.errors import Infrastructure
from evolution.genomes import store_of
from evolution.models import Experiment, Kind, Status
from sandbox.models import Purpose
from sandbox.models import Trial as TrialRow

ROOT = Path(__file__).resolve().parents[1]
Files = Mapping[str, bytes]
GENERATIONS = 4  # of the arms that evolve
KEPT = 0.4  # of a population survive, as in the paper
MOST_OPERATORS = 4  # in one independent sample
FAILED = (Status.FAILED, Status.REJECTED, Status.STILLBORN)


@dataclass(frozen=True)
class Setting:
    """What every arm gets. `seed` is that of the search; `name` keeps experiments of several settings apart."""

    name: str
    baseline: Files
    trials: int
    tokens: int
    data: str
    seed: int
    sandbox: str
    agent: str
    ledger: Ledger  # held to the limits of the baseline's trial


@dataclass(frozen=True)
class Spent:
    """What an arm found, and what it took: `files` of the best on the screening seed, the baseline's when nothing
    was better."""

    files: Files
    trials: int  # trainings begun
    failures: int  # proposals that gave no number, checks before training included
    repairs: int
    tokens: int
    seconds: float


Arm = Callable[[Setting], Spent]


def darwin(setting: Setting) -> Spent:
    """The product as it comes."""
    return _evolved(setting, "darwin", [])


def paper(setting: Setting) -> Spent:
    """The paper's loop in the product, its population cut to the trials there are."""
    return _evolved(setting, "paper", ["--preset", "darwin-paper"])


def no_memory(setting: Setting) -> Spent:
    """The product without its memory. Built-in operators read none: with them this is the arm `darwin` again."""
    return _evolved(setting, "no-memory", ["--memory", "off"])


def best_of_n(setting: Setting) -> Spent:
    """Independent samples, nothing learned from any: one to four operators at random, each on the baseline."""
    trials = {}
    for number in range(setting.trials):
        files = sampled(setting.baseline, Random(f"best of n {setting.seed}/{number}"))  # not for secrets
        trials[number] = files, setting.ledger.trial(files, seed=setting.seed)
    return _kept(setting, list(trials.values()))


def tuned(setting: Setting) -> Spent:
    """Optuna's TPE over the constants of the recipe."""
    baseline = setting.ledger.trial(setting.baseline, seed=setting.seed)
    if baseline.loss is None:
        raise Infrastructure(f"the baseline gave no number: {baseline.reason}")
    study, done = constants.study(setting.seed, baseline_loss=baseline.loss), []
    for _ in range(setting.trials):
        asked = constants.ask(study)
        files = constants.recipe(setting.baseline, asked.params)
        trial = setting.ledger.trial(files, seed=setting.seed)
        state = optuna.trial.TrialState.FAIL if trial.loss is None else None
        study.tell(asked, trial.loss, state=state)
        done.append((files, trial))
    return _kept(setting, done)


ARMS: dict[str, Arm] = {
    "darwin": darwin, "paper": paper, "best-of-n": best_of_n, "optuna": tuned, "no-memory": no_memory,
}
EVOLVING = frozenset({"darwin", "paper", "no-memory"})
NEEDS_MODEL = frozenset({"no-memory"})


def sampled(baseline: Files, rng: Random) -> Files:
    """`baseline` with one to four operators, each of those that still fit."""
    files = dict(baseline)
    for _ in range(rng.randint(1, MOST_OPERATORS)):
        texts = readable(files)
        asked = {"files": texts, "editable": list(texts), "seed": rng.randrange(1 << 31), "tried": []}
        done = confined("operate", asked)
        files.update({path: text.encode() for path, text in done.get("files", {}).items()})
    return files


def _kept(setting: Setting, done: Sequence[tuple[Files, Trial]]) -> Spent:
    """What an arm spent whose trials are in the ledger."""
    baseline = setting.ledger.trial(setting.baseline, seed=setting.seed)
    measured = [(trial.loss, at) for at, (_, trial) in enumerate(done) if trial.loss is not None]
    loss, at = min(measured, default=(float("inf"), -1))
    better = baseline.loss is not None and loss < baseline.loss
    return Spent(
        files=done[at][0] if better else setting.baseline,
        trials=len(done),
        failures=sum(1 for _, trial in done if trial.loss is None),
        repairs=0,
        tokens=sum(trial.trained or 0 for _, trial in done),
        seconds=sum(trial.wall_seconds for _, trial in done),
    )


def _evolved(setting: Setting, arm: str, options: list[str]) -> Spent:
    """An experiment of the product, run to its end by `manage.py evolve`; goes on with one that was interrupted."""
    name = f"bench-{setting.name}-{arm}-{setting.seed}"
    population = setting.trials // GENERATIONS
    began = time.monotonic()
    child = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "evolve", name, "--review", "auto", "--confirm", "0",
         "--agent", setting.agent, "--data", setting.data, "--budget-tokens", str(setting.tokens),
         "--population", str(population), "--survivors", str(max(1, round(KEPT * population))),
         "--generations", str(GENERATIONS), "--seed", str(setting.seed), "--sandbox", setting.sandbox, "--json",
         *options],
        check=False, stdout=subprocess.PIPE, text=True, env={**os.environ, "DARWIN_VAR": str(settings.DARWIN_VAR)},
    )
    if child.returncode != 0:
        raise Infrastructure(f"{name} ended with code {child.returncode}: run the same command again to go on")
    told = json.loads(child.stdout.splitlines()[-1])
    return _spent(Experiment.objects.get(slug=told["experiment"]), fallback=time.monotonic() - began)


def _spent(experiment: Experiment, *, fallback: float) -> Spent:
    bred = experiment.variants.exclude(kind=Kind.BASELINE)
    trained = TrialRow.objects.filter(variant__in=bred, purpose=Purpose.SCORE)
    best = contests.leader(experiment) or experiment.baseline
    assert best is not None  # it finished
    ended = experiment.ended_at
    return Spent(
        files=store_of(experiment).files(best.commit),
        trials=trained.count(),
        failures=bred.filter(status__in=FAILED).count(),
        repairs=repair.counted(experiment.variants.all())["repaired"],
        tokens=sum(row.result.get("train_tokens") or 0 for row in trained),
        seconds=(ended - experiment.created_at).total_seconds() if ended else fallback,
    )
