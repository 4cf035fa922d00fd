"""Recorded replies."""

import json
from pathlib import Path

import pytest

from evolution import agents, strategies
from evolution.agents.base import Agent, AgentUnavailable, Brief, Unusable
from evolution.agents.replay import ReplayAgent
from evolution.errors import BadInput
from evolution.models import Experiment
from tests.evolution.agents.test_reply import said

pytestmark = pytest.mark.django_db


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "replies.jsonl"
    lines = [said(hypothesis="First."), "no idea", said(hypothesis="Third.")]
    path.write_text("\n".join(json.dumps({"response": line}) for line in lines) + "\n")
    return path


@pytest.fixture
def experiment(recording: Path) -> Experiment:
    return Experiment.objects.create(slug="replay", name="replay", agent=f"replay:{recording}")


def agent_for(experiment: Experiment) -> Agent:
    return agents.agent_for(experiment, strategies.of(experiment)[0])


def test_replies_are_taken_in_order_until_there_are_none(experiment: Experiment, brief: Brief) -> None:
    first = agent_for(experiment).propose(brief)
    assert first is not None
    assert (first.title, first.author) == ("First", "agent:replay")
    with pytest.raises(Unusable):
        agent_for(experiment).propose(brief)
    third = agent_for(experiment).propose(brief)
    assert third is not None
    assert third.title == "Third"
    assert agent_for(experiment).propose(brief) is None
    assert Experiment.objects.get().replies_used == 3


def test_an_agent_that_read_the_place_earlier_does_not_take_a_reply_twice(
    experiment: Experiment, recording: Path, brief: Brief
) -> None:
    stale = ReplayAgent(Experiment.objects.get(), recording)
    ReplayAgent(Experiment.objects.get(), recording).propose(brief)
    with pytest.raises(Unusable):
        stale.propose(brief)


@pytest.mark.parametrize("line", ["{", "[]", '{"response": 3}', '"text"', "[" * 100_000])
def test_a_line_that_is_no_reply_is_named(line: str, experiment: Experiment, recording: Path, brief: Brief) -> None:
    recording.write_text(recording.read_text() + line + "\n")
    with pytest.raises(BadInput, match="line 4"):
        agent_for(experiment).propose(brief)
    assert Experiment.objects.get().replies_used == 0


def test_a_missing_file_is_bad_input(experiment: Experiment, brief: Brief, tmp_path: Path) -> None:
    Experiment.objects.update(agent=f"replay:{tmp_path / 'gone'}")
    experiment.refresh_from_db()
    with pytest.raises(BadInput, match="cannot be read"):
        agent_for(experiment).propose(brief)


def test_an_unknown_agent_cannot_be_asked(experiment: Experiment) -> None:
    Experiment.objects.update(agent="oracle")
    experiment.refresh_from_db()
    with pytest.raises(AgentUnavailable, match="builtin, openai or replay:FILE"):
        agent_for(experiment)
