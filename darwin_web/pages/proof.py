"""What is proven in an experiment and what only leads: the champion's evidence, the contests, the noise."""

from dataclasses import dataclass

from darwin_web.pages.figures import Claim, claims
from evolution import contests
from evolution.contests import Pair
from evolution.genetics import evidence
from evolution.models import Contest, ContestOutcome, Experiment, Variant


@dataclass(frozen=True)
class Met:
    """One contest with its pairs and the e-value that promotes."""

    contest: Contest
    threshold: float
    pairs: list[Pair]

    @property
    def is_open(self) -> bool:
        return self.contest.outcome == ContestOutcome.OPEN

    @property
    def outcome(self) -> str:
        """In two words at most, for a column of a table."""
        return {
            ContestOutcome.OPEN: "▶ under way", ContestOutcome.PROMOTED: "★ promoted",
            ContestOutcome.FUTILE: "✕ no better", ContestOutcome.UNDECIDED: "? undecided",
            ContestOutcome.VOID: "■ called off",
        }[ContestOutcome(self.contest.outcome)]


@dataclass(frozen=True)
class Proof:
    champion: Variant | None
    claims: dict[str, Claim]  # of the champion
    won: Met | None  # the contest that made it the champion; None for a baseline, and without contests
    leader: Variant | None  # the lowest screening number, where that is not the champion
    lead: Claim  # its perplexity: one seed
    met: list[Met]  # every contest, the newest first
    pair_noise: float | None  # nats: the standard deviation of a pair's difference where nothing was changed


def proof_of(experiment: Experiment) -> Proof:
    champion = experiment.champion
    leader = contests.leader(experiment)
    met = [meeting(one) for one in experiment.contests.select_related("champion", "challenger").order_by("-number")]
    won = (one for one in met if champion == one.contest.challenger and one.contest.outcome == ContestOutcome.PROMOTED)
    return Proof(
        champion=champion, claims=claims(champion) if champion else {}, won=next(won, None),
        leader=leader if leader != champion else None, lead=Claim(leader.perplexity if leader else None), met=met,
        pair_noise=(experiment.noise.get("pair_sd") or {}).get("value"),
    )


def meeting(contest: Contest) -> Met:
    return Met(contest, evidence.threshold(contest.number), contests.pairs_of(contest))
