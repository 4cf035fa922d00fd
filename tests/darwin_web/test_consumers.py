"""The news socket: who may listen, and what is relayed."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from darwin_web.asgi import application
from evolution import live
from evolution.models import Experiment
from tests import cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def demo(owner: User) -> Experiment:
    return cast.experiment(owner=owner)


def headers(user: User | None, origin: str) -> list[tuple[bytes, bytes]]:
    found = [(b"host", b"localhost"), (b"origin", origin.encode())]
    if user is not None:
        client = Client()
        client.force_login(user)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        found.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()))
    return found


class Page:
    """The browser's end. (channels.testing has one, but it imports a server we don't use.)"""

    def __init__(self, path: str, found: list[tuple[bytes, bytes]]) -> None:
        scope = {"type": "websocket", "path": path, "headers": found, "query_string": b"", "subprotocols": []}
        self.wire = ApplicationCommunicator(application, scope)

    async def connects(self) -> bool:
        await self.wire.send_input({"type": "websocket.connect"})
        answer = await self.wire.receive_output(5)
        return bool(answer["type"] == "websocket.accept")

    async def frame(self) -> Any:
        return json.loads((await self.wire.receive_output(5))["text"])

    async def hears_nothing(self) -> bool:
        return bool(await self.wire.receive_nothing(0.4))


@asynccontextmanager
async def socket(
    path: str, user: User | None, *, origin: str = "http://localhost"
) -> AsyncIterator[tuple[Page, bool]]:
    page = Page(path, await sync_to_async(headers)(user, origin))
    connected = await page.connects()
    yield page, connected
    if connected:
        await page.wire.send_input({"type": "websocket.disconnect", "code": 1000})
        await page.wire.wait(5)


async def tell(experiment: Experiment, **message: object) -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(live.group(experiment.pk), {"type": "news", "experiment": experiment.pk, **message})


async def test_a_stranger_is_refused(demo: Experiment) -> None:
    async with socket("/ws/news/demo/", None) as (_, connected):
        assert not connected
    async with socket("/ws/news/", None) as (_, connected):
        assert not connected


async def test_another_origin_is_refused(demo: Experiment, owner: User) -> None:
    async with socket("/ws/news/demo/", owner, origin="http://evil.example") as (_, connected):
        assert not connected


async def test_a_hidden_experiment_is_refused(demo: Experiment, viewer: User) -> None:
    async with socket("/ws/news/demo/", viewer) as (_, connected):
        assert not connected


async def test_news_are_relayed_and_those_in_a_hurry_go_together(demo: Experiment, owner: User) -> None:
    async with socket("/ws/news/demo/", owner) as (page, connected):
        assert connected
        await tell(demo, event=3, kind="variant.moved", variant=1)
        assert await page.frame() == {
            "event": 3, "kinds": ["variant.moved"], "variants": [1], "experiments": [demo.pk],
        }
        await tell(demo, kind="points", trial=9)
        await tell(demo, event=4, kind="variant.moved", variant=2)
        await tell(demo, event=5, kind="variant.moved", variant=1)
        frame = await page.frame()
        assert frame == {
            "event": 5, "kinds": ["points", "variant.moved"], "variants": [1, 2], "trials": [9],
            "experiments": [demo.pk],
        }
        assert await page.hears_nothing()


async def test_the_overview_tells_people_only_what_they_may_see(demo: Experiment, viewer: User) -> None:
    async with socket("/ws/news/", viewer) as (page, connected):
        assert connected
        await tell(demo, event=1, kind="variant.moved", variant=1)
        assert await page.hears_nothing()
