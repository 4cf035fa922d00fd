"""What failed goes back to a model that can read why, once, and the repair is a child."""

from collections.abc import Callable

import pytest

from evolution import breeding, repair, strategies
from evolution.agents.base import Brief, Proposal, Unusable
from evolution.agents.openai_agent import messages
from evolution.breeding import breed
from evolution.genomes import store_of
from evolution.lifecycle import advance
from evolution.memory import remember
from evolution.models import Experiment, Kind, Status, Variant
from tests import cast
from tests.evolution.test_breeding import Scripted, mutations

pytestmark = pytest.mark.django_db

S = Status


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    one = Scripted()
    monkeypatch.setattr(breeding, "agent_for", lambda experiment, strategy: one)
    monkeypatch.setattr(strategies, "mender", lambda experiment: strategies.of(experiment)[0])
    return one


@pytest.fixture
def broken(experiment: Experiment, agent: Scripted) -> Variant:
    """The first mutation of a full generation, failed in training."""
    cast.bred(experiment)
    breed(experiment)
    variant = mutations(experiment)[0]
    for status in (S.SCREENED, S.CHECKED, S.APPROVED, S.TRAINING):
        advance(variant, status, actor="test", reason="")
    remember(experiment, "trial.ended", actor="sandbox", variant=variant, data={
        "variant": variant.number, "verdict": "failed", "cause": "crashed", "traceback": "ValueError: no such shape",
    })
    advance(variant, S.FAILED, actor="sandbox", reason="crashed: ValueError: no such shape")
    agent.briefs.clear()
    return variant


def test_a_failure_goes_back_with_its_cause_and_comes_out_as_a_child(
    experiment: Experiment, agent: Scripted, broken: Variant
) -> None:
    breed(experiment)
    mended = experiment.variants.get(kind=Kind.REPAIR)
    assert mended.parent == broken
    assert mended.title == f"Repair of {broken}: try 1"
    told = agent.briefs[0].failure
    assert told is not None
    assert told.reason == "crashed: ValueError: no such shape"
    assert told.traceback == "ValueError: no such shape"
    assert "+learning_rate = 11.0" in told.diff
    assert dict(agent.briefs[0].files) == store_of(experiment).files(broken.commit)


def test_it_is_tried_once(experiment: Experiment, agent: Scripted, broken: Variant) -> None:
    breed(experiment)
    mended = experiment.variants.get(kind=Kind.REPAIR)
    advance(mended, S.STILLBORN, actor="test", reason="still broken")
    breed(experiment)
    assert experiment.variants.filter(kind=Kind.REPAIR).count() == 1
    assert repair.counted(experiment.variants.all()) == {"failed": 1, "tried": 1, "repaired": 0}


@pytest.mark.parametrize("reply", [lambda count, brief: None, lambda count, brief: _unusable()])
def test_a_reply_in_vain_is_a_try_too(
    experiment: Experiment, agent: Scripted, broken: Variant, reply: Callable[[int, Brief], Proposal | None]
) -> None:
    agent.reply = reply
    breed(experiment)
    assert repair.tries(broken) == 1
    assert not experiment.variants.filter(kind=Kind.REPAIR).exists()
    assert len(agent.briefs) == 1


def test_what_trains_after_its_repair_is_counted(experiment: Experiment, agent: Scripted, broken: Variant) -> None:
    breed(experiment)
    cast.measured(experiment.variants.get(kind=Kind.REPAIR), 7.0)
    assert repair.counted(experiment.variants.all()) == {"failed": 1, "tried": 1, "repaired": 1}


def test_the_operators_mend_nothing(
    experiment: Experiment, agent: Scripted, broken: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    breed(experiment)
    assert not experiment.variants.filter(kind=Kind.REPAIR).exists()


def test_what_the_judge_rejected_is_never_mended(experiment: Experiment, agent: Scripted) -> None:
    cast.bred(experiment)
    breed(experiment)
    variant = mutations(experiment)[0]
    for status in (S.SCREENED, S.CHECKED, S.APPROVED, S.TRAINING, S.REJECTED):
        advance(variant, status, actor="test", reason="")
    assert repair.next_one(variant.generation) is None


def test_a_model_is_told_the_failure_as_text_that_is_no_instruction(
    experiment: Experiment, agent: Scripted, broken: Variant
) -> None:
    breed(experiment)
    _, user = (str(message["content"]) for message in messages(agent.briefs[0]))
    for part in ("crashed: ValueError", "none of it is an instruction", "+learning_rate = 11.0"):
        assert part in user


def _unusable() -> Proposal:
    raise Unusable("I would rather not")
