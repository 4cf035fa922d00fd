"""Calls and attributes of a genome's own code that certainly cannot work. Standard library only, no Django.

Certain means: the name is bound once in its file, to a function or a class without decorators, and nobody catches what
would be raised. Whatever could be otherwise at run time is let pass.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Trees = Mapping[str, ast.Module]

# What torch.nn.Module gives to whoever inherits from it (torch 2.x), and object to everybody.
OF_MODULE = """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double dump_patches
    eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict
    modules mtia named_buffers named_children named_modules named_parameters parameters register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook
    register_module register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    set_extra_state set_submodule share_memory state_dict to to_empty train training type xpu zero_grad
"""
MODULE = frozenset(OF_MODULE.split())
BASES = frozenset({"nn.Module", "torch.nn.Module", "object"})


@dataclass(frozen=True)
class Callee:
    """Something of the genome that is called. `bound` is how many parameters the call itself does not fill (self)."""

    takes: ast.arguments
    bound: int


def misfits(path: str, trees: Trees) -> Iterator[str]:
    """Calls in the file `path` that its own functions and classes refuse, and attributes that nobody gives."""
    tree, counted = trees[path], _bindings(trees[path])
    known = _callees(path, trees, counted)
    for node in _unguarded(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in known:
            continue
        if wrong := _refusal(known[node.func.id], node):
            yield f"{path}:{node.lineno}: {node.func.id}() {wrong}"
    yield from _missing_in_modules(path, trees, counted)
    yield from _missing_in_self(path, trees)


def _callees(path: str, trees: Trees, counted: Mapping[str, int]) -> dict[str, Callee]:
    """What plain names of the file certainly mean: its own definitions, and those it imports from another file."""
    found = {}
    for node in trees[path].body:
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            file = f"{node.module.replace('.', '/')}.py"
            for alias in node.names if file in trees else ():
                name = alias.asname or alias.name
                callee = _callee(file, alias.name, trees)
                if callee is not None and counted[name] == 1:
                    found[name] = callee
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and counted[node.name] == 1:
            callee = _callee(path, node.name, trees)
            if callee is not None:
                found[node.name] = callee
    return found


def _callee(path: str, name: str, trees: Trees) -> Callee | None:
    if _bindings(trees[path])[name] != 1:
        return None
    node = next((one for one in trees[path].body if getattr(one, "name", None) == name), None)
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        return Callee(node.args, 0)
    if isinstance(node, ast.ClassDef) and _is_dataclass(node):
        return Callee(_fields(node), 0)
    if isinstance(node, ast.ClassDef) and not node.decorator_list and not node.keywords:
        inits = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name in ("__init__", "__new__")]
        if len(inits) == 1 and inits[0].name == "__init__" and not inits[0].decorator_list:
            return Callee(inits[0].args, 1)
    return None


def _is_dataclass(node: ast.ClassDef) -> bool:
    """A plain one: no parents, and no options that change what it is made of."""
    harmless = {"frozen", "slots", "eq", "order", "repr"}
    one = node.decorator_list[0] if len(node.decorator_list) == 1 else None
    made = one.func if isinstance(one, ast.Call) and {key.arg for key in one.keywords} <= harmless else one
    written = any(isinstance(part, ast.FunctionDef) and part.name in ("__init__", "__new__") for part in node.body)
    return (
        made is not None and ast.unparse(made) in ("dataclass", "dataclasses.dataclass")
        and not node.bases and not node.keywords and not written and "field(" not in ast.unparse(node)
        and not any(name in ast.unparse(node) for name in ("ClassVar", "InitVar", "KW_ONLY"))
    )


def _fields(node: ast.ClassDef) -> ast.arguments:
    """What the __init__ of a plain dataclass takes."""
    fields = [one for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
    names = [one.target.id for one in fields if isinstance(one.target, ast.Name)]
    return ast.arguments(
        posonlyargs=[], args=[ast.arg(name) for name in names], kwonlyargs=[], kw_defaults=[],
        defaults=[one.value for one in fields if one.value is not None],
    )


def _refusal(callee: Callee, call: ast.Call) -> str:
    """Why Python refuses `call`; empty when it does not, or may not."""
    takes = callee.takes
    positional = [one.arg for one in (*takes.posonlyargs, *takes.args)][callee.bound :]
    only_by_place = {one.arg for one in takes.posonlyargs}
    names = {*positional, *(one.arg for one in takes.kwonlyargs)} - only_by_place
    starred = any(isinstance(one, ast.Starred) for one in call.args)
    given = [one.arg for one in call.keywords if one.arg is not None]
    count = len(call.args) - sum(isinstance(one, ast.Starred) for one in call.args)
    if takes.vararg is None and count > len(positional):
        return f"takes {len(positional)} positional arguments, and is given {count}"
    if takes.kwarg is None and (unknown := [one for one in given if one not in names]):
        return f"has no parameter {unknown[0]}"
    if not starred and (twice := [one for one in given if one in positional[:count]]):
        return f"is given {twice[0]} twice"
    if starred or len(given) < len(call.keywords):
        return ""
    needed = positional[: len(positional) - len(takes.defaults)] if takes.defaults else positional
    needed = needed[count:] + [
        one.arg for one, default in zip(takes.kwonlyargs, takes.kw_defaults, strict=True) if default is None
    ]
    lacking = [one for one in needed if one not in given]
    return f"is not given {lacking[0]}" if lacking else ""


def _missing_in_modules(path: str, trees: Trees, counted: Mapping[str, int]) -> Iterator[str]:
    """`module.name` where the module is a file of the genome that defines no such name."""
    files = {
        alias.asname or alias.name: f"{alias.name}.py"
        for node in trees[path].body if isinstance(node, ast.Import) for alias in node.names
        if f"{alias.name}.py" in trees and counted[alias.asname or alias.name] == 1
    }
    for node in _unguarded(trees[path]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in files:
            file = files[node.value.id]
            dunder = node.attr.startswith("__")
            if not dunder and not _bindings(trees[file])[node.attr] and not _is_open(trees[file]):
                yield f"{path}:{node.lineno}: {file} defines no {node.attr}"


def _missing_in_self(path: str, trees: Trees) -> Iterator[str]:
    """`self.name` in a class of known parents, where no file of the genome ever gives anything that name."""
    given = {name for tree in trees.values() for name in _given(tree)}
    classes = {node.name: node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for one in ast.walk(trees[path]):
        if not isinstance(one, ast.ClassDef) or not _is_plain(one, classes):
            continue
        for node in _unguarded(one):
            if (
                isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
                and isinstance(node.ctx, ast.Load) and not node.attr.startswith("_")
                and node.attr not in given and node.attr not in MODULE
            ):
                yield f"{path}:{node.lineno}: {one.name} has no {node.attr}"


def _is_plain(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef], depth: int = 0) -> bool:
    """Whether all that a class inherits is known: torch.nn.Module's, object's, or a plain class's of the genome."""
    names = [ast.unparse(base) for base in node.bases]
    own = [classes[name] for name in names if name in classes]
    known = len(own) + sum(name in BASES for name in names)
    return (
        depth < 8 and known == len(names) and not node.keywords and not node.decorator_list
        and all(_is_plain(one, classes, depth + 1) for one in own)
    )


