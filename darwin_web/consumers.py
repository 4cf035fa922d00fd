"""News for open pages: join a group, relay, leave. What happened is read over HTTP; a lost message costs seconds."""

import asyncio
from collections.abc import Sequence
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth.models import AbstractBaseUser

from evolution import live
from evolution.rights import visible_to

PAUSE = 0.25  # seconds between two frames to one page


class News(AsyncJsonWebsocketConsumer):
    """Relays one frame {"event", "kinds", "variants", "trials", "experiments"} at most every PAUSE seconds."""

    joined: Sequence[str] = ()

    async def connect(self) -> None:
        self.pending: dict[str, set[Any]] = {}
        self.event = 0
        self.flushing: asyncio.Task[None] | None = None
        found = await self._groups()
        if found is None:
            await self.close()  # before accept: the handshake is answered with 403
            return
        self.joined = found
        for group in found:
            await self.channel_layer.group_add(group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        for group in self.joined:
            await self.channel_layer.group_discard(group, self.channel_name)
        if self.flushing is not None:
            self.flushing.cancel()

    async def receive_json(self, content: Any, **_: Any) -> None:
        """Pages have nothing to say here."""

    async def news(self, message: dict[str, Any]) -> None:
        """Called by the channel layer for every {"type": "news"} of evolution.live.publish."""
        self.event = max(self.event, message.get("event") or 0)
        for plural, name in (
            ("kinds", "kind"), ("variants", "variant"), ("trials", "trial"), ("experiments", "experiment"),
        ):
            if message.get(name) is not None:
                self.pending.setdefault(plural, set()).add(message[name])
        if self.flushing is None or self.flushing.done():
            self.flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        """Send at once, then keep quiet for PAUSE; what came meanwhile goes out together."""
        while self.pending:
            frame = {name: sorted(values) for name, values in self.pending.items()}
            self.pending = {}
            await self.send_json({"event": self.event, **frame})
            await asyncio.sleep(PAUSE)

    async def _groups(self) -> list[str] | None:
        """The groups of the address, None for a stranger. Who may not see everything joins what they may see."""
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            return None
        slug = self.scope["url_route"]["kwargs"].get("slug")
        if slug is None and user.is_superuser:
            return [live.OVERVIEW]
        found = await _visible(user, slug)
        return [live.group(pk) for pk in found] if found or slug is None else None


@database_sync_to_async
def _visible(user: AbstractBaseUser, slug: str | None) -> list[int]:
    experiments = visible_to(user) if slug is None else visible_to(user).filter(slug=slug)
    return list(experiments.values_list("pk", flat=True))
