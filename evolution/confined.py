"""Parsing of untrusted code, in a child process with limits: 1,500 nested parentheses must not take a worker down.

Nothing here runs the code it reads. The child is `python -m evolution.syntax TASK`, JSON in, JSON out.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from evolution.errors import DarwinError

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 20
MEMORY_BYTES = 1 << 30


class Unparsable(DarwinError):
    """The code is no valid Python, or too large or too deep to be read within the limits."""


def confined(task: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Do `task` of `evolution.syntax` on `payload` in a limited child; Unparsable when it says so, or dies."""
    try:
        child = subprocess.run(
            [sys.executable, "-m", "evolution.syntax", task],
            input=json.dumps(payload).encode(), capture_output=True, timeout=SECONDS, cwd=ROOT,
            preexec_fn=_limit, check=False, env={"PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        )
    except subprocess.TimeoutExpired:
        raise Unparsable(f"reading the code took longer than {SECONDS} s: make it simpler") from None
    if child.returncode != 0:
        raise Unparsable("the code is too large or too deeply nested to be read: make it simpler")
    reply: dict[str, Any] = json.loads(child.stdout)
    if "unparsable" in reply:
        raise Unparsable(reply["unparsable"])
    return reply


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
