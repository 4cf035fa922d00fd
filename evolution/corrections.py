"""What people change about what the memory says of a variant: pin, correct, revoke and their opposites; append-only."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction

from evolution.errors import BadInput
from evolution.memory import remember
from evolution.models import Correction, CorrectionAction, Experiment, Variant
from evolution.quoting import clean, cut
from evolution.storable import storable

A = CorrectionAction
MOST = 400  # letters of the new words, or of a reason


@dataclass(frozen=True)
class Standing:
    """What all corrections of one variant come to; who had the last word, and when."""

    pinned: bool = False
    revoked: bool = False
    words: str = ""  # said instead of what the record gives
    actor: str = ""
    at: datetime | None = None


AS_IT_WAS = Standing()


@transaction.atomic
def correct(variant: Variant, action: CorrectionAction, *, actor: str, text: str = "") -> Correction:
    """Write down one correction; BadInput where it would change nothing. `text`: the new words, or the reason."""
    told = cut(clean(storable(text)), MOST)
    before = standing(variant)
    after = _after(before, action, told)
    if action == A.CORRECT and not told:
        raise BadInput("say in which words it is to be recalled: an empty correction corrects nothing")
    if (after.pinned, after.revoked, after.words) == (before.pinned, before.revoked, before.words):
        raise BadInput(f"v{variant.number} is “{A(action).label}” already: nothing was changed")
    correction = Correction.objects.create(variant=variant, action=action, text=told, actor=actor)
    remember(variant.experiment, "memory.corrected", actor=actor, variant=variant, data={
        "variant": variant.number, "action": A(action).value, "text": told,
    })
    return correction


def standing(variant: Variant) -> Standing:
    return folded(variant.corrections.all())


def folded(corrections: Iterable[Correction]) -> Standing:
    """What corrections of one variant, in their order, come to."""
    now = AS_IT_WAS
    for one in corrections:
        now = replace(_after(now, A(one.action), one.text), actor=one.actor, at=one.at)
    return now


def standings(experiment: Experiment, *, until: datetime | None = None) -> dict[int, Standing]:
    """By the number of each variant that was ever corrected; `until`: as it stood then."""
    rows = Correction.objects.filter(variant__experiment=experiment).select_related("variant").order_by("id")
    by_number: dict[int, list[Correction]] = {}
    for one in rows.filter(at__lte=until) if until else rows:
        by_number.setdefault(one.variant.number, []).append(one)
    return {number: folded(found) for number, found in by_number.items()}


def revoked(experiment: Experiment) -> frozenset[int]:
    """The keys of variants about which the memory is to say nothing: a veto among them no longer stands."""
    numbers = [number for number, now in standings(experiment).items() if now.revoked]
    return frozenset(experiment.variants.filter(number__in=numbers).values_list("pk", flat=True))


def _after(now: Standing, action: CorrectionAction, text: str) -> Standing:
    if action == A.PIN:
        return replace(now, pinned=True, revoked=False)
    if action == A.UNPIN:
        return replace(now, pinned=False)
    if action == A.CORRECT:
        return replace(now, words=text, revoked=False)
    if action == A.REVOKE:
        return replace(now, revoked=True, pinned=False)
    return replace(now, revoked=False, words="")
