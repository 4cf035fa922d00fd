"""Where held-out windows are cut for the prefix audit, and what can escape so many cuts."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_CUTS = 2048
MAX_LENGTHS = 1024  # different ones: each is at least one question
# Tokens in all prefixes together: four times those of the windows, or this many where there are few windows.
TOKENS_RATIO, FEW_TOKENS = 4, 131_072


@dataclass(frozen=True)
class Cuts:
    """`questions` are (length, rows of the windows cut there), in ascending order of length.

    In that order whoever answers has seen nothing of a window beyond the prefix it is asked about, however often the
    window is cut. `independent` is how many of the draws are independent of one another.
    """

    questions: tuple[tuple[int, NDArray[np.int64]], ...]
    independent: int

    @property
    def count(self) -> int:
        return sum(len(rows) for _, rows in self.questions)


def draw(*, windows: int, context: int, rng: np.random.Generator) -> Cuts:
    """Random pairs of a window and a length 1 … `context`, every pair as likely as any other, none twice."""
    affordable = max(TOKENS_RATIO * windows * context, FEW_TOKENS) // ((context + 2) // 2)
    count = max(min(MAX_CUTS, windows * context, affordable), 1)
    lengths = rng.permutation(context)[: min(count, MAX_LENGTHS)] + 1
    rounds = -(-count // windows)
    rows = np.concatenate([rng.permutation(windows) for _ in range(rounds)])[:count]
    shares = zip(lengths, np.array_split(rows, len(lengths)), strict=True)
    # A share may reach from one permutation into the next, and hold a window twice.
    questions = tuple(sorted(((int(length), np.unique(share)) for length, share in shares), key=lambda one: one[0]))
    # Every length was drawn, or each was drawn for one window: then cuts are at least as good as independent ones.
    spread = len(lengths) in (context, count)
    return Cuts(questions, independent=sum(len(rows) for _, rows in questions) if spread else len(lengths))


def bound(cuts: Cuts, *, columns: int) -> float:
    """The mean gain in nats per token that goes unnoticed at most, with 95 % confidence.

    A model that peeks at a share p of all places is seen at none of n random ones with odds (1 − p)^n, which are below
    5 % from p = 3/n on (the rule of three, Hanley & Lippman-Hand 1983). At a place that it peeks at it gains what it
    lost there before: ln V' for a model that knew nothing, V' being the `columns` of its logits. Hence 3/n · ln V'.
    """
    return 3 / cuts.independent * math.log(columns)
