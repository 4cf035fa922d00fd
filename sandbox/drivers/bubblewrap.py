"""The driver without an engine: one bubblewrap process per container, a child of ours that dies with us.

Started as root it needs no user namespace, and the first process drops to uid 10001; started by an ordinary user it
makes one, in which 10001 is that user. Memory, processes and CPU are held by a control group where this process may
make one, else by rlimits per process and by looking at the sum twenty times a second.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sandbox import limits
from sandbox.drivers import cgroups, seccomp
from sandbox.drivers.base import Box, Exit, Job, Limits, Mount, SandboxError, SandboxUnavailable, Usage
from sandbox.drivers.host import HOME, PYTHONPATH, interpreter

FIRST = Mount(Path(__file__).with_name("first.py"), f"{HOME}/first.py")
RING_BYTES = 64 << 10
FREE_OUTPUT_BYTES = 16 << 20  # what is printed beyond this is read slowly, and the writer waits
TICK_SECONDS = 0.25
SHORT_TICK_SECONDS = 0.05  # without a control group, what is not looked at is not counted
KILLED = 128 + signal.SIGKILL
KEEPS_NOT = "bubblewrap, not Docker: /tmp is not noexec, there are no GPUs, and a training ends with the worker"
NO_GROUP = "no control group can be made here, so memory and CPU time are held and counted by looking"


class BubblewrapBox:
    """A running bwrap, and the thread that starts it, reads what it prints and waits for it.

    bwrap dies with the *thread* that started it (PR_SET_PDEATHSIG), so that thread lives exactly as long.
    """

    def __init__(self, job: Job, labels: Mapping[str, str], group: cgroups.Group | None) -> None:
        self.name, self.labels = job.name, labels
        self._job, self._group = job, group
        self._ring, self._printed = bytearray(), 0
        self._usage = Usage(cpu_seconds=0.0, peak_memory_bytes=None)
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0  # the host's pid of the container's pid 1
        self._killed = self._too_much_memory = False
        self._exit: Exit | None = None
        self._error: Exception | None = None
        self._started, self._ended = threading.Event(), threading.Event()

    def begin(self) -> None:
        """Start it and return once it runs; SandboxError when bwrap cannot be started."""
        threading.Thread(target=self._live, name=f"bwrap {self.name}", daemon=True).start()
        self._started.wait()
        if self._error is not None:
            raise SandboxError(f"bwrap could not be started: {self._error}") from self._error

    def poll(self) -> Exit | None:
        if self._ended.is_set() and self._error is not None:
            raise SandboxError(str(self._error)) from self._error
        return self._exit

    def usage(self) -> Usage:
        if not self._ended.is_set():
            self._measure()
        return self._usage

    def log(self, limit: int = 8192) -> str:
        return bytes(self._ring)[-limit:].decode(errors="replace")

    def kill(self) -> None:
        if self._ended.is_set():
            return
        self._killed = True
        # The end of its pid 1 is the end of every process in a pid namespace.
        for pid in (self._first, self._process.pid if self._process else 0):
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if not self._ended.wait(30):
            raise SandboxError(f"the container {self.name} does not die: look at its processes with ps")

    def remove(self) -> None:
        self.kill()
        if self._group:
            self._group.remove()

    def _live(self) -> None:
        try:
            with self._bwrap() as (process, status):
                self._read(process)
                self._finish(process, status)
        except Exception as error:  # noqa: BLE001 a thread has no caller: poll() and begin() raise it
            self._error = error
        finally:
            self._started.set()
            self._ended.set()

    @contextlib.contextmanager
    def _bwrap(self) -> Iterator[tuple[subprocess.Popen[bytes], BinaryIO]]:
        with contextlib.ExitStack() as stack:
            status, status_in = (stack.enter_context(end) for end in _pipe())
            gate, gate_in = (stack.enter_context(end) for end in _pipe())
            calls = stack.enter_context(tempfile.TemporaryFile())
            calls.write(seccomp.program())
            calls.seek(0)
            command = arguments(
                self._job, status=status_in.fileno(), gate=gate.fileno(), calls=calls.fileno(),
                grouped=self._group is not None,
            )
            process = stack.enter_context(subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={},
                pass_fds=(status_in.fileno(), gate.fileno(), calls.fileno()), cwd="/", start_new_session=True,
            ))
            self._process = process
            stack.callback(process.kill)  # whatever goes wrong on our side
            status_in.close()
            gate.close()
            first = status.readline()  # {"child-pid": N}; it waits at the gate
            if first:
                self._first = int(json.loads(first)["child-pid"])
                if self._group:
                    self._group.add(self._first)
            gate_in.close()
            self._started.set()
            yield process, status

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 for mypy: it is a pipe
        output = process.stdout.fileno()
        tick = TICK_SECONDS if self._group else SHORT_TICK_SECONDS
        looked = 0.0
        while True:
            if select.select([output], [], [], tick)[0]:
                chunk = os.read(output, RING_BYTES)
                if not chunk:
                    return
                self._keep(chunk)
            if time.monotonic() - looked >= tick:
                looked = time.monotonic()
                self._look()

    def _keep(self, chunk: bytes) -> None:
        self._printed += len(chunk)
        self._ring = (self._ring + chunk)[-RING_BYTES:]
        if self._printed > FREE_OUTPUT_BYTES:
            time.sleep(0.05)

    def _look(self) -> None:
        self._measure()
        if self._group is None and (self._usage.peak_memory_bytes or 0) > self._job.limits.memory_bytes:
            self._too_much_memory = True
        if self._too_much_memory or limits.overdue(self.labels, now=time.time()):
            self._killed = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._first, signal.SIGKILL)

    def _measure(self) -> None:
        if self._group:
            seconds, peak = self._group.cpu_seconds(), self._group.peak_memory()
        else:
            seconds, peak = of_tree(self._first)
        old = self._usage
        self._usage = Usage(max(old.cpu_seconds, seconds or 0.0), max(old.peak_memory_bytes or 0, peak or 0) or None)

    def _finish(self, process: subprocess.Popen[bytes], status: BinaryIO) -> None:
        process.wait()
        self._measure()
        ended = [json.loads(line) for line in status]
        code = next((one["exit-code"] for one in ended if "exit-code" in one), KILLED if self._killed else None)
        if code is None:
            raise SandboxError(f"bwrap ended before the command did: {self.log(400).strip() or process.returncode}")
        killed_by_kernel = self._group is not None and self._group.oom_kills() > 0
        self._exit = Exit(code, out_of_memory=code != 0 and (killed_by_kernel or self._too_much_memory))


class Bubblewrap:
    """A Driver; see sandbox.drivers.base."""

    name = "bubblewrap"

    def __init__(self) -> None:
        self._boxes: dict[str, BubblewrapBox] = {}

    @property
    def warning(self) -> str:
        return KEEPS_NOT if self._group(f"probe-{os.getpid()}", Limits(), keep=False) else f"{KEEPS_NOT}; {NO_GROUP}"

    def check(self) -> None:
        if shutil.which("bwrap") is None:
            raise SandboxUnavailable("bwrap is not installed: install the package bubblewrap, or Docker")
        cgroups.clean(f"darwin-{limits.installation()}-")
        box = self.start(Job(f"check-{os.getpid()}-{threading.get_ident()}", ("python", "-c", ""), ()))
        try:
            while (exit_ := box.poll()) is None:
                time.sleep(0.01)
            if exit_.code != 0:
                raise SandboxUnavailable(f"Python does not run inside bwrap: {box.log(400).strip()}")
        except SandboxUnavailable:
            raise
        except SandboxError as error:
            raise SandboxUnavailable(f"{error}: allow user namespaces, or use Docker") from error
        finally:
            box.remove()

    def image(self) -> str:
        return interpreter().identity

    def start(self, job: Job) -> Box:
        if job.gpu:
            raise SandboxUnavailable("the bubblewrap driver has no GPUs: use Docker")
        for mount in job.mounts:
            if not mount.source.exists():
                raise SandboxError(f"{mount.source} does not exist, so {mount.target} cannot be mounted")
        if job.name in self._boxes:
            raise SandboxError(f"a container named {job.name} exists already: remove it first")
        interpreter()  # what it refuses is said as it is
        box = _Kept(job, limits.labels(job), self._group(job.name, job.limits), self._boxes)
        try:
            box.begin()
        except SandboxError:
            box.remove()
            raise
        return box

    def adopt(self, name: str) -> Box | None:
        return self._boxes.get(name)  # of this process; nobody else's outlived its starter

    def boxes(self) -> list[Box]:
        return list(self._boxes.values())

    def visible(self) -> AbstractContextManager[list[Path]]:
        return nullcontext([*interpreter().readable, FIRST.source])

    def _group(self, name: str, wanted: Limits, *, keep: bool = True) -> cgroups.Group | None:
        try:
            group = cgroups.make(f"darwin-{limits.installation()}-{name}", wanted)
        except OSError:  # not ours to make: rlimits must do
            return None
        if not keep:
            group.remove()
        return group


class _Kept(BubblewrapBox):
    """A box that is in its driver's list until it is removed."""

    def __init__(
        self, job: Job, labels: Mapping[str, str], group: cgroups.Group | None, kept: dict[str, BubblewrapBox]
    ) -> None:
        super().__init__(job, labels, group)
        self._kept = kept
        kept[job.name] = self

    def remove(self) -> None:
        super().remove()
        self._kept.pop(self.name, None)


