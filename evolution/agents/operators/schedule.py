"""Operators on the learning rate over time."""

from random import Random

import libcst as cst
import libcst.matchers as m

from evolution.agents.operators import tree
from evolution.agents.operators.operator import Operator


def linear_to_zero(module: cst.Module, rng: Random) -> cst.Module | None:
    """The cosine becomes a straight line."""
    return _without_cosine(module, "(1.0 - {progress})")


def stable_then_decay(module: cst.Module, rng: Random) -> cst.Module | None:
    """The cosine becomes a plateau and a straight fall over the last part."""
    return _without_cosine(module, "min(1.0, (1.0 - {progress}) / 0.4)")


def _without_cosine(module: cst.Module, shape: str) -> cst.Module | None:
    """0.5 * (1 + cos(pi * progress)) replaced by `shape`, wherever it stands."""
    pairs = [
        (node, tree.expression(shape.format(progress=progress)))
        for node in tree.walk(module) if (progress := _cosine(node))
    ]
    return tree.exchange(module, *pairs) if pairs else None


def _cosine(node: cst.CSTNode) -> str:
    """The progress p of a node that is 0.5 * (1 + cos(pi * p)), in either order, or (1 + cos(pi * p)) / 2."""
    if not isinstance(node, cst.BinaryOperation):
        return ""
    half = m.Float("0.5")
    if m.matches(node, m.BinaryOperation(left=half, operator=m.Multiply())):
        return _raised(node.right)
    if m.matches(node, m.BinaryOperation(operator=m.Multiply(), right=half)):
        return _raised(node.left)
    if m.matches(node, m.BinaryOperation(operator=m.Divide(), right=m.Integer("2") | m.Float("2.0"))):
        return _raised(node.left)
    return ""


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
)
