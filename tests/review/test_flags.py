import pytest

from evolution.confined import confined
from evolution.models import Experiment, Variant
from evolution.preflight import screen
from review.evidence import evidence_of, nearest_attempt
from review.flags import flags
from review.models import Risk
from tests import cast
from tests.review.test_admission import proposal_with


def found(before: str, after: str) -> list[tuple[str, str, int]]:
    reply = flags({"files": {"m.py": {"before": before, "after": after}}})
    return [(flag["kind"], flag["level"], flag["line"]) for flag in reply["flags"]]


@pytest.mark.parametrize(("line", "kind", "level"), [
    ("import os", "process", "high"),
    ("from subprocess import run", "process", "high"),
    ("import socket", "network", "high"),
    ("import ctypes", "process", "high"),
    ("import time", "clock", "med"),
    ("open('x')", "file", "high"),
    ("eval('1')", "dynamic", "high"),
    ("exec('1')", "dynamic", "high"),
    ("().__class__", "dynamic", "high"),
    ("torch.manual_seed(1)", "seed", "med"),
    ("run.secret", "interface", "high"),
    ("run.batches(1, 2)", "data", "med"),
    ("loss.backward()", "loss", "med"),
    ("def validate_all(): pass", "evaluation", "med"),
])
def test_a_new_line_is_flagged(line: str, kind: str, level: str) -> None:
    assert (kind, level, 2) in found("x = 1\n", f"x = 1\n{line}\n")


def test_what_was_there_before_is_not_flagged() -> None:
    assert found("import os\nx = 1\n", "import os\nx = 2\n") == []


def test_an_ordinary_change_is_not_flagged() -> None:
    assert found("a = 1\n", "a = nn.RMSNorm(width)\nmodel.eval()\nrun.report(step=1)\n") == []


def test_taking_a_seed_away_is_flagged() -> None:
    assert ("seed", "med", 1) in found("torch.manual_seed(1)\nx = 1\n", "x = 1\n")


def test_code_that_cannot_be_read_is_high_risk() -> None:
    assert found("x = 1\n", "x = (\n")[0][:2] == ("unreadable", "high")


def test_the_task_runs_in_the_limited_child() -> None:
    reply = confined("flags", {"files": {"m.py": {"before": None, "after": "import os\n"}}})
    assert reply["flags"][0]["text"] == "imports os"


def test_evidence_is_gathered_once(experiment: Experiment) -> None:
    variant = proposal_with(experiment, b"import os\n")
    assert evidence_of(variant).pk == evidence_of(variant).pk
    assert evidence_of(variant).risk == Risk.HIGH


def test_a_large_change_is_never_low_risk(experiment: Experiment) -> None:
    assert evidence_of(proposal_with(experiment, b"x = 1\n" * 40)).risk == Risk.MEDIUM


def test_the_nearest_attempt_is_the_same_operator_s(experiment: Experiment) -> None:
    first = cast.mutation(experiment, rate=3.0)
    cast.mutation(experiment, rate=4.0, author="operator:other")
    nearest, _ = nearest_attempt(cast.mutation(experiment, rate=5.0))
    assert nearest == first


def test_without_anything_like_it_there_is_no_nearest(experiment: Experiment, proposal: Variant) -> None:
    nearest, similarity = nearest_attempt(proposal_with(experiment, b"y = 2\n"))
    assert (nearest, similarity) == (None, None)


def test_what_screening_found_among_all_earlier_changes_is_taken(experiment: Experiment) -> None:
    first = proposal_with(experiment, b"y = 2\nz = 3\n")
    screen(first)
    again = proposal_with(experiment, b"y = 2\nz = 3\nw = 4\n")
    screen(again)
    nearest, similarity = nearest_attempt(again)
    assert nearest == first
    assert similarity == pytest.approx(2 / 3, abs=0.01)
