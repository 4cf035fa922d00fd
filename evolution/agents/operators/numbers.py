"""Operators that turn one number: multiplied wherever the code or a preset sets it under its name.

Some numbers of training code are known, with the names they go by and the range that makes sense; any other that the
code names may be turned as well.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

import libcst as cst

from evolution.agents.operators import tree
from evolution.agents.operators.operator import Apply, Operator

Turn = Callable[[float], float | None]  # the new value, or None to leave this one alone


@dataclass(frozen=True)
class Knob:
    """A number of training code and the names it goes by."""

    title: str
    pattern: str  # of the name, whole, case ignored
    low: float
    high: float
    whole: bool = False


KNOBS = {
    "learning_rate": Knob("Learning rate", r"_?(max_|peak_|base_)?(learning_rate|lr)", 1e-6, 0.1),
    "batch_size": Knob("Batch size", r"_?(micro_|device_)?batch(_size)?", 2, 4096, whole=True),
    "weight_decay": Knob("Weight decay", r"_?weight_decay", 1e-6, 1.0),
    "warmup": Knob("Warm-up", r"_?warm_?up(_\w+)?", 1e-4, 1e6),
    "init_std": Knob("Initial deviation", r"_?(init_|weight_)?(std|stddev)", 1e-4, 1.0),
    "final_rate": Knob("Final learning rate", r"_?(min_|final_)(learning_rate|lr|rate|share|fraction)", 0.0, 1.0),
    "clip": Knob("Gradient clipping", r"_?(grad(ient)?_)?(clip|max_norm)(_norm)?", 0.01, 100),
}


SPREAD = 0.5  # of the logarithm of a random factor: two thirds lie between 0.6 and 1.6
FACTORS = 0.25, 4.0  # no further than this
# Numbers that are no part of a recipe: how data and tensors are shaped, what is told when, where things begin.
FIXED = re.compile(
    r"_*(seeds?|contexts?|block_size|ctx|max_len\w*|\w*vocab\w*|version|dims?|axis|alpha|beta|start|end|step|index|rank|"
    r"world\w*|\w*heads?|rows|size|digits|mean|value|\w*(report|log|save|eval)\w*|\w{1,2})", re.IGNORECASE
)


def turned(module: cst.Module, pattern: str, turn: Turn, *, digits: int = 2) -> cst.Module | None:
    """`module` with every number set under a name that matches `pattern` turned; None when that changes nothing.

    New numbers are written with so many `digits` that count.
    """
    name = re.compile(pattern, re.IGNORECASE)
    pairs: list[tuple[cst.CSTNode, tree.Replacement]] = []
    for node in tree.walk(module):
        number = _number_set(node, name)
        value = _value(number) if number else None
        new = turn(value) if value is not None else None
        if number is not None and value is not None and new is not None and new != value:
            pairs.append((number, tree.expression(_written(new, tree.code(number), digits))))
    return tree.exchange(module, *pairs) if pairs else None


def _number_set(node: cst.CSTNode, name: re.Pattern[str]) -> cst.BaseExpression | None:
    """The literal which `node` sets under `name`."""
    found, value = _set(node)
    return value if name.fullmatch(found) else None


def _set(node: cst.CSTNode) -> tuple[str, cst.BaseExpression | None]:
    """("name", 1) of name = 1, name: int = 1, f(name=1), def f(name=1), and {"name": 1}; ("", None) of all else."""
    target, value = "", None
    if isinstance(node, cst.Assign) and len(node.targets) == 1:
        target, value = tree.dotted(node.targets[0].target), node.value
    elif isinstance(node, cst.AnnAssign):
        target, value = tree.dotted(node.target), node.value
    elif isinstance(node, cst.Arg) and node.keyword is not None:
        target, value = node.keyword.value, node.value
    elif isinstance(node, cst.Param):
        target, value = node.name.value, node.default
    elif isinstance(node, cst.DictElement) and isinstance(node.key, cst.SimpleString):
        target, value = str(node.key.evaluated_value), node.value
    last = target.rpartition(".")[2]
    return (last, value) if last and isinstance(value, cst.Integer | cst.Float) else ("", None)


def constants(module: cst.Module) -> set[str]:
    """The names under which `module` sets a number that may be turned; 0 is a switch, 1 mostly a default."""
    found = set()
    for node in tree.walk(module):
        name, number = _set(node)
        value = _value(number) if number is not None else None
        if value not in (None, 0.0, 1.0) and not FIXED.fullmatch(name):
            found.add(name)
    return found


def _value(number: cst.BaseExpression) -> float | None:
    return float(number.evaluated_value) if isinstance(number, cst.Integer | cst.Float) else None


def _written(value: float, like: str, digits: int) -> str:
    """`value` in the way of the number it replaces: 12, 0.1 or 1e-3."""
    if re.fullmatch(r"[\d_]+", like):
        return str(round(value))
    rounded = float(f"{value:.{digits}g}")
    if "e" not in like.lower() or rounded == 0:
        return repr(rounded) if rounded >= 1e-4 or rounded == 0 else f"{rounded:g}"
    power = math.floor(math.log10(rounded) + 1e-12)
    return f"{rounded / 10.0**power:.{digits}g}e{power}"


def scaling(knob: Knob, factor: float) -> Apply:
    """An operator's apply that multiplies `knob` by `factor` within its bounds."""

    def turn(value: float) -> float | None:
        new = round(value * factor) if value == int(value) and (knob.whole or value >= 2) else value * factor
        return float(new) if knob.low <= new <= knob.high else None

    return lambda module, rng: turned(module, knob.pattern, turn)


