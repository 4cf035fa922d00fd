"""Results that cost more to compute than to read, kept as files. Standard library only.

A file is the sha256 of its key and payload, then the payload: what was damaged, or lies under another's name, is not
believed, and whoever asked computes it again. Any file here may be deleted at any time.
"""

import contextlib
import hashlib
import os
from pathlib import Path

_DIGEST = 32


def read(folder: Path | None, key: str) -> memoryview | None:
    """What was kept for `key`, or None when there is nothing, or nothing that is whole."""
    if folder is None:
        return None
    try:
        content = memoryview(_path(folder, key).read_bytes())
    except OSError:
        return None
    payload = content[_DIGEST:]
    return payload if bytes(content[:_DIGEST]) == _digest(key, payload) else None


def write(folder: Path | None, key: str, payload: bytes | memoryview) -> None:
    """Keep `payload`, whole or not at all; a disk that is full or read-only costs time later and nothing else."""
    if folder is None:
        return
    path = _path(folder, key)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_digest(key, payload))
                file.write(payload)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _path(folder: Path, key: str) -> Path:
    return folder / hashlib.sha256(key.encode()).hexdigest()


def _digest(key: str, payload: bytes | memoryview) -> bytes:
    whole = hashlib.sha256(f"{len(key)} {key}".encode())
    whole.update(payload)
    return whole.digest()
