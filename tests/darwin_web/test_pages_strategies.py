"""The strategies' page: with nothing, with a record, for owners and for everybody else; and peers' words elsewhere."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evolution import assessing, strategies
from evolution.memory import remember
from evolution.models import Assessment, Experiment, Moment, Opinion, Role, Status, Variant
from tests import cast
from tests.darwin_web.test_pages import page

pytestmark = pytest.mark.django_db

S = Status
ADD = {"name": "mine", "provider": "openai", "mode": "diff", "share": "2", "temperature": "0.7"}


@pytest.fixture
def web(owner: User, client: Client) -> Client:
    client.force_login(owner)
    return client


@pytest.fixture
def demo(owner: User) -> Experiment:
    return cast.bred(cast.experiment(owner=owner))


def test_an_empty_page_says_what_will_be_there(web: Client, demo: Experiment) -> None:
    text = page(web, "strategies", demo.slug)
    for said in ("architecture", "Nothing of it is decided yet", "Nobody has said anything", "No draft was asked for"):
        assert said in text


def test_a_record_is_shown_with_its_interval_and_the_reason(web: Client, demo: Experiment) -> None:
    mine = demo.strategies.get(name="constants")
    for rate, perplexity in ((2, 11.0), (3, 10.0)):
        cast.measured(cast.mutation(demo, rate=rate, strategy=mine), perplexity)
    cast.move(cast.mutation(demo, rate=4, strategy=mine), S.DUPLICATE)
    text = page(web, "strategies", demo.slug)
    assert "+0.1347" in text  # the mean of ln(12/11) and ln(12/10)
    assert "(−0.4708 to +0.7402)" in text
    assert "Asked 3 times, 3 decided" in text
    assert '<b class="number">1</b> duplicate' in text


def test_the_latest_choices_are_listed(web: Client, demo: Experiment) -> None:
    remember(demo, strategies.CHOSEN, actor="system", data={
        "generation": 1, "attempt": 4, "strategy": "schedule", "chances": {"schedule": 0.37},
    })
    assert "37 % · gen 1, draft 5" in page(web, "strategies", demo.slug)


def test_the_three_views_of_an_experiment_lead_to_each_other(web: Client, demo: Experiment) -> None:
    for name in ("experiment", "lineage", "strategies"):
        text = page(web, name, demo.slug)
        assert reverse("strategies", args=[demo.slug]) in text
        assert text.count('aria-current="true"') >= 1


def test_an_owner_adds_a_strategy(web: Client, demo: Experiment) -> None:
    answer = web.post(reverse("strategy_add", args=[demo.slug]), {**ADD, "instructions": "Be <b>bold</b> \u202e."})
    assert answer.status_code == 302
    mine = demo.strategies.get(name="mine")
    assert (mine.provider, mine.mode, mine.share, mine.temperature) == ("openai", "diff", 2.0, 0.7)
    assert demo.events.get(kind="strategy.added", data__name="mine").actor == "user:olga"
    text = page(web, "strategies", demo.slug)
    assert "Be &lt;b&gt;bold&lt;/b&gt; \\u202e." in text


def test_an_owner_adds_operators(web: Client, demo: Experiment) -> None:
    given = {"name": "norms", "provider": "builtin", "share": "1", "operators": "normalisation, qk_norm"}
    web.post(reverse("strategy_add", args=[demo.slug]), given)
    assert demo.strategies.get(name="norms").operators == ["normalisation", "qk_norm"]


@pytest.mark.parametrize(("change", "why"), [
    ({"name": "constants"}, "already"), ({"name": "a b"}, "cannot be a strategy"), ({"share": "-1"}, "greater than"),
    ({"provider": "builtin", "operators": "levitation"}, "no operator called"), ({"mode": "dance"}, "not one of"),
    ({"provider": "replay:/etc/passwd"}, "not one of"),
])
def test_what_cannot_be_added_is_said_and_kept_in_the_form(
    change: dict[str, str], why: str, web: Client, demo: Experiment
) -> None:
    answer = web.post(reverse("strategy_add", args=[demo.slug]), {**ADD, **change})
    assert answer.status_code == 400
    assert why in answer.content.decode()
    assert demo.strategies.count() == 5


def test_an_owner_changes_a_share_and_switches_off_and_on(web: Client, demo: Experiment) -> None:
    address = reverse("strategy_share", args=[demo.slug, "constants"])
    for given, kept in (("2.5", 2.5), ("0", 0.0), ("1", 1.0), ("much", 1.0), ("nan", 1.0), ("-3", 1.0), ("", 1.0)):
        answer = web.post(address, {"share": given}, follow=True)
        assert demo.strategies.get(name="constants").share == kept
        assert ("share is a number" in answer.content.decode()) == (given in ("much", "nan", "-3", ""))
    assert web.post(reverse("strategy_share", args=[demo.slug, "nobody"]), {"share": "1"}).status_code == 404


def test_a_member_sees_the_page_and_changes_nothing(client: Client, demo: Experiment) -> None:
    client.force_login(cast.member("rita", demo, Role.REVIEWER))
    text = page(client, "strategies", demo.slug)
    assert "Add a strategy" not in text
    assert client.post(reverse("strategy_add", args=[demo.slug]), ADD).status_code == 403
    assert client.post(reverse("strategy_share", args=[demo.slug, "constants"]), {"share": "0"}).status_code == 403
    assert demo.strategies.get(name="constants").share == 1


def test_to_strangers_the_page_does_not_exist(client: Client, viewer: User, demo: Experiment) -> None:
    client.force_login(viewer)
    page(client, "strategies", demo.slug, expect=404)
    assert client.post(reverse("strategy_add", args=[demo.slug]), ADD).status_code == 404


# What peers say.


@pytest.fixture
def read(demo: Experiment) -> Variant:
    """A proposal in review that a hostile peer read."""
    variant = cast.move(cast.mutation(demo, author="agent:other"), *cast.TO_REVIEW)
    Assessment.objects.create(
        variant=variant, moment=Moment.BEFORE, assessor="agent:<i>peer</i>", opinion=Opinion.DOUBTFUL, risk="high",
        is_what_it_says=False, text="<script>alert(1)</script> \u202e accept it",
    )
    return variant


@pytest.mark.parametrize("name", ["variant", "review_proposal"])
def test_peers_words_are_shown_as_text(name: str, web: Client, demo: Experiment, read: Variant) -> None:
    text = page(web, name, demo.slug, read.number)
    assert "<script>alert(1)" not in text
    for said in ("&lt;script&gt;alert(1)", "\\u202e accept it", "agent &lt;i&gt;peer", "doubtful", "risk high",
                 "not what it says"):
        assert said in text


@pytest.mark.parametrize("name", ["variant", "review_proposal"])
def test_a_page_says_that_nobody_read_it_and_why(name: str, web: Client, demo: Experiment) -> None:
    variant = cast.move(cast.mutation(demo, author="agent:other"), *cast.TO_REVIEW)
    assert "obody has read it" in page(web, name, demo.slug, variant.number)
    remember(demo, assessing.FAILED, actor="system", variant=variant, data={"reason": "no key: <set it>"})
    assert "could be asked: no key: &lt;set it&gt;" in page(web, name, demo.slug, variant.number).replace(
        "could not be asked", "could be asked"
    )


def test_a_standing_is_shown_with_its_interval(web: Client, demo: Experiment, read: Variant) -> None:
    cast.move(read, S.VETOED, actor="user:olga")
    text = page(web, "strategies", demo.slug)
    assert "100 %" in text
    assert "(21 % to 100 %, of 1)" in text
    assert "agent &lt;i&gt;peer" in text
