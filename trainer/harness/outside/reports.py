"""Claimed numbers: bounded, cleaned, and no more of them than a chart can use."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_NUMBERS = 32
MAX_NAME = 40
KEPT_PER_SECOND = 20.0
MAX_STEP = 1 << 53


@dataclass(frozen=True)
class Report:
    """What a variant claims at one step. `tokens` and `seconds` are the server's own; a number that is none is None.

    `diverged`: it did name a loss, which is no finite number.
    """

    step: int
    tokens: int
    seconds: float
    loss: float | None
    numbers: Mapping[str, float | None]
    diverged: bool = False


def clean(message: Mapping[str, Any], *, tokens: int, seconds: float) -> Report:
    """A Report from an untrusted message; ValueError when it is none."""
    step, numbers = message.get("step"), message.get("numbers", {})
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= MAX_STEP:
        raise ValueError("a report needs a step")
    if not isinstance(numbers, dict) or len(numbers) > MAX_NUMBERS:
        raise ValueError(f"a report has at most {MAX_NUMBERS} numbers")
    loss = _finite(message.get("loss"))
    return Report(
        step=step,
        tokens=tokens,
        seconds=seconds,
        loss=loss,
        numbers={name[:MAX_NAME]: _finite(value) for name, value in numbers.items()},
        diverged="loss" in message and loss is None,
    )


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


class Reports:
    """Passes reports on, at most about twenty a second; of those between only the last is kept."""

    def __init__(self, deliver: Callable[[Report], None]) -> None:
        self._deliver = deliver
        self._lock = threading.Lock()
        self._pending: Report | None = None
        self._last = -math.inf

    def add(self, report: Report) -> None:
        with self._lock:
            self._pending = report
            if time.monotonic() - self._last >= 1 / KEPT_PER_SECOND:
                self._pass_on()

    def flush(self) -> None:
        """Pass on what waits."""
        with self._lock:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._pending is not None:
            report, self._pending = self._pending, None
            self._last = time.monotonic()
            self._deliver(report)
