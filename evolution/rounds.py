"""A generation that is being filled: what one draft depends on, and how a proposal becomes a variant or is refused."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from django.db import transaction
from django.db.models import QuerySet

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

    @property
    def rng(self) -> Random:
        """The same draft of the same experiment draws the same numbers, whoever makes it, however often."""
        return Random(f"{self.experiment.seed}/{self.generation.number}/{self.attempt}")  # noqa: S311 chance, not secrecy

    def in_turn(self, rng: Random) -> Iterator[Variant]:
        """Whom to change: chosen by the experiment's method, then the others in the same way."""
        variants: dict[Hashable, Variant] = {variant.number: variant for variant in self.pool}
        left = fitness.pool(
            {number: variant.perplexity for number, variant in variants.items()},
            {number: variant.mfu for number, variant in variants.items()},
        )
        while left:
            chosen = selection.choose(left, method=selection.Method(self.experiment.selection), rng=rng)
            left.remove(chosen)
            yield variants[chosen.key]

    def peer_of(self, target: Variant, rng: Random) -> Variant | None:
        """Whose agent changes `target`: one of the others, as individuals change each other's code."""
        peers = [peer for peer in self.pool if peer != target]
        return rng.choice(peers) if peers else None


def begin(experiment: Experiment, generation: Generation) -> Round:
    """The next draft of `generation`."""
    pool = list(experiment.variants.filter(status=Status.SURVIVED))
    if not pool and generation.number == 1 and experiment.baseline is not None:
        pool = [experiment.baseline]
    return Round(experiment, generation, attempts(generation), pool, store_of(experiment))


def attempts(generation: Generation) -> int:
    """Drafts and refused proposals of `generation` so far."""
    return generation.variants.filter(kind__in=BRED).count() + refused(generation).count()


def refused(generation: Generation) -> QuerySet[Event]:
    """The proposals of `generation` that never became variants."""
    return Event.objects.filter(
        experiment=generation.experiment, kind=REFUSED, data__generation=generation.number
    )


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
    """The proposal as a variant, or None when the path gate refused it, which is written down."""
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
    tokens_out: int = 0, cost_usd: float = 0.0,
) -> None:
    """A proposal that never became a variant: it counts as a draft, so that a stubborn agent cannot go on for ever."""
    remember(one.experiment, REFUSED, actor=actor, data={
        "generation": one.generation.number, "target": target.number, "author": actor, "reason": reason,
        "strategy": strategy.name if strategy else "", "tokens_in": tokens_in, "tokens_out": tokens_out,
        "cost_usd": cost_usd,
    })
