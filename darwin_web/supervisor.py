"""Starts DARWIN's parts, keeps them running, and stops them: one supervisor per var/.

    with Supervisor(web=False, workers=True):
        ...  # stations are at work
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from django.conf import settings
from django.db import connection

from darwin_web.management.base import migrate
from darwin_web.supervision import programs, readiness
from darwin_web.supervision.child import Child, Program
from darwin_web.supervision.lock import AlreadyRunning, Lock, running
from evolution.errors import Infrastructure
from sandbox.station import stop_runners

__all__ = ["AlreadyRunning", "Supervisor", "running"]

START_SECONDS = 60.0
STOP_SECONDS = 12.0
LOOK_SECONDS = 0.2


def _quiet(_: str) -> None:
    pass


class Supervisor:
    """Web (if `web`), the two workers (if `workers`) and, unless REDIS_URL is set, a Redis of its own."""

    def __init__(self, *, web: bool, workers: bool, say: Callable[[str], None] = _quiet) -> None:
        self.web = web
        self.workers = workers
        self.say = say
        self.var = Path(settings.DARWIN_VAR)
        self.lock = Lock(self.var)
        self.children: list[Child] = []
        self.stopping = threading.Event()
        self.watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and return once it answers.

        Raises AlreadyRunning when another supervisor has this var/, BadInput when the port is taken (nothing was
        started then), Infrastructure when the disk is full or a part does not come up (all is stopped then).
        """
        readiness.check_room(self.var)
        self.lock.take(address=readiness.address() if self.web else "")
        try:
            if self.web:
                readiness.check_port(settings.HOST, settings.PORT)
            self.say("Preparing the database")
            migrate()
            connection.close()  # the parts have their own
            self._start_all()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything that was started: ask, wait, kill. Redis goes last, since the others need it to leave."""
        with _undisturbed():
            if self.is_running():
                self.say("Stopping DARWIN")
            self.stopping.set()
            if self.watcher:
                self.watcher.join()
            _end([child for child in self.children if child.program.name != "redis"])
            if self.watcher and self.workers:
                stop_runners()  # they are detached on purpose: only a clean stop ends them
            _end(self.children)
            self.children.clear()
            self.lock.release()

    def is_running(self) -> bool:
        return bool(self.children) and not self.stopping.is_set()

    def wait(self) -> None:
        """Until somebody stops it."""
        self.stopping.wait()

    def _start_all(self) -> None:
        self.say(f"Starting DARWIN; its logs are in {self.var / 'log'}")
        self._start_redis()
        if self.web:
            self._start(programs.web())
        if self.workers:
            self._start(programs.agents())
            self._start(programs.sandbox())
        self.watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self.watcher.start()
        if self.web and not readiness.until(lambda: readiness.web_answers() or self._gave_up(), seconds=START_SECONDS):
            raise self._not_up("web")
        if self._gave_up():
            raise self._not_up("web")

    def _start_redis(self) -> None:
        if settings.DARWIN_OWN_REDIS:
            readiness.shut_down_stray_redis()
            self._start(programs.redis())
            if not readiness.until(readiness.redis_answers, seconds=10):
                raise self._not_up("redis")
        elif not readiness.redis_answers():
            raise Infrastructure("no Redis answers at REDIS_URL: start it, or unset REDIS_URL to use DARWIN's own")

    def _start(self, program: Program) -> None:
        logs = self.var / "log"
        logs.mkdir(exist_ok=True)
        child = Child(program, logs=logs)
        self.children.append(child)
        child.start()

    def _gave_up(self) -> bool:
        """Whether the web process keeps ending before it ever answered."""
        return any(child.program.name == "web" and child.pause > 2.0 for child in self.children)

    def _not_up(self, name: str) -> Infrastructure:
        child = next(child for child in self.children if child.program.name == name)
        return Infrastructure(f"{child.program.title} does not start ({child.last_line()}): {child.log} says more")

    def _watch(self) -> None:
        while not self.stopping.wait(LOOK_SECONDS):
            for child in self.children:
                self._look_after(child)

    def _look_after(self, child: Child) -> None:
        code = child.ended()
        if code is not None:
            pause = child.buried()
            self.say(
                f"{_capital(child.program.title)} ended ({_how(code)}); it starts again in {pause:.0f} s. "
                f"Its log: {child.log}"
            )
        elif child.is_due():
            child.start()


def _end(children: list[Child]) -> None:
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        child.wait(deadline)
        child.signal(signal.SIGKILL)  # the rest of its group, too
        child.wait(time.monotonic() + 5)


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C leave half of the parts behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ignore(number: int, frame: FrameType | None) -> None:
        pass

    old = {number: signal.signal(number, ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
