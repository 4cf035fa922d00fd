"""The built-in genome is a directory of training code, not a package of ours: import-linter does not see it."""

import ast
import sys
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)
GENOME = ROOT / "trainer" / "genome"
IN_THE_SANDBOX = {"torch", "numpy", "safetensors"}


def imported(path: Path) -> set[str]:
    """The top-level names that the file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    origins = {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}
    return plain | origins


def test_the_genome_imports_only_itself_and_what_the_sandbox_has() -> None:
    files = list(GENOME.glob("**/*.py"))
    allowed = {path.stem for path in files} | IN_THE_SANDBOX | sys.stdlib_module_names
    assert files
    assert [
        (path.name, name) for path in files for name in sorted(imported(path)) if name.split(".")[0] not in allowed
    ] == []


def test_nothing_of_ours_imports_the_genome() -> None:
    ours = [
        path for package in ("darwin_web", "evolution", "review", "sandbox", "trainer/harness")
        for path in (ROOT / package).rglob("*.py")
    ]
    assert [path for path in ours for name in imported(path) if name.startswith("trainer.genome")] == []
