"""Trains the genome of this container: `python -P -m trainer.harness.inside.train`.

With several processes this is one of them, started by `ranks`.
"""

import importlib
import os
import random
import sys
import traceback
from pathlib import Path

import numpy
import torch

from trainer.contract import GenomeError, read_genome
from trainer.harness.inside import places
from trainer.harness.inside.line import Line
from trainer.harness.inside.run import Run

TRACEBACK_BYTES = 4096


def main() -> int:
    """Exit code 0 when `main(run)` returned and its checkpoint was sent, otherwise 1."""
    places.settle()
    run = Run(Line(places.socket()), out=places.out(), rank=int(os.environ.get("RANK", "0")))
    return conclude(run, places.genome())


def conclude(run: Run, genome: Path) -> int:
    """Train, and say outside how it ended; the exit code."""
    try:
        _train(run, genome)
    except BaseException as error:  # noqa: BLE001 - whatever a variant raises, SystemExit too, is told outside
        text = traceback.format_exc()
        print(text, file=sys.stderr, flush=True)  # noqa: T201
        run.fail(error=places.last_line(error), traceback=text[-TRACEBACK_BYTES:])
        return 1
    return 0


def entry_of(genome: Path) -> str:
    """module:function of the training."""
    entry = read_genome(genome).entry
    if entry is None:
        raise GenomeError("[train] command is not supported yet: give an entry = \"module:function\" instead")
    return entry


def _train(run: Run, genome: Path) -> None:
    module, function = entry_of(genome).split(":")
    seed(run.seed)
    try:
        getattr(importlib.import_module(module), function)(run)
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
    run.finish()


def seed(number: int) -> None:
    """For genomes that draw from the global generators: the same seed and budget give the same number."""
    random.seed(number)
    numpy.random.seed(number % (1 << 32))
    torch.manual_seed(number)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing of the genome runs any more, and torch takes its time to leave
