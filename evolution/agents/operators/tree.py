"""Reading and changing syntax trees: what the operators share. Whatever is not touched stays byte for byte."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import libcst as cst

Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement
Replacement = cst.CSTNode | cst.FlattenSentinel[Any] | cst.RemovalSentinel | None
Change = Callable[[cst.CSTNode], Replacement]


def expression(source: str) -> cst.BaseExpression:
    return cst.parse_expression(source)


def statements(source: str) -> list[Statement]:
    return list(cst.parse_module(source).body)


def code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)


def walk(tree: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Every node below and including `tree`, in the order of the text."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(_children_backwards(node))


@lru_cache(maxsize=1 << 17)
def _children_backwards(node: cst.CSTNode) -> tuple[cst.CSTNode, ...]:
    """Nodes never change, and libcst rebuilds one to list its children: without this every look-up costs a copy."""
    return tuple(reversed(node.children))


def calls(tree: cst.CSTNode, *names: str) -> list[cst.Call]:
    """Every call of something whose last name is one of `names`: `F.gelu(x)` and `gelu(x)` are calls of gelu."""
    return [node for node in walk(tree) if isinstance(node, cst.Call) and called(node) in names]


def called(call: cst.Call) -> str:
    return dotted(call.func).rpartition(".")[2]


def dotted(node: cst.CSTNode) -> str:
    """`a.b.c` of a chain of names; an empty text for anything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        front = dotted(node.value)
        return f"{front}.{node.attr.value}" if front else ""
    return ""


def positional(call: cst.Call, index: int, keyword: str) -> cst.BaseExpression | None:
    """The value of an argument given by place or by keyword."""
    for place, argument in enumerate(call.args):
        if argument.keyword is None and not argument.star and place == index:
            return argument.value
        if argument.keyword is not None and argument.keyword.value == keyword:
            return argument.value
    return None


def with_argument(call: cst.Call, source: str) -> cst.Call:
    """`call` with one more keyword argument at its end, laid out like the one before."""
    new = cst.ensure_type(expression(f"f({source})"), cst.Call).args[0]
    if not call.args:
        return call.with_changes(args=[new])
    *front, last = call.args
    space = front[-1].comma if front and isinstance(front[-1].comma, cst.Comma) else None
    comma = space or cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    closing = {"comma": last.comma, "whitespace_after_arg": last.whitespace_after_arg}
    opened = last.with_changes(comma=comma, whitespace_after_arg=cst.SimpleWhitespace(""))
    return call.with_changes(args=[*front, opened, new.with_changes(**closing)])


def mentions(tree: cst.CSTNode, name: str) -> int:
    """How often `name` is used as a name or an attribute."""
    return sum(1 for node in walk(tree) if isinstance(node, cst.Name) and node.value == name)


def classes(module: cst.Module) -> list[cst.ClassDef]:
    return [node for node in module.body if isinstance(node, cst.ClassDef)]


def method(owner: cst.ClassDef, name: str) -> cst.FunctionDef | None:
    for node in owner.body.body:
        if isinstance(node, cst.FunctionDef) and node.name.value == name:
            return node
    return None


def assignment(statement: cst.CSTNode) -> tuple[cst.BaseExpression, cst.BaseExpression] | None:
    """(target, value) of a line that is one plain assignment to one target."""
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return None
    line = statement.body[0]
    if isinstance(line, cst.Assign) and len(line.targets) == 1:
        return line.targets[0].target, line.value
    if isinstance(line, cst.AnnAssign) and line.value is not None:
        return line.target, line.value
    return None


def value(statement: cst.CSTNode) -> cst.CSTNode:
    """What a line assigns or returns; the statement itself when it does neither."""
    if pair := assignment(statement):
        return pair[1]
    if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
        line = statement.body[0]
        if isinstance(line, cst.Return) and line.value is not None:
            return line.value
    return statement


def own_attribute(node: cst.CSTNode) -> str:
    """`norm` of `self.norm`; an empty text for anything else."""
    if isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name) and node.value.value == "self":
        return node.attr.value
    return ""


def rewrite(module: cst.Module, change: Change) -> cst.Module:
    """`module` with every node for which `change` gives something replaced by it, innermost first."""
    changed = module.visit(_Rewriter(change))
    assert isinstance(changed, cst.Module)  # noqa: S101 a module is never replaced
    return changed


class _Rewriter(cst.CSTTransformer):
    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Any:
        new = self.change(updated_node)
        return updated_node if new is None else new


def exchange(module: cst.Module, *pairs: tuple[cst.CSTNode, Replacement]) -> cst.Module:
    """`module` with nodes replaced, all at once. A node is meant itself, not one that looks like it."""
    changed = module.visit(_Exchanger(module, pairs))
    assert isinstance(changed, cst.Module)  # noqa: S101 a module is never replaced
    return changed


