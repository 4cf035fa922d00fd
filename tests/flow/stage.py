"""A DARWIN of its own for tests that run the product as its users do: commands in subprocesses, a var/ apart."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests import cast

ROOT = Path(__file__).resolve().parent.parent.parent
T = TypeVar("T")

FASTER = b"learning_rate = 3.0"
RATE = b"learning_rate = 1.0"


def reply(title: str, *edits: Mapping[str, str]) -> str:
    """One line of a replay file: what a language model would have answered."""
    answer = {"hypothesis": title, "rationale": "for the test", "expected": "lower perplexity", "edits": list(edits)}
    return json.dumps({"response": json.dumps(answer)})


def edit(search: str, replace: str, path: str = "train.py") -> dict[str, str]:
    return {"path": path, "search": search, "replace": replace}


@dataclass
class Stage:
    """A var/ and the commands that work in it."""

    var: Path
    environment: dict[str, str] = field(default_factory=dict)

    def env(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if name not in ("DJANGO_SETTINGS_MODULE",)}
        return {**clean, "DARWIN_VAR": str(self.var), **self.environment}

    def manage(self, *words: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *words], cwd=ROOT, env=self.env(), capture_output=True, text=True,
            timeout=timeout, check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "manage.py", *words], cwd=ROOT, env=self.env(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )

    def genome(self, **files: bytes) -> Path:
        return cast.genome(self.var / "given" / "tiny", **files)

    def replies(self, *lines: str) -> Path:
        path = self.var / "given" / "replies.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line + "\n" for line in lines))
        return path


@dataclass
class Running:
    """`manage.py up` in a stage, from its first line to its link."""

    stage: Stage
    port: int
    process: subprocess.Popen[str]
    link: str

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)
        return self.process.returncode


def up(stage: Stage) -> Running:
    """Start everything in `stage` and wait for the line with the link."""
    port = free_port()
    stage.environment.update(PORT=str(port), HOST="127.0.0.1")
    process = stage.start("up")
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line)
        if link := re.search(r"http://\S+/login/\S+", line):
            return Running(stage, port, process, link.group())
    raise AssertionError(f"no link was printed: {''.join(seen)}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(look: Callable[[], T | None], *, seconds: float = 120, what: str = "it") -> T:
    """What `look` returns once it is truthy; a generous limit, so that a slow machine is no failure."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} did not happen within {seconds:.0f} s")


def last_object(output: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return told
