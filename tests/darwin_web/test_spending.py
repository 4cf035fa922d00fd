"""The pages about money, and what a model says while it thinks: who sees what, and who may change it."""

import json
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evolution import prices, spending, thoughts
from evolution.models import CallState, Experiment, Role
from evolution.prices import Price
from evolution.spending import Asked, Used
from tests import cast

PRICE = Price(1.0, 2.0)

pytestmark = pytest.mark.django_db


@pytest.fixture
def experiment(owner: User) -> Experiment:
    return cast.experiment("demo", owner=owner, agent="openai")


@pytest.fixture
def web(owner: User, client: Client) -> Iterator[Client]:
    client.force_login(owner)
    yield client
    spending.allow_calls()
    (prices._path()).unlink(missing_ok=True)


def called(experiment: Experiment, *, price: Price | None = PRICE, error: str = "") -> None:
    strategy, _ = experiment.strategies.get_or_create(name="bold", provider="openai", mode="edits")
    call = spending.reserve(Asked(experiment, strategy, experiment.baseline, "propose", "tiny", 500, 1_000, price))
    state = CallState.FAILED if error else CallState.DONE
    spending.settle(call, Used(state, "tiny", 1_000_000, 500_000, error=error, price=price))


def text(client: Client, name: str, *args: object, **query: str) -> str:
    response = client.get(reverse(name, args=args), query)
    assert response.status_code == 200
    return response.content.decode()


def test_without_a_call_the_page_says_what_will_be_there(web: Client, experiment: Experiment) -> None:
    assert "No model was asked yet." in text(web, "experiment_spending", "demo")


def test_the_page_shows_calls_sums_and_budgets(web: Client, experiment: Experiment) -> None:
    called(experiment)
    called(experiment, error="tiny refused: <b>no</b>\u202e")
    spending.set_budgets(experiment, {"budget_usd": 8.0}, actor="user:olga")
    page = text(web, "experiment_spending", "demo")
    assert "$4.0000" in page  # two calls of 1 + 2 × 0.5 dollars
    assert "$4.0000 of $8.00" in page
    assert "bold" in page
    assert "refused: &lt;b&gt;no&lt;/b&gt;\\u202e" in page


def test_calls_without_a_known_price_are_said_to_be_missing_from_the_sum(web: Client, experiment: Experiment) -> None:
    called(experiment, price=None)
    page = text(web, "experiment_spending", "demo")
    assert "1 call of models whose price is not known" in page
    assert "not known</span>" in page


def test_many_calls_have_a_second_page(web: Client, experiment: Experiment) -> None:
    for _ in range(51):
        called(experiment)
    assert "page 2 of 2" in text(web, "experiment_spending", "demo", page="2")


def test_an_owner_sets_budgets_and_takes_them_back(web: Client, experiment: Experiment) -> None:
    address = reverse("experiment_spending", args=["demo"])
    web.post(address, {"budget_usd": "5", "budget_usd_day": "", "budget_usd_strategy": "1.5"})
    experiment.refresh_from_db()
    assert (experiment.budget_usd, experiment.budget_usd_day, experiment.budget_usd_strategy) == (5.0, None, 1.5)
    assert experiment.events.get(kind="budget.changed").data["budget_usd"] == 5.0
    web.post(address, {"budget_usd": "", "budget_usd_day": "", "budget_usd_strategy": ""})
    experiment.refresh_from_db()
    assert experiment.budget_usd is None


@pytest.mark.parametrize("value", ["-1", "nan", "lots", "1e12"])
def test_a_budget_that_is_none_changes_nothing(value: str, web: Client, experiment: Experiment) -> None:
    response = web.post(reverse("experiment_spending", args=["demo"]), {"budget_usd": value})
    experiment.refresh_from_db()
    assert experiment.budget_usd is None
    assert "✕" in response.content.decode()


def test_a_viewer_sees_the_spending_and_may_not_change_the_budget(
    client: Client, experiment: Experiment, viewer: User
) -> None:
    cast.member(viewer.username, experiment, Role.VIEWER)
    client.force_login(viewer)
    assert "Set budgets" not in text(client, "experiment_spending", "demo")
    assert client.post(reverse("experiment_spending", args=["demo"]), {"budget_usd": "5"}).status_code == 403


def test_a_stranger_sees_neither_spending_nor_thoughts(client: Client, experiment: Experiment, viewer: User) -> None:
    client.force_login(viewer)
    for name in ("experiment_spending", "experiment_thought"):
        assert client.get(reverse(name, args=["demo"])).status_code == 404


def test_prices_are_edited_line_by_line(web: Client) -> None:
    assert "gpt-4.1-mini" in text(web, "prices")
    response = web.post(reverse("prices"), {
        "model": ["tiny", "", "big*"], "in": ["0", "", "1.5"], "out": ["0.5", "", "3"],
    })
    assert response.status_code == 302
    assert prices.table() == {"tiny": Price(0.0, 0.5), "big*": Price(1.5, 3.0)}
    assert "gpt-4.1-mini" not in text(web, "prices")


def test_prices_that_are_none_are_refused_and_what_was_typed_stays(web: Client) -> None:
    page = web.post(reverse("prices"), {"model": ["tiny"], "in": ["cheap"], "out": ["1"]}).content.decode()
    assert "must be a number" in page
    assert 'value="cheap"' in page
    assert prices.table() == prices.OURS


def test_only_an_administrator_changes_prices_and_the_switch(client: Client, experiment: Experiment) -> None:
    anna = cast.member("anna", experiment, Role.OWNER)
    client.force_login(anna)
    assert "Save prices" not in text(client, "prices")
    assert client.post(reverse("prices"), {"model": ["tiny"], "in": ["0"], "out": ["0"]}).status_code == 403
    assert client.post(reverse("calls_switch"), {"calls": "stop"}).status_code == 403
    assert spending.stopped() is None


def test_one_switch_stops_all_calls_and_the_pages_say_so(web: Client, experiment: Experiment) -> None:
    web.post(reverse("calls_switch"), {"calls": "stop"})
    assert "Allow calls again" in text(web, "prices")
    assert "all calls of models are stopped by user:olga" in text(web, "experiment_spending", "demo")
    web.post(reverse("calls_switch"), {"calls": "allow"})
    assert "Stop all calls" in text(web, "prices")


def test_the_experiment_page_has_a_place_for_thoughts_where_a_model_is_asked(
    web: Client, experiment: Experiment
) -> None:
    cast.experiment("plain")
    assert 'id="thought"' in text(web, "experiment", "demo")
    assert 'id="thought"' not in text(web, "experiment", "plain")


def test_a_thought_is_text_with_what_hides_shown(web: Client, experiment: Experiment) -> None:
    assert json.loads(text(web, "experiment_thought", "demo")) == {"call": 0, "seq": 0}
    call = spending.reserve(Asked(experiment, None, experiment.baseline, "propose", "tiny", 1, 1, None))
    thought = thoughts.Thought(call, proposer=4)
    thought.begin()
    thought.hear("<script>\u202e")
    thought.end()
    shown = json.loads(text(web, "experiment_thought", "demo"))
    assert (shown["says"], shown["text"], shown["thinking"]) == ("a4 is thinking about v0", "<script>\\u202e", True)
    spending.settle(call, Used(CallState.DONE, "tiny", 1, 1))
    again = json.loads(text(web, "experiment_thought", "demo"))
    assert (again["says"], again["text"], again["thinking"]) == ("a4 has thought about v0", "<script>\\u202e", False)
    assert again["seq"] >= shown["seq"] > 1
