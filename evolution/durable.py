"""Files that survive a crash: the old content or the new, never half, and one writer at a time."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGED = ".new"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sha256_of(path: Path) -> str:
    """The sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, on the disk before this returns."""
    stage(path, content)
    publish(path)


def stage(path: Path, content: bytes) -> None:
    """Put what `path` is to become beside it, on the disk."""
    with staged(path).open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def publish(path: Path) -> None:
    """Let what was staged take the place of `path`."""
    staged(path).replace(path)
    sync_folder(path.parent)


def staged(path: Path) -> Path:
    return path.with_name(path.name + STAGED)


def sync_folder(folder: Path) -> None:
    """Put the names in `folder` on the disk: a rename is not durable before that."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of `folder`; the kernel lets go of it when the process dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
