"""The driver of choice: containers of a Docker engine, with every guard of docs/security.md stated and none assumed.

Two kinds of image: the one of `trainer/docker/` when this engine has it, else an empty one in which the host's
interpreter is mounted read-only (sandbox.drivers.host). Containers outlive us and are found again by name and label.
"""

import contextlib
import functools
import hashlib
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import DeviceRequest, LogConfig, Ulimit
from docker.types import Mount as Bind

from sandbox import limits
from sandbox.drivers import cgroups
from sandbox.drivers.base import Box, Exit, Job, SandboxError, SandboxUnavailable, Usage
from sandbox.drivers.host import HOME, PYTHONPATH, REQUIREMENTS, interpreter
from trainer.contract import HARNESS_DIR

FOLDER = Path(__file__).resolve().parents[2] / "trainer" / "docker"
EMPTY = "darwin-empty:1"
LABEL = "darwin."
REGISTRY_SECONDS = 15
NO_COMPILER = (
    "no trainer image (manage.py build_image makes one), so the host's interpreter is used: torch.compile finds no "
    "compiler"
)


class DockerBox:
    """A container of the engine; every question asks the engine, so another process may have started it."""

    def __init__(self, container: Container, *, name: str) -> None:
        self.name = name
        self.labels: Mapping[str, str] = {
            key.removeprefix(LABEL): value for key, value in container.labels.items() if key.startswith(LABEL)
        }
        self._container = container
        self._usage = Usage(cpu_seconds=0.0, peak_memory_bytes=None)
        self._oom_kills = 0

    def poll(self) -> Exit | None:
        with engine_errors():
            self._container.reload()
        state = self._container.attrs["State"]
        if state["Status"] not in ("exited", "dead"):
            return None
        self._measure()
        code = int(state["ExitCode"])
        starved = bool(state["OOMKilled"]) or self._oom_kills > 0
        return Exit(code, out_of_memory=code != 0 and starved)

    def usage(self) -> Usage:
        self._measure()
        return self._usage

    def log(self, limit: int = 8192) -> str:
        with engine_errors():
            text: bytes = self._container.logs(tail=400)  # at most 16 kB each, and the engine keeps 2 MB of all
        return text[-limit:].decode(errors="replace")

    def kill(self) -> None:
        with engine_errors():
            try:
                self._container.kill()
            except APIError as error:
                if error.status_code not in (404, 409):  # gone, or not running
                    raise
            for _ in range(600):
                with contextlib.suppress(NotFound):
                    self._container.reload()
                    if self._container.attrs["State"]["Running"]:
                        time.sleep(0.05)
                        continue
                return
        raise SandboxError(f"the container {self.name} does not die: restart the Docker engine")

    def remove(self) -> None:
        with engine_errors():
            try:
                self._container.remove(force=True, v=True)
            except APIError as error:
                if error.status_code not in (404, 409):  # gone, or somebody else is removing it
                    raise
            with contextlib.suppress(NotFound):
                self._container.wait(condition="removed", timeout=30)
        cgroups.remove(root / self._container.name for root in cgroups.hierarchies())

    def _measure(self) -> None:
        group = self._group()
        seconds, peak = group.cpu_seconds(), group.peak_memory()
        if seconds is None:
            seconds, peak = self._ask_engine()
        old = self._usage
        self._usage = Usage(max(old.cpu_seconds, seconds), max(old.peak_memory_bytes or 0, peak or 0) or None)
        self._oom_kills = max(self._oom_kills, group.oom_kills())

    def _group(self) -> cgroups.Group:
        """The group above the container's own where we made the engine use one: it is still there after the end."""
        above = {one: root / self._container.name for one, root in cgroups.roots().items()}
        kept = {one: folder for one, folder in above.items() if folder.is_dir()}
        pid = self._container.attrs["State"].get("Pid")
        with contextlib.suppress(OSError):  # it ended meanwhile
            return cgroups.Group(kept) if kept or not pid else cgroups.of_process(pid)
        return cgroups.Group({})

    def _ask_engine(self) -> tuple[float, int | None]:
        with engine_errors():
            stats: dict[str, Any] = self._container.stats(stream=False, one_shot=True)
        used = stats.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage", 0)
        memory = stats.get("memory_stats", {})
        return used / 1e9, memory.get("max_usage") or memory.get("usage")


