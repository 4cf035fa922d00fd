"""What a change is: its regions, its kind and its sketch, and how well sketches tell the built-in operators apart."""

from itertools import combinations
from pathlib import Path
from typing import Any

import libcst as cst
import pytest
from django.conf import settings

from evolution.agents.operators import applied
from evolution.agents.operators.catalogue import named
from evolution.agents.operators.kinds import KINDS
from evolution.confined import confined
from evolution.families import SETTINGS
from evolution.novelty import ALIKE, SAME
from evolution.regions import SKETCH, changed, similarity, sketch

Files = dict[str, str]

GENOME: Files = {path.name: path.read_text() for path in (Path(settings.BASE_DIR) / "trainer/genome").glob("*.py")}
# One or two of each kind, small and large.
OPERATORS = (
    "rms_norm", "qk_norm", "relu_squared", "swiglu", "rotary", "untied_head", "logit_softcap", "zero_projections",
    "muon", "lion", "nadam", "linear_to_zero", "stable_then_decay", "batch_ramp", "sequence_ramp", "average_weights",
    "higher_learning_rate", "smaller_batch", "no_weight_decay", "shorter_memory",
)
PARENTS = ("rms_norm", "rotary", "muon", "batch_ramp", "higher_learning_rate")


def made(operator: str, files: Files) -> Files:
    modules = {path: cst.parse_module(text) for path, text in files.items()}
    return {**files, **applied(named(operator), modules, seed=1)}


def sketch_of(before: str, after: str) -> list[int]:
    found: list[int] = changed({"files": {"train.py": {"before": before, "after": after}}})["shingles"]
    return found


@pytest.fixture(scope="module")
def sketches() -> dict[str, list[int]]:
    """Each operator's change of the built-in genome."""
    return {name: changed_by(name, GENOME) for name in OPERATORS}


def change(operator: str, files: Files) -> dict[str, Any]:
    return changed({"files": {
        path: {"before": files[path], "after": text} for path, text in made(operator, files).items()
    }})


def changed_by(operator: str, files: Files) -> list[int]:
    return list(change(operator, files)["shingles"])


def kind_found(operator: str) -> str:
    return str(change(operator, GENOME)["family"])


def test_regions_are_methods_functions_settings_and_whole_classes() -> None:
    before = (
        "import math\nRATE = 1\nclass A:\n    size = 1\n    def f(self):\n        return 1\n"
        "def g():\n    return 2\n"
    )
    after = (
        "import os\nRATE = 2\nclass A:\n    size = 1\n    def f(self):\n        return 3\n"
        "class B:\n    def h(self):\n        return 1\n"
    )
    found = changed({"files": {"a.py": {"before": before, "after": after}, "b.toml": {"before": None, "after": "x"}}})
    assert found["regions"] == ["a.py:A.f", "a.py:B", "a.py:RATE", "a.py:g", "a.py:imports", "b.toml"]


def test_comments_docstrings_and_layout_change_nothing() -> None:
    before = 'def f(a):\n    """One."""\n    return a+1\n'
    after = "def f( a ):\n    # two\n    return (a + 1)\n"
    found = changed({"files": {"a.py": {"before": before, "after": after}}})
    assert (found["regions"], found["shingles"]) == ([], [])


def test_a_number_counts_by_its_factor_from_wherever_it_was_changed() -> None:
    doubled = sketch_of("rate = 1e-3\n", "rate = 2e-3\n")
    assert similarity(doubled, sketch_of("rate = 3e-3\n", "rate = 6e-3\n")) == 1.0
    assert similarity(doubled, sketch_of("rate = 1e-3\n", "rate = 5e-4\n")) == 0.0
    assert similarity(doubled, sketch_of("decay = 1e-3\n", "decay = 2e-3\n")) == 0.0


def test_two_sketches_estimate_the_share_of_what_two_changes_have_in_common() -> None:
    one, other = ({f"shingle {n}" for n in range(start, start + 1_000)} for start in (0, 500))
    assert len(sketch(one)) == SKETCH
    assert similarity(sketch(one), sketch(other)) == pytest.approx(1 / 3, abs=0.13)  # three standard errors
    assert similarity(sketch(one), sketch(one)) == 1.0
    assert similarity(sketch(one), []) == 0.0


def test_code_that_is_no_python_is_said_to_be_none() -> None:
    with pytest.raises(SyntaxError):
        changed({"files": {"a.py": {"before": "", "after": "def f(:"}}})


@pytest.mark.parametrize("parent", PARENTS)
def test_an_operator_is_recognised_on_another_parent(parent: str, sketches: dict[str, list[int]]) -> None:
    files = made(parent, GENOME)
    again = {
        name: similarity(changed_by(name, files), sketches[name])
        for name in ("qk_norm", "swiglu", "nadam", "linear_to_zero", "average_weights", "no_weight_decay")
        if made(name, files) != files  # some do not fit where another was before
    }
    assert len(again) >= 4
    assert {name: alike for name, alike in again.items() if alike < SAME} == {}


def test_different_operators_are_not_taken_for_one_another(sketches: dict[str, list[int]]) -> None:
    alike = {pair: similarity(sketches[pair[0]], sketches[pair[1]]) for pair in combinations(OPERATORS, 2)}
    closest = max(alike.values())
    assert closest == alike["linear_to_zero", "stable_then_decay"]  # both rewrite the same two lines
    assert ALIKE < closest < SAME


def test_the_words_of_a_change_give_the_kind_that_its_operator_has() -> None:
    kinds = {name: kind for name, kind in KINDS.items() if name in OPERATORS and kind != SETTINGS}
    found = {name: kind_found(name) for name in kinds}
    wrong = {name: kind for name, kind in found.items() if kind != kinds[name]}
    assert wrong == {"qk_norm": "attention"}  # it is both


def test_a_long_region_of_equal_lines_is_read_within_the_childs_limits() -> None:
    """Compared line by line without a heuristic this takes minutes, and the child has 20 s."""
    before, after = "    x = x + 1\n" * 4_000, "    x = x + 1\n    y = 2\n" * 4_000
    files = {"a.py": {"before": f"def f(x):\n{before}", "after": f"def f(x):\n{after}"}}
    assert confined("changed", {"files": files})["regions"] == ["a.py:f"]
