"""What an adapter is: how a trainer that owns its loop is told its budget, fed, read and judged.

An adapter's outside part imports no torch and runs no code of the trainer: what it wants to know it reads by parsing.
Its inside part, `trainer.adapters.<name>.inside`, gives the judge's container a model: `load(directory, device)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint16]


@dataclass(frozen=True)
class TrainingText:
    """All the text an adapter ever sees: no held-out token is in it.

    `validation` is the last slice of `train`, uint16 both. `alphabet` lists what each token stands for, None when
    tokens are no single characters.
    """

    train: Tokens
    validation: Tokens
    vocab_size: int
    alphabet: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What a run of the command has to be told. `tokens_per_iteration` is the baseline's, whatever a variant set."""

    device: str
    out: str
    tokens_per_iteration: int
    budget_tokens: int | None
    budget_seconds: float | None  # of device time; the command is stopped from outside
    check: bool = False  # a few iterations only, to see that it works


@dataclass(frozen=True)
class Claim:
    """What one line of output says. `step` counts iterations that are over; a number that is none is None."""

    step: int
    loss: float | None
    numbers: Mapping[str, float | None] = field(default_factory=dict)


class Adapter(Protocol):
    name: str
    checkpoint: str  # the file in the output directory: a pickle, which is opened in containers only
    data: str  # where the text is laid out, relative to the genome

    def adopt(
        self, files: Mapping[str, bytes], *, name: str, config: str | None, settings: Mapping[str, str]
    ) -> dict[str, bytes]:
        """`files` of a checkout as a genome: what cannot be used left out, genome.toml added; GenomeError if it
        is no such trainer. `config` is one of its configuration files, `settings` replace values in it."""

    def tokens_per_iteration(self, files: Mapping[str, bytes], command: tuple[str, ...]) -> int:
        """Tokens that one iteration of `command` trains on, read from the code; GenomeError when it does not say."""

    def arguments(self, invocation: Invocation) -> tuple[str, ...]:
        """The words that follow the genome's own command."""

    def layout(self, text: TrainingText, *, seed: int, directory: Path) -> None:
        """Write the text into `directory` as the trainer reads it."""

    def claimed(self, line: str) -> Claim | None:
        """What a line of its output says, None when it says nothing; any line, however long or forged."""
