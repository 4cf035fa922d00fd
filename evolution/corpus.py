"""The built-in data: real source text that is the same on every machine and that no sandbox holds.

It is the Python source of pinned packages of the web side. The standard library and what torch needs would not do:
every sandbox can read them.
"""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from evolution.errors import Infrastructure

PACKAGES = ("django", "celery", "channels", "channels_redis", "whitenoise", "uvicorn", "docker", "csp")
SKIPPED = frozenset({"locale", "tests", "__pycache__"})
BYTES = 1_100_000


@cache
def text() -> bytes:
    """The first BYTES bytes of the files, in an order that mixes the packages.

    The order is that of the hash of each path, so that the held-out end of the text comes from the same mixture.
    """
    pieces: list[bytes] = []
    size = 0
    for _, file in sorted((_key(name), file) for name, file in _files().items()):
        piece = file.read_bytes()
        pieces.append(piece)
        size += len(piece)
        if size >= BYTES:
            break
    return b"".join(pieces)[:BYTES]


def _files() -> dict[str, Path]:
    files: dict[str, Path] = {}
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise Infrastructure(f"the package {package} is not installed: run make setup")
        root = Path(spec.submodule_search_locations[0])
        for file in root.rglob("*.py"):
            relative = file.relative_to(root.parent)
            if not SKIPPED.intersection(relative.parts) and file.stat().st_size:
                files[relative.as_posix()] = file
    return files


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
