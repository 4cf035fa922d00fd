"""Operators on the way out: from the residual stream to logits."""

import re
from random import Random

import libcst as cst

from evolution.agents.operators import blocks, tree
from evolution.agents.operators.operator import Operator


def untied_head(module: cst.Module, rng: Random) -> cst.Module | None:
    """The line that makes embedding and output layer share one weight goes."""
    lines = [node for node in tree.walk(module) if _ties(node)]
    return tree.exchange(module, *((line, cst.RemoveFromParent()) for line in lines)) if lines else None


def _ties(node: cst.CSTNode) -> bool:
    """Whether `node` is `self.….weight = self.….weight`, one side an embedding or head by its name."""
    pair = tree.assignment(node)
    if pair is None:
        return False
    left, right = tree.dotted(pair[0]), tree.dotted(pair[1])
    both = left.endswith(".weight") and right.endswith(".weight")
    return both and bool(re.search("head|embed|emb|wte|tok|unembed|output", left + right, re.IGNORECASE))


def logit_softcap(module: cst.Module, rng: Random) -> cst.Module | None:
    """The logits pass through 15 * tanh(logits / 15)."""
    torch, heads = tree.local(module, "torch"), blocks.head_names(module)
    outputs = [
        call for node in tree.walk(module) if isinstance(node, cst.FunctionDef)
        for call in tree.walk(node) if isinstance(call, cst.Call) and blocks.is_output(call, heads)
    ]
    if torch is None or not outputs or re.search(r"tanh\(|softcap|soft_cap", module.code):
        return None
    return tree.exchange(
        module, *((call, tree.expression(f"15 * {torch}.tanh({tree.code(call)} / 15)")) for call in outputs)
    )


OPERATORS = (
    Operator(
        name="untied_head",
        title="Output layer of its own",
        hypothesis="With a small vocabulary the output layer is cheap, and it need not be the same matrix as the "
        "embedding.",
        rationale="Press & Wolf, Using the Output Embedding to Improve Language Models (2017) tie them to save "
        "weights; with 256 tokens there is little to save, and later models (Chung et al., 2020) untie them.",
        expected="Slightly lower perplexity; a few per cent more weights, MFU unchanged.",
        apply=untied_head,
    ),
    Operator(
        name="logit_softcap",
        title="Soft cap on the logits",
        hypothesis="Logits kept within ±15 stop the model from being far too sure early on.",
        rationale="Gemma 2 technical report (2024), section 2: logits become cap · tanh(logits / cap).",
        expected="Perplexity the same or slightly lower at high learning rates; no visible effect on MFU.",
        apply=logit_softcap,
    ),
)
