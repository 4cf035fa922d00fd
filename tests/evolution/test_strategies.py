"""Which way of proposing is asked, why, and how people change that."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from evolution import breeding, definitions, experiments, rounds, strategies
from evolution.agents.base import AgentUnavailable, Brief, Proposal
from evolution.agents.operators.catalogue import CATALOGUE, FAMILY
from evolution.breeding import breed
from evolution.definitions import Definition
from evolution.errors import BadInput, Refused, ResumeMismatch
from evolution.models import Experiment, Generation, Strategy
from evolution.rounds import Round
from tests import cast
from tests.evolution.test_breeding import Scripted, mutations

pytestmark = pytest.mark.django_db


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> dict[str, Scripted]:
    """One scripted agent for each strategy, made when it is first asked."""
    made: dict[str, Scripted] = {}

    def agent_for(experiment: Experiment, strategy: Strategy) -> Scripted:
        return made.setdefault(strategy.name, Scripted())

    monkeypatch.setattr(breeding, "agent_for", agent_for)
    return made


def definition(name: str = "mine", **given: Any) -> Definition:
    return definitions.checked({"name": name, "provider": "builtin", **given})


def beginning(experiment: Experiment) -> Round:
    cast.bred(experiment)
    return rounds.begin(experiment, Generation.objects.get(experiment=experiment, number=1))


def chosen(experiment: Experiment) -> list[str]:
    lines = experiment.events.filter(kind=strategies.CHOSEN).order_by("id")
    return [line.data["strategy"] for line in lines]


# What an experiment begins with.


def test_an_experiment_with_operators_begins_with_several_families(experiment: Experiment) -> None:
    names = list(experiment.strategies.values_list("name", flat=True))
    assert names == ["everything", "architecture", "optimisation", "schedule", "constants"]
    assert experiment.events.filter(kind="strategy.added").count() == 5


def test_every_family_of_the_first_set_exists_and_everything_is_in_one_of_them() -> None:
    named = {family for one in definitions.OPERATORS for family in one.operators}
    assert named - {"numbers"} == set(FAMILY.values())
    assert set(FAMILY) == set(CATALOGUE)


def test_an_experiment_that_asked_for_a_model_gets_no_operators_beside_it() -> None:
    experiment = cast.experiment("models", agent="openai")
    assert set(experiment.strategies.values_list("provider", flat=True)) == {"openai"}
    assert experiment.strategies.count() == 5


def test_an_experiment_from_before_gets_one_that_stands_for_its_agent(experiment: Experiment) -> None:
    experiment.strategies.all().delete()
    (only,) = strategies.of(experiment)
    assert (only.name, only.provider, only.mode) == ("default", "builtin", "operators")


# A person's own set.


def written(tmp_path: Path, *given: Any) -> str:
    path = tmp_path / "strategies.json"
    path.write_text(json.dumps(list(given)))
    return str(path)


def test_a_set_of_ones_own_takes_the_place_of_the_first_set(tmp_path: Path) -> None:
    path = written(
        tmp_path, {"name": "norms", "provider": "builtin", "operators": ["normalisation", "learning_rate_x1.5"]},
        {"name": "off", "provider": "builtin", "share": 0},
        {"name": "hot", "provider": "openai", "temperature": 1.1, "mode": "diff", "model": "m",
         "instructions": "be bold"},
    )
    experiment = cast.experiment("own", strategy=path)
    norms, off, hot = experiment.strategies.all()
    assert norms.operators == ["normalisation", "learning_rate_x1.5"]
    assert off.share == 0
    assert (hot.mode, hot.temperature, hot.model, hot.instructions) == ("diff", 1.1, "m", "be bold")
    assert {one.name for one in strategies.active(experiment)} == {"norms", "hot"}


@pytest.mark.parametrize(("given", "why"), [
    ([], "list of 1 to"), ([{"name": "a"}], "object with name, provider"),
    ([{"name": "a", "provider": "builtin", "colour": "red"}], "object with name, provider"),
    ([{"name": "A B", "provider": "builtin"}], "cannot be a strategy's name"),
    ([{"name": "a", "provider": "elsewhere"}], "provider is one of builtin"),
    ([{"name": "a", "provider": "replay:/nowhere"}], "does not exist"),
    ([{"name": "a", "provider": "openai", "mode": "operators"}], "cannot be asked in the mode"),
    ([{"name": "a", "provider": "builtin", "mode": "edits"}], "cannot be asked in the mode"),
    ([{"name": "a", "provider": "openai", "temperature": 3}], "temperature is a number from 0 to 2"),
    ([{"name": "a", "provider": "openai", "chunk_probability": True}], "chunk_probability is a number"),
    ([{"name": "a", "provider": "openai", "operators": ["head"]}], "only a strategy of the provider builtin"),
    ([{"name": "a", "provider": "builtin", "operators": "head"}], "list of families"),
    ([{"name": "a", "provider": "builtin", "share": -1}], "share is a number"),
    ([{"name": "a", "provider": "builtin", "share": float("nan")}], "share is a number"),
    ([{"name": "a", "provider": "builtin", "share": 0}], "the share 0"),
    ([{"name": "a", "provider": "builtin"}, {"name": "a", "provider": "builtin"}], "two strategies are called"),
    ([{"name": "a", "provider": "openai", "instructions": "x" * 5_000}], "at most 4,000"),
])
def test_what_is_no_set_of_strategies_is_bad_input(given: list[Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=why):
        definitions.read(written(tmp_path, *given))


def test_an_operator_that_does_not_exist_is_bad_input() -> None:
    with pytest.raises(BadInput, match="no operator called “levitation”"):
        definition(operators=["normalisation", "levitation"])


@pytest.mark.parametrize("content", [b"{", b"\xff", b"{}"])
def test_a_file_that_is_no_list_is_bad_input(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_bytes(content)
    with pytest.raises(BadInput, match="list of"):
        definitions.read(str(tmp_path / "odd.json"))


def test_a_set_is_compared_when_an_experiment_is_resumed(tmp_path: Path) -> None:
    path = written(tmp_path, {"name": "only", "provider": "builtin"})
    experiment = cast.experiment("own", strategy=path)
    experiments.rejoin(cast.options("own", strategy=path), actor="user:olivia")
    strategies.add(experiment, definition("another"), actor="user:olivia")
    with pytest.raises(ResumeMismatch, match="other strategies"):
        experiments.rejoin(cast.options("own", strategy=path), actor="user:olivia")


# Which one is asked.


def test_before_anything_is_known_the_shares_decide(experiment: Experiment) -> None:
    strategies.change(experiment.strategies.get(name="everything"), share=6, actor="user:olivia")
    chances = strategies.chances(experiment, Random(1))
    assert chances["everything"] == pytest.approx(0.6, abs=0.05)
    assert sum(chances.values()) == pytest.approx(1)


def test_what_gains_is_asked_more_often(experiment: Experiment) -> None:
    cast.bred(experiment)
    good, bad = (experiment.strategies.get(name=name) for name in ("constants", "architecture"))
    for count in range(6):
        cast.measured(cast.mutation(experiment, rate=2 + count, strategy=good), 11.0 - count / 10)
        cast.measured(cast.mutation(experiment, rate=20 + count, strategy=bad), 12.5 + count / 10)
    chances = strategies.chances(experiment, Random(1))
    assert chances["constants"] > 0.4 > 4 * chances["architecture"]


def test_a_choice_is_written_down_with_its_chances(experiment: Experiment) -> None:
    one = beginning(experiment)
    strategy = strategies.choose(one, Random(1))
    (line,) = experiment.events.filter(kind=strategies.CHOSEN)
    assert line.data["strategy"] == strategy.name
    assert (line.data["generation"], line.data["attempt"]) == (1, 0)
    assert sum(line.data["chances"].values()) == pytest.approx(1, abs=1e-3)


def test_the_same_draft_asks_the_same_strategy_again_and_says_so_once(experiment: Experiment) -> None:
    one = beginning(experiment)
    first, rng, again = strategies.choose(one, Random(3)), Random(3), Random(3)
    cast.measured(cast.mutation(experiment, strategy=first), 20.0)  # what is known has changed meanwhile
    assert strategies.choose(one, rng) == first
    strategies.choose(one, again)
    assert len(chosen(experiment)) == 1
    assert rng.random() == again.random()


def test_a_single_strategy_leaves_no_line(experiment: Experiment) -> None:
    for strategy in experiment.strategies.exclude(name="everything"):
        strategies.change(strategy, share=0, actor="user:olivia")
    assert strategies.choose(beginning(experiment), Random(1)).name == "everything"
    assert chosen(experiment) == []


def test_every_draft_says_whose_idea_it_was(experiment: Experiment, agents: dict[str, Scripted]) -> None:
    breed(cast.bred(experiment))
    used = [variant.strategy.name for variant in mutations(experiment) if variant.strategy]
    assert used == chosen(experiment)
    assert len(used) == 4


def test_when_one_has_nothing_to_propose_the_next_is_asked(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reply(count: int, brief: Brief) -> Proposal | None:
        return None

    silent, last = Scripted(reply), Scripted()
    monkeypatch.setattr(
        breeding, "agent_for", lambda experiment, strategy: last if strategy.name == "schedule" else silent
    )
    assert breed(cast.bred(experiment))
    assert [one.strategy and one.strategy.name for one in mutations(experiment)] == ["schedule"] * 4


def test_a_model_that_cannot_be_asked_does_not_keep_the_operators_from_proposing(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(count: int, brief: Brief) -> Proposal | None:
        raise AgentUnavailable("no key: set OPENAI_API_KEY")

    strategies.add(experiment, definition("model", provider="openai", share=900), actor="user:olivia")
    model, operators = Scripted(absent), Scripted()
    monkeypatch.setattr(
        breeding, "agent_for", lambda experiment, strategy: model if strategy.provider == "openai" else operators
    )
    breed(cast.bred(experiment))
    assert model.briefs
    assert len(mutations(experiment)) == 4


def test_the_brief_names_the_operators_of_the_strategy(experiment: Experiment, agents: dict[str, Scripted]) -> None:
    breed(cast.bred(experiment))
    for name, agent in agents.items():
        wanted = tuple(experiment.strategies.get(name=name).operators)
        assert [tuple(brief.operators) for brief in agent.briefs] == [wanted] * len(agent.briefs)


# People change that.


def test_a_strategy_is_switched_off_and_on_and_both_are_in_the_record(experiment: Experiment) -> None:
    strategy = experiment.strategies.get(name="constants")
    strategies.change(strategy, share=0, actor="user:olivia")
    assert "constants" not in strategies.chances(experiment, Random(1))
    strategies.change(strategy, share=2, actor="user:olivia")
    strategies.change(strategy, share=2, actor="user:olivia")
    assert "constants" in strategies.chances(experiment, Random(1))
    lines = experiment.events.filter(kind="strategy.changed").order_by("id")
    assert [(one.data["before"], one.data["share"], one.actor) for one in lines] == [
        (1.0, 0.0, "user:olivia"), (0.0, 2.0, "user:olivia"),
    ]


def test_the_last_strategy_that_is_on_stays_on(experiment: Experiment) -> None:
    *others, last = experiment.strategies.all()
    for one in others:
        strategies.change(one, share=0, actor="user:olivia")
    with pytest.raises(Refused, match="only strategy"):
        strategies.change(last, share=0, actor="user:olivia")


def test_a_name_is_taken_once(experiment: Experiment) -> None:
    strategies.add(experiment, definition(), actor="user:olivia")
    with pytest.raises(BadInput, match="already"):
        strategies.add(experiment, definition(), actor="user:olivia")


def test_there_is_a_most_of_strategies(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "MOST", 5)
    with pytest.raises(BadInput, match="change one of them"):
        strategies.add(experiment, definition(), actor="user:olivia")
