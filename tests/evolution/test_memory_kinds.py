"""docs/memory.md against the code: every kind, and every key that is written as a literal."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "memory.md").read_text()
TABLE: dict[str, str] = dict(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|(.*)$", DOCUMENT, re.MULTILINE))


def remembered() -> Iterator[tuple[str, set[str]]]:
    """Kind and literal keys of every call of `remember`, and of every line the journal adds by itself."""
    for package in ("evolution", "review", "sandbox", "darwin_web"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text())
            constants = {
                node.targets[0].id: node.value for node in tree.body
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    yield from _kinds(node, constants)


def _kinds(call: ast.Call, constants: dict[str, ast.expr]) -> Iterator[tuple[str, set[str]]]:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name not in ("remember", "Entry") or len(call.args) < 2:
        return
    kind = call.args[1]
    if isinstance(kind, ast.Name):
        kind = constants[kind.id]
    if isinstance(kind, ast.Constant):
        data = [*call.args[3:], *(one.value for one in call.keywords if one.arg == "data")]
        keys = {
            key.value for one in data if isinstance(one, ast.Dict) for key in one.keys if isinstance(key, ast.Constant)
        }
        yield str(kind.value), {str(key) for key in keys}


KINDS = sorted(remembered())


def test_every_kind_in_the_code_is_documented_and_every_documented_kind_is_in_the_code() -> None:
    assert {kind for kind, _ in KINDS} == set(TABLE)
    assert len(TABLE) >= 14


@pytest.mark.parametrize(("kind", "keys"), KINDS, ids=[kind for kind, _ in KINDS])
def test_every_key_of_a_line_is_documented(kind: str, keys: set[str]) -> None:
    assert {key for key in keys if f"`{key}`" not in TABLE[kind]} == set()
