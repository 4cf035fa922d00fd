"""What a trainer's files define and set. Runs in the limited child of `confined`: no Django, and nothing of it is run.

Contents travel as base64, since JSON holds no bytes. A GenomeError comes back as {"refused": its sentence}.
"""

import ast
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from trainer.adapters.registry import adapter
from trainer.contract import GenomeError

Payload = dict[str, Any]


def packed(files: dict[str, bytes]) -> dict[str, str]:
    return {path: b64encode(content).decode() for path, content in files.items()}


def unpacked(files: dict[str, str]) -> dict[str, bytes]:
    return {path: b64decode(content) for path, content in files.items()}


def adopt(payload: Payload) -> Payload:
    """{"adapter", "files", "name", "config", "settings"} -> {"files"} of the genome, or {"refused"}."""
    return _answer(lambda: {"files": packed(adapter(payload["adapter"]).adopt(
        unpacked(payload["files"]), name=payload["name"], config=payload["config"], settings=payload["settings"]
    ))})


def iteration(payload: Payload) -> Payload:
    """{"adapter", "files", "command"} -> {"tokens"} of one iteration, or {"refused"}."""
    return _answer(lambda: {"tokens": adapter(payload["adapter"]).tokens_per_iteration(
        unpacked(payload["files"]), tuple(payload["command"])
    )})


def missing(payload: Payload) -> Payload:
    """{"files": {path: text}, "wanted": [[path, name]]} -> {"missing": [[path, name]]} that no top level defines."""
    trees = {path: ast.parse(payload["files"][path]) for path, _ in payload["wanted"] if path in payload["files"]}
    return {"missing": [[path, name] for path, name in payload["wanted"] if name not in _defined(trees.get(path))]}


def _answer(ask: Callable[[], Payload]) -> Payload:
    try:
        return ask()
    except GenomeError as error:
        return {"refused": str(error)}


def _defined(tree: ast.Module | None) -> set[str]:
    """Names bound at the top level, also under `if` and `try`."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree.body) if tree else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        else:
            waiting += ast.iter_child_nodes(node)
    return names