class Docker:
    """A Driver; see sandbox.drivers.base."""

    name = "docker"

    @property
    def warning(self) -> str:
        return "" if self._trainer_image() else NO_COMPILER

    def check(self) -> None:
        """Ask the engine; SandboxUnavailable when there is none, or it cannot hold a container."""
        try:
            info: dict[str, Any] = client().info()
        except (DockerException, requests.RequestException) as error:
            raise SandboxUnavailable(f"no Docker engine answers: start one, or use bubblewrap ({error})") from error
        if info["OSType"] != "linux":
            raise SandboxUnavailable("this Docker engine runs no Linux containers: switch it to Linux containers")
        missing = [name for name in ("MemoryLimit", "PidsLimit", "CPUCfsQuota") if info.get(name) is False]
        if missing:
            raise SandboxUnavailable(f"this Docker engine has no {', '.join(missing)}: enable those control groups")
        if not any("seccomp" in option for option in info.get("SecurityOptions") or ()):
            raise SandboxUnavailable("this Docker engine has no seccomp profile: start it without seccomp=unconfined")

    def image(self) -> str:
        found = self._trainer_image()
        return f"docker-image:{found}" if found else interpreter().identity

    def start(self, job: Job) -> Box:
        options = self.options(job)
        with engine_errors():
            container = client().containers.create(**options)
            box = DockerBox(container, name=job.name)
            try:
                container.start()
            except APIError:
                box.remove()
                raise
            container.reload()  # its pid, for the first look at its usage
        return box

    def adopt(self, name: str) -> Box | None:
        with engine_errors(), contextlib.suppress(NotFound):
            container = client().containers.get(_container_name(name))
            return DockerBox(container, name=name)
        return None

    def boxes(self) -> list[Box]:
        wanted = {"label": f"{LABEL}installation={limits.installation()}"}
        with engine_errors():
            found = client().containers.list(all=True, filters=wanted, ignore_removed=True)
        return [DockerBox(one, name=one.name.removeprefix(_container_name(""))) for one in found]

    @contextlib.contextmanager
    def visible(self) -> Iterator[list[Path]]:
        if not (identity := self._trainer_image()):
            yield list(interpreter().readable)
            return
        # As the engine hands it out: where its layers lie, and whether we may read them there, is its own affair.
        with tempfile.TemporaryDirectory(prefix="darwin-image-") as folder:
            path = Path(folder) / "image.tar"
            _export(identity, path)
            yield [path]

    def options(self, job: Job) -> dict[str, Any]:
        """Everything said to the engine about `job`: each guard by name, nothing left to a default."""
        identity = self._trainer_image()
        own = () if identity else interpreter().mounts
        program = "python" if identity else interpreter().python
        command = (program, *job.command[1:]) if job.command[0] == "python" else job.command
        paths = {"PYTHONPATH": HARNESS_DIR} if identity else {"PYTHONPATH": PYTHONPATH, "PATH": f"{HOME}/bin"}
        return {
            "image": identity or self._empty_image(),
            "command": list(command),
            "name": _container_name(job.name),
            "hostname": "darwin",
            "labels": {LABEL + key: str(value) for key, value in limits.labels(job).items()},
            "environment": _environment(job) | paths | dict(job.environment),
            "use_config_proxy": False,  # the SDK would copy the host's proxy variables, passwords included
            "working_dir": limits.workdir(job),
            "mounts": [
                Bind(mount.target, str(mount.source.resolve()), type="bind", read_only=True, propagation="rprivate")
                for mount in (*own, *job.mounts)
            ],
            "tmpfs": _areas(job),
            "auto_remove": False,  # it would lose the exit code
            "restart_policy": {"Name": "no"},
            "stdin_open": False,
            "tty": False,
            **_confinement(),
            **_resources(job),
            **self._parent(job),
        }

    def _parent(self, job: Job) -> dict[str, str]:
        """A group of our own above the container's, whose counters outlive it; only where we may remove it again."""
        with engine_errors():
            driver = client().info().get("CgroupDriver")
        mine = driver == "cgroupfs" and all(os.access(root, os.W_OK) for root in cgroups.hierarchies())
        return {"cgroup_parent": f"/{_container_name(job.name)}"} if mine else {}

    def _trainer_image(self) -> str | None:
        with engine_errors(), contextlib.suppress(ImageNotFound):
            return str(client().images.get(trainer_tag()).id)
        return None

    def _empty_image(self) -> str:
        with engine_errors():
            try:
                return str(client().images.get(EMPTY).id)
            except ImageNotFound:
                nothing = io.BytesIO()
                tarfile.open(fileobj=nothing, mode="w").close()
                repository, tag = EMPTY.split(":")
                client().api.import_image_from_data(nothing.getvalue(), repository=repository, tag=tag)
                return str(client().images.get(EMPTY).id)


