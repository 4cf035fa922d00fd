"""Crossover: who is paired, how often, and how the places are settled where both parents changed the same lines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from evolution import breeding, collisions, crossing, rounds, strategies
from evolution.agents.base import AgentUnavailable, Unusable
from evolution.agents.model import Answer, Message
from evolution.breeding import breed
from evolution.genetics.crossover import Place
from evolution.genomes import store_of
from evolution.models import Experiment, Kind, Status, Variant
from tests import cast
from tests.evolution.test_breeding import Scripted

pytestmark = pytest.mark.django_db

S = Status


@dataclass
class Talker:
    """A language model that gives its next answer, or raises it, and keeps what it was asked."""

    answers: list[str | Exception]
    name: str = "talker"
    asked: list[tuple[str, Sequence[Message]]] = field(default_factory=list)

    def ask(self, messages: Sequence[Message], *, purpose: str, schema: Mapping[str, Any] | None = None) -> Answer:
        self.asked.append((purpose, messages))
        said = self.answers[len(self.asked) - 1]
        if isinstance(said, Exception):
            raise said
        return Answer(said, "talker-1", 100, 20, 0.5)


@pytest.fixture(autouse=True)
def agent(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    one = Scripted()
    monkeypatch.setattr(breeding, "agent_for", lambda experiment, strategy: one)
    return one


@pytest.fixture
def talker(monkeypatch: pytest.MonkeyPatch) -> Talker:
    """The experiment has a strategy with a language model."""
    one = Talker([])
    monkeypatch.setattr(strategies, "mender", lambda experiment: strategies.of(experiment)[0])
    monkeypatch.setattr(crossing, "model_for", lambda experiment, strategy, target: one)
    return one


def survivor(experiment: Experiment, perplexity: float, *changes: tuple[str, bytes, bytes], **fields: Any) -> Variant:
    """A measured child of the baseline that survived, with these (file, old, new) changes."""
    files = dict(store_of(experiment).files(experiment.variants.get(number=0).commit))
    for name, old, new in changes:
        assert old in files[name]
        files[name] = files[name].replace(old, new)
    family, regions = fields.pop("family", ""), fields.pop("regions", [])
    variant = cast.move(cast.measured(cast.drafted(experiment, files, **fields), perplexity), S.SURVIVED)
    Variant.objects.filter(pk=variant.pk).update(family=family, regions=regions)
    return variant


RATE = ("train.py", b"learning_rate = 1.0", b"learning_rate = 2.0")
OTHER_RATE = ("train.py", b"learning_rate = 1.0", b"learning_rate = 3.0")
BATCH = ("train.py", b"batch_size = 8", b"batch_size = 4")
STEP = ("train.py", b"run.report(step=step, loss=loss)", b"run.report(step=step, loss=loss, rate=learning_rate)")
SCALE = ("model.py", b"super().__init__()", b"super().__init__()\n        self.scale = 2")


def second_generation(experiment: Experiment) -> Experiment:
    cast.move(experiment.variants.get(number=0), S.CULLED)
    breeding.open_generation(experiment, 2)
    return experiment


def crossovers(experiment: Experiment) -> list[Variant]:
    return list(experiment.variants.filter(kind=Kind.CROSSOVER).order_by("number"))


def code(variant: Variant, name: str = "train.py") -> bytes:
    return store_of(variant.experiment).files(variant.commit)[name]


@pytest.fixture
def colliding(experiment: Experiment) -> Experiment:
    """Two survivors that set the same number differently; v1 also changed the report, v2, the better one, the model."""
    cast.bred(experiment)
    survivor(experiment, 9.0, RATE, STEP, title="faster")
    survivor(experiment, 8.0, OTHER_RATE, SCALE, title="fastest")
    return second_generation(experiment)


def answer(**entry: Any) -> str:
    return json.dumps({"places": [{"number": 1, "take": "own", "lines": None, "why": "", **entry}]})


def test_a_quarter_of_the_places_are_crossovers_and_each_pair_is_crossed_once(experiment: Experiment) -> None:
    Experiment.objects.filter(pk=experiment.pk).update(population=8, survivors=3)
    experiment.refresh_from_db()
    cast.bred(experiment)
    for perplexity, change in ((9.0, RATE), (8.0, SCALE), (7.0, STEP)):
        survivor(experiment, perplexity, change)
    breed(second_generation(experiment))
    found = crossovers(experiment)
    assert len(found) == 2
    assert len({(one.parent, one.other_parent) for one in found}) == 2
    assert experiment.variants.filter(generation__number=2).count() == 8


def test_a_single_survivor_is_not_crossed(experiment: Experiment) -> None:
    cast.bred(experiment)
    survivor(experiment, 9.0, RATE)
    breed(second_generation(experiment))
    assert crossovers(experiment) == []


def test_the_fitter_parent_comes_first_and_the_rationale_says_whose_changes_are_in(experiment: Experiment) -> None:
    cast.bred(experiment)
    worse, better = survivor(experiment, 9.0, RATE, STEP), survivor(experiment, 8.0, SCALE)
    breed(second_generation(experiment), at_most=1)
    (child,) = crossovers(experiment)
    assert (child.parent, child.other_parent) == (better, worse)
    assert "changed since v0: 1 of v2 (model.py:13), 2 of v1 (train.py:8, train.py:22)." in child.rationale


def test_parents_that_changed_different_regions_come_before_those_that_did_the_same(experiment: Experiment) -> None:
    cast.bred(experiment)
    loop = {"family": "loop", "regions": ["train.py:main"]}
    survivor(experiment, 8.0, STEP, **loop)
    survivor(experiment, 8.1, ("train.py", b"optimizer.step()", b"optimizer.step()\n        del loss"), **loop)
    other = survivor(experiment, 11.0, SCALE, family="scale", regions=["model.py:Bigram"])
    for seed in range(6):
        Experiment.objects.filter(pk=experiment.pk).update(seed=seed)
        one = rounds.begin(Experiment.objects.get(pk=experiment.pk), experiment.generation_rows.get(number=1))
        closest = min(crossing._pairs(one), key=lambda pair: pair.closeness)
        assert closest.closeness == 0
        assert other in (closest.first, closest.second)


def test_without_a_model_a_collision_goes_to_the_parent_that_did_more(colliding: Experiment) -> None:
    breed(colliding, at_most=1)
    (child,) = crossovers(colliding)
    assert b"learning_rate = 3.0" in code(child)
    assert b"rate=learning_rate" in code(child)
    assert b"self.scale = 2" in code(child, "model.py")
    assert "- train.py:8: the lines of v2, whose changes lowered the loss more" in child.rationale
    assert child.author == "operator:crossover"


def test_where_the_better_parents_lines_alone_give_nothing_new_lots_are_drawn(experiment: Experiment) -> None:
    cast.bred(experiment)
    survivor(experiment, 9.0, RATE, ("train.py", b"loss.backward()", b"loss.mean().backward()"))
    survivor(experiment, 8.0, OTHER_RATE, ("train.py", b"loss.backward()", b"loss.sum().backward()"))
    breed(second_generation(experiment), at_most=1)
    (child,) = crossovers(experiment)
    assert "drawn by lot" in child.rationale
    assert (b"learning_rate = 2.0" in code(child)) != (b"loss.mean()" in code(child))


def test_a_model_settles_a_collision_with_lines_of_its_own(colliding: Experiment, talker: Talker) -> None:
    talker.answers = [answer(lines="learning_rate = 2.5", why="half way between both")]
    breed(colliding, at_most=1)
    (child,) = crossovers(colliding)
    assert b"learning_rate = 2.5\nbatch_size = 8\n" in code(child)
    assert b"rate=learning_rate" in code(child)
    assert "- train.py:8: lines by the model (half way between both)" in child.rationale
    assert (child.author, child.tokens_in, child.tokens_out, child.cost_usd) == ("agent:talker-1", 100, 20, 0.5)
    assert child.strategy == strategies.of(colliding)[0]


def test_a_model_is_shown_both_sides_and_what_the_parents_meant(colliding: Experiment, talker: Talker) -> None:
    talker.answers = [answer(take="first")]
    breed(colliding, at_most=1)
    ((purpose, messages),) = talker.asked
    assert purpose == "merge"
    told = messages[1]["content"]
    for part in ("learning_rate = 1.0", "learning_rate = 2.0", "learning_rate = 3.0", "batch_size = 8", "“fastest”",
                 "perplexity 8.0000", "lowered the perplexity: 12 to 8"):
        assert part in told


PLACE = Place("train.py", 8, b"one\n", b"1\n", b"i\n")


def parsed(text: str) -> bytes | None:
    """What the answer `text` puts into PLACE; None when it settles nothing."""
    found = collisions.parse(text, Variant(number=1), Variant(number=2), [PLACE])
    return found[PLACE].lines if found else None


@pytest.mark.parametrize("text", [
    "Sure! Here it is:\n```json\n" + answer(take="second") + "\n```\nGood luck.",
    answer(take="second").replace('"why": ""', '"why": "two\nlines", "more": 1'),
    '{"thought": 1} and then ' + answer(take="second"),
])
def test_an_answer_within_talk_is_read(text: str) -> None:
    assert parsed(text) == b"i\n"


@pytest.mark.parametrize("text", [
    "", "[]", "{}", '{"places": 3}', '{"places": [3]}', answer(take="both"), answer(lines=7), answer(take=None),
    answer(number=2, take="first"), answer(number="1", take="first"), answer(lines="x" * 30_000), "{" * 5_000,
    '{"places": ' + "[" * 50_000,
])
def test_an_answer_of_no_use_settles_nothing(text: str) -> None:
    assert parsed(text) is None


def test_own_lines_end_as_the_place_did_and_may_be_none_at_all() -> None:
    assert parsed(answer(lines="2")) == b"2\n"
    assert parsed(answer(lines="")) == b""


def test_an_answer_of_no_use_goes_back_once_with_what_is_missing(colliding: Experiment, talker: Talker) -> None:
    talker.answers = ["I would rather not.", answer(take="second")]
    breed(colliding, at_most=1)
    (child,) = crossovers(colliding)
    assert [purpose for purpose, _ in talker.asked] == ["merge", "again"]
    assert "nothing usable was said of place 1" in talker.asked[1][1][-1]["content"]
    assert b"learning_rate = 2.0" in code(child)
    assert (child.tokens_in, child.cost_usd) == (200, 1.0)


@pytest.mark.parametrize("bad", ["{}", Unusable("an empty reply"), AgentUnavailable("no connection")])
def test_a_model_that_settles_nothing_leaves_it_to_the_larger_effect(
    colliding: Experiment, talker: Talker, bad: str | Exception
) -> None:
    talker.answers = [bad, bad]
    breed(colliding, at_most=1)
    (child,) = crossovers(colliding)
    assert b"learning_rate = 3.0" in code(child)
    assert "The model did not settle all of it" in child.rationale
    assert child.author == "operator:crossover"
    assert len(talker.asked) == 2


def test_a_merge_that_the_gate_refuses_is_written_down_and_not_paid_for_again(
    colliding: Experiment, talker: Talker
) -> None:
    talker.answers = [answer(lines="learning_rate = 2.5  # \u202e")]
    breed(colliding)
    assert crossovers(colliding) == []
    assert len(talker.asked) == 1
    (event,) = colliding.events.filter(kind=rounds.REFUSED)
    assert (event.data["target"], event.data["other_parent"], event.data["cost_usd"]) == (2, 1, 0.5)


def test_the_same_rows_give_the_same_crossover(colliding: Experiment) -> None:
    one = rounds.begin(colliding, colliding.generation_rows.get(number=2))
    first, again = ([(pair.first, pair.second) for pair in crossing._pairs(one)] for _ in range(2))
    assert first == again
