"""Operators on how the model knows where a token stands."""

import re
from random import Random

import libcst as cst

from evolution.agents.operators import blocks, tree
from evolution.agents.operators.operator import Operator

ROTARY = '''
def rotary(x, base=10000.0):
    """Turn pairs of neighbouring features by an angle that grows with the position. x: (B, heads, T, D)"""
    half = x.size(-1) // 2
    speed = base ** (-{torch}.arange(half, device=x.device, dtype={torch}.float32) / half)
    angle = {torch}.outer({torch}.arange(x.size(-2), device=x.device, dtype={torch}.float32), speed)
    pairs = {torch}.view_as_complex(x.float().reshape(*x.shape[:-1], half, 2))
    return {torch}.view_as_real(pairs * {torch}.polar({torch}.ones_like(angle), angle)).flatten(-2).to(x.dtype)
'''


def rotary(module: cst.Module, rng: Random) -> cst.Module | None:
    """Learned position embeddings go; queries and keys are rotated before they meet."""
    found, torch, sum_ = blocks.attention(module), tree.local(module, "torch"), _position_sum(module)
    if found is None or torch is None or sum_ is None or re.search("rope|rotary", module.code, re.IGNORECASE):
        return None
    anchor = blocks.before_attention(*found)
    if anchor is None:
        return None
    q, k = (tree.code(argument.value) for argument in found[1].args[:2])
    whole, tokens = sum_
    changed = tree.exchange(
        module, (whole, tokens), (anchor, tree.before(anchor, f"{q}, {k} = rotary({q}), rotary({k})\n"))
    )
    tidy = tree.without_idle_names(_without_positions(changed), [whole])
    return tree.define(tidy, ROTARY.format(torch=torch))


def _position_sum(module: cst.Module) -> tuple[cst.BinaryOperation, cst.BaseExpression] | None:
    """The sum of token and position embeddings, and its token side."""
    for function in (node for node in tree.walk(module) if isinstance(node, cst.FunctionDef)):
        names = _position_names(function)
        for node in tree.walk(function):
            if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Add):
                if _is_position(node.right, names) and not _is_position(node.left, names):
                    return node, node.left
                if _is_position(node.left, names) and not _is_position(node.right, names):
                    return node, node.right
    return None


def _position_names(function: cst.FunctionDef) -> set[str]:
    """Local names that hold looked-up position embeddings."""
    pairs = [pair for node in tree.walk(function) if (pair := tree.assignment(node))]
    return {tree.dotted(target) for target, value in pairs if _is_position(value, set())}


def _is_position(node: cst.BaseExpression, names: set[str]) -> bool:
    """Whether `node` is self.….pos(…), self.….pos[…], self.pos.weight[…] or a local name for one of them."""
    if tree.dotted(node) in names - {""}:
        return True
    front = node.func if isinstance(node, cst.Call) else node.value if isinstance(node, cst.Subscript) else node
    name = tree.dotted(front)
    return name.startswith("self.") and bool(re.search(r"pos|wpe", name, re.IGNORECASE))


def _without_positions(module: cst.Module) -> cst.Module:
    """`module` without what only served the learned positions: their look-up, their table, the row of indices."""
    while idle := [line for line in tree.walk(module) if _is_idle(module, line)]:
        module = tree.exchange(module, *((line, cst.RemoveFromParent()) for line in idle))
    return module


def _is_idle(module: cst.Module, node: cst.CSTNode) -> bool:
    """Whether `node` makes something of positions that nothing uses: a line, or an entry of a ModuleDict(...)."""
    if isinstance(node, cst.Arg) and node.keyword is not None and isinstance(node.value, cst.Call):
        name = node.keyword.value
        return tree.called(node.value) == "Embedding" and _unused_position(module, name)
    pair = tree.assignment(node)
    if pair is None:
        return False
    name = tree.own_attribute(pair[0]) or tree.dotted(pair[0])
    makes_positions = re.search(r"arange|Embedding|Parameter|self\.", tree.code(pair[1]))
    return bool(makes_positions) and _unused_position(module, name)


def _unused_position(module: cst.Module, name: str) -> bool:
    return bool(re.search("pos|wpe", name, re.IGNORECASE)) and "." not in name and tree.mentions(module, name) == 1


OPERATORS = (
    Operator(
        name="rotary",
        title="Rotary instead of learned positions",
        hypothesis="Attention needs distances, not absolute places: rotating queries and keys gives them without any "
        "learned table.",
        rationale="Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding (2021), equation 34.",
        expected="Clearly lower perplexity on short budgets, because no position has to be learned; a little more work "
        "per token, so MFU drops slightly.",
        apply=rotary,
    ),
)
