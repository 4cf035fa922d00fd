"""What a result was made from, as sha256: enough to tell whether two results can be compared."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sandbox.mounts import TRAINER
from sandbox.trial import Order

SCORER = ("contract.py", "harness/outside")  # what decides about a number


def of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_files(folder: Path, paths: Iterable[Path]) -> str:
    """Of the names relative to `folder` and the contents, in the order of the names."""
    total = hashlib.sha256()
    for path in sorted(paths):
        name = path.relative_to(folder).as_posix()
        total.update(f"{of_file(path)}  {name}\n".encode())
    return total.hexdigest()


def of_order(order: Order) -> dict[str, str]:
    """What is known of a result before it is there, whatever becomes of it."""
    return {
        "genome": of_files(order.genome_dir, files(order.genome_dir)), "text": order.text.sha256,
        "scorer": of_scorer(), "image": order.image,
    }


def of_windows(windows: NDArray[np.integer]) -> str:
    """Of held-out windows [W, T + 1]: their shape and their tokens."""
    return hashlib.sha256(f"{windows.shape} {windows.dtype.str} ".encode() + windows.tobytes()).hexdigest()


def of_scorer() -> str:
    """Of the source of everything that scores."""
    return of_files(TRAINER, [path for part in SCORER for path in _python(TRAINER / part)])


def files(folder: Path) -> list[Path]:
    """Every regular file below `folder`; symlinks are not followed."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _python(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]
