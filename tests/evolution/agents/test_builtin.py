"""The built-in agent, through the confined child."""

import re
from dataclasses import replace

import pytest

from evolution.agents.base import Brief
from evolution.agents.builtin import AUTHOR, BuiltinAgent, editable, readable
from evolution.agents.operators.catalogue import FAMILY
from evolution.confined import Unparsable, confined

NUMERIC = re.compile(r"operator:\w+_x[\d.]+")


def test_it_changes_only_python_and_says_that_it_is_a_built_in_operator(brief: Brief) -> None:
    proposal = BuiltinAgent().propose(brief)
    assert proposal is not None
    assert proposal.author.startswith("operator:")
    assert proposal.rationale.startswith("Built-in operator")
    changed = [path for path in proposal.files if proposal.files[path] != brief.files.get(path)]
    assert changed
    assert set(changed) <= {"model.py", "train.py"}
    assert (proposal.tokens_in, proposal.tokens_out, proposal.cost_usd) == (0, 0, 0.0)


def test_the_same_seed_gives_the_same_proposal(brief: Brief) -> None:
    assert BuiltinAgent().propose(replace(brief, seed=7)) == BuiltinAgent().propose(replace(brief, seed=7))


def test_what_was_tried_is_not_proposed_again_and_numbers_follow_the_catalogue(brief: Brief) -> None:
    payload = {"files": readable(brief.files), "editable": editable(brief), "seed": 1}
    fits = {AUTHOR + name for name in confined("fitting", payload)["fits"]}
    *most, last = sorted(fits)
    left = BuiltinAgent().propose(replace(brief, tried=frozenset(most), seed=1))
    assert left is not None
    assert left.author == last or NUMERIC.fullmatch(left.author)
    beyond = BuiltinAgent().propose(replace(brief, tried=frozenset(fits)))
    assert beyond is not None
    assert NUMERIC.fullmatch(beyond.author)


def test_it_has_nothing_to_propose_for_code_it_does_not_understand(brief: Brief) -> None:
    assert BuiltinAgent().propose(replace(brief, files={"train.py": b"print('hello')\n"})) is None


def test_a_file_that_is_not_text_is_left_alone(brief: Brief) -> None:
    proposal = BuiltinAgent().propose(replace(brief, files={**brief.files, "odd.py": b"\xff\xfe"}))
    assert proposal is not None
    assert proposal.files["odd.py"] == b"\xff\xfe"


def test_hostile_code_is_unparsable_or_declined(brief: Brief) -> None:
    hostile = b"x = " + b"(" * 1_500 + b")" * 1_500 + b"\n"
    try:
        assert BuiltinAgent().propose(replace(brief, files={"model.py": hostile})) is None
    except Unparsable as error:
        assert "nested" in str(error)  # noqa: PT017


@pytest.mark.parametrize(("operators", "family"), [
    (("optimiser",), "optimiser"), (("numbers",), None), (("rms_norm",), "normalisation"),
])
def test_it_asks_only_the_families_and_operators_of_its_brief(
    operators: tuple[str, ...], family: str | None, brief: Brief
) -> None:
    one = BuiltinAgent().propose(replace(brief, operators=operators, seed=1))
    assert one is not None
    assert FAMILY.get(one.author.removeprefix(AUTHOR)) == family


def test_it_has_nothing_to_propose_when_all_it_may_ask_was_tried(brief: Brief) -> None:
    told = replace(brief, operators=("rms_norm", "learning_rate_x2"), tried=frozenset({AUTHOR + "rms_norm"}))
    left = BuiltinAgent().propose(told)
    assert left is not None
    assert left.author == AUTHOR + "learning_rate_x2"
    assert BuiltinAgent().propose(replace(told, tried=told.tried | {left.author})) is None
