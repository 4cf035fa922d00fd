"""The settings of a nanoGPT-shaped trainer, read from its text: assignments at the top of train.py, then each
configuration file and each --key=value of the command in their order, as its configurator.py does. Nothing is run."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from trainer.contract import GenomeError

Value = int | float | bool | str
WHOLE = 1 << 53


def read(files: Mapping[str, bytes], command: Sequence[str]) -> dict[str, Value]:
    """Every setting of `command` (["python", "train.py", ...]) by name; GenomeError when a file is not there."""
    words = list(command[1:])
    if not words:
        raise GenomeError("the command names no program: write command = [\"python\", \"train.py\", \"config/…\"]")
    settings = _assignments(_text(files, words[0]), words[0])
    for word in words[1:]:
        if "=" not in word:
            settings |= _assignments(_text(files, word), word)
        elif match := re.fullmatch(r"--(\w+)=(.*)", word):
            settings[match[1]] = literal(match[2])
    return settings


def literal(text: str) -> Value:
    """`text` as configurator.py reads it: a Python literal, or else the text itself."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, int | float | bool | str) else text


def whole(settings: Mapping[str, Value], name: str) -> int:
    """The setting `name`, a whole number of at least 1; GenomeError when it is none."""
    value = settings.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < WHOLE:
        raise GenomeError(f"{name} is not a whole number in train.py or its configuration: set it to one")
    return value


def used(files: Mapping[str, bytes], starts: Sequence[str]) -> set[str]:
    """`starts` and every file they import, or name in a text of their own such as open("configurator.py")."""
    waiting, found = [path for path in starts if path in files], set[str]()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [one for one in _mentioned(_tree(_text(files, path), path), path) if one in files]
    return found


def _mentioned(tree: ast.Module, path: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Import):
            yield from (file for alias in node.names for file in _files(alias.name))
        elif isinstance(node, ast.ImportFrom):
            folder = path.split("/")[:-node.level] if node.level else []
            module = ".".join([*folder, *([node.module] if node.module else [])])
            yield from _files(module)
            yield from (file for alias in node.names for file in _files(f"{module}.{alias.name}"))


def _files(module: str) -> Iterator[str]:
    """Where a module may be, and the packages it is in."""
    parts = module.split(".")
    yield f"{'/'.join(parts)}.py"
    yield from (f"{'/'.join(parts[:depth])}/__init__.py" for depth in range(1, len(parts) + 1))


def _assignments(text: str, path: str) -> dict[str, Value]:
    """`name = literal` at the top level, up to the line that runs the configurator."""
    found: dict[str, Value] = {}
    for node in _tree(text, path).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _name(node.value.func) == "exec":
            break
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            name, value = _name(node.targets[0]), _value(node.value)
            if name and value is not None:
                found[name] = value
    return found


def _tree(text: str, path: str) -> ast.Module:
    if not path.endswith(".py"):
        return ast.Module(body=[], type_ignores=[])
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise GenomeError(f"{path} cannot be read as Python: correct it") from error


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _value(node: ast.expr) -> Value | None:
    """A literal, or a product such as 5 * 8."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | bool | str):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _value(node.operand)
        return -inner if isinstance(inner, int | float) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _value(node.left), _value(node.right)
        return left * right if isinstance(left, int | float) and isinstance(right, int | float) else None
    return None


def _text(files: Mapping[str, bytes], path: str) -> str:
    if path not in files:
        raise GenomeError(f"there is no {path}: name files of the checkout in the command")
    return files[path].decode("utf-8", errors="replace")