def stretching(name: str, factor: float) -> Apply:
    """An operator's apply that multiplies every number set under `name` by `factor`.

    A share just below one, such as a momentum, keeps its side: its distance from one is what is multiplied. Whole
    numbers stay whole, and multiples of 16 where they are.
    """

    def turn(value: float) -> float | None:
        if 0.8 <= value < 1:
            return 1 - (1 - value) * factor
        if value != int(value) or value < 2:
            return value * factor
        grain = 16 if value % 16 == 0 else 1
        return float(max(grain, grain * round(value * factor / grain)))

    return lambda module, rng: turned(module, re.escape(name), turn, digits=3)


def numeric(name: str) -> Operator | None:
    """The operator called NAME_xFACTOR, such as learning_rate_x1.5 or INIT_STD_x2; None for a NAME to leave alone."""
    match = re.fullmatch(r"(\w+)_x(\d+(?:\.\d+)?)", name)
    if match is None or FIXED.fullmatch(match[1]):
        return None
    knob, factor = KNOBS.get(match[1]), float(match[2])
    title = knob.title if knob else match[1]
    word = "larger" if factor > 1 else "smaller"
    return Operator(
        name=name,
        title=f"{title} times {match[2]}",
        hypothesis=f"The present {title if knob is None else title.lower()} may not be the best for this budget: a "
        f"{word} one is tried.",
        rationale="Bergstra & Bengio, Random Search for Hyper-Parameter Optimization (2012): a few numbers matter "
        "most, and trying them one at a time at random finds out which.",
        expected="Unknown beforehand: lower perplexity if the present value is off in the other direction; MFU "
        "changes only with sizes.",
        apply=scaling(knob, factor) if knob else stretching(match[1], factor),
    )


def random_names(rng: Random, count: int, modules: Iterable[cst.Module] = ()) -> list[str]:
    """Names of `count` numeric operators with log-normal factors: of known knobs, and of what `modules` name."""
    names = sorted(set(KNOBS).union(*(constants(module) for module in modules)))
    low, high = FACTORS
    factors = [min(max(rng.lognormvariate(0, SPREAD), low), high) for _ in range(count)]
    return [f"{rng.choice(names)}_x{factor:.2g}" for factor in factors]
