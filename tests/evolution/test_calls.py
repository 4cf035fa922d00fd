"""Calls as rows: what they may cost, what they did cost, and what becomes of those without an answer."""

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from django.db import connection, connections
from django.utils import timezone

from evolution import (
    breeding,
    experiments,
    journal,
    prices,
    rounds,
    rows,
    spending,
    station,
    strategies,
    thoughts,
)
from evolution.agents import model_for
from evolution.agents.base import AgentUnavailable, BudgetSpent, GaveUp, Unusable
from evolution.agents.model import Model
from evolution.models import Call, CallState, Check, Event, Experiment, Transition
from evolution.options import Options
from evolution.restore import restore
from evolution.spending import Asked
from tests import cast
from tests.evolution.agents.stub import Body, Reply, Stub, completion, refuses, says, serving

T = TypeVar("T")
ASKED = [{"role": "user", "content": "What would you change?"}]


@pytest.fixture
def experiment(db: None) -> Experiment:
    return cast.experiment(agent="openai")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setattr("evolution.agents.recorded.FIRST_WAIT", 0.01)
    with serving() as one:
        one.answer = lambda _: says("A larger learning rate.")
        monkeypatch.setenv("OPENAI_BASE_URL", one.url)
        monkeypatch.setenv("OPENAI_API_KEY", "canary")
        monkeypatch.setenv("DARWIN_MODEL", "tiny")
        yield one


def model(experiment: Experiment) -> Model:
    return model_for(experiment, strategies.of(experiment)[0], target=experiment.baseline)


def ask(experiment: Experiment) -> str:
    return model(experiment).ask(ASKED, purpose="propose").text


def priced(tokens_in: float = 1.0, tokens_out: float = 2.0, name: str = "tiny") -> None:
    prices.save({name: prices.Price(tokens_in, tokens_out)})


def budget(experiment: Experiment, **given: float | None) -> None:
    spending.set_budgets(experiment, given, actor="user:olga")


def test_a_call_is_a_row_with_its_tokens_its_price_and_a_line_in_the_journal(
    experiment: Experiment, stub: Stub
) -> None:
    priced()
    answer = model(experiment).ask(ASKED, purpose="propose")
    call = Call.objects.get()
    assert (call.purpose, call.model, call.answered, call.state) == ("propose", "tiny", "tiny", CallState.DONE)
    assert (call.tokens_in, call.tokens_out, call.target) == (120, 30, experiment.baseline)
    assert call.cost_usd == pytest.approx((120 + 2 * 30) / 1e6) == answer.cost_usd
    assert call.reserved_usd > call.cost_usd
    event = experiment.events.get(kind="call.ended")
    assert (event.actor, event.data["cost_usd"], event.data["target"]) == ("agent:tiny", call.cost_usd, 0)


def test_without_a_price_the_cost_is_not_known_and_not_nothing(experiment: Experiment, stub: Stub) -> None:
    ask(experiment)
    assert Call.objects.get().cost_usd is None


def test_an_answer_whose_tokens_are_not_told_costs_what_was_reserved(experiment: Experiment, stub: Stub) -> None:
    priced()
    stub.answer = lambda _: Reply({**completion("Yes."), "usage": None})
    ask(experiment)
    call = Call.objects.get()
    assert call.cost_usd == call.reserved_usd > 0
    assert "did not say how many tokens" in call.error


def test_an_answer_of_no_use_is_paid_for_and_says_why(experiment: Experiment, stub: Stub) -> None:
    priced()
    stub.answer = lambda _: says(None, refusal="No.")
    with pytest.raises(Unusable) as caught:
        ask(experiment)
    call = Call.objects.get()
    assert (call.state, call.tokens_in, call.error) == (CallState.FAILED, 120, "tiny refused: No.")
    assert call.cost_usd == caught.value.cost_usd > 0


