"""Operators that give arithmetic which is written out to a kernel that does it at once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import libcst as cst

from evolution.agents.operators import blocks, tree
from evolution.agents.operators.operator import Operator

SCALE = re.compile(r"sqrt|\*\* *\(?-0\.5|rsqrt|\*\* *0\.5")


@dataclass(frozen=True)
class WrittenOut:
    """Causal attention in lines: scores of `q` and `k`, mask, softmax, perhaps dropout, and the mean of `v`."""

    lines: Sequence[tree.Statement]
    mean: cst.BinaryOperation  # scores @ v
    q: str
    k: str
    v: str
    dropout: str  # the module that is applied to the weights; empty without one


def fused_attention(module: cst.Module, rng: Random) -> cst.Module | None:
    """softmax(q @ k.T / sqrt(d)) @ v with a causal mask becomes one call."""
    functional = tree.local(module, "torch.nn.functional")
    if functional is None or blocks.ATTENTION in module.code:
        return None
    for node in tree.walk(module):
        found = _written_out(node) if isinstance(node, cst.IndentedBlock) else None
        if found is not None:
            given = f"{found.q}, {found.k}, {found.v}, "
            given += f"dropout_p={found.dropout}.p if self.training else 0.0, " if found.dropout else ""
            call = tree.expression(f"{functional}.{blocks.ATTENTION}({given}is_causal=True)")
            gone = [(line, cst.RemoveFromParent()) for line in found.lines]
            return tree.exchange(module, (found.mean, call), *gone)
    return None


def _written_out(block: cst.IndentedBlock) -> WrittenOut | None:
    """The first run of lines in `block` that is causal attention and nothing else."""
    body = [line for line in block.body if isinstance(line, tree.Statement)]
    for at, line in enumerate(body):
        scores = _scores(line)
        if scores is None:
            continue
        name, q, k = scores
        last = next((n for n in range(at + 1, len(body)) if _mean(body[n], name)), None)
        lines = body[at:last]
        mean = _mean(body[last], name) if last is not None else None
        if mean is None or not _is_causal_softmax(lines[1:], name):
            return None
        return WrittenOut(lines, mean, q, k, tree.code(mean.right), _dropout(lines[1:], name))
    return None


def _scores(line: tree.Statement) -> tuple[str, str, str] | None:
    """("att", "q", "k") of att = (q @ k.transpose(-2, -1)) * (1 / sqrt(d))."""
    pair = tree.assignment(line)
    if pair is None or not isinstance(pair[0], cst.Name) or not SCALE.search(tree.code(pair[1])):
        return None
    for product in (node for node in tree.walk(pair[1]) if isinstance(node, cst.BinaryOperation)):
        match = re.fullmatch(r"(\w+)\.(transpose\(-2, -1\)|transpose\(-1, -2\)|mT)", tree.code(product.right))
        if isinstance(product.operator, cst.MatrixMultiply) and isinstance(product.left, cst.Name) and match:
            return pair[0].value, product.left.value, match[1]
    return None


def _mean(line: tree.Statement, scores: str) -> cst.BinaryOperation | None:
    """scores @ v, where `line` assigns just that to another name."""
    pair = tree.assignment(line)
    if pair is None or not isinstance(pair[1], cst.BinaryOperation):
        return None
    is_mean = isinstance(pair[1].operator, cst.MatrixMultiply) and tree.dotted(pair[1].left) == scores
    return pair[1] if is_mean and isinstance(pair[1].right, cst.Name) else None


def _is_causal_softmax(lines: Sequence[tree.Statement], scores: str) -> bool:
    """Whether `lines` do nothing but mask, softmax and drop the scores."""
    pairs = [tree.assignment(line) for line in lines]
    if any(pair is None or tree.dotted(pair[0]) != scores for pair in pairs):
        return False
    made = [tree.called(pair[1]) for pair in pairs if pair and isinstance(pair[1], cst.Call)]
    dropped = 1 if _dropout(lines, scores) else 0
    return made[:2] == ["masked_fill", "softmax"] and len(made) == len(pairs) == 2 + dropped


def _dropout(lines: Sequence[tree.Statement], scores: str) -> str:
    """`self.drop` of att = self.drop(att)."""
    for pair in map(tree.assignment, lines):
        call = pair[1] if pair else None
        if isinstance(call, cst.Call) and tree.own_attribute(call.func) and tree.code(call.args[0].value) == scores:
            return tree.code(call.func)
    return ""


OPERATORS = (
    Operator(
        name="fused_attention",
        title="Attention in one kernel",
        hypothesis="The square of scores need never be written to memory: one kernel goes over it in tiles.",
        rationale="Dao et al., FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness (2022): the "
        "same result.",
        expected="Perplexity unchanged; MFU higher, the more so the longer the context.",
        apply=fused_attention,
    ),
)
