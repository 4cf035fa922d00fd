"""Strategies as data: which ways of proposing an experiment has, how they are changed, and which one is asked next."""

from collections.abc import Iterator
from random import Random
from typing import Any

from django.db import transaction

from evolution import definitions, spending
from evolution.agents import BUILTIN, REPLAY
from evolution.definitions import Definition
from evolution.errors import BadInput, Refused
from evolution.genetics import bandit
from evolution.memory import remember
from evolution.models import Event, Experiment, Strategy
from evolution.records import records
from evolution.rounds import Round

CHOSEN = "strategy.chosen"


def of(experiment: Experiment) -> list[Strategy]:
    """The strategies of `experiment`; one that stands for its agent is made where there is none."""
    found = list(experiment.strategies.all())
    if found:
        return found
    first, *_ = definitions.first(experiment.agent, preset=experiment.preset)
    return [Strategy.objects.get_or_create(
        experiment=experiment, name=definitions.DEFAULT,
        defaults={name: value for name, value in first.as_data().items() if name != "name"},
    )[0]]


def active(experiment: Experiment) -> list[Strategy]:
    """Those that are switched on."""
    return [one for one in of(experiment) if one.share > 0]


def asks_a_model(strategy: Strategy) -> bool:
    """Whether a language model is behind it."""
    return strategy.provider != BUILTIN and not strategy.provider.startswith(REPLAY)


def mender(experiment: Experiment) -> Strategy | None:
    """The strategy that may mend what failed: only a language model reads a traceback; None where there is none."""
    able = (one for one in active(experiment) if asks_a_model(one) and not spending.why_not(experiment, one))
    return next(able, None)


def chances(experiment: Experiment, rng: Random) -> dict[str, float]:
    """How likely each strategy that is switched on is asked next, by name."""
    known = records(experiment)
    arms = [bandit.Arm(one.name, one.share, known[one.name].outcomes) for one in active(experiment)]
    return bandit.probabilities(arms, rng) if arms else {}


def choose(one: Round, rng: Random) -> Strategy:
    """The strategy that makes the next proposal."""
    return next(in_turn(one, rng))


def in_turn(one: Round, rng: Random) -> Iterator[Strategy]:
    """The strategies that are switched on, in the order in which they are asked for this draft, each once.

    The first is drawn by its gain per cost; the others are there for when it has nothing to propose. A draft that was
    interrupted begins with the same one, whatever was measured meanwhile.
    """
    own = Random(rng.getrandbits(64))  # noqa: S311 so that `rng` is drawn from as often on a second try
    known = {strategy.name: strategy for strategy in active(one.experiment)}
    before = [name for name in _asked(one) if name in known]
    drawn = chances(one.experiment, own)
    left = bandit.order({name: chance for name, chance in drawn.items() if name not in before}, own)
    for name in (*reversed(before), *left):
        if len(known) > 1 and name not in before:
            _note(one, name, drawn)
        yield known[name]


def _asked(one: Round) -> list[str]:
    """Who was asked for this very draft already, in their order."""
    lines = Event.objects.filter(
        experiment=one.experiment, kind=CHOSEN, data__generation=one.generation.number, data__attempt=one.attempt
    )
    return [data["strategy"] for data in lines.order_by("id").values_list("data", flat=True)]


def _note(one: Round, name: str, drawn: dict[str, float]) -> None:
    remember(one.experiment, CHOSEN, actor="system", data={
        "generation": one.generation.number, "attempt": one.attempt, "strategy": name,
        "chances": {other: round(chance, 4) for other, chance in drawn.items()},
    })


@transaction.atomic
def add(experiment: Experiment, definition: Definition, *, actor: str) -> Strategy:
    """One more way of proposing; BadInput when its name is taken or there are too many."""
    _alone(experiment)
    if experiment.strategies.count() >= definitions.MOST:
        raise BadInput(f"“{experiment.slug}” has {definitions.MOST} strategies: change one of them")
    if experiment.strategies.filter(name=definition.name).exists():
        raise BadInput(f"there is a strategy “{definition.name}” already: choose another name")
    strategy = Strategy.objects.create(experiment=experiment, **definition.as_data())
    remember(experiment, "strategy.added", actor=actor, data={
        "name": strategy.name, "provider": strategy.provider, "mode": strategy.mode, "model": strategy.model,
        "temperature": strategy.temperature, "instructions": strategy.instructions, "operators": strategy.operators,
        "chunk_probability": strategy.chunk_probability, "share": strategy.share,
    })
    return strategy


@transaction.atomic
def change(strategy: Strategy, *, share: Any, actor: str) -> None:
    """Give `strategy` another share of the calls: 0 switches it off. The last one that is on stays on."""
    experiment, new = strategy.experiment, definitions.share(share)
    _alone(experiment)
    strategy.refresh_from_db()
    if new == strategy.share:
        return
    if new == 0 and active(experiment) == [strategy]:
        raise Refused(f"“{strategy.name}” is the only strategy that is switched on: pause the experiment instead")
    remember(experiment, "strategy.changed", actor=actor, data={
        "name": strategy.name, "share": new, "before": strategy.share,
    })
    strategy.share = new
    strategy.save(update_fields=["share"])


def _alone(experiment: Experiment) -> None:
    """Nobody else changes the strategies of `experiment` until the transaction ends."""
    Experiment.objects.select_for_update().get(pk=experiment.pk)
