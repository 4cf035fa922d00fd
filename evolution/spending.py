"""Money: the highest price of a call is reserved before it, in one transaction with the check of every budget, and
settled after it from what the server says it used. A reservation whose process died is settled as spent.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, FloatField, QuerySet, Sum, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from evolution import durable, live, prices
from evolution.agents.base import BudgetSpent
from evolution.errors import BadInput
from evolution.memory import remember
from evolution.models import Call, CallState, Experiment, ExperimentStatus, Strategy, Variant
from evolution.options import RANGES
from evolution.prices import Price
from evolution.storable import storable

BUDGETS = ("budget_usd", "budget_usd_day", "budget_usd_strategy")
DAY = timedelta(hours=24)
LOST_AFTER = timedelta(minutes=30)  # no call lasts so long: DARWIN_PROVIDERS allows ten minutes at most
SWITCH = "calls_stopped.json"  # while it is there, no model is asked by any experiment
CENT_OF_A_CENT = 1e-4
MAX_ERROR = 500
LOST = "the process that asked ended before it had the answer: what was reserved counts as spent"
UNCOUNTED = "the server did not say how many tokens it used: what was reserved counts as spent"


@dataclass(frozen=True)
class Asked:
    """A call that is about to be made, and what it can cost at most. `price` None: not known."""

    experiment: Experiment
    strategy: Strategy | None
    target: Variant | None
    purpose: str
    model: str
    tokens_in: int  # estimated generously
    tokens_out: int  # at most
    price: Price | None


@dataclass(frozen=True)
class Used:
    """How a call ended. `counted` False: the tokens are not known."""

    state: CallState
    answered: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    counted: bool = True
    error: str = ""
    price: Price | None = None


@transaction.atomic
def reserve(asked: Asked) -> Call:
    """The row of the call, with its highest price set aside; BudgetSpent when a budget does not allow it.

    Of racing workers each sees what the others have set aside: SQLite lets one writer in at a time, elsewhere the
    experiment's row is the lock.
    """
    experiment = Experiment.objects.select_for_update().get(pk=asked.experiment.pk)
    require_allowed()
    if experiment.status != ExperimentStatus.RUNNING:
        raise BudgetSpent(f"“{experiment.slug}” is {experiment.get_status_display()}: nobody is asked for it")
    settle_lost(experiment)
    cost = asked.price.of(asked.tokens_in, asked.tokens_out) if asked.price else 0.0
    if any(getattr(experiment, name) is not None for name in BUDGETS):
        _require_price(asked)
        _require_room(experiment, asked.strategy, cost)
    return Call.objects.create(
        experiment=experiment, strategy=asked.strategy, target=asked.target, purpose=asked.purpose,
        model=storable(asked.model), reserved_usd=cost,
    )


@transaction.atomic
def settle(call: Call, used: Used) -> Call:
    """Write down how `call` ended and what it cost; the first end stands."""
    error = used.error or ("" if used.counted else UNCOUNTED)
    cost = None if used.price is None else (
        used.price.of(used.tokens_in, used.tokens_out) if used.counted else call.reserved_usd
    )
    fields: dict[str, Any] = {
        "state": used.state, "answered": storable(used.answered)[:200], "tokens_in": used.tokens_in,
        "tokens_out": used.tokens_out, "cost_usd": cost, "error": storable(error)[:MAX_ERROR],
        "ended_at": timezone.now(),
    }
    # The WHERE clause is the lock: somebody may have given it up for lost.
    if Call.objects.filter(pk=call.pk, state=CallState.RESERVED).update(**fields):
        call.refresh_from_db()
        _remember(call)
    return call


def settle_lost(experiment: Experiment) -> None:
    """Settle as spent what was reserved by processes that must be dead."""
    old = Call.objects.filter(
        experiment=experiment, state=CallState.RESERVED, started_at__lt=timezone.now() - LOST_AFTER
    )
    for call in old.select_related("experiment", "strategy", "target"):
        price = Price(0, 0) if call.reserved_usd else None  # of no use but to say that it is known
        settle(call, Used(CallState.FAILED, counted=False, error=LOST, price=price))


def described(call: Call) -> dict[str, Any]:
    """A call as the journal keeps it: enough to make its row again."""
    return {
        "purpose": call.purpose, "model": call.model, "answered": call.answered, "state": str(call.state),
        "strategy": call.strategy.name if call.strategy else "",
        "target": call.target.number if call.target else None,
        "tokens_in": call.tokens_in, "tokens_out": call.tokens_out, "reserved_usd": call.reserved_usd,
        "cost_usd": call.cost_usd, "error": call.error, "started_at": call.started_at.isoformat(),
        "ended_at": call.ended_at.isoformat() if call.ended_at else None,
    }


def _remember(call: Call) -> None:
    actor = f"agent:{call.answered or call.model}"
    remember(call.experiment, "call.ended", actor=actor[:200], data=described(call))


def total() -> Sum:
    """US dollars that calls cost, with what is set aside for those under way, for an aggregate."""
    counted = Case(When(state=CallState.RESERVED, then=F("reserved_usd")), default=Coalesce("cost_usd", 0.0),
                   output_field=FloatField())
    return Sum(counted, default=0.0)


def spent(calls: QuerySet[Call]) -> float:
    """US dollars that `calls` cost, with what is set aside for those under way."""
    return float(calls.aggregate(sum=total())["sum"])


def in_a_day(calls: QuerySet[Call]) -> QuerySet[Call]:
    """Those of the last 24 hours."""
    return calls.filter(started_at__gt=timezone.now() - DAY)


def why_not(experiment: Experiment, strategy: Strategy | None = None) -> str:
    """Why no call of `strategy` (of any, without one) is allowed now, in one sentence; empty when one may be.

    The next call is taken to cost what the last one could have; before the first, anything at all.
    """
    calls = experiment.calls.filter(strategy=strategy) if strategy else experiment.calls.all()
    last = calls.order_by("-id").values_list("reserved_usd", flat=True).first()
    try:
        require_allowed()
        _require_room(Experiment.objects.get(pk=experiment.pk), strategy, CENT_OF_A_CENT if last is None else last)
    except BudgetSpent as error:
        return str(error)
    return ""


def _require_price(asked: Asked) -> None:
    if asked.price is None:
        raise BudgetSpent(
            f"there is a budget, and the price of {asked.model} is not known: add it on the prices page (or in "
            f"{prices.FILE}), 0 for a model of your own"
        )


def _require_room(experiment: Experiment, strategy: Strategy | None, cost: float) -> None:
    """BudgetSpent unless `cost` fits into every budget; what costs nothing always does."""
    if not cost:
        return
    everything = experiment.calls.all()
    of_strategy = everything.filter(strategy=strategy)
    for name, calls, what in (
        ("budget_usd", everything, "the budget"),
        ("budget_usd_day", in_a_day(everything), "the budget of 24 hours"),
        ("budget_usd_strategy", of_strategy, f"the budget for {strategy}"),
    ):
        limit = getattr(experiment, name)
        if limit is None:
            continue
        already = spent(calls)
        if already + cost > limit:
            raise BudgetSpent(_sentence(what, limit, already, cost) + _when(name, calls))


def _sentence(what: str, limit: float, already: float, cost: float) -> str:
    return (
        f"no model is asked: ${already:,.4f} of {what} of ${limit:,.2f} are spent or set aside, and the next call may "
        f"cost ${cost:.4f}; raise it on the spending page"
    )


def _when(name: str, calls: QuerySet[Call]) -> str:
    """When the day's budget has room again."""
    first = calls.order_by("started_at").first() if name == "budget_usd_day" else None
    return f", or wait until {first.started_at + DAY:%d %B %H:%M} UTC" if first else ""