def test_another_model_than_asked_is_recorded_and_paid_at_the_higher_price(
    experiment: Experiment, stub: Stub
) -> None:
    prices.save({"tiny": prices.Price(1, 1), "huge": prices.Price(100, 100)})
    stub.answer = lambda _: Reply({**completion("Yes."), "model": "huge"})
    ask(experiment)
    call = Call.objects.get()
    assert (call.model, call.answered) == ("tiny", "huge (asked for tiny)")
    assert call.cost_usd == pytest.approx(150 * 100 / 1e6)


def test_a_rate_limit_that_passes_is_waited_out_and_each_try_is_on_record(experiment: Experiment, stub: Stub) -> None:
    stub.answer = lambda _: refuses(429, retry_after="0") if len(stub.asked) < 3 else says("At last.")
    assert ask(experiment) == "At last."
    assert [call.state for call in Call.objects.all()] == [CallState.FAILED, CallState.FAILED, CallState.DONE]
    assert "429" in Call.objects.earliest("id").error


def test_what_does_not_pass_is_asked_once(experiment: Experiment, stub: Stub) -> None:
    stub.answer = lambda _: refuses(401)
    with pytest.raises(AgentUnavailable):
        ask(experiment)
    assert len(stub.asked) == 1


def test_a_server_that_asks_for_too_long_a_wait_is_left_alone(experiment: Experiment, stub: Stub) -> None:
    stub.answer = lambda _: refuses(429, retry_after="900")
    with pytest.raises(AgentUnavailable):
        ask(experiment)
    assert len(stub.asked) == 1


def test_after_a_try_in_vain_nobody_is_asked_for_a_while(experiment: Experiment, stub: Stub) -> None:
    stub.answer = lambda _: refuses(401)
    for _ in range(3):
        with pytest.raises(AgentUnavailable):
            ask(experiment)
    assert len(stub.asked) == 1
    _rested()
    stub.answer = lambda _: says("Here again.")
    assert ask(experiment) == "Here again."


def test_the_sixth_try_in_vain_is_a_verdict_so_that_no_generation_waits_for_ever(
    experiment: Experiment, stub: Stub
) -> None:
    stub.answer = lambda _: refuses(401)
    ends: list[type[BaseException]] = []
    for _ in range(7):
        with pytest.raises((AgentUnavailable, Unusable)) as caught:
            ask(experiment)
        ends.append(caught.type)
        _rested()
    assert ends == [*[AgentUnavailable] * 5, GaveUp, AgentUnavailable]


def test_a_server_that_is_gone_does_not_hold_a_generation(stub: Stub, db: None) -> None:
    """The verdict reaches the breeding: it is not asked again at once, and counts as a proposal in vain."""
    bred = cast.bred(cast.experiment("gone", agent="openai"))
    bred.strategies.exclude(name="edits").update(share=0)
    stub.answer = lambda _: refuses(401)
    for _ in range(6):
        with contextlib.suppress(AgentUnavailable):
            breeding.breed(bred, at_most=1)
        _rested()
    refused = rounds.refused(bred.generation_rows.get(number=1))
    assert [event.data["reason"][:24] for event in refused] == ["no answer in 6 tries in "]
    assert len(stub.asked) == 6


def test_a_stopped_experiment_asks_nobody(experiment: Experiment, stub: Stub) -> None:
    experiments.stop(experiment, actor="user:olga", reason="enough")
    with pytest.raises(BudgetSpent, match="is stopped"):
        ask(experiment)
    assert not stub.asked


def test_an_odd_name_of_a_model_is_no_trouble(stub: Stub, db: None) -> None:
    bred = cast.bred(cast.experiment("odd", agent="openai"))
    bred.strategies.exclude(name="edits").update(share=0)
    odd = says("I would rather not.")
    stub.answer = lambda _: replace(odd, body={**odd.body, "model": "tiny\ud800\0\n" + "x" * 300})
    breeding.breed(bred, at_most=1)
    assert rounds.refused(bred.generation_rows.get(number=1)).count() == 1


def _rested() -> None:
    Call.objects.update(ended_at=timezone.now() - timedelta(hours=1))


