"""Whose opinion is worth something: assessors against reviewers, against outcomes and against the rule. Reads only."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evolution import witness
from evolution.genetics import intervals
from evolution.genetics.intervals import Interval
from evolution.models import Assessment, Experiment, Moment, Opinion, Status, Transition, Variant
from evolution.records import JUDGED
from evolution.witness import RECORD

FOR = frozenset({Opinion.SOUND})
AGAINST = frozenset({Opinion.DOUBTFUL, Opinion.HARMFUL})
FAILED = frozenset({Status.FAILED, Status.REJECTED})


@dataclass(frozen=True)
class Table:
    """Two yes-or-no judges: how often both said yes, only the first, only the second, neither."""

    both: int = 0
    first: int = 0
    second: int = 0
    neither: int = 0

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool, bool]]) -> "Table":
        found = list(pairs)
        return cls(*(found.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))))

    @property
    def count(self) -> int:
        return self.both + self.first + self.second + self.neither

    @property
    def agreed(self) -> Interval | None:
        """The share on which they agree, with Wilson's interval."""
        return intervals.share(self.both + self.neither, self.count)

    @property
    def kappa(self) -> float | None:
        """Agreement beyond chance (Cohen 1960)."""
        return intervals.kappa(self.both, self.first, self.second, self.neither)


@dataclass(frozen=True)
class Standing:
    """How one assessor's opinions fared."""

    assessor: str
    read: int  # proposals about which it said something before review
    opinions: int  # of those with an opinion
    reviewers: Table  # it is for the change; a person accepted it
    outcomes: Table  # it is for the change; the change gained
    rule: Table | None  # after measurement: it calls the hypothesis confirmed; the rule does. None of the rule itself


def standings(experiment: Experiment) -> list[Standing]:
    """Every assessor of `experiment`, the record last."""
    said: dict[str, list[Assessment]] = defaultdict(list)
    rows = Assessment.objects.filter(variant__experiment=experiment).order_by("id")
    for one in rows.select_related("variant__parent", "variant__experiment"):
        said[one.assessor].append(one)
    verdicts = _verdicts(experiment)
    ruled = {one.variant_id: one.opinion for one in said.get(RECORD, ()) if one.moment == Moment.AFTER}
    names = sorted(said, key=lambda name: (name == RECORD, name))
    return [_standing(name, said[name], verdicts, ruled) for name in names]


def _standing(
    name: str, said: Sequence[Assessment], verdicts: Mapping[int, bool], ruled: Mapping[int, str]
) -> Standing:
    before = [one for one in said if one.moment == Moment.BEFORE]
    sided = [(one, one.opinion in FOR) for one in before if one.opinion in FOR | AGAINST]
    outcomes = [(side, _gained(one.variant)) for one, side in sided]
    after = [one for one in said if one.moment == Moment.AFTER and one.variant_id in ruled]
    sure = [(one.opinion, ruled[one.variant_id]) for one in after if ruled[one.variant_id] != Opinion.OPEN]
    return Standing(
        assessor=name, read=len(before), opinions=len(sided),
        reviewers=Table.of((side, verdicts[one.variant_id]) for one, side in sided if one.variant_id in verdicts),
        outcomes=Table.of((side, gained) for side, gained in outcomes if gained is not None),
        rule=None if name == RECORD else Table.of(
            (mine == Opinion.CONFIRMED, rule == Opinion.CONFIRMED) for mine, rule in sure if mine != Opinion.OPEN
        ),
    )


def _verdicts(experiment: Experiment) -> dict[int, bool]:
    """Whether a person accepted a variant, by its key; the last word counts. An edit is neither yes nor no."""
    moves = Transition.objects.filter(
        variant__experiment=experiment, new__in=(Status.APPROVED, Status.VETOED), actor__startswith="user:"
    )
    return {key: new == Status.APPROVED for key, new in moves.order_by("id").values_list("variant_id", "new")}


def _gained(variant: Variant) -> bool | None:
    """Whether the change lowered the perplexity; a failure did not. None while it is not known."""
    if variant.status in FAILED:
        return False
    gain = witness.gain_of(variant) if variant.status in JUDGED else None
    return None if gain is None else gain > 0