class _Exchanger(cst.CSTTransformer):
    def __init__(self, module: cst.Module, pairs: Sequence[tuple[cst.CSTNode, Replacement]]) -> None:
        super().__init__()
        self.new = dict(pairs)
        self.above = _above(module, self.new)

    def on_visit(self, node: cst.CSTNode) -> bool:
        return node in self.above  # the rest is kept without being rebuilt

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Any:
        return self.new.get(original_node, updated_node)


def _above(module: cst.Module, nodes: Iterable[cst.CSTNode]) -> set[cst.CSTNode]:
    """The nodes with one of `nodes` below them."""
    parents = {child: node for node in walk(module) for child in _children_backwards(node)}
    found: set[cst.CSTNode] = set()
    for node in nodes:
        above = parents.get(node)
        while above is not None and above not in found:
            found.add(above)
            above = parents.get(above)
    return found


def before(anchor: Statement, source: str) -> Replacement:
    """`anchor` with lines in front of it, below its comment."""
    first, *rest = statements(source)
    lines = [first.with_changes(leading_lines=anchor.leading_lines), *rest, anchor.with_changes(leading_lines=[])]
    return cst.FlattenSentinel(lines)


def after(anchor: Statement, source: str) -> Replacement:
    return cst.FlattenSentinel([anchor, *statements(source)])


def statement_of(tree: cst.CSTNode, node: cst.CSTNode) -> Statement | None:
    """The innermost statement below `tree` which holds `node`."""
    found = None
    for candidate in walk(tree):
        if isinstance(candidate, cst.SimpleStatementLine | cst.BaseCompoundStatement) and holds(candidate, node):
            found = candidate
    return found


def holds(tree: cst.CSTNode, node: cst.CSTNode) -> bool:
    return any(one is node for one in walk(tree))


def define(module: cst.Module, source: str) -> cst.Module:
    """`module` with a class or function put before its first one, two blank lines apart."""
    new = statements(source)[0].with_changes(leading_lines=[cst.EmptyLine(indent=False)] * 2)
    for index, statement in enumerate(module.body):
        if isinstance(statement, cst.ClassDef | cst.FunctionDef):
            return module.with_changes(body=[*module.body[:index], new, *module.body[index:]])
    return module.with_changes(body=[*module.body, new])


def without_idle_names(module: cst.Module, removed: Iterable[cst.CSTNode]) -> cst.Module:
    """`module` without lines that only served code which is no longer there: names that nothing reads any more."""
    names = {node.value for one in removed for node in walk(one) if isinstance(node, cst.Name)}
    while idle := _idle_lines(module, names):
        names |= {node.value for line in idle for node in walk(line) if isinstance(node, cst.Name)}
        module = exchange(module, *((line, cst.RemoveFromParent()) for line in idle))
    return module


def _idle_lines(module: cst.Module, names: set[str]) -> list[cst.CSTNode]:
    return [
        line for function in walk(module) if isinstance(function, cst.FunctionDef)
        for line in walk(function.body) if (pair := assignment(line)) and isinstance(pair[0], cst.Name)
        and pair[0].value in names and _variables(function).count(pair[0].value) == 1
    ]


def _variables(function: cst.FunctionDef) -> list[str]:
    """Every use of a name as a variable: not as an attribute, not as a keyword of a call."""
    others = {
        node.attr if isinstance(node, cst.Attribute) else node.keyword
        for node in walk(function) if isinstance(node, cst.Attribute | cst.Arg)
    }
    return [node.value for node in walk(function) if isinstance(node, cst.Name) and node not in others]


def without_idle_class(module: cst.Module, name: str) -> cst.Module:
    """`module` without the top-level class `name`, if nothing in the file uses it."""
    if mentions(module, name) != 1:
        return module
    kept = [node for node in module.body if not (isinstance(node, cst.ClassDef) and node.name.value == name)]
    return module.with_changes(body=kept)


def imported(module: cst.Module) -> dict[str, str]:
    """What the top of the file imports: origin to local name, such as {"torch.nn.functional": "F"}."""
    found: dict[str, str] = {}
    for node in walk(module):
        if isinstance(node, cst.Import):
            for alias in node.names:
                origin = dotted(alias.name)
                found[origin] = alias.evaluated_alias or origin
                if not alias.asname:  # `import torch.nn` binds torch
                    found[origin.partition(".")[0]] = origin.partition(".")[0]
        elif isinstance(node, cst.ImportFrom) and node.module and not isinstance(node.names, cst.ImportStar):
            for alias in node.names:
                found[f"{dotted(node.module)}.{alias.evaluated_name}"] = alias.evaluated_alias or alias.evaluated_name
    return found


def local(module: cst.Module, origin: str) -> str | None:
    """How this file writes `origin`: torch.nn.functional may be "F", "nn.functional" or "torch.nn.functional"."""
    names = imported(module)
    rest: list[str] = []
    while origin:
        if origin in names:
            return ".".join([names[origin], *rest])
        origin, _, last = origin.rpartition(".")
        rest.insert(0, last)
    return None
