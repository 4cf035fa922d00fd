"""One supervisor per var/: a file lock, which the kernel drops when its holder dies, and a note of who holds it."""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import IO, Any

from evolution.errors import BadInput

NAME = "supervisor.lock"
PATIENCE = 0.5  # seconds; somebody who only looks holds the lock for an instant


class AlreadyRunning(BadInput):
    """Another supervisor holds this var/."""


class Lock:
    """Held from `take` until `release` or the end of the process."""

    def __init__(self, var: Path) -> None:
        self.path = var / NAME
        self.file: IO[str] | None = None

    def take(self, *, address: str) -> None:
        """Take it and note `address`, where the web process answers (empty: no web process); or AlreadyRunning."""
        file = self.path.open("a+")
        deadline = time.monotonic() + PATIENCE
        while not _try(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                file.close()
                raise AlreadyRunning(_sentence(self.path))
            time.sleep(0.05)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "address": address}))
        file.flush()
        self.file = file

    def release(self) -> None:
        if self.file is not None:
            self.file.truncate(0)
            self.file.close()
            self.file = None


def running(var: Path) -> bool:
    """Whether a supervisor holds `var`, in this process or another."""
    try:
        file = (var / NAME).open()
    except FileNotFoundError:
        return False
    with file:
        return not _try(file, fcntl.LOCK_SH)


def note(var: Path) -> dict[str, Any]:
    """What the holder noted: pid and address; empty when there is none or it is just starting."""
    try:
        value = json.loads((var / NAME).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _try(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sentence(path: Path) -> str:
    holder = note(path.parent)
    who = f" (process {holder['pid']})" if holder.get("pid") else ""
    if holder.get("address"):
        return (
            f"DARWIN is running already{who} at {holder['address']}: open that address (manage.py link prints a link "
            f"that logs you in), stop it first, or set DARWIN_VAR to start another"
        )
    return (
        f"workers are running already{who} for {path.parent}: wait until they are done, or stop them, or set "
        f"DARWIN_VAR to start others"
    )
