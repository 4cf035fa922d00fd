"""Celery's way in."""

from celery import shared_task

from sandbox import station


@shared_task(name="sandbox.station")  # type: ignore[untyped-decorator]
def look() -> None:
    station.look()
