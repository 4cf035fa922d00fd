"""The only door to the channel layer and to the stations' bells. Both are hints: the rows are the truth."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync
from celery import current_app
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)

EVOLUTION = "evolution.station"
REVIEW = "review.station"
SANDBOX = "sandbox.station"

OVERVIEW = "overview"  # the group of pages that show every experiment


def group(experiment_id: int) -> str:
    return f"experiment.{experiment_id}"


def publish(experiment_id: int, **message: Any) -> None:
    """Tell every open page of the experiment, once this transaction is committed."""
    transaction.on_commit(partial(_send, experiment_id, message))


def wake(station: str, *, after: float = 0.0) -> None:
    """Ask `station` to look at its inbox `after` seconds from now, once this transaction is committed."""
    transaction.on_commit(partial(_ring, station, after))


def _send(experiment_id: int, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if layer is None or _nobody_listens():
        return
    for name in (group(experiment_id), OVERVIEW):
        try:
            async_to_sync(layer.group_send)(name, {"type": "news", "experiment": experiment_id, **message})
        except Exception as error:  # noqa: BLE001 a page that misses news reads it soon after; work must not stop for it
            log.warning("could not tell the pages of experiment %s: %s", experiment_id, error)


def _ring(station: str, after: float) -> None:
    if not settings.DARWIN_WAKE or _nobody_listens():
        return
    try:
        current_app.send_task(station, countdown=after or None, expires=after + 30, retry=False)
    except Exception as error:  # noqa: BLE001 every station also looks by itself every few seconds
        log.warning("could not wake %s: %s", station, error)


def _nobody_listens() -> bool:
    """Whether our own Redis is not running: then neither pages nor stations are there to hear anything."""
    own = settings.DARWIN_OWN_REDIS and "redis" in settings.CHANNEL_LAYERS["default"]["BACKEND"]
    return own and not Path(settings.REDIS_SOCKET).exists()