@transaction.atomic
def set_budgets(experiment: Experiment, given: Mapping[str, float | None], *, actor: str) -> None:
    """Change budgets of `experiment`; None takes one away. BadInput says which is out of its range."""
    for name, value in given.items():
        least, most = RANGES[name]
        if name not in BUDGETS or (value is not None and not least <= value <= most):
            raise BadInput(f"a budget must be between {least:,.0f} and {most:,.0f} dollars")
    changed = {name: value for name, value in given.items() if getattr(experiment, name) != value}
    if not changed:
        return
    Experiment.objects.filter(pk=experiment.pk).update(**changed)
    for name, value in changed.items():
        setattr(experiment, name, value)
    remember(experiment, "budget.changed", actor=actor, data={name: getattr(experiment, name) for name in BUDGETS})
    live.wake(live.EVOLUTION)


# One switch that stops everything: a file, so that `touch` works where no page does.


def stop_calls(*, actor: str) -> None:
    """No experiment asks a model from now on; an answer that is being streamed is given up."""
    note = {"by": actor, "at": timezone.now().isoformat(timespec="seconds")}
    durable.write(_switch(), (json.dumps(note) + "\n").encode())


def allow_calls() -> None:
    _switch().unlink(missing_ok=True)
    live.wake(live.EVOLUTION)


def stopped() -> dict[str, Any] | None:
    """Who stopped all calls and when, as far as the file says; None while calls are allowed."""
    try:
        content = _switch().read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        return {}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def require_allowed() -> None:
    """BudgetSpent while all calls are stopped."""
    note = stopped()
    if note is not None:
        by = f" by {note['by']}" if isinstance(note.get("by"), str) else ""
        raise BudgetSpent(f"all calls of models are stopped{by}: allow them again on the prices page")


def moment_of(note: Mapping[str, Any]) -> datetime | None:
    """When calls were stopped, where the note says so."""
    try:
        return datetime.fromisoformat(str(note.get("at")))
    except ValueError:
        return None


def _switch() -> Path:
    return Path(settings.DARWIN_VAR) / SWITCH
