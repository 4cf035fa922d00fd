"""Peers say what they think of a proposal and of its result, and nobody waits for them."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from evolution import assessing, definitions, documents, station, strategies
from evolution.agents.base import AgentUnavailable, Unusable
from evolution.agents.model import Answer, Message
from evolution.genomes import store_of
from evolution.models import Assessment, Experiment, Kind, Moment, Opinion, Status, Variant
from tests import cast

pytestmark = pytest.mark.django_db

S = Status
SOUND = {"is_what_it_says": True, "risk": "low", "opinion": "sound", "text": "It does what it says."}
CONFIRMED = {"opinion": "confirmed", "text": "Larger steps got further."}


class Peer:
    """A language model that says what a test wants, and keeps what it was asked."""

    name = "peer-1"

    def __init__(self, reply: Callable[[str], str] | None = None) -> None:
        self.asked: list[tuple[str, str, Any]] = []  # purpose, the user's message, schema
        self.reply = reply or (lambda purpose: json.dumps(SOUND if purpose == "assess" else CONFIRMED))

    def ask(self, messages: Sequence[Message], *, purpose: str, schema: Mapping[str, Any] | None = None) -> Answer:
        self.asked.append((purpose, messages[-1]["content"], schema))
        return Answer(self.reply(purpose), self.name, 100, 20, 0.01)


@pytest.fixture
def peer(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """A second strategy that asks a model, beside the operators."""
    one = Peer()
    given = {"name": "model", "provider": "openai"}
    strategies.add(experiment, definitions.checked(given), actor="user:olivia")
    monkeypatch.setattr(assessing, "model_for", lambda experiment, strategy, target: one)
    return one


@pytest.fixture
def proposal(experiment: Experiment) -> Variant:
    """A language model's, in review."""
    cast.bred(experiment)
    return cast.move(cast.mutation(experiment, author="agent:other"), *cast.TO_REVIEW)


def said(variant: Variant, moment: Moment, assessor: str = "agent:peer-1") -> Assessment:
    return variant.assessments.get(moment=moment, assessor=assessor)


def judged(variant: Variant, perplexity: float) -> Variant:
    return cast.move(variant, S.APPROVED, S.TRAINING, S.MEASURED, perplexity=perplexity, val_loss_error=0.01)


# Before review.


def test_a_peer_reads_a_proposal_before_review(experiment: Experiment, peer: Peer, proposal: Variant) -> None:
    assessing.step(experiment)
    found = said(proposal, Moment.BEFORE)
    assert (found.opinion, found.is_what_it_says, found.risk, found.text) == (
        Opinion.SOUND, True, "low", "It does what it says.",
    )
    ((purpose, told, schema),) = peer.asked
    assert purpose == "assess"
    assert schema is not None
    for part in ("learning rate 2.0", "+learning_rate = 2.0", "Larger steps learn more", "perplexity 12"):
        assert part in told


def test_the_opinion_is_in_the_journal_with_its_cost_and_in_the_document(
    experiment: Experiment, peer: Peer, proposal: Variant
) -> None:
    assessing.step(experiment)
    (line,) = proposal.events.filter(kind="assessment.made")
    assert (line.actor, line.data["opinion"], line.data["cost_usd"]) == ("agent:peer-1", "sound", 0.01)
    (kept,) = documents.document(proposal, store_of(experiment))["assessments"]
    assert (kept["moment"], kept["assessor"], kept["text"], kept["peer"]) == (
        "before", "agent:peer-1", "It does what it says.", 0,
    )


def test_a_peer_is_another_survivor_whose_own_strategy_asks_a_model(
    experiment: Experiment, peer: Peer, proposal: Variant
) -> None:
    model = experiment.strategies.get(name="model")
    clever = cast.move(cast.measured(cast.mutation(experiment, rate=3, strategy=model), 11.0), S.SURVIVED)
    assessing.step(experiment)
    assert said(proposal, Moment.BEFORE).peer == clever


def test_one_peer_is_asked_in_one_look(experiment: Experiment, peer: Peer, proposal: Variant) -> None:
    cast.move(cast.mutation(experiment, rate=3, author="agent:other"), *cast.TO_REVIEW)
    for asked in (1, 2, 2):
        assessing.step(experiment)
        assert len(peer.asked) == asked


def test_what_a_reviewer_edited_is_not_read_again(experiment: Experiment, peer: Peer) -> None:
    cast.bred(experiment)
    cast.move(cast.mutation(experiment, kind=Kind.EDIT, author="user:rita"), S.SCREENED, S.CHECKED)
    assessing.step(experiment)
    assert not peer.asked


