"""The constants of the built-in recipe, and the recipe with other ones: what Optuna tunes."""

from collections.abc import Mapping
from dataclasses import dataclass

import libcst as cst
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from evolution.agents.operators.numbers import turned

DIGITS = 4  # that count, of every number written
Files = Mapping[str, bytes]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Constant:
    """A number of the recipe, where it stands, and the range that is searched: even on a log scale unless `plain`."""

    path: str
    name: str  # a pattern for the whole name
    now: float
    low: float
    high: float
    whole: bool = False
    plain: bool = False
    complement: bool = False  # 1 − it is what is even on a log scale

    @property
    def range(self) -> BaseDistribution:
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=not self.plain)
        return FloatDistribution(self.low, self.high, log=not self.plain)

    def written(self, drawn: float) -> float:
        return 1 - drawn if self.complement else drawn

    @property
    def drawn(self) -> float:
        """The point of the range at which the recipe stands."""
        value = 1 - self.now if self.complement else self.now
        return int(value) if self.whole else float(f"{value:.{DIGITS}g}")


CONSTANTS = {
    "learning_rate": Constant("config.py", "learning_rate", 1e-3, 3e-4, 2e-2),
    "final_rate": Constant("config.py", "min_learning_rate", 1e-4, 1e-6, 1e-3),
    "batch_size": Constant("config.py", "batch_size", 12, 3, 48, whole=True),
    "weight_decay": Constant("config.py", "weight_decay", 0.1, 1e-3, 1.0),
    "beta1": Constant("optimiser.py", "BETA1", 0.9, 0.8, 0.97, plain=True),
    "beta2": Constant("config.py", "beta2", 0.99, 1e-3, 0.1, complement=True),
    "clip": Constant("config.py", "grad_clip", 1.0, 0.1, 10.0),
    "warmup": Constant("schedule.py", "WARMUP", 0.05, 0.005, 0.3),
    "init_std": Constant("model.py", "INIT_STD", 0.02, 0.005, 0.2),
}


def recipe(files: Files, values: Values) -> dict[str, bytes]:
    """`files` with each constant set to its value, by its syntax tree; ValueError for one that is not there."""
    changed = dict(files)
    for name, drawn in values.items():
        one = CONSTANTS[name]
        changed[one.path] = _set(changed[one.path].decode(), one, one.written(drawn)).encode()
    return changed


def _set(text: str, constant: Constant, value: float) -> str:
    module, found = cst.parse_module(text), []

    def turn(old: float) -> float:
        found.append(old)
        return value

    new = turned(module, constant.name, turn, digits=DIGITS)
    if not found:
        raise ValueError(f"{constant.path} sets no {constant.name}: bring bench/constants.py up to date")
    return (new or module).code


def study(seed: int, *, baseline_loss: float) -> optuna.Study:
    """A study of TPE (Bergstra et al. 2011) that knows, as every other arm does, what the recipe gives as it is."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    made.add_trial(optuna.trial.create_trial(
        params={name: one.drawn for name, one in CONSTANTS.items()},
        distributions={name: one.range for name, one in CONSTANTS.items()}, value=baseline_loss,
    ))
    return made


def ask(made: optuna.Study) -> optuna.Trial:
    """The next trial to run; its `params` are the values."""
    return made.ask({name: one.range for name, one in CONSTANTS.items()})
