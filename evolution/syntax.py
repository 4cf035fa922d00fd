"""Reading code that nobody trusts: runs in the limited child of `confined`, and never runs what it reads.

`python -m evolution.syntax TASK` takes a JSON object on stdin and prints one. Standard library only at the top: the
child has to start fast.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from evolution.names import problems

TASKS = {
    "check": "evolution.syntax:check",
    "chunks": "evolution.chunks:chunks",
    "hash": "evolution.syntax:code_hash",
    "effect": "evolution.effect:effect",
    "forbidden": "evolution.forbidden:forbidden",
    "changed": "evolution.regions:changed",
    "family": "evolution.agents.operators.kinds:family",
    "adopt": "evolution.outline:adopt",
    "iteration": "evolution.outline:iteration",
    "missing": "evolution.outline:missing",
    "flags": "review.flags:flags",
    "operate": "evolution.agents.operators:operate",
    "unknown": "evolution.agents.operators:unknown",
    "fitting": "evolution.agents.operators:fitting",
}
RECURSION = 5_000

Payload = dict[str, Any]


def check(payload: Payload) -> Payload:
    """{"files": {path: text}, "entries": [path]} -> {"parse": [...], "names": [...]}, each "path:line: what".

    Names are looked at only in files that an entry imports, and only when every file can be parsed.
    """
    trees: dict[str, ast.Module] = {}
    broken: list[str] = []
    for path, text in _python(payload["files"]):
        try:
            trees[path] = ast.parse(text, filename=path)
            compile(trees[path], path, "exec", dont_inherit=True)  # `return` outside a function and the like
        except SyntaxError as error:
            broken.append(_where(error, path))
        except (ValueError, RecursionError, MemoryError):
            broken.append(f"{path}:1: cannot be read as Python")
    names = [] if broken else problems(trees, dict(_python(payload["files"])), payload["entries"])
    return {"parse": broken, "names": names}


def code_hash(payload: Payload) -> Payload:
    """{"files": {path: text}, "others": {path: sha256}} -> {"sha256": of what the code does}.

    Python counts as its syntax tree: comments, docstrings, layout and quotes do not matter. Everything else counts
    byte for byte.
    """
    whole = hashlib.sha256()
    for path, text in sorted({**payload["files"], **payload["others"]}.items()):
        content = _normalised(text) if path.endswith(".py") and path in payload["files"] else text
        whole.update(f"{path}\0{len(content)}\0{content}".encode(errors="surrogatepass"))
    return {"sha256": whole.hexdigest()}


def _normalised(text: str) -> str:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
    return ast.dump(tree)


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body[:1] = [] if len(node.body) > 1 or isinstance(node, ast.Module) else [ast.Pass()]


def _python(files: dict[str, str]) -> Iterator[tuple[str, str]]:
    return ((path, text) for path, text in sorted(files.items()) if path.endswith(".py"))


def _where(error: SyntaxError, path: str = "") -> str:
    return f"{path or error.filename}:{error.lineno or 1}: {error.msg}"


def main() -> None:
    module, function = TASKS[sys.argv[1]].split(":")
    # The answer is all that stdout carries, whatever a library prints while it is imported.
    answers, sys.stdout = sys.stdout, sys.stderr
    sys.setrecursionlimit(RECURSION)
    try:
        reply = getattr(import_module(module), function)(json.load(sys.stdin))
    except SyntaxError as error:
        reply = {"unparsable": _where(error)}
    except (RecursionError, MemoryError):
        reply = {"unparsable": "the code is too large or too deeply nested to be read: make it simpler"}
    json.dump(reply, answers)


if __name__ == "__main__":
    main()
