"""What a reviewer's eye should be drawn to, from the syntax tree. No Django: it runs in a limited child process.

`flags` reads code and never runs it. It is a pointer for people, not a guard: the sandbox is the guard.
"""

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from evolution.forbidden import dotted

HIGH, MEDIUM = "high", "med"

PARTS = {  # top-level module -> what it reaches
    "os": "process", "sys": "process", "subprocess": "process", "multiprocessing": "process", "signal": "process",
    "threading": "process", "ctypes": "process", "cffi": "process", "resource": "process", "atexit": "process",
    "socket": "network", "urllib": "network", "http": "network", "requests": "network", "ssl": "network",
    "asyncio": "network", "xmlrpc": "network", "ftplib": "network",
    "time": "clock", "datetime": "clock", "timeit": "clock",
    "pathlib": "file", "shutil": "file", "tempfile": "file", "glob": "file", "io": "file", "mmap": "file",
    "pickle": "file", "shelve": "file", "marshal": "file",
    "importlib": "import", "builtins": "import", "inspect": "import", "gc": "import", "runpy": "import",
    "pkgutil": "import", "types": "import", "site": "import",
}
MEDIUM_PARTS = frozenset({"clock", "file"})
FILES = frozenset({
    "open", "write_text", "write_bytes", "read_text", "read_bytes", "unlink", "rmdir", "mkdir", "fromfile", "memmap",
})
LOADS = frozenset({"torch.load", "torch.save", "np.load", "numpy.load", "np.save", "numpy.save"})
DYNAMIC = frozenset({
    "eval", "exec", "compile", "__import__", "globals", "locals", "vars", "setattr", "delattr", "breakpoint",
})
SEEDS = frozenset({
    "manual_seed", "manual_seed_all", "seed", "seed_all", "initial_seed", "set_rng_state", "Generator", "default_rng",
})
LOSSES = frozenset({
    "cross_entropy", "nll_loss", "log_softmax", "backward", "no_grad", "inference_mode", "detach", "requires_grad_",
    "clip_grad_norm_", "clip_grad_value_", "grad", "autograd", "requires_grad",
})
EVALUATION = re.compile(r"(^|_)(eval\w*|valid\w*|val|held_?out|judge|scor\w+|harness|perplexity|test)(_|$)", re.I)
LOSS_NAME = re.compile(r"(^|_)loss(es)?(_|$)")
SEED_NAME = re.compile(r"(^|_)seeds?(_|$)", re.I)
RUN = frozenset({
    "device", "seed", "vocab_size", "out", "rank", "world", "batches", "progress", "budget_tokens", "warmup",
    "validation", "report", "save",
})
RUN_DATA = frozenset({"batches", "validation", "warmup"})
HARMLESS_DUNDERS = frozenset({"__init__", "__name__", "__all__", "__call__", "__len__", "__version__", "__post_init__"})
MOST = 200  # of one file; more says nothing that these do not


@dataclass(frozen=True)
class Flag:
    kind: str  # process, network, clock, file, import, dynamic, seed, loss, evaluation, data, interface, unreadable
    level: str
    path: str
    line: int
    text: str


def flags(payload: dict[str, Any]) -> dict[str, Any]:
    """`{"files": {path: {"before": text | None, "after": text | None}}, "strict": bool}` -> `{"flags": [...]}`.

    Strict: the first file that is no valid Python ends it with `{"unparsable": sentence}`.
    """
    found: list[Flag] = []
    for path, sides in sorted(payload["files"].items()):
        try:
            found += _of_file(path, sides["before"], sides["after"])
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            message = getattr(error, "msg", None) or str(error)
            if payload.get("strict"):
                return {"unparsable": f"{path}:{line} is no valid Python ({message}): correct that line."}
            found.append(Flag("unreadable", HIGH, path, line, f"no valid Python: {message}"))
    return {"flags": [asdict(flag) for flag in found]}


def _of_file(path: str, before: str | None, after: str | None) -> list[Flag]:
    if not path.endswith(".py"):
        return [Flag("data", MEDIUM, path, 1, "not Python: read it whole")]
    if after is None:
        return [Flag("interface", MEDIUM, path, 1, "the file is removed")]
    added, removed = changed_lines(before or "", after)
    new = _unique(flag for flag in findings(path, ast.parse(after, path)) if flag.line in added)
    gone = findings(path, ast.parse(before, path)) if before is not None else iter(())
    kept = {(flag.kind, flag.text) for flag in new}
    lost = _unique(
        Flag(flag.kind, MEDIUM, path, _after(flag.line, removed), f"removes {flag.text}")
        for flag in gone
        if flag.line in removed and flag.kind in ("seed", "loss", "evaluation", "data")
        and (flag.kind, flag.text) not in kept
    )
    return [*new, *lost][:MOST]


