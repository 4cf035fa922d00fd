"""What long commands share: they can be interrupted however they were started, and show how far they are."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


def interruptible() -> None:
    """SIGINT and SIGTERM raise KeyboardInterrupt: started in the background we would inherit an ignored SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr, to be told a phase and a progress of 0 … 1: stdout belongs to the result."""
    share = TextColumn("{task.percentage:>3.0f} %")
    columns = TextColumn("{task.description}"), BarColumn(), share, TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task("starting", total=1.0)
        yield lambda phase, done: progress.update(line, description=phase, completed=done)
