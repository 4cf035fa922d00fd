"""Held-out text must be nowhere a container can read: random strings of it are searched for before the first trial."""

import hashlib
from pathlib import Path

import numpy as np
from django.conf import settings

from evolution.errors import BadInput
from sandbox import mounts
from sandbox.drivers.base import Driver
from trainer.harness.outside import text as texts
from trainer.harness.outside.text import Text

NEEDLES = 64  # half of them of each split: 3/32 of a split may lie open and be missed with odds of 5 %, no more


class DataRefused(BadInput):
    """Parts of the held-out text can be read inside the sandbox, so a score on it would mean nothing."""


def refuse_known_text(text: Text, driver: Driver, genome: Path) -> None:
    """Search genome and mounts for held-out strings; DataRefused at a hit. The mounts are searched once per image."""
    found = find_known_text(text, driver, genome)
    if found:
        raise DataRefused(f"The held-out text can be read inside the sandbox ({found}): choose other data.")


def find_known_text(text: Text, driver: Driver, genome: Path) -> str:
    """The file of `genome` that holds held-out strings, or nothing; DataRefused when a mount does.

    Whoever wrote the genome brought what is in it, which is no reason to refuse the data.
    """
    needles = texts.needles(text, np.random.default_rng(), NEEDLES)
    done = _marker(text, driver)
    if not done.exists():
        with driver.visible() as visible:
            _refuse(needles, [*visible, *(mount.source for mount in mounts.harness())])
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()
    hits = texts.search([genome], needles)
    return hits[0].path.relative_to(genome).as_posix() if hits else ""


def _refuse(needles: list[bytes], paths: list[Path]) -> None:
    hits = texts.search(paths, needles)
    if hits:
        raise DataRefused(f"The held-out text can be read inside the sandbox ({hits[0]}): choose other data.")


def _marker(text: Text, driver: Driver) -> Path:
    key = hashlib.sha256(f"{driver.name} {driver.image()} {text.sha256}".encode()).hexdigest()
    return Path(settings.DARWIN_VAR) / "searched" / key
