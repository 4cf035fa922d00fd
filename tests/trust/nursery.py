"""One sandbox for many honest trials: what a container would run is a child of a process that has imported torch.

Importing it takes most of the time of a trial this small. Trainings and judges share one container here and could look
into each other, so that no cheat is tried like this; server, scorer, client and limits are the product's.
"""

import atexit
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from sandbox import mounts
from sandbox.drivers.base import Box, Exit, Job, Limits, Mount, Usage
from tests.trust import trials
from trainer.contract import GENOME_DIR, HARNESS_DIR, SOCKET_PATH, WEIGHTS_DIR, receive, send

NURSERY = "/nursery"
MB = 1 << 20
LIMITS = Limits(memory_bytes=3072 * MB, pids=256, tmp_bytes=64 * MB, out_bytes=256 * MB, cache_bytes=16 * MB,
                cpus=1.0, wall_seconds=3600.0)

# Forks a child for each job, and says on request how it is.
SUPERVISOR = f"""
import importlib, os, resource, signal, socket, sys, traceback
import torch, torch._dynamo, numpy, safetensors.torch
from pathlib import Path
from trainer.contract import receive, send
from trainer.harness.inside import judge, run, train

line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
line.connect("{NURSERY}/control.sock")
children, over, used = {{}}, {{}}, {{}}

def start(name, module, environment):
    Path("/out", name).mkdir()
    pid = os.fork()
    if pid:
        children[name] = pid
        return
    code = 1
    try:
        line.close()
        log = os.open("/tmp/" + name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        os.environ.update(environment, DARWIN_OUT="/out/" + name)
        os.chdir(environment["DARWIN_GENOME"])
        code = importlib.import_module("trainer.harness.inside." + module).main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)

def look(name):
    if name not in over:
        pid, status, usage = os.wait4(children[name], os.WNOHANG)
        if pid:
            over[name] = os.waitstatus_to_exitcode(status)
            used[name] = usage.ru_utime + usage.ru_stime
        else:
            fields = Path("/proc", str(children[name]), "stat").read_text().rsplit(")", 1)[1].split()
            used[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    log = Path("/tmp", name)
    return {{"code": over.get(name), "cpu": used[name], "log": log.read_text()[-4000:] if log.exists() else ""}}

while True:
    asked, _ = receive(line)
    answer = {{}}
    if asked["op"] == "start":
        start(asked["name"], asked["module"], asked["environment"])
    elif asked["op"] == "kill" and asked["name"] not in over:
        os.kill(children[asked["name"]], signal.SIGKILL)
    if asked["op"] == "look":
        answer = look(asked["name"])
    send(line, answer)
"""


class Child:
    """One job in the nursery."""

    def __init__(self, job: Job, nursery: "Nursery") -> None:
        self.name = job.name
        self.labels: Mapping[str, str] = job.labels
        self._nursery = nursery

    def poll(self) -> Exit | None:
        code = self._look()["code"]
        return None if code is None else Exit(code if code >= 0 else 128 - code)

    def usage(self) -> Usage:
        return Usage(cpu_seconds=self._look()["cpu"], peak_memory_bytes=None)

    def log(self, limit: int = 8192) -> str:
        return str(self._look()["log"])[-limit:]

    def kill(self) -> None:
        while self.poll() is None:
            self._nursery.ask(op="kill", name=self.name)
            time.sleep(0.01)

    def remove(self) -> None:
        self.kill()
        self._nursery.children.pop(self.name, None)

    def _look(self) -> dict[str, Any]:
        return self._nursery.ask(op="look", name=self.name)


class Nursery:
    """A driver whose containers are children in one container."""

    name = "nursery"
    warning = ""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="darwin-nursery-")
        self.folder = Path(self._temporary.name)
        self.folder.chmod(0o755)
        self.children: dict[str, Child] = {}
        self._asking = threading.Lock()  # a text server reads its clock on a thread of its own
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(self.folder / "control.sock"))
            (self.folder / "control.sock").chmod(0o666)
            listening.listen()
            listening.settimeout(120)
            self._box = trials.driver().start(Job(
                name=f"darwin-nursery-{uuid.uuid4().hex[:12]}", command=("python", "-P", "-c", SUPERVISOR),
                mounts=(*mounts.harness(), Mount(self.folder, NURSERY)), limits=LIMITS,
                environment={"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"},
            ))
            self._line, _ = listening.accept()
        self._line.settimeout(120)

    def ask(self, **question: Any) -> dict[str, Any]:
        with self._asking:
            send(self._line, question)
            return receive(self._line)[0]

    def start(self, job: Job) -> Box:
        places = {GENOME_DIR: "DARWIN_GENOME", WEIGHTS_DIR: "DARWIN_WEIGHTS"}
        environment = dict(job.environment)
        for mount in job.mounts:
            if mount.target.startswith(HARNESS_DIR):
                continue
            inside = f"{NURSERY}/{mount.source.relative_to(self.folder)}"
            if mount.target == str(Path(SOCKET_PATH).parent):
                environment["DARWIN_SOCKET"] = f"{inside}/{Path(SOCKET_PATH).name}"
            else:
                environment[places[mount.target]] = inside
        self.ask(op="start", name=job.name, module=job.command[-1].rsplit(".", 1)[1], environment=environment)
        self.children[job.name] = Child(job, self)
        return self.children[job.name]

    def adopt(self, name: str) -> Box | None:
        return self.children.get(name)

    def check(self) -> None: ...

    def image(self) -> str:
        return trials.driver().image()

    def boxes(self) -> list[Box]:
        return list(self.children.values())

    def visible(self) -> AbstractContextManager[list[Path]]:
        """What its own driver shows is searched when that one is used."""
        return nullcontext([])

    def close(self) -> None:
        self._line.close()
        self._box.remove()
        self._temporary.cleanup()


@cache
def nursery() -> Nursery:
    """The one of this process."""
    made = Nursery()
    atexit.register(made.close)
    return made
