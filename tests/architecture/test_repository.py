"""What is in the repository, and what is not."""

import subprocess
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
TOP = {
    "manage.py", "requirements.txt", "darwin_web", "evolution", "review", "sandbox", "trainer", "static", "templates",
    "tests", "README.md", "LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "package.json",
    "package-lock.json", "compose.yaml", "Dockerfile", "docs", "bench",
}
LARGEST = 1 << 20


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("this is not a git checkout")
    return [Path(name) for name in listing.stdout.split("\0") if name]


def test_the_top_level_is_what_was_agreed() -> None:
    assert {path.parts[0] for path in tracked() if not path.parts[0].startswith(".")} - TOP == set()


def test_nothing_built_or_third_party_is_committed() -> None:
    foreign = [
        path for path in tracked()
        if {"node_modules", "dist", "vendor", "site-packages"} & set(path.parts)
        or path.name.endswith((".min.js", ".whl"))
    ]
    assert foreign == []


def test_no_file_is_large() -> None:
    assert [path for path in tracked() if (ROOT / path).is_file() and (ROOT / path).stat().st_size > LARGEST] == []


def test_the_lock_file_names_no_registry() -> None:
    # A mirror's address in it would break everybody else's `npm ci`.
    assert "://" not in "".join(
        line for line in (ROOT / "package-lock.json").read_text().splitlines(keepends=True)
        if '"url":' not in line and '"funding":' not in line
    )


@pytest.mark.parametrize("package", ["darwin_web", "evolution", "review", "sandbox", "trainer", "tests"])
def test_every_python_directory_of_a_package_is_a_package(package: str) -> None:
    folders = {path.parent for path in tracked() if path.suffix == ".py" and path.parts[0] == package}
    trainers = {Path("trainer/genome"), Path("tests/trainer/adapters/tiny_trainer")}  # directories, no packages
    assert [
        folder for folder in sorted(folders)
        if not trainers & {folder, *folder.parents} and not (ROOT / folder / "__init__.py").exists()
    ] == []
