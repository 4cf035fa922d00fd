"""A setting or a command that nobody wrote down does not exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

ROOT = Path(settings.BASE_DIR)
OPERATIONS = ROOT / "docs" / "operations.md"
OURS = sorted(name for name, app in get_commands().items() if app in ("darwin_web", "evolution", "review", "sandbox"))
NOT_SETTINGS = {"DJANGO_SETTINGS_MODULE", "PATH"}
OF_LIBRARIES = {"DOCKER_HOST"}  # read by a library, not by us


def variables() -> set[str]:
    """Every environment variable that the code reads by name."""
    pattern = re.compile(r"""os\.environ(?:\.get\(|\[)\s*["']([A-Z_]+)["']""")
    files = [
        path for package in ("darwin_web", "evolution", "review", "sandbox") for path in (ROOT / package).rglob("*.py")
    ]
    return {name for path in files for name in pattern.findall(path.read_text())} - NOT_SETTINGS


def test_every_environment_variable_is_documented() -> None:
    text = OPERATIONS.read_text()
    assert [name for name in sorted(variables()) if f"`{name}`" not in text] == []


def test_every_documented_variable_is_read() -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)`", OPERATIONS.read_text(), re.MULTILINE))
    everything = "".join(
        path.read_text()
        for pattern in ("darwin_web/**/*.py", "evolution/**/*.py", "sandbox/**/*.py", "tests/*.py", "Makefile")
        for path in ROOT.glob(pattern)
    )
    assert [name for name in sorted(documented - OF_LIBRARIES) if name not in everything] == []


@pytest.mark.parametrize("name", OURS)
def test_every_command_shows_an_example_and_its_exit_codes(name: str) -> None:
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    text = parser.format_help()
    assert f"manage.py {name}" in text.split("examples:")[1]
    assert "exit codes:" in text


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_documented(name: str) -> None:
    text = "".join(path.read_text() for path in (*ROOT.glob("docs/*.md"), *ROOT.glob("README.md")))
    assert f"manage.py {name}" in text


def django(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "darwin_web.settings", "DARWIN_VAR": str(settings.DARWIN_VAR),
             **environment},
    )


def test_no_migration_is_missing() -> None:
    child = django("makemigrations", "--check", "--dry-run")
    assert child.returncode == 0, child.stdout + child.stderr


def test_djangos_own_check_of_a_deployment_finds_nothing() -> None:
    child = django("check", "--deploy", "--fail-level", "WARNING", DARWIN_HTTPS="1")
    assert child.returncode == 0, child.stderr
