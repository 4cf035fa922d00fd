"""The host's own interpreter, seen read-only from inside a container that has nothing else.

Only what running Python and `trainer/requirements.txt` takes: the interpreter, the standard library, the shared
libraries they ask for, one mount each, and the packages of the requirements' closure, one mount each. Not the
environment, not its site-packages, no shell, no tools.
"""

import csv
import hashlib
import os
import platform
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from django.conf import settings
from packaging.requirements import Requirement

from sandbox.drivers.base import Mount, SandboxUnavailable
from sandbox.drivers.elf import read_elf
from trainer.contract import HARNESS_DIR

HOME = "/python"
SITE = "/site"
PYTHONPATH = f"{SITE}:{HARNESS_DIR}"
REQUIREMENTS = Path(__file__).resolve().parents[2] / "trainer" / "requirements.txt"
UNUSED = {"_tkinter", "nis", "_curses", "_curses_panel", "readline", "_gdbm", "_dbm"}  # what they need stays outside
NOT_OURS = {"site-packages", "dist-packages"}  # inside the standard library's directory, and masked


@dataclass(frozen=True)
class Interpreter:
    """`python` is its path inside; `readable` are the host paths one can read through `mounts`."""

    python: str
    mounts: tuple[Mount, ...]
    readable: tuple[Path, ...]
    identity: str


@cache
def interpreter() -> Interpreter:
    """The host's interpreter as mounts, computed once per process; SandboxUnavailable when a package is missing."""
    binary = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    packages = closure(REQUIREMENTS)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    inside = f"{HOME}/{sys.platlibdir}/{version}"
    python = f"{HOME}/bin/{version}"
    masks = [Mount(_empty(), f"{inside}/{name}") for name in sorted(NOT_OURS) if (library / name).is_dir()]
    site = [Mount(path, f"{SITE}/{path.name}") for path in _top_levels(packages)]
    libraries = list(_libraries(binary, library, packages))
    return Interpreter(
        python=python,
        mounts=(Mount(binary, python), Mount(library, inside), *masks, *site, *libraries),
        readable=(
            *sorted(path for path in library.iterdir() if path.name not in NOT_OURS),
            *(mount.source for mount in site), *(mount.source for mount in libraries), binary,
        ),
        identity=_identity(packages),
    )


def closure(requirements: Path) -> list[Distribution]:
    """The installed distributions that `requirements` needs, directly or not, sorted by name."""
    lines = (line.split("#")[0].strip() for line in requirements.read_text().splitlines())
    queue, found, seen = [Requirement(line) for line in lines if line], {}, set[tuple[str, frozenset[str]]]()
    while queue:
        wanted = queue.pop()
        key = (wanted.name.lower().replace("_", "-"), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            found[key[0]] = package = distribution(wanted.name)
        except PackageNotFoundError:
            raise SandboxUnavailable(f"the package {wanted.name} is not installed: run `make setup`") from None
        queue += _dependencies(package, wanted.extras)
    return [found[name] for name in sorted(found)]


def _dependencies(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in package.requires or ():
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield one


def _top_levels(packages: Iterable[Distribution]) -> list[Path]:
    """The files and directories the packages put into site-packages, their metadata included."""
    return sorted({
        Path(str(package.locate_file(name)))
        for package in packages
        for name in {file.partition("/")[0] for file in _files(package)} - {"..", "__pycache__"}
        if not name.endswith(".pth") and Path(str(package.locate_file(name))).exists()
    })


def _files(package: Distribution) -> list[str]:
    """What the package installed, relative to site-packages. Distribution.files makes 20,000 paths of torch's: twice,
    that took half a second of every runner's start."""
    record = package.read_text("RECORD")
    if record is None:
        return [str(file) for file in package.files or ()]
    return [row[0] for row in csv.reader(record.splitlines()) if row]


def _libraries(binary: Path, library: Path, packages: Iterable[Distribution]) -> Iterator[Mount]:
    """The shared libraries of the system that interpreter and packages ask for, all in the loader's own directory.

    What a package brings itself it finds beside it ($ORIGIN); what is nowhere (the GPU driver's) the engine brings.
    """
    own = [
        Path(str(package.locate_file(file))) for package in packages for file in _files(package)
        if file.endswith(".so") or ".so." in file.rpartition("/")[2]
    ]
    beside = {path.name for path in own}
    extensions = [path for path in library.glob("lib-dynload/*.so") if path.name.split(".")[0] not in UNUSED]
    queue, found = [binary, *extensions, *own], dict[str, Path]()
    while queue:
        elf = read_elf(queue.pop())
        for name in elf.needed:
            path = None if name in beside or name in found else _find(name, (*elf.search, *_system_folders()))
            if path:
                found[name] = path
                queue.append(path)
    loader = read_elf(binary).loader
    if loader is None or "libc.so.6" not in found:
        raise SandboxUnavailable(f"{binary} is not a dynamic glibc program: install Python from your distribution")
    yield Mount(Path(loader).resolve(), loader)
    for name, path in sorted(found.items()):
        if name != Path(loader).name:
            yield Mount(path.resolve(), f"{found['libc.so.6'].parent}/{name}")


def _find(name: str, folders: Iterable[Path]) -> Path | None:
    # isfile: an RPATH may lead where we may not look, and Path.is_file would raise
    return next((folder / name for folder in folders if os.path.isfile(folder / name)), None)  # noqa: PTH113


@cache
def _system_folders() -> tuple[Path, ...]:
    triplet = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
    fixed = [f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib64", "/usr/lib64", "/lib", "/usr/lib"]
    more = [
        line.strip() for file in sorted(Path("/etc/ld.so.conf.d").glob("*.conf"))
        for line in file.read_text().splitlines() if line.startswith("/")
    ]
    return tuple(Path(one) for one in (*fixed, *more) if Path(one).is_dir())


def _identity(packages: Iterable[Distribution]) -> str:
    lines = [f"python {sys.version} {platform.machine()} {' '.join(platform.libc_ver())}"]
    lines += [f"{package.name}=={package.version}" for package in packages]
    return "host-interpreter:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _empty() -> Path:
    path = Path(settings.DARWIN_VAR) / "empty"
    path.mkdir(mode=0o755, exist_ok=True)
    return path
