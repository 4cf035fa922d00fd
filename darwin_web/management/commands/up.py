"""Everything at once: web, workers and Redis under one supervisor."""

import signal
from types import FrameType
from typing import Any, NoReturn

from django.urls import reverse

from darwin_web import demo
from darwin_web.accounts import links
from darwin_web.management.base import Code, DarwinCommand
from darwin_web.supervision import readiness
from darwin_web.supervisor import Supervisor


class Command(DarwinCommand):
    help = (
        "Start DARWIN: the web pages, two workers and, unless REDIS_URL is set, a Redis of its own.\n"
        "Ctrl-C stops all of it. HOST, PORT and DARWIN_VAR come from the environment."
    )
    examples = ("manage.py up", "PORT=8080 DARWIN_VAR=/data/darwin manage.py up")
    codes = (Code.DONE, Code.BAD_INPUT, Code.INFRASTRUCTURE, Code.INTERRUPTED)
    meaning = {
        Code.DONE: "stopped by SIGTERM",
        Code.BAD_INPUT: "the port is taken, or DARWIN is running already",
        Code.INTERRUPTED: "stopped by Ctrl-C",
    }
    migrates = False  # the supervisor does it, once it knows that it may

    def handle(self, *args: Any, **options: Any) -> None:
        # Started by a script in the background we would inherit an ignored SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _leave)
        with Supervisor(web=True, workers=True, say=self._say) as supervisor:
            demo.plant(links.owner(), say=self._say)
            link = reverse("login_link", args=[links.make(links.owner())])
            self._say(f"DARWIN is ready: {readiness.address()}{link}")
            self._say("The link works once; manage.py link prints another. Ctrl-C stops DARWIN.")
            supervisor.wait()

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(Code.DONE)
