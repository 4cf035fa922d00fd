"""Thin Celery wrappers."""

from celery import shared_task

from evolution import station


@shared_task(name="evolution.station")  # type: ignore[untyped-decorator]
def look() -> None:
    station.look()
