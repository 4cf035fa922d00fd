"""docs/architecture.md has one line for every module, and none for a module that is gone."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LEFT_OUT = re.compile(r"(^|/)(__init__|apps|urls|manage)\.py$|/migrations/|^tests/|^bench/|^static/js/pages/|\.mjs$")


def test_the_tree_names_every_module() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py", "*.js"], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = {name for name in listed.stdout.split() if not LEFT_OUT.search(name)}
    tree = (ROOT / "docs/architecture.md").read_text().split("## The tree", 1)[1]
    named, folder = set(), ""
    for line in tree.splitlines():
        if found := re.fullmatch(r" {4}(\S+)/", line):
            folder = found.group(1)
        elif found := re.match(r" {6}(\S+\.(?:py|js))\s", line):
            named.add(f"{folder}/{found.group(1)}")
    assert modules - named == set(), "add a line for each to docs/architecture.md"
    assert named - modules == set(), "these are gone: take their lines out of docs/architecture.md"
