"""Parents -> agents -> proposals: how a generation is filled, one draft at a time."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from random import Random

from django.db import transaction
from django.db.models import QuerySet

from evolution import repair
from evolution.agents import agent_for, repairs
from evolution.agents.base import Agent, Brief, Proposal, Unusable
from evolution.confined import Unparsable
from evolution.drafting import draft
from evolution.errors import PatchRefused
from evolution.genetics import crossover, fitness, lineage, selection
from evolution.genomes import Store, genome_of, store_of
from evolution.memory import recall, remember
from evolution.models import Event, Experiment, Generation, Kind, Status, Variant

BRED = (Kind.MUTATION, Kind.CROSSOVER, Kind.REPAIR)
NOT_LIVING = (Status.DUPLICATE, Status.STILLBORN)  # their places are filled again
DRAFTS_PER_PLACE = 3
PAIRS = 20  # of survivors whose merge is tried
# From here on the baseline's code has passed the checks: it may be changed while it still trains.
READY = (Status.APPROVED, Status.TRAINING, Status.MEASURED, Status.SURVIVED, Status.CULLED)
UNITED = "They changed different places of the same ancestor's code, so that a three-way merge holds both changes"
DRAWN = (
    "They changed the same ancestor's code, partly in the same places: there one parent's lines were drawn, elsewhere "
    "a three-way merge holds the changes of both"
)


@dataclass(frozen=True)
class Round:
    """A generation that is being filled, and everything that its next draft depends on."""

    experiment: Experiment
    generation: Generation
    attempt: int  # drafts and refused proposals so far
    pool: Sequence[Variant]  # who may be changed, and whose agents propose
    store: Store

    @property
    def rng(self) -> Random:
        """The same draft of the same experiment draws the same numbers, whoever makes it, however often."""
        return Random(f"{self.experiment.seed}/{self.generation.number}/{self.attempt}")  # noqa: S311 chance, not secrecy


def breed(experiment: Experiment, *, at_most: int | None = None) -> bool:
    """Top up the generation under way to `population` living proposals; whether it is full or cannot be filled.

    Makes `at_most` drafts, and no more than three for each place of a generation. Infrastructure when the agent
    cannot be asked: try again later.
    """
    generation = _generation(experiment)
    if generation is None:
        return False
    agent: Agent | None = None
    made = 0
    while True:
        broken = repair.next_one(generation) if repairs(experiment) else None
        if broken is None and not _wants_more(generation):
            return True
        if at_most is not None and made >= at_most:
            return False
        one = _round(experiment, generation)
        if broken is not None:
            agent = agent or agent_for(experiment)
            _mend(one, broken, agent)
            made += 1
            continue
        if not one.pool:
            return True
        if one.attempt or not _cross(one):
            agent = agent or agent_for(experiment)
            if not _mutate(one, agent):
                return True
        made += 1


def _generation(experiment: Experiment) -> Generation | None:
    """The one to fill: opens the first as soon as the baseline's code is ready. Generation 0 is never bred."""
    if experiment.generation == 0:
        if experiment.baseline is None or experiment.baseline.status not in READY:
            return None
        open_generation(experiment, 1)
    generation = experiment.generation_rows.get(number=experiment.generation)
    return None if generation.ended_at else generation


@transaction.atomic
def open_generation(experiment: Experiment, number: int) -> Generation:
    """Begin generation `number`, once."""
    generation, made = Generation.objects.get_or_create(experiment=experiment, number=number)
    if made:
        Experiment.objects.filter(pk=experiment.pk).update(generation=number)
        remember(experiment, "generation.started", actor="system", data={"generation": number})
    experiment.generation = number
    return generation


def _wants_more(generation: Generation) -> bool:
    bred = generation.variants.filter(kind__in=BRED)
    places = generation.experiment.population
    living = bred.exclude(status__in=NOT_LIVING).count()
    return living < places and _attempts(generation) < DRAFTS_PER_PLACE * places


