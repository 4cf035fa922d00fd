"""Celery's way in."""

from celery import shared_task

from sandbox import station


@shared_task(name="sandbox.station")
def look() -> None:
    station.look()
