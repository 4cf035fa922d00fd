"""Whatever a model or its server does, the experiment has a record of it and goes on."""

import re
from collections.abc import Iterator

import pytest

from evolution import breeding, rounds
from evolution.agents.base import AgentUnavailable
from evolution.models import Call, CallState, Experiment
from tests import cast
from tests.evolution.agents.misbehaviour import HANGS, REFUSED, Misbehaviour
from tests.evolution.agents.stub import Stub, serving


@pytest.fixture
def experiment(db: None) -> Experiment:
    made = cast.bred(cast.experiment("misbehaviour", agent="openai"))
    made.strategies.exclude(name="edits").update(share=0)
    return made


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with serving() as one:
        monkeypatch.setenv("OPENAI_BASE_URL", one.url)
        monkeypatch.setenv("OPENAI_API_KEY", "canary")
        monkeypatch.setenv("DARWIN_MODEL", "tiny")
        monkeypatch.setenv("DARWIN_MODEL_SECONDS", "5")
        yield one


@pytest.mark.parametrize("one", REFUSED, ids=lambda one: one.name)
def test_a_reply_that_cannot_be_used_is_a_refused_proposal(
    one: Misbehaviour, experiment: Experiment, stub: Stub
) -> None:
    stub.answer = lambda _: one.reply
    breeding.breed(experiment, at_most=1)
    refused = rounds.refused(experiment.generation_rows.get(number=1))
    assert [bool(re.search(one.verdict, event.data["reason"])) for event in refused] == [True]
    assert refused[0].data["strategy"] == "edits"
    assert experiment.variants.count() == 1
    assert not Call.objects.filter(state=CallState.RESERVED).exists()


def test_a_server_that_hangs_is_given_up_on_record(
    experiment: Experiment, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARWIN_MODEL_SECONDS", "0.5")
    stub.answer = lambda _: HANGS
    with pytest.raises(AgentUnavailable, match="no whole answer"):
        breeding.breed(experiment, at_most=1)
    call = Call.objects.get()
    assert (call.state, "no whole answer" in call.error) == (CallState.FAILED, True)