def test_a_budget_stops_the_call_that_could_exceed_it_before_it_is_made(experiment: Experiment, stub: Stub) -> None:
    priced(1.0, 1_000.0)  # 16,000 tokens out: up to $16
    budget(experiment, budget_usd=20.0)
    ask(experiment)
    budget(experiment, budget_usd=16.0)
    with pytest.raises(BudgetSpent, match=r"the budget of \$16.00 are spent or set aside, .* raise it"):
        ask(experiment)
    assert (len(stub.asked), Call.objects.count()) == (1, 1)
    budget(experiment, budget_usd=None)
    ask(experiment)


def test_the_budget_of_a_day_has_room_again_when_the_day_is_over(experiment: Experiment, stub: Stub) -> None:
    priced(0.0, 1_000.0)
    budget(experiment, budget_usd_day=16.01)
    ask(experiment)
    with pytest.raises(BudgetSpent, match=r"24 hours .* or wait until .* UTC"):
        ask(experiment)
    Call.objects.update(started_at=timezone.now() - timedelta(hours=25))
    ask(experiment)


def test_the_budget_of_one_strategy_leaves_the_others_theirs(experiment: Experiment, stub: Stub) -> None:
    priced(0.0, 1_000.0)
    budget(experiment, budget_usd_strategy=16.01)
    ask(experiment)
    with pytest.raises(BudgetSpent, match="the budget for edits"):
        ask(experiment)
    other = experiment.strategies.create(name="other", provider="openai", mode="edits")
    model_for(experiment, other).ask(ASKED, purpose="propose")


def test_with_a_budget_a_model_without_a_price_is_not_asked(experiment: Experiment, stub: Stub) -> None:
    budget(experiment, budget_usd=5.0)
    with pytest.raises(BudgetSpent, match="the price of tiny is not known: add it"):
        ask(experiment)
    assert not stub.asked


def test_a_budget_of_nothing_allows_what_costs_nothing(experiment: Experiment, stub: Stub) -> None:
    priced(0.0, 0.0)
    budget(experiment, budget_usd=0.0)
    assert ask(experiment)


def test_when_the_budget_is_spent_a_model_that_costs_nothing_is_still_asked(
    experiment: Experiment, stub: Stub
) -> None:
    priced(0.0, 1_000.0)
    budget(experiment, budget_usd=16.01)
    ask(experiment)
    assert "may cost" in spending.why_not(experiment)
    priced(0.0, 0.0)
    assert ask(experiment)
    assert spending.why_not(experiment) == ""


def test_the_switch_stops_the_calls_of_every_experiment_until_it_is_turned_back(
    experiment: Experiment, stub: Stub
) -> None:
    spending.stop_calls(actor="user:olga")
    with pytest.raises(BudgetSpent, match="stopped by user:olga"):
        ask(experiment)
    spending.allow_calls()
    assert ask(experiment)


def test_a_file_that_somebody_touched_is_the_switch_too(experiment: Experiment, stub: Stub, own_var: Path) -> None:
    (own_var / spending.SWITCH).touch()
    with pytest.raises(BudgetSpent, match="stopped"):
        ask(experiment)


def test_the_switch_ends_an_answer_that_is_being_streamed_and_it_counts_as_spent(
    experiment: Experiment, stub: Stub
) -> None:
    priced()

    def answer(_: Body) -> Reply:
        spending.stop_calls(actor="user:olga")
        return says("word " * 500)

    stub.answer = answer
    with pytest.raises(BudgetSpent):
        ask(experiment)
    call = Call.objects.get()
    assert (call.state, call.cost_usd) == (CallState.FAILED, call.reserved_usd)


def test_what_a_dead_process_reserved_counts_as_spent_and_is_settled_in_time(experiment: Experiment) -> None:
    old = timezone.now() - spending.LOST_AFTER - timedelta(seconds=1)
    for moment, cost in ((old, 3.0), (timezone.now(), 4.0)):
        call = experiment.calls.create(purpose="propose", model="tiny", reserved_usd=cost)
        Call.objects.filter(pk=call.pk).update(started_at=moment)
    assert spending.spent(experiment.calls.all()) == 7.0
    spending.settle_lost(experiment)
    lost, alive = experiment.calls.order_by("reserved_usd")
    assert (lost.state, lost.cost_usd, alive.state) == (CallState.FAILED, 3.0, CallState.RESERVED)
    assert spending.spent(experiment.calls.all()) == 7.0


