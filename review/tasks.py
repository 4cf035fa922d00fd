"""Wakes the station up; the rows are the queue."""

from celery import shared_task

from review import station as review_station


@shared_task(name="review.station")  # type: ignore[untyped-decorator]
def station() -> None:
    review_station.work()
