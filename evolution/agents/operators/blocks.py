"""Where the parts of a transformer are: found by what the code does, not by where it stands."""

import re
from dataclasses import dataclass

import libcst as cst

from evolution.agents.operators import tree

ATTENTION = "scaled_dot_product_attention"


@dataclass(frozen=True)
class Stack:
    """The loop that runs the blocks: `for block in self.blocks: x = block(x)`."""

    owner: cst.ClassDef
    forward: cst.FunctionDef
    loop: cst.For
    stream: str  # the name of the residual stream, such as x


def stack(module: cst.Module) -> Stack | None:
    """The first class whose forward runs a residual stream through blocks in a loop."""
    for owner in tree.classes(module):
        forward = tree.method(owner, "forward")
        for node in tree.walk(forward) if forward else ():
            if forward and isinstance(node, cst.For) and (stream := _stream(node)):
                return Stack(owner, forward, node, stream)
    return None


def _stream(loop: cst.For) -> str:
    blocks = {node.value for node in tree.walk(loop.target) if isinstance(node, cst.Name)}
    for node in loop.body.body:
        pair = tree.assignment(node)
        if pair is None or not isinstance(pair[0], cst.Name) or not isinstance(pair[1], cst.Call):
            continue
        name, call = pair[0].value, pair[1]
        if tree.dotted(call.func) in blocks and call.args and tree.mentions(call.args[0], name):
            return name
    return ""


def attention(module: cst.Module) -> tuple[cst.FunctionDef, cst.Call] | None:
    """The function that calls scaled_dot_product_attention on plain names, and the call."""
    for node in tree.walk(module):
        if isinstance(node, cst.FunctionDef):
            for call in tree.calls(node, ATTENTION):
                if all(isinstance(argument.value, cst.Name) for argument in call.args[:2]) and len(call.args) >= 3:
                    return node, call
    return None


def before_attention(function: cst.FunctionDef, call: cst.Call) -> tree.Statement | None:
    """The statement of `function` in front of which queries and keys are complete: the outermost one where they are."""
    names = {argument.value.value for argument in call.args[:2] if isinstance(argument.value, cst.Name)}
    known: set[str] = set()
    for statement in function.body.body:
        if not isinstance(statement, tree.Statement):
            return None
        if tree.holds(statement, call):
            return statement if names <= known else tree.statement_of(statement, call)
        known |= assigned(statement)
    return None


def assigned(statement: cst.CSTNode) -> set[str]:
    """The names which a statement binds."""
    return {
        name.value
        for node in tree.walk(statement) if isinstance(node, cst.AssignTarget)
        for name in tree.walk(node.target) if isinstance(name, cst.Name)
    }


def head_names(module: cst.Module) -> set[str]:
    """Attributes which hold the output layer: a Linear whose width out is the vocabulary."""
    found = set()
    for node in tree.walk(module):
        if pair := tree.assignment(node):
            target, value = pair
            if isinstance(value, cst.Call) and is_head(value) and tree.own_attribute(target):
                found.add(tree.own_attribute(target))
    return found


def is_head(call: cst.Call) -> bool:
    width = tree.positional(call, 1, "out_features")
    return tree.called(call) == "Linear" and width is not None and bool(re.search("vocab", tree.code(width), re.I))


def is_output(call: cst.Call, heads: set[str]) -> bool:
    """Whether `call` makes the logits: self.head(x), or F.linear(x, self.….weight)."""
    if tree.own_attribute(call.func) in heads:
        return True
    return tree.called(call) == "linear" and len(call.args) == 2 and tree.dotted(call.args[1].value).endswith(".weight")
