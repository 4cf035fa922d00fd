"""Operators on how the stream of tokens is cut into batches over a training."""

from random import Random

import libcst as cst

from evolution.agents.operators import tree
from evolution.agents.operators.operator import Operator

SEQUENCES = '''
def ramped_sequences(run, batch_size, block_size):
    """Short contexts first, as many tokens to a batch: a quarter of the length, then half of it."""
    for until, part in ((0.15, 4), (0.35, 2)):
        if block_size < 4 * part or run.progress >= until:
            continue
        for batch in run.batches(batch_size * part, block_size // part):
            yield batch
            if run.progress >= until:
                break
    yield from run.batches(batch_size, block_size)
'''

BATCHES = '''
def ramped_batches(run, batch_size, block_size):
    """Small batches first: a third of the rows, then two thirds."""
    for until, share in ((0.3, 1 / 3), (0.6, 2 / 3)):
        if batch_size < 3 or run.progress >= until:
            continue
        for batch in run.batches(max(1, round(batch_size * share)), block_size):
            yield batch
            if run.progress >= until:
                break
    yield from run.batches(batch_size, block_size)
'''


def sequence_ramp(module: cst.Module, rng: Random) -> cst.Module | None:
    """The training loop reads short contexts first."""
    return _through(module, "ramped_sequences", SEQUENCES)


def batch_ramp(module: cst.Module, rng: Random) -> cst.Module | None:
    """The training loop reads small batches first."""
    return _through(module, "ramped_batches", BATCHES)


def _through(module: cst.Module, name: str, source: str) -> cst.Module | None:
    """`run.batches(B, T)` becomes `name(run, B, T)`; not where batches are ramped already."""
    found = [call for call in tree.calls(module, "batches") if _is_plain(call)]
    if len(found) != 1 or "ramped_" in module.code:
        return None
    call = found[0]
    assert isinstance(call.func, cst.Attribute)  # noqa: S101 _is_plain said so
    run = tree.dotted(call.func.value)
    given = ", ".join(tree.code(argument.value) for argument in call.args)
    return tree.define(tree.exchange(module, (call, tree.expression(f"{name}({run}, {given})"))), source)


def _is_plain(call: cst.Call) -> bool:
    """Whether `call` is something.batches(B, T) with its two arguments in their places."""
    given = [argument for argument in call.args if not argument.star]
    named = [argument.keyword.value for argument in given if argument.keyword is not None]
    in_order = named == ["batch_size", "block_size"][2 - len(named) :] if named else True
    return isinstance(call.func, cst.Attribute) and len(given) == len(call.args) == 2 and in_order


OPERATORS = (
    Operator(
        name="sequence_ramp",
        title="Short contexts first",
        hypothesis="What a model learns first is found in a few tokens: short contexts teach it as well, and cheaper.",
        rationale="Li et al., The Stability-Efficiency Dilemma: Sequence Length Warmup for Training GPT Models (2022).",
        expected="Perplexity the same or slightly lower; less attention to compute early on, MFU unchanged.",
        apply=sequence_ramp,
    ),
    Operator(
        name="batch_ramp",
        title="Small batches first",
        hypothesis="Early gradients agree with each other: few rows say enough, and the same tokens give more steps.",
        rationale="Smith et al., Don't Decay the Learning Rate, Increase the Batch Size (2018); McCandlish et al., An "
        "Empirical Model of Large-Batch Training (2018): the useful batch grows during training.",
        expected="Lower perplexity on small budgets; more steps for the same tokens, so MFU slightly lower.",
        apply=batch_ramp,
    ),
)
