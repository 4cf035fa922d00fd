"""Programs cut into chunks: imports, module-level code, functions and classes, by syntax tree, as in the DARWIN paper.

Runs in the limited child of `confined`: nothing of the code is run. What is in no chunk (blank lines, comments between
the parts) belongs to nobody and stays as it is.
"""

import ast
from typing import Any

Payload = dict[str, Any]

NAMED: dict[type[ast.stmt], str] = {
    ast.FunctionDef: "function", ast.AsyncFunctionDef: "function", ast.ClassDef: "class",
}


def chunks(payload: Payload) -> Payload:
    """{"files": {path: text}} -> {"chunks": [{"path", "kind", "name", "first", "last"}]}, lines from 1, inclusive."""
    found: list[Payload] = []
    for path, text in sorted(payload["files"].items()):
        found += [{"path": path, **one} for one in _cut(ast.parse(text, filename=path))]
    return {"chunks": found}


def _cut(tree: ast.Module) -> list[Payload]:
    found: list[Payload] = []
    for node in tree.body:
        kind = _kind(node)
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        last = node.end_lineno or node.lineno
        before = found[-1] if found else None
        shares_a_line = before is not None and first <= before["last"]
        if before is not None and (shares_a_line or (kind == before["kind"] and kind in ("imports", "module"))):
            before["last"] = max(last, before["last"])
            before["kind"] = before["kind"] if kind == before["kind"] else "module"
        else:
            found.append({"kind": kind, "name": getattr(node, "name", ""), "first": first, "last": last})
    return found


def _kind(node: ast.stmt) -> str:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "imports"
    return NAMED.get(type(node), "module")
