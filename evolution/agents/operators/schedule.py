"""Operators on the learning rate over time."""

from random import Random

import libcst as cst
import libcst.matchers as m

from evolution.agents.operators import tree
from evolution.agents.operators.operator import Operator

HALF = m.Float("0.5")


def linear_to_zero(module: cst.Module, rng: Random) -> cst.Module | None:
    """The cosine becomes a straight line."""
    return _without_cosine(module, "1.0 - {progress}")


def stable_then_decay(module: cst.Module, rng: Random) -> cst.Module | None:
    """The cosine becomes a plateau and a straight fall over the last part."""
    return _without_cosine(module, "min(1.0, (1.0 - {progress}) / 0.4)")


def stable_then_root(module: cst.Module, rng: Random) -> cst.Module | None:
    """The cosine becomes a plateau and a fall by the root over the last part."""
    return _without_cosine(module, "min(1.0, 1.0 - max(0.0, ({progress} - 0.6) / 0.4) ** 0.5)")


def _without_cosine(module: cst.Module, shape: str) -> cst.Module | None:
    """0.5 * (1 + cos(pi * progress)) replaced by `shape`, wherever it stands."""
    whole = [tree.value(node) for node in tree.walk(module)]
    pairs: list[tuple[cst.CSTNode, tree.Replacement]] = []
    for node in tree.walk(module):
        if found := _cosine(node):
            front, progress = found
            new = shape.format(progress=progress)
            alone = (not front and any(node is one for one in whole)) or new.startswith("min")
            pairs.append((node, tree.expression(front + (new if alone else f"({new})"))))
    return tree.exchange(module, *pairs) if pairs else None


def _cosine(node: cst.CSTNode) -> tuple[str, str] | None:
    """(what it is multiplied with, p) of a node that is … * 0.5 * (1 + cos(pi * p)) or … * (1 + cos(pi * p)) / 2."""
    if not isinstance(node, cst.BinaryOperation) or not isinstance(node.operator, cst.Multiply | cst.Divide):
        return None
    left, right = node.left, node.right
    if isinstance(node.operator, cst.Divide):
        halved, factors = m.matches(right, m.Integer("2") | m.Float("2.0")), _factors(left)
    else:
        halved, factors = False, [*_factors(left), right]
    progress = _raised(factors[-1])
    rest = factors[:-1]
    if not halved and rest and m.matches(rest[-1], HALF):
        halved, rest = True, rest[:-1]
    if not halved and len(factors) == 2 and m.matches(factors[1], HALF):
        halved, progress, rest = True, _raised(factors[0]), []
    if not halved or not progress:
        return None
    return "".join(f"{tree.code(factor)} * " for factor in rest), progress


def _factors(node: cst.BaseExpression) -> list[cst.BaseExpression]:
    """a, b and c of a * b * c; a sum in brackets is one factor."""
    if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Multiply) and not node.lpar:
        return [*_factors(node.left), node.right]
    return [node]


def _raised(node: cst.BaseExpression) -> str:
    """The progress p of 1 + cos(pi * p)."""
    if not isinstance(node, cst.BinaryOperation) or not isinstance(node.operator, cst.Add):
        return ""
    for side in (node.left, node.right):
        if isinstance(side, cst.Call) and tree.called(side) == "cos" and len(side.args) == 1:
            return _times_pi(side.args[0].value)
    return ""


def _times_pi(node: cst.BaseExpression) -> str:
    if not isinstance(node, cst.BinaryOperation) or not isinstance(node.operator, cst.Multiply):
        return ""
    for side, other in ((node.left, node.right), (node.right, node.left)):
        if tree.dotted(side).rpartition(".")[2] == "pi":
            text = tree.code(other)
            return text if isinstance(other, cst.Name | cst.Attribute | cst.Call) or other.lpar else f"({text})"
    return ""


OPERATORS = (
    Operator(
        name="linear_to_zero",
        title="Learning rate falls in a straight line",
        hypothesis="A straight fall spends more steps at a middling learning rate than a cosine, and ends as low.",
        rationale="Bergsma et al., Straight to Zero: Why Linearly Decaying the Learning Rate to Zero Works Best for "
        "LLMs (2025).",
        expected="Slightly lower perplexity; MFU unchanged.",
        apply=linear_to_zero,
    ),
    Operator(
        name="stable_then_decay",
        title="Stable learning rate, then decay",
        hypothesis="Progress is made at the full learning rate and harvested in a short fall at the end.",
        rationale="Hu et al., MiniCPM (2024); Hägele et al., Scaling Laws and Compute-Optimal Training Beyond Fixed "
        "Training Durations (2024): as good as a cosine.",
        expected="Perplexity the same or slightly lower; MFU unchanged.",
        apply=stable_then_decay,
    ),
    Operator(
        name="stable_then_root",
        title="Stable learning rate, then a fall by the root",
        hypothesis="A fall that is steep at first has more steps at small rates than a straight one.",
        rationale="Hägele et al., Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations (2024), "
        "section 3: 1 - sqrt is the best of the shapes they try.",
        expected="Perplexity the same or slightly lower than with a straight fall; MFU unchanged.",
        apply=stable_then_root,
    ),
)
