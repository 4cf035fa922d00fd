"""Operators on normalisation: which norm, and where."""

from random import Random

import libcst as cst

from evolution.agents.operators import blocks, tree
from evolution.agents.operators.operator import Operator


def rms_norm(module: cst.Module, rng: Random) -> cst.Module | None:
    """Every LayerNorm that is built becomes an RMSNorm of the same width; an unused LayerNorm class goes."""
    nn = tree.local(module, "torch.nn")
    if nn is None or not tree.calls(module, "LayerNorm"):
        return None
    changed = tree.rewrite(module, lambda node: _as_rms_norm(node, nn))
    return tree.without_idle_class(changed, "LayerNorm")


def _as_rms_norm(node: cst.CSTNode, nn: str) -> cst.CSTNode | None:
    if not isinstance(node, cst.Call) or tree.called(node) != "LayerNorm" or not node.args:
        return None
    shared = ("normalized_shape", "eps", "elementwise_affine")
    kept = [a for a in node.args if a.keyword is None or a.keyword.value in shared]
    plain = [a for a in kept if a.keyword is None][:1]
    arguments = plain + [a for a in kept if a.keyword is not None]
    arguments[-1] = arguments[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return node.with_changes(func=tree.expression(f"{nn}.RMSNorm"), args=arguments)


def qk_norm(module: cst.Module, rng: Random) -> cst.Module | None:
    """Queries and keys are normalised right before they meet."""
    found, functional = blocks.attention(module), tree.local(module, "torch.nn.functional")
    if found is None or functional is None:
        return None
    function, call = found
    q, k = (tree.code(argument.value) for argument in call.args[:2])
    anchor = blocks.before_attention(function, call)
    if anchor is None or _normalised(function, q):
        return None
    line = f"{q}, {k} = {functional}.rms_norm({q}, ({q}.size(-1),)), {functional}.rms_norm({k}, ({k}.size(-1),))\n"
    return tree.exchange(module, (anchor, tree.before(anchor, line)))


def embedding_norm(module: cst.Module, rng: Random) -> cst.Module | None:
    """The residual stream is normalised before it enters the first block."""
    stack, functional = blocks.stack(module), tree.local(module, "torch.nn.functional")
    if stack is None or functional is None or f"{stack.stream} = {functional}.rms_norm({stack.stream}" in module.code:
        return None
    x = stack.stream
    return tree.exchange(
        module, (stack.loop, tree.before(stack.loop, f"{x} = {functional}.rms_norm({x}, ({x}.size(-1),))\n"))
    )


def _normalised(function: cst.FunctionDef, name: str) -> bool:
    return any(
        "norm" in tree.called(call).lower() and call.args and tree.code(call.args[0].value) == name
        for node in tree.walk(function) if isinstance(node, cst.Assign)
        for call in tree.walk(node.value) if isinstance(call, cst.Call)
    )


OPERATORS = (
    Operator(
        name="rms_norm",
        title="RMSNorm instead of LayerNorm",
        hypothesis="Re-centring is not what makes LayerNorm work: dividing by the root mean square alone trains as "
        "well.",
        rationale="Zhang & Sennrich, Root Mean Square Layer Normalization (2019), equation 4; used by LLaMA and most "
        "models since.",
        expected="Perplexity about the same; a little less work per token, so a slightly higher MFU.",
        apply=rms_norm,
    ),
    Operator(
        name="qk_norm",
        title="Normalise queries and keys",
        hypothesis="With queries and keys of fixed length the attention logits cannot blow up, so training is "
        "steadier.",
        rationale="Henry et al., Query-Key Normalization for Transformers (2020); with a norm on both as in Dehghani "
        "et al., Scaling Vision Transformers to 22 Billion Parameters (2023).",
        expected="Lower perplexity, most of all at higher learning rates; two small extra norms per layer, so MFU "
        "drops slightly.",
        apply=qk_norm,
    ),
    Operator(
        name="embedding_norm",
        title="Normalise the embeddings",
        hypothesis="Embeddings start so small that the first blocks drown them: at unit length they keep their say.",
        rationale="Le Scao et al., BLOOM (2022), section 3.2: a norm right after the embedding, found to steady "
        "training; Jordan et al., modded-nanogpt (2024), have it without weights.",
        expected="Lower perplexity on small budgets; one small norm more, MFU unchanged.",
        apply=embedding_norm,
    ),
)
