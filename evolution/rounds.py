"""A generation that is being filled: what one draft depends on, and how a proposal becomes a variant or is refused."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from django.db import transaction
from django.db.models import QuerySet

from evolution import descent, efficiency, health
from evolution.agents.base import Proposal
from evolution.drafting import draft
from evolution.errors import PatchRefused
from evolution.genetics import fitness, selection
from evolution.genomes import Store, store_of
from evolution.memory import remember
from evolution.models import Event, Experiment, Generation, Kind, Status, Strategy, Variant

BRED = (Kind.MUTATION, Kind.CROSSOVER, Kind.REPAIR)
REFUSED = "proposal.refused"


@dataclass(frozen=True)
class Round:
    """A generation that is being filled, and everything that its next draft depends on."""

    experiment: Experiment
    generation: Generation
    attempt: int  # drafts and refused proposals so far
    pool: Sequence[Variant]  # who may be changed, and whose agents propose
    store: Store
    archive: Sequence[Variant] = field(default=())  # while the search stagnates: who may be changed besides

    @property
    def method(self) -> selection.Method:
        return selection.Method(self.experiment.selection)

    @property
    def rng(self) -> Random:
        """The same draft of the same experiment draws the same numbers, whoever makes it, however often."""
        return Random(f"{self.experiment.seed}/{self.generation.number}/{self.attempt}")  # noqa: S311 chance, not secrecy

    def in_turn(self, rng: Random) -> Iterator[Variant]:
        """Whom to change: chosen by the experiment's method, then the others in the same way.

        While the search stagnates one place of a generation is for the archive, whose members then come first.
        """
        if self.archive and not self._restarted():
            yield from self.archive
        yield from self.by_selection(rng)

    def _restarted(self) -> bool:
        """Whether somebody of the archive was changed in this generation, or tried in vain."""
        mutations = self.generation.variants.filter(parent__in=self.archive).exclude(kind=Kind.CROSSOVER)
        return mutations.exists() or refused(self.generation, of=self.archive).exists()

    def by_selection(self, rng: Random) -> Iterator[Variant]:
        """Everybody who may be changed, each chosen from those that are left by the experiment's method."""
        among = [*self.pool, *self.archive]
        variants: dict[Hashable, Variant] = {variant.number: variant for variant in among}
        left = individuals(list(variants.values()), self.method)
        if self.method.is_wheel:
            dealt = selection.dealt(left, place=self.attempt, seed=f"{self.experiment.seed}/{self.generation.number}")
            yield from (variants[one.key] for one in dealt)
            return
        size = selection.WIDE_TOURNAMENT_SIZE if self.archive else selection.TOURNAMENT_SIZE
        while left:
            chosen = selection.choose(left, method=self.method, rng=rng, size=size)
            left.remove(chosen)
            yield variants[chosen.key]

    def peer_of(self, target: Variant, rng: Random, *, strategy: Strategy | None = None) -> Variant | None:
        """Whose agent changes `target`: one of the others, as individuals change each other's code.

        An individual's model, temperature and instructions are those of the strategy that made it: with `strategy` one
        of its own speaks for it, where there is one.
        """
        peers = [peer for peer in self.pool if peer != target]
        own = [peer for peer in peers if strategy is not None and peer.strategy_id == strategy.pk]
        return rng.choice(own or peers) if peers else None


def begin(experiment: Experiment, generation: Generation) -> Round:
    """The next draft of `generation`."""
    pool = list(experiment.variants.filter(status=Status.SURVIVED))
    if not pool and generation.number == 1 and experiment.baseline is not None:
        pool = [experiment.baseline]
    widened = bool(pool) and not experiment.is_plain and health.is_on(experiment, health.STAGNATION)
    archive = descent.archive(experiment, pool) if widened else []
    return Round(experiment, generation, attempts(generation), pool, store_of(experiment), archive)


def individuals(variants: Sequence[Variant], method: selection.Method) -> list[fitness.Individual]:
    """`variants` as selection sees them, by their numbers."""
    return fitness.pool(
        {one.number: one.perplexity for one in variants}, efficiency.counting(variants),
        objective=method.objective,
    )


def attempts(generation: Generation) -> int:
    """Drafts and refused proposals of `generation` so far."""
    return generation.variants.filter(kind__in=BRED).count() + refused(generation).count()


def refused(generation: Generation, *, of: Sequence[Variant] | None = None) -> QuerySet[Event]:
    """The proposals of `generation` (for one of `of`, where given) that never became variants."""
    found = Event.objects.filter(experiment=generation.experiment, kind=REFUSED, data__generation=generation.number)
    return found if of is None else found.filter(data__target__in=[one.number for one in of])


def tried(one: Round, target: Variant) -> tuple[frozenset[str], frozenset[str]]:
    """Whose ideas not to ask for again: first those of this generation too, then only those for this very code."""
    here = {event.data["author"] for event in refused(one.generation) if event.data["target"] == target.number}
    here |= set(target.children.values_list("author", flat=True))
    generation = set(one.generation.variants.values_list("author", flat=True))
    return frozenset(here | generation), frozenset(here)


def admit(
    one: Round, target: Variant, proposal: Proposal, *, strategy: Strategy | None, proposer: Variant | None,
    kind: Kind = Kind.MUTATION,
) -> Variant | None:
    """The proposal as a variant, or None when the path gate refused it or the experiment ended meanwhile, which is
    written down."""
    if Experiment.objects.get(pk=one.experiment.pk).is_over:
        refuse(
            one, target, actor=proposal.author, reason="the experiment ended meanwhile", strategy=strategy,
            tokens_in=proposal.tokens_in, tokens_out=proposal.tokens_out, cost_usd=proposal.cost_usd,
        )
        return None
    try:
        return draft(
            one.experiment, parent=target, files=proposal.files, kind=kind, author=proposal.author,
            title=proposal.title, hypothesis=proposal.hypothesis, rationale=proposal.rationale,
            expected=proposal.expected, generation=one.generation, proposer=proposer, strategy=strategy,
            tokens_in=proposal.tokens_in, tokens_out=proposal.tokens_out, cost_usd=proposal.cost_usd,
        )
    except PatchRefused as error:
        refuse(
            one, target, actor=proposal.author, reason=str(error), strategy=strategy, tokens_in=proposal.tokens_in,
            tokens_out=proposal.tokens_out, cost_usd=proposal.cost_usd,
        )
        return None


@transaction.atomic
def refuse(
    one: Round, target: Variant, *, actor: str, reason: str, strategy: Strategy | None = None, tokens_in: int = 0,
    tokens_out: int = 0, cost_usd: float = 0.0, other_parent: Variant | None = None,
) -> None:
    """A proposal that never became a variant: it counts as a draft, so that a stubborn agent cannot go on for ever."""
    crossed = {"other_parent": other_parent.number} if other_parent is not None else {}
    remember(one.experiment, REFUSED, actor=actor, data={
        "generation": one.generation.number, "target": target.number, "author": actor, "reason": reason,
        **crossed, "strategy": strategy.name if strategy else "", "tokens_in": tokens_in, "tokens_out": tokens_out,
        "cost_usd": cost_usd,
    })
