"""The composition root: settings, urls, start-up, and the pages that show several stations."""

from darwin_web.celery import app as celery_app

__all__ = ["celery_app"]