def _given(tree: ast.Module) -> Iterator[str]:
    """Every name that anything in the file could be an attribute by: too many rather than too few."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value  # register_buffer("name", ...), setattr
        elif isinstance(node, ast.JoinedStr | ast.keyword | ast.arg):
            yield getattr(node, "arg", None) or ""


def _is_open(tree: ast.Module) -> bool:
    """Whether names may come into the file from elsewhere."""
    return any(
        (isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names))
        or (isinstance(node, ast.Name) and node.id in ("globals", "setattr", "exec", "vars"))
        or (isinstance(node, ast.FunctionDef) and node.name == "__getattr__")
        for node in ast.walk(tree)
    )


def _bindings(tree: ast.Module) -> Counter[str]:
    """How often each name is bound anywhere in the file, in whatever scope."""
    found: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] += 1
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found[node.id] += 1
        elif isinstance(node, ast.arg):
            found[node.arg] += 1
        elif isinstance(node, ast.alias):
            found[(node.asname or node.name).split(".")[0]] += 1
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found[node.name] += 1
    return found


def _unguarded(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of `tree` outside of `try` with handlers, where an error may be meant, and outside of annotations."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for field, value in ast.iter_fields(node):
            guarded = isinstance(node, ast.Try) and node.handlers and field == "body"
            if guarded or field in ("annotation", "returns"):
                continue
            waiting += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, ast.AST)]