def trainer_tag() -> str:
    """The name of the image that `trainer/docker/Dockerfile` and `trainer/requirements.txt` of now make."""
    digest = hashlib.sha256()
    for path in (FOLDER / "Dockerfile", REQUIREMENTS):
        digest.update(path.read_bytes() if path.exists() else b"")
    return f"darwin-trainer:{digest.hexdigest()[:12]}"


def build_image() -> str:
    """Build the trainer image and return its tag; SandboxUnavailable within seconds where no registry is reachable."""
    recipe = (FOLDER / "Dockerfile").read_bytes()
    base = next(line.split()[1] for line in recipe.decode().splitlines() if line.startswith("FROM "))
    with engine_errors(), contextlib.closing(docker.from_env(timeout=REGISTRY_SECONDS)) as engine:
        try:
            engine.api.inspect_distribution(base)  # the engine's own look at the registry, without a download
        except (DockerException, requests.RequestException) as error:
            raise SandboxUnavailable(f"the engine cannot fetch {base}: check its network or proxy ({error})") from error
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, content in (("Dockerfile", recipe), ("requirements.txt", REQUIREMENTS.read_bytes())):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    context.seek(0)
    with engine_errors(), contextlib.closing(docker.from_env(timeout=3600)) as engine:
        engine.images.build(
            fileobj=context, custom_context=True, tag=trainer_tag(), rm=True, forcerm=True, use_config_proxy=True,
        )
    return trainer_tag()


def _export(image: str, path: Path) -> None:
    """Write every file of `image` to `path`, as one archive without compression."""
    with engine_errors():
        container = client().containers.create(image, command=["none"], network_mode="none")
        try:
            with path.open("wb") as file:
                for part in container.export():
                    file.write(part)
        finally:
            container.remove()


def client() -> docker.DockerClient:
    """One client per process: a connection must not be shared across a fork."""
    return _client(os.getpid())


@functools.lru_cache(maxsize=1)
def _client(_pid: int) -> docker.DockerClient:
    try:
        return docker.from_env(timeout=60)
    except DockerException as error:
        raise SandboxUnavailable(f"no Docker engine answers: start one, or use bubblewrap ({error})") from error


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """What the engine or the way to it did wrong is never the variant's fault."""
    try:
        yield
    except NotFound as error:
        raise SandboxError(f"the Docker engine no longer has it: {error.explanation}") from error
    except (DockerException, requests.RequestException) as error:
        raise SandboxError(f"the Docker engine failed: {error}") from error


def _container_name(name: str) -> str:
    return f"darwin-{limits.installation()}-{name}"


def _environment(job: Job) -> dict[str, str]:
    return {name: value for name, value in limits.ENVIRONMENT.items() if not (job.gpu and name.startswith("NVIDIA"))}


def _areas(job: Job) -> dict[str, str]:
    def area(size: int, execution: str) -> str:
        return (
            f"rw,nosuid,nodev,{execution},size={size},nr_inodes={limits.INODES},"
            f"uid={limits.UID},gid={limits.GID},mode=0700"
        )

    wanted = job.limits
    return {
        "/tmp": area(wanted.tmp_bytes, "noexec"),  # noqa: S108 inside the container
        "/out": area(wanted.out_bytes, "noexec"),
        "/cache": area(wanted.cache_bytes, "exec"),  # torch.compile loads what it built
    }


def _confinement() -> dict[str, Any]:
    return {
        "network_mode": "none",
        "read_only": True,
        "user": f"{limits.UID}:{limits.GID}",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],  # and the engine's default seccomp profile: check() asks for it
        "privileged": False,
        "ipc_mode": "private",
        "cgroupns": "private",
        "init": True,
        "log_config": LogConfig(
            type=LogConfig.types.JSON, config={"max-size": str(limits.LOG_BYTES), "max-file": "2"}
        ),
    }


def _resources(job: Job) -> dict[str, Any]:
    wanted = job.limits
    gpus = [DeviceRequest(device_ids=[job.gpu], capabilities=[["gpu", "compute", "utility"]])] if job.gpu else None
    return {
        "pids_limit": wanted.pids,
        "mem_limit": wanted.memory_bytes,
        "memswap_limit": wanted.memory_bytes,  # the same: no swap
        "shm_size": limits.SHM_BYTES,
        "nano_cpus": int(wanted.cpus * 1e9),
        "oom_score_adj": limits.OOM_SCORE,
        "ulimits": [Ulimit(name=name, soft=value, hard=value) for name, value in limits.ulimits(wanted).items()],
        "device_requests": gpus,
    }
