"""What no proposal may bring: found in the syntax tree, before anybody's attention or a GPU is spent on it.

The sandbox is the guard; this saves the time of finding out. Only what a file has that its parent had not counts, so a
trainer that came with it keeps it. Standard library only, no Django; reads code and never runs it.
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

MODULES = {
    **dict.fromkeys(("socket", "urllib", "http", "requests", "httpx", "ssl", "ftplib", "smtplib", "xmlrpc"), "network"),
    **dict.fromkeys(("subprocess", "multiprocessing", "pty", "signal", "ctypes", "cffi"), "processes"),
    **dict.fromkeys(("gc", "inspect", "importlib", "runpy", "builtins", "sitecustomize", "faulthandler"), "internals"),
    "trainer": "the harness",
}
CALLS = {
    **dict.fromkeys((
        "os.system", "os.popen", "os.fork", "os.forkpty", "os.kill", "os.killpg", "os._exit", "os.abort",
        "os.posix_spawn", "os.execv", "os.execve", "os.execvp", "os.execl", "os.execlp", "os.spawnv", "os.nice",
        "os.setuid", "os.sched_setaffinity", "signal.signal",
    ), "processes"),
    **dict.fromkeys((
        "sys._getframe", "sys.settrace", "sys.setprofile", "sys._current_frames", "sys.addaudithook", "__import__",
        "exec", "eval", "compile",
    ), "internals"),
}
CLOCKS = frozenset({"time", "perf_counter", "monotonic", "process_time", "time_ns", "perf_counter_ns", "monotonic_ns"})
# Who asks this wants to know whether it is trained or judged, and whoever replaces that is not measured by it.
ASKED = frozenset({"sys.modules", "sys.argv", "sys.orig_argv", "torch.is_inference_mode_enabled", "torch.is_inference"})
LIBRARIES = frozenset({"torch", "nn", "F", "np", "numpy", "safetensors", "math", "os", "sys", "json", "random"})
SETTINGS = frozenset({"backends", "config", "environ", "default_generator"})  # of libraries, which a genome may set
SEEDS = frozenset({"manual_seed", "manual_seed_all", "seed", "default_rng", "RandomState"})
OPENS = frozenset({"open", "Path", "memmap", "fromfile", "from_file", "load", "listdir", "scandir", "chdir", "glob"})
PLACES = ("/harness", "/run/darwin", "/weights", "/proc", "/sys", "DARWIN_", "/etc/")
SHOWN_PATH = 60

Finding = tuple[str, str]  # (kind, what it does)


def forbidden(payload: Mapping[str, Any]) -> dict[str, Any]:
    """`{"files": {path: {"before": text | None, "after": text}}}` -> `{"forbidden": ["path:line: what", ...]}`."""
    found: list[str] = []
    for path, sides in sorted(payload["files"].items()):
        known = {finding for _, finding in findings(ast.parse(sides["before"] or ""))}
        new: dict[Finding, int] = {}
        for line, finding in findings(ast.parse(sides["after"])):
            if finding not in known:
                new.setdefault(finding, line)
        found += [f"{path}:{line}: {kind}: {what}" for (kind, what), line in new.items()]
    return {"forbidden": found}


def findings(tree: ast.AST) -> Iterator[tuple[int, Finding]]:
    """(line, (kind, what)) of everything forbidden in `tree`."""
    for node in ast.walk(tree):
        for finding in _of_node(node):
            yield getattr(node, "lineno", 1), finding


def _of_node(node: ast.AST) -> Iterator[Finding]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _module(alias.name)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from _module(node.module)
        for alias in node.names:
            yield from _call(f"{node.module}.{alias.name}", f"imports {node.module}.{alias.name}")
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            yield from _of_target(target)
    elif isinstance(node, ast.Attribute):
        yield from _of_attribute(node)
    elif isinstance(node, ast.ClassDef):
        yield from _of_class(node)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(PLACES):
        yield "the sandbox", f"names {node.value[:SHOWN_PATH]!r}"


def _module(name: str) -> Iterator[Finding]:
    if kind := MODULES.get(name.partition(".")[0]):
        yield kind, f"imports {name}"


def _of_call(node: ast.Call) -> Iterator[Finding]:
    name = dotted(node.func)
    yield from _call(name, f"calls {name}()")
    last = name.rpartition(".")[2]
    first = node.args[0] if node.args else None
    if last in SEEDS and isinstance(first, ast.Constant) and isinstance(first.value, int):
        yield "a seed of its own", f"calls {name}({first.value}): derive every seed from run.seed"
    if last in OPENS and isinstance(first, ast.Constant) and isinstance(first.value, str):
        outside = first.value.startswith("/") or ".." in first.value.split("/")
        if outside:
            yield "files outside run.out", f"calls {name}({first.value[:SHOWN_PATH]!r})"


def _of_class(node: ast.ClassDef) -> Iterator[Finding]:
    if any(isinstance(one, ast.FunctionDef) and one.name == "eval" for one in node.body):
        yield "evaluation", f"replaces what {node.name}.eval() does"


def _of_attribute(node: ast.Attribute) -> Iterator[Finding]:
    name = dotted(node)
    if name in ASKED:
        yield "evaluation", f"asks {name} who runs it"
    elif name.startswith("run._") and isinstance(node.value, ast.Name):
        yield "the harness", f"uses {name}"


def _call(name: str, what: str) -> Iterator[Finding]:
    if kind := CALLS.get(name):
        yield kind, what


def _of_target(target: ast.expr) -> Iterator[Finding]:
    name = dotted(target)
    owner, _, last = name.rpartition(".")
    if owner == "time" and last in CLOCKS:
        yield "a clock", f"replaces {name}"
    elif owner == "run":
        yield "the harness", f"replaces {name}"
    elif owner.split(".")[0] in LIBRARIES and not SETTINGS & set(name.split(".")):
        yield "internals", f"replaces {name}"


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of names, as much of its end as is one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else node.attr
    return ""
