"""The Celery application. Tasks only wake stations; every station finds its work in the rows."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "darwin_web.settings")

app = Celery("darwin")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["evolution", "review", "sandbox"])
