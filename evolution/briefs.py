"""What an agent is told about the peer whose code it is asked to change."""

from random import Random

from evolution.agents.base import Brief, Failure
from evolution.genomes import genome_of
from evolution.memory import recall
from evolution.models import Strategy, Variant
from evolution.rounds import Round


def brief(
    one: Round, target: Variant, *, strategy: Strategy, proposer: Variant | None, tried: frozenset[str], rng: Random,
    failure: Failure | None = None,
) -> Brief:
    """The brief for one proposal by `strategy` on behalf of `proposer` for `target`; `failure` when it is broken."""
    files = one.store.files(target.commit)
    return Brief(
        files=files, genome=genome_of(files), target=target.number, perplexity=target.perplexity,
        parent_perplexity=target.parent.perplexity if target.parent else None,
        recalled=recall(one.experiment), tried=tried, failure=failure, operators=tuple(strategy.operators),
        seed=rng.getrandbits(32), proposer=proposer.number if proposer else None,
    )
