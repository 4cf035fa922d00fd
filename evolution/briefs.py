"""What an agent is told about the peer whose code it is asked to change, and who it is itself."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from evolution import recall
from evolution.agents.base import Brief, Failure
from evolution.effects import nats
from evolution.genetics import lineage
from evolution.genomes import genome_of
from evolution.knowledge import Item, Knowledge, Outcome, known
from evolution.models import Experiment, MemoryMode, Selection, Strategy, Variant
from evolution.rounds import Round

LINEAGE, IDENTITY = 0.15, 0.1  # shares of the memory's budget; the rest is recalled
LOSS = "lower perplexity on held-out text at the same budget"
BOTH = (
    "lower perplexity on held-out text and a higher MFU (model FLOPS utilization) at the same budget: a change is kept "
    "while no other is better in both"
)
OPERATOR = "operator:"


@dataclass(frozen=True)
class Told:
    """The part of a brief that comes from the memory: exactly what an agent gets."""

    recalled: Sequence[str]
    lineage: Sequence[str]
    identity: str
    vetoed: frozenset[str]  # operators whose idea a reviewer turned down


def brief(
    one: Round, target: Variant, *, strategy: Strategy, proposer: Variant | None, tried: frozenset[str], rng: Random,
    failure: Failure | None = None,
) -> Brief:
    """The brief for one proposal by `strategy` on behalf of `proposer` for `target`; `failure` when it is broken."""
    files = one.store.files(target.commit)
    said = told(one.experiment, target, proposer=proposer)
    return Brief(
        files=files, genome=genome_of(files), target=target.number, perplexity=target.perplexity,
        parent_perplexity=target.parent.perplexity if target.parent else None,
        recalled=said.recalled, lineage=said.lineage, identity=said.identity, tried=tried | said.vetoed,
        failure=failure, seed=rng.getrandbits(32), objective=objective(one.experiment),
        operators=tuple(strategy.operators), proposer=proposer.number if proposer else None,
    )


def told(experiment: Experiment, target: Variant, *, proposer: Variant | None) -> Told:
    """What the memory says to whoever changes `target` as the agent of `proposer`, within its budget."""
    if experiment.memory == MemoryMode.OFF:
        return Told([recall.OFF], (), identity(proposer, None), frozenset())
    knowledge, budget = known(experiment, until=recall.moment(experiment)), recall.allowance()
    forebears = _within(_lineage(knowledge, target.number), int(LINEAGE * budget))
    self_portrait = identity(proposer, knowledge)[:int(IDENTITY * budget)]
    left = budget - sum(len(line) + 1 for line in forebears) - len(self_portrait)
    return Told(
        recall.told(knowledge, target=target.number, budget=left), forebears, self_portrait, _vetoed(knowledge),
    )


def objective(experiment: Experiment) -> str:
    """What is selected for, in words."""
    return BOTH if experiment.selection == Selection.PARETO else LOSS


def identity(proposer: Variant | None, knowledge: Knowledge | None) -> str:
    """Who proposes: each individual is an agent, as in the paper; empty for nobody. Without knowledge no record."""
    if proposer is None:
        return ""
    said = [f"You are v{proposer.number}, one of the population; another individual's code is in front of you."]
    if knowledge is None:
        return said[0]
    steps = [f"v{one.number} “{one.title}”" for one in _road(knowledge, proposer.number)]
    said.append(f"What sets your own code apart from the baseline: {', '.join(steps) or 'nothing, you are it'}.")
    said.append(_record(knowledge, proposer.number))
    return " ".join(said)


def _record(knowledge: Knowledge, number: int) -> str:
    """How the proposals of an individual ended so far."""
    words = {
        Outcome.HELPED: "lowered the loss", Outcome.HURT: "did not lower it", Outcome.UNKNOWN: "measured",
        Outcome.VETOED: "vetoed", Outcome.FAILED: "failed", Outcome.STILLBORN: "did not pass the checks",
        Outcome.REJECTED: "rejected",
    }
    ends = Counter(item.outcome for item in knowledge.items.values() if item.proposer == number)
    if not ends:
        return "None of your proposals has ended yet."
    total = sum(ends.values())
    listed = ", ".join(f"{ends[outcome]} {words[outcome]}" for outcome in Outcome if ends[outcome])
    return f"Your record: {total} proposal{'s' if total > 1 else ''} that ended: {listed}."


def _road(knowledge: Knowledge, number: int) -> list[Item]:
    """What was changed on the way from the baseline to `number`, the oldest first."""
    path = lineage.path_to_root(knowledge.parents, number)
    return [knowledge.items[one] for one in reversed(path) if one in knowledge.items]


def _lineage(knowledge: Knowledge, target: int) -> Iterator[str]:
    """What the code of the target was made by, the newest change first."""
    for item in reversed(_road(knowledge, target)):
        effect = f": loss {nats(item.effect.nats)} nats against v{item.against}" if item.effect else ""
        yield f"v{item.number} “{item.title}” ({item.family}){effect}."


def _within(lines: Iterator[str], budget: int) -> list[str]:
    """The first of `lines` that fit together."""
    every = list(lines)
    fitting = sum(length <= budget for length in accumulate(len(line) + 1 for line in every))
    return every[:fitting]


def _vetoed(knowledge: Knowledge) -> frozenset[str]:
    """Operators that a veto stands against: asked again, they would come back as duplicates."""
    return frozenset(
        item.author for item in knowledge.items.values()
        if item.outcome == Outcome.VETOED and not item.standing.revoked and item.author.startswith(OPERATOR)
    )
