"""Operators on the residual stream: how blocks read from it and add to it."""

import re
from itertools import pairwise
from random import Random

import libcst as cst

from evolution.agents.operators import blocks, tree
from evolution.agents.operators.operator import Operator


def parallel_block(module: cst.Module, rng: Random) -> cst.Module | None:
    """x = x + f(x); x = x + g(x) becomes x = x + f(x) + g(x)."""
    for function in (node for node in tree.walk(module) if isinstance(node, cst.FunctionDef)):
        body = function.body.body
        for first, second in pairwise(body):
            if pairs := _merged(first, second):
                return tree.exchange(module, *pairs)
    return None


def _merged(first: cst.CSTNode, second: cst.CSTNode) -> list[tuple[cst.CSTNode, tree.Replacement]]:
    one, two = _residual(first), _residual(second)
    if one is None or two is None or one[0] != two[0]:
        return []
    both = tree.expression(f"{tree.code(tree.value(second))}".replace(f"{one[0]} + ", f"{one[0]} + {one[1]} + ", 1))
    return [(first, cst.RemoveFromParent()), (tree.value(second), both)]


def _residual(statement: cst.CSTNode) -> tuple[str, str] | None:
    """("x", "f(x)") of the lines x = x + f(x), x += f(x) is not taken, and return x + f(x)."""
    value = tree.value(statement)
    if not isinstance(value, cst.BinaryOperation) or not isinstance(value.operator, cst.Add):
        return None
    stream, branch = tree.dotted(value.left), value.right
    pair = tree.assignment(statement)
    if pair is not None and tree.dotted(pair[0]) != stream:
        return None
    is_branch = isinstance(branch, cst.Call) and tree.dotted(branch.func).startswith("self.")
    return (stream, tree.code(branch)) if stream and is_branch and tree.mentions(branch, stream) else None


def token_shift(module: cst.Module, rng: Random) -> cst.Module | None:
    """Before the first block every place gets a learned share of the one before it."""
    stack, nn = blocks.stack(module), tree.local(module, "torch.nn")
    functional, torch = tree.local(module, "torch.nn.functional"), tree.local(module, "torch")
    if stack is None or nn is None or functional is None or torch is None or tree.mentions(module, "shift"):
        return None
    start = tree.method(stack.owner, "__init__")
    table = tree.calls(start, "Embedding")[0] if start and tree.calls(start, "Embedding") else None
    width = tree.positional(table, 1, "embedding_dim") if table else None
    made = tree.statement_of(start, table) if start and table else None
    if made is None or width is None:
        return None
    x = stack.stream
    parameter = f"self.shift = {nn}.Parameter({torch}.full(({tree.code(width)},), 0.3))  # of the token before\n"
    line = f"{x} = {x} + self.shift * {functional}.pad({x}, (0, 0, 1, -1))\n"
    return tree.exchange(module, (made, tree.after(made, parameter)), (stack.loop, tree.before(stack.loop, line)))


def attention_shift(module: cst.Module, rng: Random) -> cst.Module | None:
    """Every attention reads, at each place, a learned share of the place before it too."""
    nn, functional, torch = (tree.local(module, name) for name in ("torch.nn", "torch.nn.functional", "torch"))
    if nn is None or functional is None or torch is None or tree.mentions(module, "lookback"):
        return None
    for owner in tree.classes(module):
        start, forward = tree.method(owner, "__init__"), tree.method(owner, "forward")
        if start is None or forward is None or not tree.calls(forward, blocks.ATTENTION):
            continue
        layers, given = tree.calls(start, "Linear"), forward.params.params[1:]
        width = tree.positional(layers[0], 0, "in_features") if layers else None
        made, first = tree.statement_of(start, layers[0]) if layers else None, forward.body.body[0]
        if width is None or made is None or len(given) != 1 or not isinstance(first, tree.Statement):
            return None
        x = given[0].name.value
        parameter = f"self.lookback = {nn}.Parameter({torch}.full(({tree.code(width)},), 0.3))\n"
        line = f"{x} = {x} + self.lookback * {functional}.pad({x}, (0, 0, 1, -1))\n"
        return tree.exchange(module, (made, tree.after(made, parameter)), (first, tree.before(first, line)))
    return None


def no_bias(module: cst.Module, rng: Random) -> cst.Module | None:
    """Linear layers lose their bias: bias=False where they are built, and in settings called bias."""
    if re.search(r"zeros_\([\w.]*\.bias\)", module.code) and "bias is not None" not in module.code:
        return None
    changed = tree.rewrite(module, _without_bias)
    return None if changed.code == module.code else changed


def _without_bias(node: cst.CSTNode) -> cst.CSTNode | None:
    false = cst.Name("False")
    if isinstance(node, cst.Call) and tree.called(node) == "Linear" and tree.positional(node, 2, "bias") is None:
        return tree.with_argument(node, "bias=False") if not any(argument.star for argument in node.args) else None
    return _switched_off(node, false)


def _switched_off(node: cst.CSTNode, false: cst.Name) -> cst.CSTNode | None:
    """`node` with True made False if it sets something called bias."""
    if isinstance(node, cst.Arg) and node.keyword is not None and node.keyword.value == "bias" and _is_true(node.value):
        return node.with_changes(value=false)
    if isinstance(node, cst.Param) and node.name.value == "bias" and _is_true(node.default):
        return node.with_changes(default=false)
    if isinstance(node, cst.AnnAssign) and tree.dotted(node.target) == "bias" and _is_true(node.value):
        return node.with_changes(value=false)
    if isinstance(node, cst.Assign) and tree.dotted(node.targets[0].target) == "bias" and _is_true(node.value):
        return node.with_changes(value=false)
    return None


def _is_true(node: cst.BaseExpression | None) -> bool:
    return isinstance(node, cst.Name) and node.value == "True"


OPERATORS = (
    Operator(
        name="parallel_block",
        title="Attention and feed-forward layer side by side",
        hypothesis="The two branches of a block can read the same input: one long step instead of two short ones.",
        rationale="Wang & Komatsuzaki, GPT-J (2021); Chowdhery et al., PaLM (2022), section 2: 15 % faster at scale "
        "for no loss in quality.",
        expected="Perplexity the same or slightly higher on small models; MFU higher where kernels can overlap.",
        apply=parallel_block,
    ),
    Operator(
        name="token_shift",
        title="Mix in the token before",
        hypothesis="Many bytes can be told from the byte before; handing it over for free saves attention that work.",
        rationale="Peng et al., RWKV: Reinventing RNNs for the Transformer Era (2023): token shift, here once before "
        "the first block.",
        expected="Lower perplexity on bytes and characters; no visible effect on MFU.",
        apply=token_shift,
    ),
    Operator(
        name="attention_shift",
        title="Attention looks at the token before, too",
        hypothesis="Keys and queries that know their left neighbour can find what followed the same pair earlier, in "
        "one layer instead of two.",
        rationale="Peng et al., RWKV: Reinventing RNNs for the Transformer Era (2023), section 3.1: token shift in "
        "every layer; Olsson et al., In-context Learning and Induction Heads (2022), argue that such a shift helps.",
        expected="Lower perplexity; one pass over the stream more in every layer, so MFU slightly lower.",
        apply=attention_shift,
    ),
    Operator(
        name="no_bias",
        title="No biases",
        hypothesis="Biases of linear layers carry almost nothing and cost a pass over memory each.",
        rationale="Chowdhery et al., PaLM (2022), section 2: no biases anywhere, steadier training of large models.",
        expected="Perplexity about the same; MFU slightly higher.",
        apply=no_bias,
    ),
)
