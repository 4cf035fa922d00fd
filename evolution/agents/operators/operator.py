"""What a built-in operator is: a named change to training code with its reasons and its source."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import libcst as cst

Apply = Callable[[cst.Module, Random], cst.Module | None]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One idea. `apply` returns the changed file, or None when the idea does not fit or is already there."""

    name: str
    title: str
    hypothesis: str
    rationale: str  # with the paper it comes from
    expected: str  # the effect on perplexity and on MFU, in words
    apply: Apply