def test_a_memory_that_is_off_is_not_recalled_to_peers(experiment: Experiment, peer: Peer, proposal: Variant) -> None:
    cast.move(cast.mutation(experiment, rate=7, title="too dear"), *cast.TO_REVIEW, S.VETOED)
    assessing.step(experiment)
    experiment.memory = "off"
    experiment.save()
    cast.move(cast.mutation(experiment, rate=3, author="agent:other"), *cast.TO_REVIEW)
    assessing.step(experiment)
    assert ["too dear" in told for _, told, _ in peer.asked] == [True, False]


@pytest.mark.parametrize("text", [
    f"Certainly!\n```json\n{json.dumps(SOUND)}\n```\nAnything else?",
    json.dumps({**SOUND, "opinion": " Sound. ", "risk": "LOW", "is_what_it_says": "yes"}),
    f"{{}} I think {json.dumps(SOUND)}",
    json.dumps(SOUND)[:-1],
])
def test_answers_with_talk_and_slips_are_read(
    text: str, experiment: Experiment, peer: Peer, proposal: Variant
) -> None:
    peer.reply = lambda _: text
    assessing.step(experiment)
    found = said(proposal, Moment.BEFORE)
    assert (found.opinion, found.is_what_it_says, found.risk) == ("sound", True, "low")


# Nobody waits for them.


@pytest.mark.parametrize("text", [
    "I like it.", "{}", '{"opinion": "great", "text": "x"}', '{"opinion": "sound"}', "[" * 9_000,
])
def test_an_answer_that_is_no_opinion_is_no_opinion(
    text: str, experiment: Experiment, peer: Peer, proposal: Variant
) -> None:
    peer.reply = lambda _: text
    assessing.step(experiment)
    assert not proposal.assessments.exists()
    (line,) = proposal.events.filter(kind="assessment.failed")
    assert "has no opinion" in line.data["reason"]
    assert line.data["tokens_in"] == 100