def changed_lines(before: str, after: str) -> tuple[set[int], dict[int, int]]:
    """The numbers of the lines that are new in `after`, and old line -> the line of `after` where it was taken out."""
    added: set[int] = set()
    removed: dict[int, int] = {}
    matcher = difflib.SequenceMatcher(None, before.split("\n"), after.split("\n"))
    for tag, old, old_end, new, new_end in matcher.get_opcodes():
        if tag != "equal":
            added.update(range(new + 1, new_end + 1))
            removed.update(dict.fromkeys(range(old + 1, old_end + 1), new + 1))
    return added, removed


def findings(path: str, tree: ast.AST) -> Iterator[Flag]:
    """Everything in `tree` worth a look, wherever it is."""
    for node in ast.walk(tree):
        for kind, level, text in _of_node(node):
            yield Flag(kind, level, path, getattr(node, "lineno", 1), text)


def _of_node(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _module(alias.name)
    elif isinstance(node, ast.ImportFrom):
        yield from _module(node.module or "")
    elif isinstance(node, ast.Call):
        yield from _call(dotted(node.func))
    elif isinstance(node, ast.Attribute):
        yield from _attribute(node)
    elif isinstance(node, ast.Name):
        yield from _name(node.id)
    elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.arg):
        yield from _name(node.name if not isinstance(node, ast.arg) else node.arg)


def _module(name: str) -> Iterator[tuple[str, str, str]]:
    top = name.partition(".")[0]
    if kind := PARTS.get(top):
        yield kind, MEDIUM if kind in MEDIUM_PARTS else HIGH, f"imports {name}"
    else:
        yield from _evaluation(name.rpartition(".")[2])


def _call(name: str) -> Iterator[tuple[str, str, str]]:
    last = name.rpartition(".")[2]
    if name in DYNAMIC:
        yield "dynamic", HIGH, f"calls {name}()"
    elif last in FILES or name in LOADS:
        yield "file", HIGH, f"calls {name}()"
    elif last in SEEDS:
        yield "seed", MEDIUM, f"sets randomness: {name}()"


def _attribute(node: ast.Attribute) -> Iterator[tuple[str, str, str]]:
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    if owner == "run":
        if node.attr not in RUN:
            yield "interface", HIGH, f"run.{node.attr} is not in the contract"
        elif node.attr in RUN_DATA:
            yield "data", MEDIUM, f"run.{node.attr}"
        elif node.attr == "seed":
            yield "seed", MEDIUM, "run.seed"
    elif node.attr.startswith("__") and node.attr.endswith("__") and node.attr not in HARMLESS_DUNDERS:
        yield "dynamic", HIGH, f"reaches into {node.attr}"
    elif node.attr in LOSSES:
        yield "loss", MEDIUM, f"touches loss or gradient: {node.attr}"
    elif not (owner in ("model", "self") and node.attr == "eval"):
        yield from _evaluation(node.attr)


def _name(name: str) -> Iterator[tuple[str, str, str]]:
    if name in ("__builtins__", "__loader__", "__spec__"):
        yield "dynamic", HIGH, f"reaches into {name}"
    elif name in LOSSES or LOSS_NAME.search(name):
        yield "loss", MEDIUM, f"touches loss or gradient: {name}"
    elif SEED_NAME.search(name):
        yield "seed", MEDIUM, f"touches a seed: {name}"
    elif name not in DYNAMIC:
        yield from _evaluation(name)


def _evaluation(name: str) -> Iterator[tuple[str, str, str]]:
    if EVALUATION.search(name):
        yield "evaluation", MEDIUM, f"named like an evaluation: {name}"


def _after(line: int, removed: dict[int, int]) -> int:
    return removed.get(line, line)


def _unique(found: Iterator[Flag]) -> list[Flag]:
    """Each finding once, at its first line."""
    seen: dict[tuple[str, str], Flag] = {}
    for flag in sorted(found, key=lambda flag: flag.line):
        seen.setdefault((flag.kind, flag.text), flag)
    return sorted(seen.values(), key=lambda flag: (flag.level != HIGH, flag.line))
