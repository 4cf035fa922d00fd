"""Control groups, v1 and v2: made here for bubblewrap, made by the engine for Docker, read here for both.

A `Group` is one directory per controller (the same one for all of them in v2). What a file is called tells the version.
"""

import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.drivers.base import Limits

CONTROLLERS = ("cpu", "cpuacct", "memory", "pids")
PERIOD_US = 100_000
STALE_SECONDS = 60.0


@dataclass(frozen=True)
class Group:
    folders: Mapping[str, Path]

    def cpu_seconds(self) -> float | None:
        """CPU time of all processes that were ever in it."""
        if (text := _text(self.folders.get("cpuacct"), "cpuacct.usage")) is not None:
            return int(text) / 1e9
        usage = _fields(_text(self.folders.get("cpu"), "cpu.stat")).get("usage_usec")
        return None if usage is None else usage / 1e6

    def peak_memory(self) -> int | None:
        memory = self.folders.get("memory")
        text = _text(memory, "memory.max_usage_in_bytes") or _text(memory, "memory.peak")
        return None if text is None else int(text)

    def oom_kills(self) -> int:
        """How many of its processes the kernel killed because the memory limit was reached."""
        memory = self.folders.get("memory")
        text = _text(memory, "memory.oom_control") or _text(memory, "memory.events")
        return _fields(text).get("oom_kill", 0)

    def add(self, pid: int) -> None:
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Remove the directories, waiting a moment for the last process to be gone."""
        remove(self.folders.values())


def remove(folders: Iterable[Path]) -> None:
    for folder in set(folders):
        for _ in range(100):
            try:
                folder.rmdir()
            except FileNotFoundError:
                break
            except OSError:  # busy: a process is still being buried, or the engine still cleans up below
                time.sleep(0.02)
            else:
                break


def hierarchies() -> dict[Path, set[str]]:
    """Every mounted hierarchy with its controllers; the one of v2 has those that v1 leaves to it."""
    found: dict[Path, set[str]] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        root = Path(left.split(" ")[4])
        if kind == "cgroup":
            found[root] = set(options.split(",")) | set(root.name.split(","))
        elif kind == "cgroup2":
            with contextlib.suppress(OSError):
                found[root] = {"", *(root / "cgroup.controllers").read_text().split()}
    return found


def roots() -> dict[str, Path]:
    """Where each controller is mounted. v2 counts CPU time in `cpu`, so `cpuacct` is v1's only."""
    mounted = hierarchies()
    return {one: root for one in CONTROLLERS for root, controllers in mounted.items() if one in controllers}


def of_process(pid: int | str) -> Group:
    """The group of a process, as far as its directories can be seen from here."""
    paths: dict[str, str] = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    folders = {
        one: root / paths.get(one, paths.get("", "/")).lstrip("/") for one, root in roots().items()
    }
    return Group({one: folder for one, folder in folders.items() if folder.is_dir()})


def make(name: str, limits: Limits) -> Group:
    """A new group with these limits beside or below our own; OSError where this process may not make one."""
    own = of_process("self")
    if not {"memory", "pids", "cpu"} <= set(own.folders):
        raise OSError("no control group file system with memory, pids and cpu is mounted")
    made: dict[str, Path] = {}
    try:
        for one, folder in own.folders.items():
            made[one] = _child(folder, name, roots()[one])
        _limit(made, limits)
    except OSError:
        remove(made.values())
        raise
    return Group(made)


def clean(prefix: str) -> None:
    """Remove the groups that a process which was killed could not remove: old ones, without a process in them."""
    mounted = roots()
    for one, folder in of_process("self").folders.items():
        for above in (folder, *folder.parents):
            if above.is_relative_to(mounted[one]):
                for left in above.glob(f"{prefix}*"):
                    with contextlib.suppress(OSError):  # busy: alive, and so not ours to remove; or gone meanwhile
                        if time.time() - left.stat().st_ctime > STALE_SECONDS:
                            left.rmdir()


def _child(folder: Path, name: str, root: Path) -> Path:
    """Make `name` below `folder`, or (v2: a group with processes cannot have limited children) below a parent."""
    while True:
        try:
            if (folder / "cgroup.subtree_control").exists():
                _delegate(folder)
            (folder / name).mkdir(exist_ok=True)
        except OSError:
            if folder == root:
                raise
            folder = folder.parent
        else:
            return folder / name


def _delegate(folder: Path) -> None:
    control = folder / "cgroup.subtree_control"
    if not {"memory", "pids", "cpu"} <= set(control.read_text().split()):
        control.write_text("+memory +pids +cpu")


def _limit(folders: Mapping[str, Path], limits: Limits) -> None:
    quota = int(limits.cpus * PERIOD_US)
    memory = folders["memory"]
    if (memory / "memory.max").exists():
        (memory / "memory.max").write_text(str(limits.memory_bytes))
        (folders["cpu"] / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        swap = memory / "memory.swap.max"
    else:
        (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
        (folders["cpu"] / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (folders["cpu"] / "cpu.cfs_quota_us").write_text(str(quota))
        swap = memory / "memory.memsw.limit_in_bytes"
    if swap.exists():  # not where the kernel does not account for swap
        swap.write_text(str(limits.memory_bytes if "memsw" in swap.name else 0))
    (folders["pids"] / "pids.max").write_text(str(limits.pids))


def _text(folder: Path | None, name: str) -> str | None:
    if folder is None:
        return None
    try:
        return (folder / name).read_text().strip()
    except OSError:  # another version of control groups, or gone with its container
        return None


def _fields(text: str | None) -> dict[str, int]:
    pairs = (line.split() for line in (text or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
