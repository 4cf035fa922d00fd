"""Operators on where training starts."""

from random import Random

import libcst as cst

from evolution.agents.operators import tree
from evolution.agents.operators.operator import Operator


def zero_projections(module: cst.Module, rng: Random) -> cst.Module | None:
    """Where projections into the residual stream are drawn with a smaller deviation, they become zero instead."""
    draws = [call for call in tree.calls(module, "normal_", "trunc_normal_") if _is_shrunk(module, call)]
    if not draws:
        return None
    changed = tree.exchange(module, *((call, _zeroed(call)) for call in draws))
    return tree.without_idle_names(changed, draws)


def _is_shrunk(module: cst.Module, call: cst.Call) -> bool:
    """Whether the deviation is divided by the root of the depth, as GPT-2 does for residual projections."""
    deviation = tree.positional(call, 2, "std")
    if isinstance(deviation, cst.Name):
        values = [pair[1] for node in tree.walk(module) if (pair := tree.assignment(node))
                  and tree.dotted(pair[0]) == deviation.value]
        deviation = values[0] if values else deviation
    text = tree.code(deviation) if deviation else ""
    return ("/" in text and ("sqrt" in text or "** 0.5" in text or "**0.5" in text)) or "** -0.5" in text


def _zeroed(call: cst.Call) -> cst.BaseExpression:
    assert isinstance(call.func, cst.Attribute)  # noqa: S101 normal_ is never imported by itself
    return tree.expression(f"{tree.code(call.func.value)}.zeros_({tree.code(call.args[0].value)})")


OPERATORS = (
    Operator(
        name="zero_projections",
        title="Residual projections start at zero",
        hypothesis="If every block starts as the identity, early gradients reach all layers undisturbed.",
        rationale="Goyal et al., Accurate, Large Minibatch SGD (2017), section 5.1, and Zhang et al., Fixup "
        "Initialization (2019): the last layer of each residual branch starts at zero.",
        expected="Faster early training, so lower perplexity on small budgets; MFU unchanged.",
        apply=zero_projections,
    ),
)
