"""Names and imports that cannot be there when a genome runs. Standard library only, no Django.

No false alarm on honest code matters more than completeness: what may be defined at run time is let pass.
"""

import ast
import builtins
import symtable
import sys
from collections.abc import Iterator, Mapping, Sequence

from evolution.signatures import misfits

# What trainer/requirements.txt brings into the sandbox, with what torch itself needs.
SANDBOX = frozenset({
    "torch", "functorch", "torchgen", "numpy", "safetensors", "filelock", "typing_extensions", "setuptools",
    "pkg_resources", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "triton",
})
KNOWN = frozenset(dir(builtins)) | {
    "__file__", "__name__", "__doc__", "__spec__", "__path__", "__package__", "__loader__", "__builtins__",
    "__annotations__", "__module__", "__qualname__", "__class__", "__dict__", "__cached__", "__debug__",
    "WindowsError",
}
DYNAMIC = frozenset({"exec", "eval", "globals", "locals", "vars", "setattr", "NameError", "__getattr__"})

Trees = Mapping[str, ast.Module]


def problems(trees: Trees, texts: Mapping[str, str], entries: Sequence[str]) -> list[str]:
    """What is wrong with the names in the files that `entries` import, as "path:line: what"."""
    found: list[str] = []
    for path in reachable(trees, entries):
        found += _imports(path, trees)
        if not _is_dynamic(trees[path]):
            found += _undefined(path, texts[path], trees[path])
            found += misfits(path, trees)
    return found


def reachable(trees: Trees, entries: Sequence[str]) -> list[str]:
    """`entries` and every file of the genome that they import, directly or not, wherever the import stands."""
    waiting = [path for path in entries if path in trees]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.walk(trees[path]):
            if isinstance(node, ast.Import | ast.ImportFrom):
                waiting += [file for name in _modules(node, path) for file in _files(name, trees)]
    return sorted(seen)


def _imports(path: str, trees: Trees) -> Iterator[str]:
    """Imports that certainly run and certainly fail: not those in functions, under `if` or in `try`."""
    own = {file.split("/")[0].removesuffix(".py") for file in trees}
    for node in trees[path].body:
        if not isinstance(node, ast.Import | ast.ImportFrom) or (isinstance(node, ast.ImportFrom) and node.level):
            continue
        for name in _modules(node, path)[:1] if isinstance(node, ast.ImportFrom) else _modules(node, path):
            top = name.split(".")[0]
            if top not in own and top not in SANDBOX and top not in sys.stdlib_module_names:
                yield f"{path}:{node.lineno}: {top} is not installed in the sandbox"
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from _missing(path, node, node.module, trees)


def _missing(path: str, node: ast.ImportFrom, module: str, trees: Trees) -> Iterator[str]:
    """Names that a file of the genome is asked for and does not define."""
    file = f"{module.replace('.', '/')}.py"
    if file not in trees or _is_dynamic(trees[file]):
        return
    defined = _defined(trees[file])
    for alias in node.names:
        if alias.name != "*" and alias.name not in defined and not alias.name.startswith("__"):
            yield f"{path}:{node.lineno}: {file} defines no {alias.name}"


def _undefined(path: str, text: str, tree: ast.Module) -> Iterator[str]:
    """Names that are read somewhere and bound nowhere: neither in their scopes, in the file, nor in Python."""
    tables = list(_tables(symtable.symtable(text, path, "exec")))
    bound = {symbol.get_name() for symbol in tables[0].get_symbols() if _binds(symbol)}
    bound |= {
        symbol.get_name() for table in tables for symbol in table.get_symbols()
        if symbol.is_declared_global() and _binds(symbol)
    }
    used = {
        symbol.get_name() for table in tables for symbol in table.get_symbols()
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module")
    }
    lines = _first_lines(tree)
    for name in sorted(used - bound - KNOWN):
        if name in lines:
            yield f"{path}:{lines[name]}: {name} is not defined"


def _first_lines(tree: ast.Module) -> dict[str, int]:
    """Where each name is first read. Annotations are left out: they need not be evaluated."""
    lines: dict[str, int] = {}
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns"):
                waiting += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, ast.AST)]
    return lines


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _binds(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace() or symbol.is_annotated()


def _defined(tree: ast.Module) -> set[str]:
    """Every name bound anywhere in the file: too many rather than too few."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
    return names


def _is_dynamic(tree: ast.Module) -> bool:
    """Whether names may come from elsewhere: `import *`, `exec`, `globals()[...]`, a caught NameError."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in DYNAMIC:
            return True
        if isinstance(node, ast.FunctionDef) and node.name in DYNAMIC:
            return True
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return True
    return False


def _modules(node: ast.Import | ast.ImportFrom, path: str) -> list[str]:
    """The modules an import may load; `from a import b` may load a.b too."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    package = path.split("/")[:-1]
    base = package[: len(package) - node.level + 1] if node.level else []
    name = ".".join([*base, *([node.module] if node.module else [])])
    return [name, *(f"{name}.{alias.name}" if name else alias.name for alias in node.names)]


def _files(module: str, trees: Trees) -> Iterator[str]:
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        stem = "/".join(parts[:depth])
        yield from (file for file in (f"{stem}.py", f"{stem}/__init__.py") if file in trees)
