"""Who may know whom, asked of the machine: import-linter reads the code, these look at what a process has loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)


def loaded(statements: str, *, names: tuple[str, ...], environment: dict[str, str] | None = None) -> set[str]:
    """Which of `names` a fresh Python has loaded after `statements`."""
    program = f"{statements}\nimport sys\nprint(*(name for name in {names!r} if name in sys.modules))"
    child = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "darwin_web.settings", "DARWIN_VAR": str(settings.DARWIN_VAR),
             **(environment or {})},
    )
    assert child.returncode == 0, child.stderr
    return set(child.stdout.split())


def test_the_contracts_of_import_linter_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    child = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout[-3000:]


def test_the_web_process_loads_neither_torch_nor_docker() -> None:
    everything = (
        "import darwin_web.asgi\n"
        "from django.urls import get_resolver\n"
        "assert get_resolver().url_patterns\n"
        "from darwin_web import context\n"
        "from darwin_web.templatetags import darwin"
    )
    assert loaded(everything, names=("torch", "docker", "openai", "scipy", "libcst")) == set()


@pytest.mark.parametrize("module", ["trainer.contract", "trainer.harness.inside", "trainer.harness.outside"])
def test_the_trainer_loads_no_django(module: str) -> None:
    assert loaded(f"import {module}", names=("django", "celery", "docker", "evolution", "sandbox")) == set()


def test_the_harness_outside_loads_no_torch() -> None:
    statements = (
        "import importlib, pkgutil, trainer.harness.outside as package\n"
        "for module in pkgutil.iter_modules(package.__path__):\n"
        "    importlib.import_module(f'trainer.harness.outside.{module.name}')"
    )
    assert loaded(statements, names=("torch", "django", "safetensors")) == set()


def test_the_contract_needs_the_standard_library_only() -> None:
    assert loaded("import trainer.contract", names=("numpy", "torch", "safetensors")) == set()
