"""What a change of code changes at all: comments, docstrings, layout and what nothing uses do not count.

`python -m evolution.syntax effect`: standard library only, and never runs what it reads.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from evolution.names import SANDBOX


def effect(payload: Mapping[str, Any]) -> dict[str, Any]:
    """`{"before": {path: text}, "after": {path: text}, "starts": [name]}` -> `{"same", "idle"}`.

    same: nothing but comments, docstrings and layout changed. idle: else, what is left when that which nobody uses is
    taken away is the same. `starts` are names that are used from outside: the functions of the manifest.
    """
    before, after = _trees(payload["before"]), _trees(payload["after"])
    if _dumped(before) == _dumped(after):
        return {"same": True, "idle": False}
    starts = frozenset(payload["starts"])
    return {"same": False, "idle": _dumped(_used(before, starts)) == _dumped(_used(after, starts))}


def _trees(files: Mapping[str, str]) -> dict[str, ast.Module]:
    trees = {}
    for path, text in sorted(files.items()):
        trees[path] = ast.parse(text)
        for node in ast.walk(trees[path]):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                _drop_docstring(node)
    return trees


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body[:1] = [] if len(node.body) > 1 or isinstance(node, ast.Module) else [ast.Pass()]


def _dumped(trees: Mapping[str, ast.Module]) -> dict[str, str]:
    return {path: ast.dump(tree) for path, tree in trees.items()}


def _used(trees: Mapping[str, ast.Module], starts: frozenset[str]) -> dict[str, ast.Module]:
    """`trees` without the top-level definitions, constants and imports that nothing names; those go first that nothing
    else needs, until none is left."""
    left = {path: ast.Module(body=list(tree.body), type_ignores=[]) for path, tree in trees.items()}
    while True:
        named = {name for tree in left.values() for name in _named(tree)} | starts
        idle = [(tree, node) for tree in left.values() for node in tree.body if _is_idle(node, named)]
        for tree, node in idle:
            tree.body.remove(node)
        if not idle:
            return {path: tree for path, tree in left.items() if tree.body}


def _is_idle(node: ast.stmt, named: set[str] | frozenset[str]) -> bool:
    """Whether nothing would miss `node`, and making it does nothing either."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name not in named and not node.decorator_list
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
        return all(isinstance(target, ast.Name) and target.id not in named for target in node.targets)
    if isinstance(node, ast.Import):
        return all(_is_harmless(one.name) and (one.asname or one.name.split(".")[0]) not in named for one in node.names)
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return _is_harmless(node.module) and all((one.asname or one.name) not in named for one in node.names)
    return False


def _is_harmless(module: str) -> bool:
    """Whether importing it does nothing that the genome could notice."""
    top = module.split(".", maxsplit=1)[0]
    return top in SANDBOX or top in sys.stdlib_module_names


def _named(tree: ast.Module) -> Iterator[str]:
    """Every name that is read anywhere, also as an attribute, a text or an import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
