"""Operators on the training loop: what the loss adds, how often it stops to talk, and which weights are saved."""

import re
from random import Random

import libcst as cst

from evolution.agents.operators import tree
from evolution.agents.operators.numbers import KNOBS, turned
from evolution.agents.operators.operator import Operator

AVERAGE = '''
class Average:
    """A moving average of the weights over about fifty steps: it is saved in their place."""

    def __init__(self, model, share=0.02):
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.means = [p.detach().clone() for p in self.parameters]
        self.share = share

    @{torch}.no_grad()
    def update(self):
        {torch}._foreach_lerp_(self.means, self.parameters, self.share)

    @{torch}.no_grad()
    def settle(self):
        {torch}._foreach_copy_(self.parameters, self.means)
'''


def average_weights(module: cst.Module, rng: Random) -> cst.Module | None:
    """A moving average of the weights is kept, and saved."""
    torch, saves = tree.local(module, "torch"), [call for call in tree.calls(module, "save") if _saves_a_model(call)]
    steps = [call for call in tree.calls(module, "step") if re.search("optim", tree.dotted(call.func), re.IGNORECASE)]
    if torch is None or len(saves) != 1 or len(steps) != 1 or "Average(" in module.code:
        return None
    loop, step = _loop_around(module, steps[0]), tree.statement_of(module, steps[0])
    save = tree.statement_of(module, saves[0])
    if loop is None or step is None or save is None or tree.holds(loop, save):
        return None
    model = tree.code(saves[0].args[0].value)
    changed = tree.exchange(
        module, (save, tree.before(save, "average.settle()\n")),
        (loop, tree.before(_with(loop, step), f"average = Average({model})\n")),
    )
    return tree.define(changed, AVERAGE.format(torch=torch))


def _with(loop: tree.Statement, step: tree.Statement) -> tree.Statement:
    """`loop` with the average updated after `step`."""
    inside = cst.Module([loop])
    changed = tree.exchange(inside, (step, tree.after(step, "average.update()\n"))).body[0]
    assert isinstance(changed, tree.Statement)  # noqa: S101 it is the loop
    return changed


def _saves_a_model(call: cst.Call) -> bool:
    return tree.dotted(call.func) == "run.save" and bool(call.args) and isinstance(call.args[0].value, cst.Name)


def _loop_around(module: cst.Module, node: cst.CSTNode) -> cst.For | None:
    """The outermost loop that holds `node`."""
    loops = (one for one in tree.walk(module) if isinstance(one, cst.For))
    return next((loop for loop in loops if tree.holds(loop, node)), None)


def z_loss(module: cst.Module, rng: Random) -> cst.Module | None:
    """The loss of training gets 1e-4 times the squared logarithm of the softmax's sum."""
    lines = [(pair, node) for node in tree.walk(module) if (pair := tree.assignment(node)) and _is_loss(pair[1])]
    if len(lines) != 1 or "logsumexp" in module.code:
        return None
    loss = lines[0][0][1]
    assert isinstance(loss, cst.Call)  # noqa: S101 _is_loss said so
    logits = tree.code(loss.args[0].value)
    return tree.exchange(
        module, (loss, tree.expression(f"{tree.code(loss)} + 1e-4 * {logits}.logsumexp(-1).square().mean()"))
    )


def _is_loss(value: cst.BaseExpression) -> bool:
    """cross_entropy(logits, targets) by itself, its logits written without a keyword."""
    return isinstance(value, cst.Call) and tree.called(value) == "cross_entropy" and bool(value.args) and (
        value.args[0].keyword is None and not value.args[0].star
    )


def fewer_reports(module: cst.Module, rng: Random) -> cst.Module | None:
    """Ten times as many steps between two reports."""
    return turned(
        module, r"_?(report|log)_?(every|interval|steps|freq(uency)?)", lambda n: n * 10 if 1 <= n <= 20 else None
    )


def tighter_clip(module: cst.Module, rng: Random) -> cst.Module | None:
    """Half the length at which gradients are cut."""
    return turned(module, KNOBS["clip"].pattern, lambda length: length / 2 if 0.5 <= length <= 10 else None)


OPERATORS = (
    Operator(
        name="average_weights",
        title="Save an average of the weights",
        hypothesis="The average of the last steps lies lower than any one of them, as if the rate had fallen further.",
        rationale="Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging (1992); Izmailov et al., "
        "Averaging Weights Leads to Wider Optima and Better Generalization (2018).",
        expected="Perplexity slightly lower where the rate stays high, else the same; one pass over the weights more "
        "for each step, so MFU slightly lower.",
        apply=average_weights,
    ),
    Operator(
        name="z_loss",
        title="Keep the softmax's sum near one",
        hypothesis="Logits that drift together cost precision and gain nothing: a small penalty holds them.",
        rationale="Chowdhery et al., PaLM (2022), section 5: an auxiliary loss of 1e-4 · log² Z.",
        expected="Perplexity about the same, steadier at high rates; one pass over the logits more, so MFU slightly "
        "lower.",
        apply=z_loss,
    ),
    Operator(
        name="fewer_reports",
        title="Report less often",
        hypothesis="Every reported loss makes the device wait for the host: fewer of them leave it at work.",
        rationale="PyTorch Performance Tuning Guide (2024), “Avoid unnecessary CPU-GPU synchronization”.",
        expected="Perplexity unchanged; MFU slightly higher, on a GPU more than on a CPU.",
        apply=fewer_reports,
    ),
    Operator(
        name="tighter_clip",
        title="Cut gradients at half the length",
        hypothesis="A few batches have gradients far longer than the rest and throw the optimiser off its way.",
        rationale="Pascanu et al., On the Difficulty of Training Recurrent Neural Networks (2013); with Adam the "
        "length matters less, so the effect may be small.",
        expected="Perplexity the same or slightly lower; MFU unchanged.",
        apply=tighter_clip,
    ),
)