def test_what_a_model_says_is_kept_for_the_page_in_bounds(experiment: Experiment, stub: Stub) -> None:
    stub.answer = lambda _: says("x" * 20_000 + "the end")
    ask(experiment)
    shown = thoughts.latest(experiment)
    assert shown is not None
    assert (shown["target"], shown["thinking"], shown["model"]) == (0, False, "tiny")
    assert shown["text"].endswith("the end")
    assert len(shown["text"]) == thoughts.SHOWN


def test_the_key_is_in_no_file_and_no_row(experiment: Experiment, stub: Stub, own_var: Path) -> None:
    ask(experiment)
    journal.drain(experiment)
    assert stub.keys == ["Bearer canary"]
    written = b"".join(path.read_bytes() for path in own_var.rglob("*") if path.is_file())
    assert b"canary" not in written
    assert "canary" not in json.dumps(list(Call.objects.values("error", "model", "answered")))


def test_calls_survive_a_restore(experiment: Experiment, stub: Stub, own_var: Path) -> None:
    priced()
    ask(experiment)
    stub.answer = lambda _: says(None, refusal="No.")
    with pytest.raises(Unusable):
        ask(experiment)
    journal.drain(experiment, everything=True)
    before = [rows.record(one) for one in Call.objects.all()]
    _forget(experiment)
    again = restore(experiment.folder)
    assert [rows.record(one) for one in again.calls.all()] == before
    assert {(one.strategy.name, one.target.number) for one in again.calls.all() if one.strategy and one.target} == {
        ("edits", 0)
    }


def _forget(experiment: Experiment) -> None:
    """Every row of it is gone, the files are there."""
    Experiment.objects.update(baseline=None)
    for table in (Call, Event, Transition, Check):
        table.objects.all().delete()
    for related in (experiment.variants, experiment.generation_rows, experiment.strategies):
        related.all().delete()
    Experiment.objects.all().delete()


@pytest.mark.django_db(transaction=connection.vendor != "sqlite")
@pytest.mark.usefixtures("database_for_threads")
def test_of_racing_workers_none_spends_what_another_has_set_aside() -> None:
    def prepare() -> Asked:
        one = cast.experiment(name="race", agent="openai")
        spending.set_budgets(one, {"budget_usd": 1.0}, actor="user:olga")
        return Asked(one, strategies.of(one)[0], None, "propose", "tiny", 0, 100_000, prices.Price(0, 4.0))  # $0.40

    def reserve(asked: Asked) -> bool:
        try:
            spending.reserve(asked)
        except BudgetSpent:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        asked = pool.submit(closing, prepare).result()
        allowed = list(pool.map(lambda _: closing(lambda: reserve(asked)), range(16)))
        total = pool.submit(closing, lambda: spending.spent(asked.experiment.calls.all())).result()
    assert sum(allowed) == 2
    assert total == pytest.approx(0.8)


def closing(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        connections.close_all()


def test_the_station_says_that_a_budget_is_spent_asks_nobody_and_goes_on_when_it_is_raised(
    experiment: Experiment, stub: Stub
) -> None:
    cast.bred(experiment)
    priced(0.0, 1_000.0)
    budget(experiment, budget_usd=1.0)
    for _ in range(2):
        station.look()
    experiment.refresh_from_db()
    assert "the budget of $1.00" in experiment.reason
    assert not stub.asked
    budget(experiment, budget_usd=100.0)
    station.look()
    experiment.refresh_from_db()
    assert stub.asked
    assert "budget" not in experiment.reason


def test_a_resume_may_change_budgets(experiment: Experiment) -> None:
    again = experiments.rejoin(Options(name=experiment.name, budget_usd=3.0), actor="user:olga")
    assert again.budget_usd == 3.0
    assert Experiment.objects.get().budget_usd == 3.0
