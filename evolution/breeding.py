"""Parents -> agents -> proposals: how a generation is filled, one draft at a time."""

from dataclasses import replace
from random import Random

from django.db import transaction
from django.db.models import QuerySet

from evolution import repair, rounds, strategies
from evolution.agents import agent_for
from evolution.agents.base import Agent, AgentUnavailable, Brief, BudgetSpent, Proposal, Unusable
from evolution.briefs import brief
from evolution.confined import Unparsable
from evolution.crossing import cross
from evolution.lifecycle import ENDED
from evolution.memory import remember
from evolution.models import Experiment, Generation, Kind, Pace, Status, Strategy, Variant
from evolution.rounds import BRED, Round

NOT_LIVING = (Status.DUPLICATE, Status.STILLBORN)  # their places are filled again
DRAFTS_PER_PLACE = 3
# From here on the baseline's code has passed the checks: it may be changed while it still trains.
READY = (Status.APPROVED, Status.TRAINING, Status.MEASURED, Status.SURVIVED, Status.CULLED)


def breed(experiment: Experiment, *, at_most: int | None = None) -> bool:
    """Top up the generation under way to `population` living proposals; whether it is full or cannot be filled.

    Makes `at_most` drafts, and no more than three for each place of a generation. In a steady pace it makes one only
    while fewer than `population` variants are under way. Infrastructure when the agent cannot be asked: try again
    later.
    """
    generation = _generation(experiment)
    if generation is None:
        return False
    made = 0
    trouble: AgentUnavailable | None = None  # of who was to mend: what needs nobody's repair goes on
    while True:
        mender = None if trouble else strategies.mender(experiment)
        broken = next_broken(experiment) if mender else None
        if broken is None and (generation.ended_at or is_full(generation)):
            _raise_if_it_passes(trouble)
            return True
        if (at_most is not None and made >= at_most) or (broken is None and not has_a_place(experiment)):
            return False
        if broken is not None and mender is not None:
            try:
                _mend(rounds.begin(experiment, broken.generation), broken, mender)
            except AgentUnavailable as error:
                trouble = error
                continue
        elif not _propose(rounds.begin(experiment, generation)):
            _raise_if_it_passes(trouble)
            return _has_nothing_under_way(experiment)
        made += 1


def _raise_if_it_passes(trouble: AgentUnavailable | None) -> None:
    """Who cannot be asked for now may mend later. Without a key or the money nobody waits for a repair."""
    if trouble is not None and trouble.passes:
        raise trouble


def _propose(one: Round) -> bool:
    """One draft of any kind, or one refused proposal; False when nobody has anything to propose."""
    return bool(one.pool) and (cross(one) or _mutate(one))


def _generation(experiment: Experiment) -> Generation | None:
    """The one to fill: opens the first as soon as the baseline's code is ready. Generation 0 is never bred.

    In a steady pace an older one may have lost a living proposal to the checks; its places are filled first.
    """
    if experiment.generation == 0:
        if experiment.baseline is None or experiment.baseline.status not in READY:
            return None
        open_generation(experiment, 1)
    lacking = next((one for one in _under_way(experiment) if not is_full(one)), None)
    return lacking or experiment.generation_rows.get(number=experiment.generation)


def _under_way(experiment: Experiment) -> QuerySet[Generation]:
    """Every bred generation that is not over, the oldest first: in a steady pace there may be several."""
    found = experiment.generation_rows.filter(ended_at=None, number__gt=0)
    return found if experiment.pace == Pace.STEADY else found.filter(number=experiment.generation)


def next_broken(experiment: Experiment) -> Variant | None:
    """The next variant to mend, of the oldest generation that is not over; None for none."""
    return next((broken for one in _under_way(experiment) if (broken := repair.next_one(one)) is not None), None)


def has_a_place(experiment: Experiment) -> bool:
    """Whether a variant may be proposed now: in a steady pace each place is taken until its variant has ended."""
    return experiment.pace != Pace.STEADY or _living(experiment) < experiment.population