def arguments(job: Job, *, status: int, gate: int, calls: int, grouped: bool) -> list[str]:
    """bwrap's command line. `status`, `gate` and `calls` are file descriptors it inherits; `grouped`: by a Group."""
    words = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if os.getuid() == 0:  # the first process needs these two to become nobody, and loses them with that
        words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        words += ["--unshare-user", "--uid", str(limits.UID), "--gid", str(limits.GID), "--disable-userns"]
        words += ["--cap-drop", "ALL"]
    words += ["--die-with-parent", "--new-session", "--hostname", "darwin", "--clearenv"]
    for name, value in (limits.ENVIRONMENT | {"PYTHONPATH": PYTHONPATH, "PATH": f"{HOME}/bin"} | dict(
        job.environment)).items():
        words += ["--setenv", name, value]
    words += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", *_areas(job.limits)]
    mounts = (*interpreter().mounts, FIRST, *job.mounts)
    for folder in _folders(mount.target for mount in mounts):  # left to itself bwrap makes them 0700, for root
        words += ["--perms", "0755", "--dir", folder]
    for mount in mounts:
        words += ["--ro-bind", str(mount.source.resolve()), mount.target]
    words += ["--remount-ro", "/", "--chdir", limits.workdir(job)]
    words += ["--seccomp", str(calls), "--json-status-fd", str(status), "--block-fd", str(gate)]
    return [*words, "--", interpreter().python, "-I", "-S", FIRST.target, _order(job, grouped)]


