"""What the review pages show. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from evolution import assessing
from evolution.errors import DarwinError
from evolution.genomes import genome_of, store_of
from evolution.models import Assessment, Check, Experiment, Role, Status, Variant
from evolution.rights import may, visible_to
from review.decisions import shown_hash
from review.diffs import FileDiff, file_diffs
from review.evidence import evidence_of
from review.models import Decision, Evidence, Risk, Verdict
from trainer.contract import Genome, GenomeError

MOST = 200  # proposals listed at once
LATELY = 6

SORTS = {"risk": "highest risk first", "age": "longest wait first", "size": "smallest first", "new": "newest first"}
_ORDER = {
    "risk": (F("known_risk").desc(), "changed_at", "pk"),
    "age": ("changed_at", "pk"),
    "size": ("lines_changed", "pk"),
    "new": ("-changed_at", "-pk"),
}


@dataclass(frozen=True)
class Choice:
    """What a person narrowed the queue down to."""

    experiment: str = ""
    risk: str = ""
    author: str = ""
    sort: str = "risk"

    @property
    def query(self) -> str:
        """As the address carries it, "?…" or nothing."""
        chosen = {name: value for name, value in vars(self).items() if value and (name, value) != ("sort", "risk")}
        return f"?{urlencode(chosen)}" if chosen else ""


@dataclass(frozen=True)
class Queue:
    """The proposals that wait, in order; `total` without the filters, `more` beyond what is listed."""

    rows: Sequence[Variant]
    total: int
    more: int
    choice: Choice
    experiments: Sequence[Experiment]
    authors: Sequence[str]
    lately: Sequence[Decision]

    def around(self, variant: Variant) -> tuple[Variant | None, Variant | None]:
        """The proposals before and after `variant`, round the end; the first and the last when it is not listed."""
        if not self.rows:
            return None, None
        places = [row.pk for row in self.rows]
        if variant.pk not in places:
            return self.rows[-1], self.rows[0]
        place = places.index(variant.pk)
        before, after = self.rows[place - 1], self.rows[(place + 1) % len(places)]
        return (before if before.pk != variant.pk else None), (after if after.pk != variant.pk else None)


@dataclass(frozen=True)
class Proposal:
    """One proposal with all that stands beside its diff."""

    variant: Variant
    evidence: Evidence
    checks: Sequence[Check]
    files: Sequence[FileDiff]
    editable: frozenset[str]
    shown: str
    standing: Decision | None
    decisions: Sequence[Decision]
    opinions: Sequence[Assessment]
    unread: str  # why no peer could be asked; empty where one was, or will be
    may_decide: bool

    @property
    def is_open(self) -> bool:
        """Whether it waits for a verdict."""
        return self.variant.status == Status.IN_REVIEW and self.standing is None

    @property
    def may_withdraw(self) -> bool:
        return self.may_decide and self.variant.status == Status.APPROVED and self.standing is not None

    @property
    def seconds_to_undo(self) -> float:
        return seconds_left(self.standing) if self.standing and self.variant.status == Status.IN_REVIEW else 0.0


def waiting(user: User) -> QuerySet[Variant]:
    """Every proposal `user` may see on which nobody has decided."""
    standing = Decision.objects.live().filter(variant=OuterRef("pk"))
    return Variant.objects.filter(
        ~Exists(standing), status=Status.IN_REVIEW, experiment__in=visible_to(user).values("pk")
    ).select_related("experiment", "parent", "evidence")


def queue(user: User, choice: Choice) -> Queue:
    """The queue as `choice` narrows and sorts it."""
    everything = waiting(user)
    rows = _narrowed(everything, choice).annotate(known_risk=Coalesce("evidence__risk", Risk.HIGH.value))
    listed = list(rows.order_by(*_ORDER.get(choice.sort, _ORDER["risk"]))[: MOST + 1])
    return Queue(
        rows=listed[:MOST], total=everything.count(), more=rows.count() - MOST if len(listed) > MOST else 0,
        choice=choice, experiments=list(visible_to(user).order_by("name")),
        authors=sorted(set(everything.values_list("author", flat=True))), lately=_lately(user),
    )


def _narrowed(rows: QuerySet[Variant], choice: Choice) -> QuerySet[Variant]:
    if choice.experiment:
        rows = rows.filter(experiment__slug=choice.experiment)
    if choice.author:
        rows = rows.filter(author=choice.author)
    levels = {risk.label: risk.value for risk in Risk}
    if choice.risk in levels:
        rows = rows.filter(evidence__risk=levels[choice.risk])
    return rows


def _lately(user: User) -> list[Decision]:
    """The newest verdicts of people, undone ones left out."""
    return list(
        Decision.objects.live().filter(variant__experiment__in=visible_to(user).values("pk"), reviewer__isnull=False)
        .select_related("variant__experiment", "reviewer", "replacement").order_by("-pk")[:LATELY]
    )


def pending(user: User) -> list[Decision]:
    """Verdicts of `user` that can still be undone, the newest first."""
    return list(
        Decision.objects.live().filter(
            reviewer=user, effective_at__gt=timezone.now(), variant__status=Status.IN_REVIEW,
        ).select_related("variant__experiment").order_by("-pk")
    )


def proposal(user: User, variant: Variant) -> Proposal:
    """Everything the page of one proposal shows."""
    store = store_of(variant.experiment)
    after = store.files(variant.commit)
    before = store.files(variant.parent.commit) if variant.parent else {}
    files = file_diffs(before, after)
    genome = _genome(before or after)
    return Proposal(
        variant=variant, evidence=evidence_of(variant), checks=list(variant.checks.all()), files=files,
        editable=frozenset(
            file.path for file in files if file.after is not None and genome and genome.may_edit(file.path)
        ),
        shown=shown_hash(variant),
        standing=Decision.objects.live().filter(variant=variant).select_related("reviewer", "replacement").first(),
        decisions=list(variant.decisions.select_related("reviewer", "replacement", "undoes")),
        opinions=list(variant.assessments.select_related("peer")),
        unread=assessing.unread(variant),
        may_decide=may(user, variant.experiment, Role.REVIEWER),
    )


def outcome(variant: Variant) -> str:
    """How an attempt went, in one clause: its numbers against its parent's, or why it ended."""
    if variant.perplexity is not None:
        return f"{_compared(variant)} ({Status(variant.status).value})"
    if variant.status == Status.VETOED:
        veto = variant.decisions.filter(verdict=Verdict.VETO, undone_by=None).first()
        if veto is not None:
            return f"vetoed: {veto.reason or veto.get_category_display()}"
    return f"{Status(variant.status).label}{f': {variant.reason}' if variant.reason else ''}"


def _compared(variant: Variant) -> str:
    perplexity = f"perplexity {variant.perplexity:.2f}"
    parent = variant.parent.perplexity if variant.parent else None
    if not parent or variant.perplexity is None:
        return perplexity
    return f"{perplexity}, {100 * (variant.perplexity / parent - 1):+.1f} % against v{variant.parent.number}"  # type: ignore[union-attr]


def seconds_left(decision: Decision) -> float:
    return max(0.0, (decision.effective_at - timezone.now()).total_seconds())


def _genome(files: dict[str, bytes]) -> Genome | None:
    try:
        return genome_of(files)
    except (DarwinError, GenomeError):
        return None
