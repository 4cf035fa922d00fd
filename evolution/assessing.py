"""Peers read each proposal before review and explain its result after measurement. Opinions: nothing waits for them."""

import logging
from collections.abc import Callable
from datetime import timedelta
from random import Random

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from evolution import briefs, strategies, witness
from evolution.agents import model_for, opinion
from evolution.errors import DarwinError
from evolution.genomes import store_of
from evolution.memory import remember
from evolution.models import Assessment, Event, Experiment, Kind, Moment, Opinion, Status, Strategy, Variant
from evolution.records import JUDGED
from evolution.storable import storable
from evolution.witness import RECORD, Said

log = logging.getLogger(__name__)

UNREAD = (Status.CHECKED, Status.IN_REVIEW)
FAILED = "assessment.failed"
PAUSE = timedelta(minutes=10)  # without questions of this kind, after a model could not be asked
AT_ONCE = 50  # records that are read out in one look


def step(experiment: Experiment) -> None:
    """Say what the records say of everything that is due, and ask one peer about one variant."""
    if experiment.is_plain:
        return
    for moment in Moment:
        speak: Callable[[Variant], Said | None] = witness.before if moment == Moment.BEFORE else witness.after
        for variant in _unsaid(_due(experiment, moment), moment, Q(assessor=RECORD))[:AT_ONCE]:
            if said := speak(variant):
                _keep(variant, moment, said, peer=None)
    _ask_one(experiment)


def unread(variant: Variant) -> str:
    """Why no peer could be asked about `variant`, where that was tried last; else nothing."""
    failed = variant.events.filter(kind=FAILED).last()
    return str(failed.data["reason"]) if failed else ""


def _ask_one(experiment: Experiment) -> None:
    if not any(map(strategies.asks_a_model, strategies.active(experiment))) or _is_resting(experiment):
        return
    tried = Event.objects.filter(experiment=experiment, kind=FAILED, variant__isnull=False)
    for moment in Moment:
        failed = tried.filter(data__moment=moment.value).values("variant")
        variant = _unsaid(_due(experiment, moment), moment, ~Q(assessor=RECORD)).exclude(pk__in=failed).first()
        if variant is not None:
            _ask(variant, moment)
            return


def _due(experiment: Experiment, moment: Moment) -> QuerySet[Variant]:
    """Proposals that wait for review, or results. What a reviewer edited is left out before: a person has read it."""
    rows = experiment.variants.filter(parent__isnull=False).select_related("experiment", "parent", "strategy")
    if moment == Moment.AFTER:
        return rows.filter(status__in=JUDGED).order_by("number")
    return rows.filter(status__in=UNREAD).exclude(kind=Kind.EDIT).order_by("number")


def _unsaid(due: QuerySet[Variant], moment: Moment, of: Q) -> QuerySet[Variant]:
    """Those of `due` about which nobody like `of` has said anything at this `moment`."""
    return due.exclude(pk__in=Assessment.objects.filter(of, moment=moment).values("variant"))


def _ask(variant: Variant, moment: Moment) -> None:
    """One try at one opinion. What goes wrong is written down, and nobody is kept waiting."""
    experiment = variant.experiment
    strategy, peer = _assessor(variant, moment)
    try:
        said = _asked(variant, moment, strategy)
    except DarwinError as error:
        _fail(variant, moment, strategy, str(error), error)
    except Exception as error:
        log.exception("the assessment of %s in %s failed", variant, experiment.slug)
        _fail(variant, moment, strategy, "an unexpected error: see the worker's log", error)
    else:
        _keep(variant, moment, said, peer=peer)


def _fail(variant: Variant, moment: Moment, strategy: Strategy, reason: str, error: Exception) -> None:
    remember(variant.experiment, FAILED, actor="system", variant=variant, data={
        "variant": variant.number, "moment": moment.value, "strategy": strategy.name, "reason": reason,
        "tokens_in": getattr(error, "tokens_in", 0), "tokens_out": getattr(error, "tokens_out", 0),
    })


def _asked(variant: Variant, moment: Moment, strategy: Strategy) -> Said:
    model = model_for(variant.experiment, strategy, target=variant)
    if moment == Moment.BEFORE:
        verdict, found = opinion.assess(model, _matter(variant, result="")), None
    else:
        found = witness.after(variant)
        verdict = opinion.explain(model, _matter(variant, result=found.text))
    # Where the change is within the noise no reasons make it more than that.
    is_open = found is not None and found.opinion == Opinion.OPEN
    return Said(
        text=storable(verdict.text), opinion=Opinion.OPEN if is_open else verdict.opinion,
        is_what_it_says=verdict.is_what_it_says, risk=verdict.risk, assessor=storable(f"agent:{verdict.answer.model}"),
        tokens_in=verdict.answer.tokens_in, tokens_out=verdict.answer.tokens_out, cost_usd=verdict.answer.cost_usd,
    )


def _matter(variant: Variant, *, result: str) -> opinion.Matter:
    experiment, parent = variant.experiment, variant.parent
    assert parent is not None, "a baseline is nobody's proposal"  # noqa: S101
    return opinion.Matter(
        target=parent.number, title=variant.title, hypothesis=variant.hypothesis, rationale=variant.rationale,
        expected=variant.expected, diff=store_of(experiment).diff(parent.commit, variant.commit),
        numbers=_numbers(parent), recalled=briefs.told(experiment, parent, proposer=None).recalled, result=result,
    )


def _numbers(variant: Variant) -> str:
    if variant.perplexity is None:
        return "not measured yet"
    mfu = "" if variant.mfu is None else f", MFU {100 * variant.mfu:.1f} %"
    return f"perplexity {variant.perplexity:.4g}{mfu}"


def _assessor(variant: Variant, moment: Moment) -> tuple[Strategy, Variant | None]:
    """The strategy that is asked, and the survivor it speaks for: not those of the proposal, where there are others."""
    experiment = variant.experiment
    rng = Random(f"{experiment.seed}/{variant.number}/{moment.value}")  # noqa: S311 chance, not secrecy
    models = [one for one in strategies.active(experiment) if strategies.asks_a_model(one)]
    others = [one for one in models if one != variant.strategy] or models
    survivors = experiment.variants.filter(status=Status.SURVIVED).select_related("strategy")
    peers = [one for one in survivors if one.pk not in (variant.pk, variant.proposer_id)]
    speaking = [one for one in peers if one.strategy in others]
    if speaking:
        peer = rng.choice(speaking)
        return next(one for one in others if one == peer.strategy), peer
    return rng.choice(others), rng.choice(peers) if peers else None


def _is_resting(experiment: Experiment) -> bool:
    return Event.objects.filter(experiment=experiment, kind=FAILED, at__gt=timezone.now() - PAUSE).exists()


@transaction.atomic
def _keep(variant: Variant, moment: Moment, said: Said, *, peer: Variant | None) -> None:
    one, made = Assessment.objects.get_or_create(
        variant=variant, moment=moment, assessor=said.assessor[:200], defaults={
            "peer": peer, "opinion": said.opinion, "is_what_it_says": said.is_what_it_says, "risk": said.risk,
            "text": said.text,
        },
    )
    if made:
        remember(variant.experiment, "assessment.made", actor=one.assessor, variant=variant, data={
            "variant": variant.number, "moment": one.moment, "assessor": one.assessor,
            "peer": peer.number if peer else None, "opinion": one.opinion, "is_what_it_says": one.is_what_it_says,
            "risk": one.risk, "text": one.text, "tokens_in": said.tokens_in, "tokens_out": said.tokens_out,
            "cost_usd": said.cost_usd,
        })
