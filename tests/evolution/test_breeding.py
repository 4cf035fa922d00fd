"""How a generation is filled: whom to change, who proposes, and when to stop asking."""

from collections.abc import Callable

import pytest

from evolution import breeding
from evolution.agents.base import AgentUnavailable, Brief, Proposal, Unusable
from evolution.breeding import breed
from evolution.genomes import store_of
from evolution.models import Experiment, Kind, Status, Variant
from tests import cast

pytestmark = pytest.mark.django_db

S = Status


class Scripted:
    """An agent that sets the learning rate to its next number, and keeps every brief."""

    name = "scripted"

    def __init__(self, reply: Callable[[int, Brief], Proposal | None] | None = None) -> None:
        self.briefs: list[Brief] = []
        self.reply = reply or proposal

    def propose(self, brief: Brief) -> Proposal | None:
        self.briefs.append(brief)
        return self.reply(len(self.briefs), brief)


def proposal(count: int, brief: Brief) -> Proposal:
    train = brief.files["train.py"].replace(b"learning_rate = ", b"learning_rate = %d" % count)
    return Proposal(
        files={**brief.files, "train.py": train}, title=f"try {count}", hypothesis="h", rationale="r", expected="e",
        author=f"operator:{count}", tokens_in=10, tokens_out=5, cost_usd=0.25,
    )


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    one = Scripted()
    monkeypatch.setattr(breeding, "agent_for", lambda experiment, strategy: one)
    return one


def mutations(experiment: Experiment) -> list[Variant]:
    return list(experiment.variants.filter(kind=Kind.MUTATION))


def second_generation(experiment: Experiment) -> list[Variant]:
    """Two survivors that changed different files, and generation 2 open."""
    cast.bred(experiment)
    baseline = experiment.variants.get(number=0)
    first = cast.measured(cast.mutation(experiment, rate=2), 9.0)
    files = {**store_of(experiment).files(baseline.commit)}
    files["model.py"] = files["model.py"].replace(b"super().__init__()", b"super().__init__()\n        self.scale = 2")
    second = cast.measured(cast.drafted(experiment, files), 8.0)
    for variant in (first, second):
        cast.move(variant, S.SURVIVED)
    cast.move(baseline, S.CULLED)
    breeding.open_generation(experiment, 2)
    return [first, second]


def test_nothing_is_bred_before_the_baselines_code_was_approved(experiment: Experiment, agent: Scripted) -> None:
    assert not breed(experiment)
    assert not agent.briefs
    assert experiment.generation == 0


def test_the_first_generation_is_bred_while_the_baseline_trains(experiment: Experiment, agent: Scripted) -> None:
    cast.move(experiment.variants.get(), *cast.TO_TRAINING)
    experiment.refresh_from_db()
    assert breed(experiment)
    assert [(one.parent_id, one.generation.number, one.proposer) for one in mutations(experiment)] == [
        (experiment.baseline_id, 1, None)
    ] * 4
    assert experiment.events.filter(kind="generation.started", data__generation=1).count() == 1


def test_a_proposal_keeps_its_words_and_its_cost(experiment: Experiment, agent: Scripted) -> None:
    breed(cast.bred(experiment), at_most=1)
    (variant,) = mutations(experiment)
    assert (variant.title, variant.author, variant.tokens_in, variant.tokens_out, variant.cost_usd) == (
        "try 1", "operator:1", 10, 5, 0.25,
    )


def test_breeding_again_adds_nothing(experiment: Experiment, agent: Scripted) -> None:
    breed(cast.bred(experiment))
    assert breed(experiment)
    assert len(mutations(experiment)) == 4


def test_places_of_stillborn_and_duplicate_proposals_are_filled_again(experiment: Experiment, agent: Scripted) -> None:
    breed(cast.bred(experiment))
    first, second, third, _ = mutations(experiment)
    cast.move(first, S.STILLBORN)
    cast.move(second, S.DUPLICATE)
    cast.move(third, *cast.TO_REVIEW, S.VETOED)
    breed(experiment)
    assert len(mutations(experiment)) == 6


def test_no_more_than_three_drafts_are_made_for_a_place(experiment: Experiment, agent: Scripted) -> None:
    cast.bred(experiment)
    for _ in range(20):
        breed(experiment, at_most=1)
        for one in mutations(experiment):
            if one.status == S.DRAFTED:
                cast.move(one, S.STILLBORN)
    assert breed(experiment)
    assert len(mutations(experiment)) == 12


