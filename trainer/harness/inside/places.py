"""Where things are in this container. Tests set other places through the environment."""

import os
import sys
from pathlib import Path

import torch

from trainer import contract


def _place(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable, default))


def genome() -> Path:
    return _place("DARWIN_GENOME", contract.GENOME_DIR)


def out() -> Path:
    return _place("DARWIN_OUT", contract.OUT_DIR)


def weights() -> Path:
    return _place("DARWIN_WEIGHTS", contract.WEIGHTS_DIR)


def socket() -> Path:
    return _place("DARWIN_SOCKET", contract.SOCKET_PATH)


def settle() -> None:
    """Fix the number of threads, and let the genome's own modules be found first."""
    threads = int(os.environ.get("DARWIN_THREADS", "0"))
    if threads > 0:
        torch.set_num_threads(threads)
    sys.path.insert(0, str(genome()))


def last_line(error: BaseException) -> str:
    """The line of a traceback that says what happened."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
