"""The whole of DARWIN, started and stopped for real: in a var/ and on a port of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
PATIENCE = 60.0  # seconds until a wait is a failure; nothing takes that long


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def environment(var: Path, port: int) -> dict[str, str]:
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "darwin_web.settings", "DARWIN_VAR": str(var), "PORT": str(port),
            "HOST": "127.0.0.1", "DARWIN_DEMO": "0", "DATABASE_URL": "", "REDIS_URL": "",
            "OPENAI_API_KEY": "canary-key", "DOCKER_HOST": "unix:///nowhere/docker.sock"}


def manage(var: Path, port: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=environment(var, port),
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )


def processes(var: Path) -> dict[int, str]:
    """Every live process that was started for `var`: id and command line."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            about = (entry / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if command and (f"DARWIN_VAR={var}" in about or f"{var}/redis.sock" in command):
            found[int(entry.name)] = command
    return found


def of_kind(var: Path, kind: str) -> dict[int, str]:
    """The processes of `var` that lead their group and whose command line has `kind`."""
    return {pid: text for pid, text in processes(var).items() if kind in text and os.getpgid(pid) == pid}


@dataclass
class Darwin:
    var: Path
    port: int
    process: subprocess.Popen[str] = field(init=False)
    said: list[str] = field(default_factory=list)

    def start(self) -> "Darwin":
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=ROOT, env=environment(self.var, self.port), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if "DARWIN is ready" in line:
                return self
        raise AssertionError("".join(self.said))

    @property
    def link(self) -> str:
        match = re.search(r"DARWIN is ready: (http://\S+/login/[\w-]{43}/)", "".join(self.said))
        assert match, self.said
        return match[1]

    def is_at_work(self) -> bool:
        """Whether both workers have told their logs that they take work."""
        logs = [self.var / "log" / f"{name}.log" for name in ("agents", "sandbox")]
        return all(log.exists() and " ready." in log.read_text(errors="replace") for log in logs)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture
def darwin(tmp_path: Path) -> Iterator[Darwin]:
    one = Darwin(tmp_path / "var", free_port()).start()
    yield one
    if one.process.poll() is None:
        one.end(signal.SIGTERM)
    assert one.process.stdout is not None
    one.process.stdout.close()
    assert processes(one.var) == {}


def status_of(address: str) -> int:
    """The status of a first visit, before any redirect to the overview is judged."""
    opener = build_opener(HTTPCookieProcessor())
    try:
        with opener.open(address, timeout=20) as reply:
            return int(reply.status)
    except HTTPError as error:
        with error:
            return error.code


def test_a_start_gives_a_link_that_works_once_and_a_stop_leaves_nothing(darwin: Darwin) -> None:
    assert status_of(darwin.link) == 200
    assert status_of(darwin.link) == 410
    until(darwin.is_at_work)

    second = manage(darwin.var, darwin.port, "up")
    assert second.returncode == 2
    assert f"running already (process {darwin.process.pid}) at http://127.0.0.1:{darwin.port}" in second.stderr

    neighbour = manage(darwin.var.with_name("neighbour"), darwin.port, "up")
    assert neighbour.returncode == 2
    assert "cannot be listened on" in neighbour.stderr
    assert len(neighbour.stderr.splitlines()) == 1

    assert darwin.end(signal.SIGINT) == 130
    assert processes(darwin.var) == {}


def test_what_dies_is_started_again_and_nobody_knows_too_much(darwin: Darwin) -> None:
    until(darwin.is_at_work)
    known = (("uvicorn", False, False), ("--queues agents", True, False), ("--queues sandbox", False, True))
    for kind, keys, engine in known:
        (pid,) = of_kind(darwin.var, kind)
        about = Path(f"/proc/{pid}/environ").read_text()
        assert ("canary-key" in about, "DOCKER_HOST" in about) == (keys, engine), kind

    (killed,) = of_kind(darwin.var, "--queues agents")
    os.kill(killed, signal.SIGKILL)
    until(lambda: set(of_kind(darwin.var, "--queues agents")) - {killed})
    assert darwin.end(signal.SIGTERM) == 0


def test_nothing_outlives_a_killed_supervisor(darwin: Darwin) -> None:
    until(darwin.is_at_work)
    darwin.end(signal.SIGKILL)
    until(lambda: processes(darwin.var) == {})


def test_a_var_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file, not a directory")
    child = manage(tmp_path / "var", free_port(), "up")
    assert (child.returncode, len(child.stderr.splitlines())) == (4, 1)


def test_a_port_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "manage.py", "up"], cwd=ROOT, env={**environment(tmp_path / "var", 1), "PORT": "http"},
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )
    assert (child.returncode, len(child.stderr.splitlines())) == (2, 1)


def test_doctor_says_what_there_is_as_json(tmp_path: Path) -> None:
    child = manage(tmp_path / "var", free_port(), "doctor", "--json")
    report = json.loads(child.stdout)
    assert child.returncode == (0 if report["can_run"] else 4)
    names = {finding["name"] for finding in report["findings"]}
    assert {"Python", "Disk", "Database", "Redis", "Sandbox: docker", "GPU", "Model key", "Front end"} <= names
    assert "canary-key" not in child.stdout


def test_link_prints_an_address_even_when_nothing_runs(tmp_path: Path) -> None:
    port = free_port()
    child = manage(tmp_path / "var", port, "link")
    assert re.fullmatch(rf"http://127\.0\.0\.1:{port}/login/[\w-]{{43}}/\n", child.stdout)
    assert "not running" in child.stderr
