"""Operators on the non-linearity of the feed-forward layer."""

import re
from random import Random

import libcst as cst

from evolution.agents.operators import tree
from evolution.agents.operators.operator import Operator

RELU_SQUARED = '''
class ReluSquared({nn}.Module):
    """max(0, x)^2."""

    def forward(self, x):
        return {functional}.relu(x).square()
'''

SWIGLU = '''
def swiglu(x):
    """SiLU of one half gates the other half."""
    gate, value = x.chunk(2, dim=-1)
    return {functional}.silu(gate) * value
'''


def relu_squared(module: cst.Module, rng: Random) -> cst.Module | None:
    """GELU becomes ReLU squared, as a call or as a module."""
    nn, functional = tree.local(module, "torch.nn"), tree.local(module, "torch.nn.functional")
    if nn is None or functional is None or tree.mentions(module, "ReluSquared"):
        return None
    modules = tree.calls(module, "GELU")
    functions = [call for call in tree.calls(module, "gelu") if _is_function(call)]
    if not modules and not functions:
        return None
    squared = [(call, f"{functional}.relu({tree.code(call.args[0].value)}).square()") for call in functions]
    built = [(call, "ReluSquared()") for call in modules]
    changed = tree.exchange(module, *((call, tree.expression(new)) for call, new in squared + built))
    return tree.define(changed, RELU_SQUARED.format(nn=nn, functional=functional)) if modules else changed


def _is_function(call: cst.Call) -> bool:
    """Whether `call` is gelu(x) itself, and not a module that someone named self.gelu."""
    return tree.called(call) == "gelu" and bool(call.args) and not tree.own_attribute(call.func)


def swiglu(module: cst.Module, rng: Random) -> cst.Module | None:
    """The two-matrix feed-forward layer becomes a gated one with the same number of weights."""
    functional = tree.local(module, "torch.nn.functional")
    if functional is None or tree.mentions(module, "swiglu"):
        return None
    for owner in tree.classes(module):
        if pairs := _gate(owner):
            changed = tree.exchange(module, *pairs)
            return tree.define(_without_idle_activation(changed), SWIGLU.format(functional=functional))
    return None


def _gate(owner: cst.ClassDef) -> list[tuple[cst.CSTNode, tree.Replacement]]:
    """What to replace in a feed-forward layer, width -> hidden -> width, so that half of a doubled hidden gates."""
    layers, forward = _linear_layers(owner), tree.method(owner, "forward")
    if len(layers) != 2 or forward is None:
        return []
    hidden, back = tree.positional(layers[0], 1, "out_features"), tree.positional(layers[1], 0, "in_features")
    applied = _activation(owner, forward)
    if hidden is None or back is None or applied is None or tree.code(hidden) != tree.code(back):
        return []
    doubled, width = _two_thirds(hidden)
    return [
        (hidden, tree.expression(doubled)),
        (back, tree.expression(width)),
        (applied[0], tree.expression(f"swiglu({tree.code(applied[1])})")),
    ]


def _linear_layers(owner: cst.ClassDef) -> list[cst.Call]:
    """The Linear layers which `owner` keeps as attributes of its own."""
    pairs = [pair for node in tree.walk(owner) if (pair := tree.assignment(node))]
    return [
        value for target, value in pairs
        if tree.own_attribute(target) and isinstance(value, cst.Call) and tree.called(value) == "Linear"
    ]


def _two_thirds(hidden: cst.BaseExpression) -> tuple[str, str]:
    """Twice two thirds of the hidden width, and two thirds: three matrices weigh what two did.

    Where the hidden width is four times another, two thirds are rounded down to a multiple of 8.
    """
    match = re.fullmatch(r"4 \* ([\w.]+)|([\w.]+) \* 4", tree.code(hidden))
    if match:
        third = f"({match[1] or match[2]} // 3)"
        return f"16 * {third}", f"8 * {third}"
    whole = tree.code(hidden) if isinstance(hidden, cst.Name | cst.Attribute) else f"({tree.code(hidden)})"
    return f"2 * (2 * {whole} // 3)", f"2 * {whole} // 3"


def _activation(owner: cst.ClassDef, forward: cst.FunctionDef) -> tuple[cst.Call, cst.BaseExpression] | None:
    """Where the non-linearity is applied, and to what: F.gelu(x), F.relu(x).square(), or self.act(x) of a module."""
    modules = {tree.own_attribute(target) for target, _ in _activation_modules(owner)}
    for call in (node for node in tree.walk(forward) if isinstance(node, cst.Call)):
        if call.args and (tree.own_attribute(call.func) in modules or _is_function(call)):
            return call, call.args[0].value
        if isinstance(call.func, cst.Attribute) and call.func.attr.value == "square":
            inner = call.func.value
            if isinstance(inner, cst.Call) and tree.called(inner) == "relu" and inner.args:
                return call, inner.args[0].value
    return None


def _activation_modules(part: cst.CSTNode) -> list[tuple[cst.BaseExpression, cst.CSTNode]]:
    """(attribute, statement) of every activation module kept as an attribute."""
    return [
        (pair[0], node)
        for node in tree.walk(part) if (pair := tree.assignment(node))
        and isinstance(pair[1], cst.Call) and tree.called(pair[1]) in ("GELU", "ReLU", "ReluSquared")
        and tree.own_attribute(pair[0])
    ]


def _without_idle_activation(module: cst.Module) -> cst.Module:
    idle = [
        (statement, cst.RemoveFromParent())
        for target, statement in _activation_modules(module) if tree.mentions(module, tree.own_attribute(target)) == 1
    ]
    changed = tree.exchange(module, *idle)
    return tree.without_idle_class(changed, "ReluSquared")


OPERATORS = (
    Operator(
        name="relu_squared",
        title="Squared ReLU instead of GELU",
        hypothesis="Squaring the positive part gives sharper features than GELU at no cost.",
        rationale="So et al., Primer: Searching for Efficient Transformers for Language Modeling (2021): squared ReLU "
        "is one of Primer's two gains.",
        expected="Slightly lower perplexity; cheaper than GELU on a CPU, so the same or a higher MFU.",
        apply=relu_squared,
    ),
    Operator(
        name="swiglu",
        title="SwiGLU feed-forward layer of the same size",
        hypothesis="A gate lets the feed-forward layer multiply features, which is worth more than a third more hidden "
        "units.",
        rationale="Shazeer, GLU Variants Improve Transformer (2020), equation 6, with the hidden layer cut to two "
        "thirds so that weights stay the same.",
        expected="Lower perplexity at equal size; MFU about the same, as one of the matrices is a bit narrower.",
        apply=swiglu,
    ),
)
