"""The experiment page while a model is asked: its text grows, as text, in a place that does not move."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from evolution import spending, thoughts
from evolution.models import CallState
from evolution.spending import Asked, Used
from tests import cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def own_var(settings: Settings, tmp_path: Path) -> None:
    settings.DARWIN_VAR = tmp_path / "var"


def test_what_a_model_says_grows_as_text_and_moves_nothing(
    browser: Browser, live_server: LiveServer, client: Client
) -> None:
    olga = User.objects.create_superuser("olga", password="x")
    experiment = cast.experiment("demo", owner=olga, agent="openai")
    client.force_login(olga)
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/experiments/demo/")
    says, text = page.locator('[data-thought="says"]'), page.locator('[data-thought="text"]')
    expect(says).to_have_text("No model was asked yet")
    height = page.evaluate("document.getElementById('thought').offsetHeight")

    call = spending.reserve(Asked(experiment, None, experiment.baseline, "propose", "tiny", 1, 1, None))
    thought = thoughts.Thought(call, proposer=4)
    thought.begin()
    thought.hear("<b>bold</b>\n" * 50 + "first")
    thought.end()
    expect(says).to_have_text("a4 is thinking about v0", timeout=15_000)  # no socket here: the page polls
    expect(text).to_contain_text("<b>bold</b>")
    thought.hear(" and second")
    thought.end()
    expect(text).to_contain_text("first and second", timeout=15_000)
    spending.settle(call, Used(CallState.FAILED, error="tiny refused"))
    expect(page.locator("#thought")).to_have_attribute("data-state", "failed", timeout=15_000)
    assert page.evaluate("document.getElementById('thought').offsetHeight") == height
    context.close()