def _attempts(generation: Generation) -> int:
    return generation.variants.filter(kind__in=BRED).count() + _refused(generation).count()


def _refused(generation: Generation) -> QuerySet[Event]:
    return Event.objects.filter(
        experiment=generation.experiment, kind=repair.REFUSED, data__generation=generation.number
    )


def _round(experiment: Experiment, generation: Generation) -> Round:
    pool = list(experiment.variants.filter(status=Status.SURVIVED))
    if not pool and generation.number == 1 and experiment.baseline is not None:
        pool = [experiment.baseline]
    return Round(experiment, generation, _attempts(generation), pool, store_of(experiment))


def _mend(one: Round, broken: Variant, agent: Agent) -> None:
    """One try at a broken variant, drafted as its child or refused."""
    rng = one.rng
    brief = replace(_brief(one, broken, frozenset(), rng), failure=repair.failure(broken, one.store))
    try:
        proposal = _asked(one, broken, agent, brief)
    except _Refused:
        return
    if proposal is None:
        _refuse(one, broken, actor=agent.name, reason="had no idea what is wrong")
        return
    _draft(one, broken, replace(proposal, title=f"Repair of {broken}: {proposal.title}"), rng, kind=Kind.REPAIR)


def _mutate(one: Round, agent: Agent) -> bool:
    """One proposal by `agent` for one of the pool, drafted or refused; False when it has nothing for anybody."""
    rng = one.rng
    for target in _in_turn(one, rng):
        for tried in _tried(one, target):
            try:
                proposal = _asked(one, target, agent, _brief(one, target, tried, rng))
            except _Refused:
                return True
            if proposal is not None:
                _draft(one, target, proposal, rng)
                return True
    return False


class _Refused(Exception):
    """The agent's reply was no proposal; that is written down."""


def _asked(one: Round, target: Variant, agent: Agent, brief: Brief) -> Proposal | None:
    """The agent's proposal, or None when it has none; _Refused when its reply was no proposal."""
    try:
        return agent.propose(brief)
    except Unusable as error:
        _refuse(one, target, actor=agent.name, reason=str(error),
                tokens_in=error.tokens_in, tokens_out=error.tokens_out)
        raise _Refused from error
    except Unparsable as error:
        _refuse(one, target, actor=agent.name, reason=str(error))
        raise _Refused from error


def _in_turn(one: Round, rng: Random) -> Iterator[Variant]:
    """Whom to change: chosen by the experiment's method, then the others in the same way."""
    variants: dict[Hashable, Variant] = {variant.number: variant for variant in one.pool}
    left = fitness.pool(
        {number: variant.perplexity for number, variant in variants.items()},
        {number: variant.mfu for number, variant in variants.items()},
    )
    while left:
        chosen = selection.choose(left, method=selection.Method(one.experiment.selection), rng=rng)
        left.remove(chosen)
        yield variants[chosen.key]


def _tried(one: Round, target: Variant) -> tuple[frozenset[str], frozenset[str]]:
    """Whose ideas not to ask for again: first those of this generation too, then only those for this very code."""
    here = {event.data["author"] for event in _refused(one.generation) if event.data["target"] == target.number}
    here |= set(target.children.values_list("author", flat=True))
    generation = set(one.generation.variants.values_list("author", flat=True))
    return frozenset(here | generation), frozenset(here)


def _brief(one: Round, target: Variant, tried: frozenset[str], rng: Random) -> Brief:
    files = one.store.files(target.commit)
    return Brief(
        files=files, genome=genome_of(files), target=target.number, perplexity=target.perplexity,
        parent_perplexity=target.parent.perplexity if target.parent else None,
        recalled=recall(one.experiment), tried=tried, seed=rng.getrandbits(32),
    )