def _has_nothing_under_way(experiment: Experiment) -> bool:
    """Whether waiting is in vain. What is measured meanwhile may give agents something to propose in a steady pace."""
    return experiment.pace != Pace.STEADY or _living(experiment) == 0


def _living(experiment: Experiment) -> int:
    """Bred variants that have not ended."""
    return experiment.variants.filter(kind__in=BRED).exclude(status__in=ENDED).count()


@transaction.atomic
def open_generation(experiment: Experiment, number: int) -> Generation:
    """Begin generation `number`, once."""
    generation, made = Generation.objects.get_or_create(experiment=experiment, number=number)
    if made:
        Experiment.objects.filter(pk=experiment.pk).update(generation=number)
        remember(experiment, "generation.started", actor="system", data={"generation": number})
    experiment.generation = number
    return generation


def is_full(generation: Generation) -> bool:
    """Whether every place is taken by a living proposal, or as many drafts were made as its places allow."""
    places = generation.experiment.population
    living = generation.variants.filter(kind__in=BRED).exclude(status__in=NOT_LIVING).count()
    return living >= places or rounds.attempts(generation) >= DRAFTS_PER_PLACE * places


def _mend(one: Round, broken: Variant, strategy: Strategy) -> None:
    """One try at a broken variant, drafted as its child or refused."""
    rng = one.rng
    agent, proposer = agent_for(one.experiment, strategy), one.peer_of(broken, rng, strategy=strategy)
    told = brief(
        one, broken, strategy=strategy, proposer=proposer, tried=frozenset(), rng=rng,
        failure=repair.failure(broken, one.store),
    )
    try:
        proposal = _asked(one, broken, strategy, agent, told)
    except _Refused:
        return
    if proposal is None:
        rounds.refuse(one, broken, actor=agent.name, reason="had no idea what is wrong", strategy=strategy)
        return
    titled = replace(proposal, title=f"Repair of {broken}: {proposal.title}")
    rounds.admit(one, broken, titled, strategy=strategy, proposer=proposer, kind=Kind.REPAIR)


def _mutate(one: Round) -> bool:
    """One proposal for one of the pool, drafted or refused; False when nobody has anything for anybody.

    AgentUnavailable when somebody who could not be asked might have.
    """
    rng = one.rng
    unavailable: dict[str, AgentUnavailable] = {}  # by provider: the strategies of another one may be asked meanwhile
    for strategy in strategies.in_turn(one, rng):
        try:
            if strategy.provider not in unavailable and _mutated(one, strategy, rng):
                return True
        except AgentUnavailable as error:
            unavailable[strategy.name if isinstance(error, BudgetSpent) else strategy.provider] = error
    if unavailable:
        raise next(iter(unavailable.values()))
    return False


def _mutated(one: Round, strategy: Strategy, rng: Random) -> bool:
    """The same by one strategy."""
    agent = agent_for(one.experiment, strategy)
    for target in one.in_turn(rng):
        proposer = one.peer_of(target, rng, strategy=strategy)
        for tried in rounds.tried(one, target):
            told = brief(one, target, strategy=strategy, proposer=proposer, tried=tried, rng=rng)
            try:
                proposal = _asked(one, target, strategy, agent, told)
            except _Refused:
                return True
            if proposal is not None:
                rounds.admit(one, target, proposal, strategy=strategy, proposer=proposer)
                return True
    return False


class _Refused(Exception):
    """The agent's reply was no proposal; that is written down."""


def _asked(one: Round, target: Variant, strategy: Strategy, agent: Agent, told: Brief) -> Proposal | None:
    """The agent's proposal, or None when it has none; _Refused when its reply was no proposal."""
    try:
        return agent.propose(told)
    except Unusable as error:
        rounds.refuse(one, target, actor=agent.name, reason=str(error), strategy=strategy,
                      tokens_in=error.tokens_in, tokens_out=error.tokens_out, cost_usd=error.cost_usd)
        raise _Refused from error
    except Unparsable as error:
        rounds.refuse(one, target, actor=agent.name, reason=str(error), strategy=strategy)
        raise _Refused from error
