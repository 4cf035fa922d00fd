"""The memory page: what is remembered, who may correct it, and exactly what the next brief would hold."""

import html

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from darwin_web.summary import summary
from evolution import briefs, corrections
from evolution.models import Correction, CorrectionAction, Event, Experiment, MemoryMode, Role, Status
from evolution.preflight import screen
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def web(owner: User, client: Client) -> Client:
    client.force_login(owner)
    return client


@pytest.fixture
def demo(owner: User) -> Experiment:
    experiment = cast.experiment(owner=owner)
    cast.population(experiment)
    return experiment


def page(client: Client, **query: str) -> str:
    response = client.get(reverse("memory", args=["demo"]), query)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def correct(client: Client, number: int, action: str, text: str = "", *, expect: int = 302) -> None:
    response = client.post(reverse("memory_correct", args=["demo", number]), {"action": action, "text": text})
    assert response.status_code == expect


def test_a_memory_without_anything_says_what_will_be_there(web: Client, owner: User) -> None:
    cast.experiment(owner=owner)
    assert "Nothing has ended yet" in page(web)


def test_the_page_shows_items_with_effect_cause_reason_and_origin(web: Client, demo: Experiment) -> None:
    text = page(web)
    assert "−0.134" in text
    assert "unreplicated" in text
    assert "costly" in text
    assert "the cause is not known" in text
    assert "train.py:learning_rate" in text
    assert reverse("variant", args=["demo", 1]) in text


def test_items_are_filtered_by_kind_end_and_words(web: Client, demo: Experiment) -> None:
    assert 'id="v2"' in page(web, outcome="vetoed")
    assert 'id="v1"' not in page(web, outcome="vetoed")
    assert "No idea is like this" in page(web, q="nothing like it")
    assert "No idea is like this" in page(web, family="attention")


def test_the_brief_is_shown_as_it_would_be_told(web: Client, demo: Experiment) -> None:
    first = demo.variants.get(number=1)
    cast.move(first, Status.SURVIVED, actor="selection")
    told = briefs.told(demo, demo.variants.get(number=0), proposer=first)
    text = page(web, **{"for": "0", "as": "1"})
    assert told.recalled
    assert [line for line in (told.identity, *told.lineage, *told.recalled) if line not in text] == []
    assert web.get(reverse("memory", args=["demo"]), {"for": "99"}).status_code == 404


def test_how_often_a_veto_came_back_is_shown(web: Client, demo: Experiment) -> None:
    assert "did not come back" in page(web)
    again = cast.mutation(demo, parent=demo.variants.get(number=1), rate=2.0 * 3.0, author="agent:x")
    assert screen(again) == Status.DUPLICATE
    assert "came back 1×" in page(web)


def test_a_reviewer_pins_corrects_revokes_and_restores(client: Client, demo: Experiment) -> None:
    client.force_login(cast.member("rita", demo, Role.REVIEWER))
    for action, text in (("pin", ""), ("correct", "only with warm-up"), ("revoke", "wrong data"), ("restore", "")):
        correct(client, 1, action, text)
        if action == "correct":
            assert "only with warm-up" in page(client)
            assert "pinned" in page(client)
    assert [one.action for one in Correction.objects.all()] == ["pin", "correct", "revoke", "restore"]
    assert Event.objects.filter(kind="memory.corrected", actor="user:rita").count() == 4
    assert "last corrected by rita" in page(client)


def test_a_correction_that_makes_no_sense_says_so(web: Client, demo: Experiment) -> None:
    for action in ("correct", "unpin", "obey"):
        correct(web, 1, action)
    assert not Correction.objects.exists()
    assert "an empty correction corrects nothing" in page(web)


def test_who_may_only_look_cannot_correct_or_switch(client: Client, demo: Experiment) -> None:
    client.force_login(cast.member("victor", demo, Role.VIEWER))
    text = page(client)
    assert "Correct…" not in text
    assert "Switch" not in text
    correct(client, 1, "pin", expect=403)
    assert client.post(reverse("memory_switch", args=["demo"]), {"mode": "off"}).status_code == 403


def test_to_a_stranger_the_memory_does_not_exist(client: Client, viewer: User, demo: Experiment) -> None:
    client.force_login(viewer)
    assert client.get(reverse("memory", args=["demo"])).status_code == 404
    correct(client, 1, "pin", expect=404)


def test_the_owner_switches_the_memory_and_the_summary_says_how_it_is(web: Client, demo: Experiment) -> None:
    web.post(reverse("memory_switch", args=["demo"]), {"mode": "frozen"})
    demo.refresh_from_db()
    assert demo.frozen_at is not None
    assert summary(demo)["memory"] == {"mode": "frozen", "frozen_at": demo.frozen_at.isoformat()}
    assert "Frozen" in page(web)
    web.post(reverse("memory_switch", args=["demo"]), {"mode": "nonsense"})
    web.post(reverse("memory_switch", args=["demo"]), {"mode": "off"})
    demo.refresh_from_db()
    assert demo.memory == MemoryMode.OFF
    assert "Switched off" in page(web)


def test_words_of_others_are_shown_as_text(web: Client, demo: Experiment) -> None:
    corrections.correct(
        demo.variants.get(number=1), CorrectionAction.CORRECT, actor="user:rita", text="<script>alert(1)</script>\u202e"
    )
    raw = web.get(reverse("memory", args=["demo"])).content.decode()
    assert "<script>alert" not in raw
    assert "\u202e" not in raw