def test_ideas_of_this_generation_are_not_asked_for_again(experiment: Experiment, agent: Scripted) -> None:
    breed(cast.bred(experiment))
    assert {"operator:1", "operator:2", "operator:3"} <= agent.briefs[-1].tried


def test_the_same_seed_asks_for_the_same(
    experiment: Experiment, agent: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    breed(cast.bred(experiment))
    other = Scripted()
    monkeypatch.setattr(breeding, "agent_for", lambda experiment, strategy: other)
    breed(cast.bred(cast.experiment("again")))
    assert [brief.seed for brief in agent.briefs] == [brief.seed for brief in other.briefs]
    assert len({brief.seed for brief in agent.briefs}) == 4


def test_survivors_are_changed_by_their_peers(experiment: Experiment, agent: Scripted) -> None:
    survivors = second_generation(experiment)
    breed(experiment)
    bred = [one for one in mutations(experiment) if one.generation.number == 2]
    assert bred
    for one in bred:
        assert one.parent in survivors
        assert one.proposer in survivors
        assert one.proposer != one.parent


def test_the_second_generation_begins_with_a_crossover(experiment: Experiment, agent: Scripted) -> None:
    first, second = second_generation(experiment)
    breed(experiment, at_most=1)
    cross = experiment.variants.get(kind=Kind.CROSSOVER)
    assert (cross.parent, cross.other_parent) == (second, first)
    files = store_of(experiment).files(cross.commit)
    assert b"self.scale = 2" in files["model.py"]
    assert b"learning_rate = 2" in files["train.py"]


def test_survivors_that_collide_are_mutated_instead(experiment: Experiment, agent: Scripted) -> None:
    cast.bred(experiment)
    for rate, perplexity in ((2, 9.0), (3, 8.0)):
        cast.move(cast.measured(cast.mutation(experiment, rate=rate), perplexity), S.SURVIVED)
    cast.move(experiment.variants.get(number=0), S.CULLED)
    breeding.open_generation(experiment, 2)
    breed(experiment)
    assert not experiment.variants.filter(kind=Kind.CROSSOVER).exists()
    assert experiment.variants.filter(generation__number=2).count() == 4


def test_the_wheel_deals_its_places_to_all_survivors_alike(db: None, agent: Scripted) -> None:
    experiment = cast.bred(cast.experiment(selection="roulette"))
    for rate, perplexity in ((2, 9.0), (3, 8.0)):
        cast.move(cast.measured(cast.mutation(experiment, rate=rate), perplexity), S.SURVIVED)
    cast.move(experiment.variants.get(number=0), S.CULLED)
    breeding.open_generation(experiment, 2)
    breed(experiment)
    parents = [one.parent.number for one in mutations(experiment) if one.generation.number == 2 and one.parent]
    assert sorted(parents) == [1, 1, 2, 2]


def test_an_agent_with_nothing_to_say_leaves_the_generation_as_it_is(experiment: Experiment, agent: Scripted) -> None:
    agent.reply = lambda count, brief: None
    assert breed(cast.bred(experiment))
    assert not mutations(experiment)


def test_an_unusable_reply_costs_a_draft_and_is_remembered(experiment: Experiment, agent: Scripted) -> None:
    def babble(count: int, brief: Brief) -> Proposal | None:
        raise Unusable("the reply is no JSON")

    agent.reply = babble
    assert breed(cast.bred(experiment))
    assert len(agent.briefs) == 12
    assert experiment.events.filter(kind="proposal.refused", data__reason="the reply is no JSON").count() == 12


def test_a_patch_that_the_gate_refuses_costs_a_draft(experiment: Experiment, agent: Scripted) -> None:
    def greedy(count: int, brief: Brief) -> Proposal | None:
        return Proposal(
            files={**brief.files, "genome.toml": b""}, title="t", hypothesis="h", rationale="r", expected="e",
            author="agent:greedy",
        )

    agent.reply = greedy
    assert breed(cast.bred(experiment))
    assert not mutations(experiment)
    assert experiment.events.filter(kind="proposal.refused", actor="agent:greedy").count() == 12


def test_an_agent_that_cannot_be_asked_is_an_exception(experiment: Experiment, agent: Scripted) -> None:
    def absent(count: int, brief: Brief) -> Proposal | None:
        raise AgentUnavailable("no key: set OPENAI_API_KEY")

    agent.reply = absent
    with pytest.raises(AgentUnavailable):
        breed(cast.bred(experiment))
