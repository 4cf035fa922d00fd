"""What failed goes back to a model that can read why, once, and the repair is a child."""

from collections.abc import Callable

import pytest

from evolution import breeding, repair, strategies
from evolution.agents.base import AgentUnavailable, Brief, Proposal, Unusable
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
    found = repair.counted(experiment.variants.all())
    assert (found["failed"], found["tried"], found["repaired"], found["share"]) == (1, 1, 0, 0.0)


def test_the_next_try_begins_at_the_last_one_and_is_told_what_was_tried(
    experiment: Experiment, agent: Scripted, broken: Variant
) -> None:
    Experiment.objects.filter(pk=experiment.pk).update(repair_tries=2)
    experiment.refresh_from_db()
    breed(experiment)
    first = experiment.variants.get(kind=Kind.REPAIR)
    breed(experiment)
    assert experiment.variants.filter(kind=Kind.REPAIR).count() == 1  # it may still train
    advance(first, S.STILLBORN, actor="test", reason="model.py:3: nm is not defined")
    breed(experiment)
    second = experiment.variants.filter(kind=Kind.REPAIR).last()
    assert second is not None
    assert second.parent == first
    told = agent.briefs[-1].failure
    assert told is not None
    assert len(told.tried) == 1
    assert "model.py:3: nm is not defined" in told.tried[0]
    advance(second, S.STILLBORN, actor="test", reason="still broken")
    breed(experiment)
    assert experiment.variants.filter(kind=Kind.REPAIR).count() == 2
    assert repair.tries(second) == repair.tries(broken) == 2
    assert repair.counted(experiment.variants.all())["tried"] == 1  # one idea


CODE = b"import torch\n\n\ndef main(run):\n    model = make()\n    return model\n"
TRACE = (
    'File "/harness/trainer/harness/inside/train.py", line 3, in _train\n'
    'File "/genome/train.py", line 5, in main\nFile "/site/torch/nn.py", line 9, in forward\n'
)


@pytest.mark.parametrize(("traceback", "reason"), [(TRACE, "crashed"), ("", "train.py:5: make is not defined")])
def test_the_code_around_the_failing_line_is_told(traceback: str, reason: str) -> None:
    shown = repair.around({"train.py": CODE}, traceback, reason)
    assert shown.splitlines()[0] == "train.py:"
    assert ">    5     model = make()" in shown.splitlines()
    assert "     6     return model" in shown.splitlines()


@pytest.mark.parametrize("reason", ["crashed", "train.py:99: far away", "other.py:1: not there", "train.py:0: none"])
def test_without_a_line_that_is_there_no_code_is_told(reason: str) -> None:
    assert repair.around({"train.py": CODE}, "", reason) == ""


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
    found = repair.counted(experiment.variants.all())
    assert (found["failed"], found["tried"], found["repaired"], found["share"]) == (1, 1, 1, 1.0)
    assert found["share_interval"] == pytest.approx([0.2065, 1.0], abs=1e-4)  # Wilson, 1 of 1


def test_without_a_try_there_is_no_share(experiment: Experiment, agent: Scripted, broken: Variant) -> None:
    found = repair.counted(experiment.variants.all())
    assert (found["tried"], found["share"], found["share_interval"]) == (0, None, None)


@pytest.mark.parametrize("passes", [False, True])
def test_who_cannot_be_asked_to_mend_does_not_stop_the_others(
    experiment: Experiment, agent: Scripted, broken: Variant, monkeypatch: pytest.MonkeyPatch, passes: bool
) -> None:
    """Without money the generation ends as it is; with a server that comes back the repair waits, the rest goes on."""
    propose = agent.propose

    def asked(brief: Brief) -> Proposal | None:
        if brief.failure is None:
            return propose(brief)
        error = AgentUnavailable("not now")
        error.passes = passes
        raise error

    monkeypatch.setattr(agent, "propose", asked)
    Experiment.objects.update(population=5)
    again = Experiment.objects.select_related("baseline").get(pk=experiment.pk)
    if passes:
        with pytest.raises(AgentUnavailable):
            breed(again)
    else:
        assert breed(again)
    assert len(mutations(experiment)) == 5
    assert not experiment.variants.filter(kind=Kind.REPAIR).exists()


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