def _draft(
    one: Round, target: Variant, proposal: Proposal, rng: Random, *, kind: Kind = Kind.MUTATION
) -> None:
    """The proposer is a peer of the target: agents change each other's code."""
    peers = [peer for peer in one.pool if peer != target]
    try:
        draft(
            one.experiment, parent=target, files=proposal.files, kind=kind, author=proposal.author,
            title=proposal.title, hypothesis=proposal.hypothesis, rationale=proposal.rationale,
            expected=proposal.expected, generation=one.generation, proposer=rng.choice(peers) if peers else None,
            tokens_in=proposal.tokens_in, tokens_out=proposal.tokens_out, cost_usd=proposal.cost_usd,
        )
    except PatchRefused as error:
        _refuse(
            one, target, actor=proposal.author, reason=str(error), tokens_in=proposal.tokens_in,
            tokens_out=proposal.tokens_out, cost_usd=proposal.cost_usd,
        )


@transaction.atomic
def _refuse(
    one: Round, target: Variant, *, actor: str, reason: str, tokens_in: int = 0, tokens_out: int = 0,
    cost_usd: float = 0.0,
) -> None:
    """A proposal that never became a variant: it counts as a draft, so that a stubborn agent cannot go on for ever."""
    remember(one.experiment, "proposal.refused", actor=actor, data={
        "generation": one.generation.number, "target": target.number, "author": actor, "reason": reason,
        "tokens_in": tokens_in, "tokens_out": tokens_out, "cost_usd": cost_usd,
    })


def _cross(one: Round) -> bool:
    """The first draft from generation 2 on: a crossover of two survivors, if there is one that works."""
    if one.generation.number < 2:
        return False
    order = list(_in_turn(one, one.rng))
    parents = _parents(one.experiment)
    for first, second in islice(combinations(order, 2), PAIRS):
        files = _merged(one.store, parents, first, second, rng=None)
        if files is not None and _draft_cross(one, first, second, files, drawn=False):
            return True
    for first, second in islice(combinations(order, 2), PAIRS):
        rng = Random(f"{one.experiment.seed}/{first.number}/{second.number}")  # noqa: S311 chance, not secrecy
        files = _merged(one.store, parents, first, second, rng=rng)
        if files is not None and _draft_cross(one, first, second, files, drawn=True):
            return True
    return False


def _parents(experiment: Experiment) -> dict[int, list[int]]:
    rows = experiment.variants.values_list("number", "parent__number", "other_parent__number")
    return {number: [one for one in both if one is not None] for number, *both in rows}


def _merged(
    store: Store, parents: dict[int, list[int]], first: Variant, second: Variant, *, rng: Random | None
) -> crossover.Files | None:
    """The tree with the changes of both; None when they collide (with `rng` a side is drawn) or nothing is new."""
    number = lineage.nearest_common_ancestor(parents, first.number, second.number)
    if number is None or number in (first.number, second.number):
        return None  # strangers; or one descends from the other, and the merge would be the younger one again
    base = first.experiment.variants.get(number=number)
    files = [store.files(variant.commit) for variant in (base, first, second)]
    merged = crossover.merge(*files, rng=rng)
    return None if isinstance(merged, crossover.Conflicts) or merged in files else merged


def _draft_cross(one: Round, first: Variant, second: Variant, files: crossover.Files, *, drawn: bool) -> bool:
    better, other = sorted((first, second), key=lambda parent: parent.perplexity or float("inf"))
    if one.experiment.variants.filter(kind=Kind.CROSSOVER, parent=better, other_parent=other).exists():
        return False
    try:
        draft(
            one.experiment, parent=better, other_parent=other, files=files, kind=Kind.CROSSOVER,
            author="operator:crossover", generation=one.generation, title=f"Crossover of {better} and {other}",
            hypothesis=f"What {better} (“{better.title}”) and {other} (“{other.title}”) changed helps together too.",
            rationale=f"{DRAWN if drawn else UNITED}; recombining what survived is what sets a genetic algorithm apart "
            "(Holland 1975).",
            expected=f"a lower perplexity than that of {better}",
        )
    except PatchRefused:
        return False  # touches a file that may no longer be changed: the next pair, or a mutation
    return True
