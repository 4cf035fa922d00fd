"""A change that changes nothing is seen as one, and no change of substance is."""

import pytest

from evolution.effect import effect

BEFORE = '"""Trains."""\nimport torch\n\nRATE = 1.0\n\n\ndef main(run):\n    # plain\n    return RATE\n'


def judged(after: str) -> str:
    found = effect({"before": {"train.py": BEFORE}, "after": {"train.py": after}, "starts": ["main"]})
    return "same" if found["same"] else "idle" if found["idle"] else "change"


@pytest.mark.parametrize("after", [
    BEFORE.replace("# plain", "# faster"),
    BEFORE.replace("Trains.", "Trains better."),
    BEFORE.replace("return RATE", "return (RATE)"),
])
def test_comments_docstrings_and_layout_are_no_change(after: str) -> None:
    assert judged(after) == "same"


@pytest.mark.parametrize("after", [
    BEFORE + "\n\ndef unused():\n    return helper()\n\n\ndef helper():\n    return 1\n",
    BEFORE.replace("RATE = 1.0", "RATE = 1.0\nOTHER = 2.0"),
    BEFORE.replace("import torch", "import math\nimport torch"),
])
def test_what_nothing_uses_is_no_change(after: str) -> None:
    assert judged(after) == "idle"


@pytest.mark.parametrize("after", [
    BEFORE.replace("1.0", "2.0"),
    BEFORE.replace("return RATE", "return helper()") + "\n\ndef helper():\n    return 1\n",
    BEFORE.replace("RATE = 1.0", "RATE = 1.0\nprint('hello')"),
    BEFORE.replace("def main", "@torch.compile\ndef other(): ...\n\n\ndef main"),
])
def test_what_is_used_is_a_change(after: str) -> None:
    assert judged(after) == "change"


def test_a_new_file_that_nobody_imports_is_no_change() -> None:
    files = {"train.py": BEFORE}
    found = effect({"before": files, "after": {**files, "new.py": "def f():\n    return 1\n"}, "starts": ["main"]})
    assert found == {"same": False, "idle": True}
