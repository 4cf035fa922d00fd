"""What this machine has, and what to do about what is missing."""

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection

from darwin_web.supervision import readiness
from darwin_web.supervision.lock import note, running
from evolution.agents import providers
from evolution.errors import BadInput
from sandbox.readiness import drivers

SAFE_SQLITE = (3, 51, 3)
LEAST_PYTHON = (3, 11)
LEAST_MEMORY = 4 << 30
GB = 1 << 30


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, with something to know
    ABSENT = "absent"  # not needed to run
    BROKEN = "broken"  # DARWIN cannot run like this


@dataclass(frozen=True)
class Finding:
    name: str
    state: State
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Everything, in the order in which a person would look."""
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python, _processor, _memory, _disk, _sqlite, _database, _redis, _supervisor, _sandboxes, _gpu, _key,
        _providers, _bundle,
    )
    return [finding for look in looks for finding in look()]


def can_run(findings: list[Finding]) -> bool:
    return all(finding.state is not State.BROKEN for finding in findings)


def _python() -> Iterator[Finding]:
    good = sys.version_info >= LEAST_PYTHON
    yield Finding("Python", State.OK if good else State.BROKEN, platform.python_version(),
                  "" if good else "install Python 3.11 or later and run make setup PYTHON=python3.11")


def _processor() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("CPU", State.OK if cores > 1 else State.WARNING, f"{cores} core{'s' if cores > 1 else ''}",
                  "" if cores > 1 else "pages will be slow while a variant trains: give DARWIN two cores or more")


def _memory() -> Iterator[Finding]:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("Memory", State.OK if size >= LEAST_MEMORY else State.WARNING, f"{size / GB:.1f} GB",
                  "" if size >= LEAST_MEMORY else "a training may be stopped for lack of memory: 4 GB are comfortable")


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(settings.DARWIN_VAR).free
    found = f"{free / GB:.1f} GB free in {settings.DARWIN_VAR}"
    if free < readiness.LEAST_FREE_BYTES:
        yield Finding("Disk", State.BROKEN, found, "make room, or set DARWIN_VAR to a directory on another disk")
    elif free < 5 * GB:
        yield Finding("Disk", State.WARNING, found, "make room before a long experiment: survivors keep their weights")
    else:
        yield Finding("Disk", State.OK, found)


def _sqlite() -> Iterator[Finding]:
    if connection.vendor != "sqlite":
        return
    good = sqlite3.sqlite_version_info >= SAFE_SQLITE
    yield Finding("SQLite", State.OK if good else State.WARNING, sqlite3.sqlite_version, "" if good else (
        "before 3.51.3 a rare race of several writers can damage the write-ahead log: back up var/, or use "
        "PostgreSQL (DATABASE_URL)"
    ))


def _database() -> Iterator[Finding]:
    try:
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        yield Finding("Database", State.BROKEN, " ".join(str(error).split()),
                      "start the server that DATABASE_URL names, or unset DATABASE_URL to use SQLite")
    else:
        yield Finding("Database", State.OK, f"{connection.display_name} answers")


def _redis() -> Iterator[Finding]:
    if not settings.DARWIN_OWN_REDIS:
        answers = readiness.redis_answers()
        yield Finding("Redis", State.OK if answers else State.BROKEN,
                      "REDIS_URL answers" if answers else "REDIS_URL does not answer",
                      "" if answers else "start it, or unset REDIS_URL to use DARWIN's own")
    elif running(settings.DARWIN_VAR):
        yield Finding("Redis", State.OK, "DARWIN's own, " + ("answers" if readiness.redis_answers() else "starting"))
    else:
        yield Finding("Redis", State.OK, "DARWIN's own, started with the rest")


def _supervisor() -> Iterator[Finding]:
    if running(settings.DARWIN_VAR):
        holder = note(settings.DARWIN_VAR)
        yield Finding("DARWIN", State.OK, f"running (process {holder.get('pid')}) {holder.get('address', '')}".strip())
    else:
        yield Finding("DARWIN", State.ABSENT, "not running", "make run starts it")


def _sandboxes() -> Iterator[Finding]:
    states = drivers()
    for driver in states:
        if not driver.usable:
            yield Finding(f"Sandbox: {driver.name}", State.ABSENT, "not usable", driver.reason)
        else:
            yield Finding(f"Sandbox: {driver.name}", State.WARNING if driver.warning else State.OK,
                          driver.reason or "usable", driver.warning)
    if not any(driver.usable for driver in states):
        yield Finding("Sandbox", State.BROKEN, "none usable", "install Docker Engine (or bubblewrap) and start it: no "
                      "variant ever runs outside a sandbox")


def _gpu() -> Iterator[Finding]:
    names = _gpus()
    if names:
        yield Finding("GPU", State.OK, ", ".join(names))
    else:
        yield Finding("GPU", State.ABSENT, "none",
                      "variants train on the CPU; for GPUs install NVIDIA's driver and its container toolkit")


def _gpus() -> list[str]:
    if not shutil.which("nvidia-smi"):
        return []
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=False,
        )
    except subprocess.TimeoutExpired:
        return []
    return asked.stdout.split("\n")[:-1] if asked.returncode == 0 else []


def _key() -> Iterator[Finding]:
    if os.environ.get("OPENAI_API_KEY"):
        where = " (OPENAI_BASE_URL is set)" if os.environ.get("OPENAI_BASE_URL") else ""
        yield Finding("Model key", State.OK, f"OPENAI_API_KEY is set{where}")
    else:
        yield Finding("Model key", State.ABSENT, "no OPENAI_API_KEY", "the built-in operators need none; set it, with "
                      "OPENAI_BASE_URL and DARWIN_MODEL, to let a language model propose")


def _providers() -> Iterator[Finding]:
    try:
        found = providers.listed()
    except BadInput as error:
        yield Finding("Providers", State.BROKEN, "DARWIN_PROVIDERS cannot be used", str(error))
        return
    for one in found.values():
        ready = not one.key_env or bool(os.environ.get(one.key_env))
        where = f"{one.model} at {one.base_url or 'OpenAI'}"
        yield Finding(f"Provider: {one.name}", State.OK if ready else State.WARNING, where,
                      "" if ready else f"set {one.key_env}, or no strategy can ask it")


def _bundle() -> Iterator[Finding]:
    built = any((Path(settings.BASE_DIR) / "static" / "dist").glob("*.js"))
    yield Finding("Front end", State.OK if built else State.BROKEN, "built" if built else "not built",
                  "" if built else "run make setup")
