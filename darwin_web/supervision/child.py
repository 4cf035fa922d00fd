"""One program that is kept running: its log, its end, its next start."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LEASH = Path(__file__).with_name("leash.py")
MAX_LOG_BYTES = 5 << 20
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0  # whoever lived that long starts again without a pause


@dataclass(frozen=True)
class Program:
    """What to run. `name` is its log's; `title` is what a person calls it."""

    name: str
    title: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


class Child:
    """One program under supervision. Its process leads a group of its own, so that a terminal's Ctrl-C, which goes to
    the whole foreground group, reaches only the supervisor."""

    def __init__(self, program: Program, *, logs: Path) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.not_before = 0.0  # monotonic; when it may start again
        self.pause = 0.5

    def start(self) -> None:
        leash = (sys.executable, "-I", "-S", str(LEASH), str(os.getpid()))
        with self._open_log() as log:
            self.process = subprocess.Popen(
                (*leash, *self.program.command), cwd=self.program.folder, env=dict(self.program.environment),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, process_group=0,
            )
        self.started_at = time.monotonic()

    def ended(self) -> int | None:
        """Its exit code (negative: a signal's number) once it has ended."""
        return self.process.poll() if self.process else None

    def buried(self) -> float:
        """Forget the process that ended, take whatever is left of its group along, and say how long to wait (s)."""
        self.signal(signal.SIGKILL)
        self.process = None
        if time.monotonic() - self.started_at > STEADY_SECONDS:
            self.pause = 0.5
        pause, self.pause = self.pause, min(self.pause * 2, LONGEST_PAUSE)
        self.not_before = time.monotonic() + pause
        return pause

    def is_due(self) -> bool:
        return self.process is None and time.monotonic() >= self.not_before

    def signal(self, number: signal.Signals) -> None:
        """Send `number` to the process (SIGKILL: to its whole group); harmless when it is over."""
        if self.process is None:
            return
        try:
            if number is signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)
        except (ProcessLookupError, PermissionError):
            return

    def wait(self, deadline: float) -> bool:
        """Wait until it ends or monotonic `deadline` passes; whether it ended."""
        if self.process is None:
            return True
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_line(self) -> str:
        """What it said last."""
        if not self.log.exists():
            return ""
        lines = self.log.read_bytes()[-4096:].decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _open_log(self) -> IO[bytes]:
        if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        return self.log.open("ab")