@pytest.mark.parametrize("error", [AgentUnavailable("no key"), Unusable("refused"), ZeroDivisionError()])
def test_who_cannot_be_asked_is_not_asked_again_and_again(
    error: Exception, experiment: Experiment, peer: Peer, proposal: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(purpose: str) -> str:
        raise error

    peer.reply = fails
    other = cast.move(cast.mutation(experiment, rate=3, author="agent:other"), *cast.TO_REVIEW)
    assessing.step(experiment)
    assessing.step(experiment)
    assert len(peer.asked) == 1
    monkeypatch.setattr(assessing, "PAUSE", assessing.PAUSE * 0)
    assessing.step(experiment)
    assessing.step(experiment)
    assert [one.data["variant"] for one in experiment.events.filter(kind="assessment.failed").order_by("id")] == [
        proposal.number, other.number,
    ]


@pytest.mark.django_db(transaction=True)
def test_a_defect_in_an_assessment_stops_nothing(
    experiment: Experiment, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(experiment: Experiment) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(assessing, "step", breaks)
    station.look()
    experiment.refresh_from_db()
    assert experiment.variants.get().status == S.SCREENED
    assert experiment.reason == ""
    assert not experiment.events.filter(journaled=False).exists()


# Without a model: the record.


def test_a_first_operator_has_no_record_and_gets_no_opinion(experiment: Experiment) -> None:
    cast.bred(experiment)
    variant = cast.move(cast.mutation(experiment, author="operator:rms_norm"), *cast.TO_REVIEW)
    assessing.step(experiment)
    found = said(variant, Moment.BEFORE, "record")
    assert (found.opinion, found.text) == ("", "rms_norm has not been measured in this experiment before.")


def test_an_operators_record_is_told_with_its_interval(experiment: Experiment) -> None:
    cast.bred(experiment)
    for rate, perplexity in ((2, 11.0), (3, 11.2), (4, 10.8)):
        cast.measured(cast.mutation(experiment, rate=rate, author="operator:rms_norm"), perplexity)
    cast.move(cast.mutation(experiment, rate=5, author="operator:rms_norm"), *cast.TO_TRAINING, S.FAILED)
    cast.move(cast.mutation(experiment, rate=6, author="operator:rms_norm"), *cast.TO_REVIEW, S.VETOED)
    variant = cast.move(cast.mutation(experiment, rate=7, author="operator:rms_norm"), *cast.TO_REVIEW)
    assessing.step(experiment)
    found = said(variant, Moment.BEFORE, "record")
    assert found.text == (
        "rms_norm was measured 3 times here: perplexity −8.3 % against its parent on average, 95 % interval −12.4 % to "
        "−4.1 %; 1 vetoed and 1 failed."
    )
    assert found.opinion == Opinion.SOUND


def test_a_record_that_decides_nothing_is_no_opinion(experiment: Experiment) -> None:
    cast.bred(experiment)
    for rate, perplexity in ((2, 11.0), (3, 13.0)):
        cast.measured(cast.mutation(experiment, rate=rate), perplexity)
    variant = cast.move(cast.mutation(experiment, rate=7), *cast.TO_REVIEW)
    assessing.step(experiment)
    assert said(variant, Moment.BEFORE, "record").opinion == ""


def test_turning_a_knob_up_is_one_idea_whatever_the_factor(experiment: Experiment) -> None:
    cast.bred(experiment)
    cast.measured(cast.mutation(experiment, rate=2, author="operator:learning_rate_x1.5"), 13.2)
    cast.measured(cast.mutation(experiment, rate=3, author="operator:learning_rate_x0.5"), 10.0)
    variant = cast.move(cast.mutation(experiment, rate=4, author="operator:learning_rate_x2"), *cast.TO_REVIEW)
    assessing.step(experiment)
    assert said(variant, Moment.BEFORE, "record").text == (
        "learning_rate turned up was measured once here: perplexity +10.0 % against its parent, one run without an "
        "interval."
    )


def test_nothing_is_invented_about_what_a_model_proposed(experiment: Experiment, proposal: Variant) -> None:
    assessing.step(experiment)
    assert not proposal.assessments.exists()


# After measurement.


@pytest.mark.parametrize(("perplexity", "opinion"), [
    (11.0, Opinion.CONFIRMED), (13.0, Opinion.REFUTED), (11.9, Opinion.OPEN), (12.1, Opinion.OPEN),
])
def test_the_rule_says_what_a_result_means(
    perplexity: float, opinion: Opinion, experiment: Experiment, proposal: Variant
) -> None:
    judged(proposal, perplexity)
    assessing.step(experiment)
    found = said(proposal, Moment.AFTER, "record")
    assert found.opinion == opinion
    assert f"Perplexity 12 of v0 to {perplexity:.4g}" in found.text
    assert "±0.0277 is noise" in found.text


def test_the_calibrated_noise_is_taken_where_there_is_one(experiment: Experiment, proposal: Variant) -> None:
    experiment.noise = {"pair_sd": {"value": 0.1}}
    experiment.save()
    judged(proposal, 11.0)
    assessing.step(experiment)
    assert said(proposal, Moment.AFTER, "record").opinion == Opinion.OPEN
    assert "±0.1960 is noise (calibrated" in said(proposal, Moment.AFTER, "record").text


def test_without_any_noise_nothing_is_decided(experiment: Experiment, proposal: Variant) -> None:
    cast.move(proposal, S.APPROVED, S.TRAINING, S.MEASURED, perplexity=6.0)
    assessing.step(experiment)
    assert said(proposal, Moment.AFTER, "record").opinion == Opinion.OPEN


def test_a_peer_explains_a_result_and_is_told_the_numbers(
    experiment: Experiment, peer: Peer, proposal: Variant
) -> None:
    judged(proposal, 11.0)
    assessing.step(experiment)
    found = said(proposal, Moment.AFTER)
    assert (found.opinion, found.text) == (Opinion.CONFIRMED, "Larger steps got further.")
    assert peer.asked[0][0] == "explain"
    assert "Perplexity 12 of v0 to 11" in peer.asked[0][1]


def test_within_the_noise_no_reasons_make_it_more_than_open(
    experiment: Experiment, peer: Peer, proposal: Variant
) -> None:
    judged(proposal, 11.9)
    assessing.step(experiment)
    assert said(proposal, Moment.AFTER).opinion == Opinion.OPEN


def test_a_repair_is_compared_with_the_code_that_worked(experiment: Experiment, proposal: Variant) -> None:
    cast.move(proposal, S.APPROVED, S.TRAINING, S.FAILED)
    mended = cast.mutation(experiment, rate=3, parent=proposal, kind=Kind.REPAIR)
    cast.measured(mended, 11.0)
    assessing.step(experiment)
    assert "Perplexity 12 of v0 to 11" in said(mended, Moment.AFTER, "record").text


def test_looking_again_says_nothing_twice(experiment: Experiment, peer: Peer, proposal: Variant) -> None:
    judged(proposal, 11.0)
    for _ in range(3):
        assessing.step(experiment)
    assert proposal.assessments.count() == 2
    assert experiment.events.filter(kind="assessment.made").count() == 2
    assert len(peer.asked) == 1