def _folders(targets: Iterable[str]) -> list[str]:
    """Every directory above a target that no mount brings, outermost first."""
    mounted = {PurePosixPath(target) for target in targets}
    above = {folder for target in mounted for folder in target.parents if folder.name}
    return [str(folder) for folder in sorted(above) if mounted.isdisjoint((folder, *folder.parents))]


def _areas(wanted: Limits) -> list[str]:
    sizes = {
        "/tmp": wanted.tmp_bytes, "/out": wanted.out_bytes, "/cache": wanted.cache_bytes,  # noqa: S108 inside
        "/dev/shm": limits.SHM_BYTES,  # noqa: S108 inside
    }
    # As root they belong to root, and the only user inside is 10001.
    mode = "0777" if os.getuid() == 0 else "0700"
    return [word for path, size in sizes.items() for word in ("--perms", mode, "--size", str(size), "--tmpfs", path)]


def _order(job: Job, grouped: bool) -> str:
    command = (interpreter().python, *job.command[1:]) if job.command[0] == "python" else job.command
    held = limits.ulimits(job.limits)
    if not grouped:  # the sum is looked at; this bounds what one process can take between two looks
        held |= {"nproc": job.limits.pids, "data": 4 * job.limits.memory_bytes}
    return json.dumps({"uid": limits.UID, "oom_score": limits.OOM_SCORE, "limits": held, "command": command})


def of_tree(pid: int) -> tuple[float, int]:
    """CPU seconds and resident bytes of `pid` and everything below it, now; what ended counts for its parent."""
    ticks, pages, queue = 0, 0, [pid]
    while queue:
        folder = Path(f"/proc/{queue.pop()}")
        with contextlib.suppress(OSError):  # it ended meanwhile
            ticks += sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:15]))
            pages += int((folder / "statm").read_text().split()[1])
            for thread in (folder / "task").iterdir():
                queue += map(int, (thread / "children").read_text().split())
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb"), os.fdopen(writer, "wb")
