"""Tries a genome before anybody looks at it: `python -P -m trainer.harness.inside.check`.

Two forks of one process that has imported torch, then the training itself, in the one container:

* *shapes*: `main(run)` on fake tensors, which have shapes, types and devices and no numbers (torch's FakeTensorMode),
  so that what does not fit shows at once, however large the model. What only a fake tensor cannot do is no failure.
* *first*: `main(run)` with one batch of random ids. What it saves are the weights as they begin; the judge compares.
* the training on a few batches of real text, as in every trial.

A fork, because a genome may keep what it made in its modules: nothing of one attempt may be seen by the next.
"""

import contextlib
import importlib
import json
import os
import re
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # now, for all three: torch.optim imports it at its first step
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from trainer.contract import FIRST
from trainer.harness.inside import places, train
from trainer.harness.inside.line import Line
from trainer.harness.inside.rehearsal import Rehearsal
from trainer.harness.inside.run import Run

SECONDS = 15.0  # for both forks together
# What a fake tensor says about shapes, types and devices that do not go together, as a real one would.
MISFIT = re.compile(
    r"shape|size|dimension|\bdim\b|dtype|same type|scalar type|same device|on device|must match|broadcast|out of range"
    r"|required (positional|keyword)|unexpected keyword|positional arguments? but",
    re.IGNORECASE,
)
FAKE_ONLY = re.compile(r"fake|meta|subclass|symint|storage|data_ptr|dynamo|data.dependent", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """How one attempt ended. `passed` is None where fake tensors cannot tell."""

    passed: bool | None
    detail: str = ""
    traceback: str = ""


class Misfit(Exception):
    """The genome cannot run as it is: `main(run)` failed on fake tensors, and would on real ones."""

    def __init__(self, found: Found) -> None:
        super().__init__(found.detail)
        self.found = found


def main() -> int:
    """Exit code 0 when `main(run)` returned and its checkpoint was sent, otherwise 1."""
    places.settle()
    run = Run(Line(places.socket()), out=places.out())
    entry = train.entry_of(places.genome())
    try:
        rehearse(run, entry)
    except Misfit as misfit:
        run.fail(error=misfit.found.detail, traceback=misfit.found.traceback)
        return 1
    return train.conclude(run, places.genome())


def rehearse(run: Run, entry: str) -> None:
    """Try shapes and the first step, side by side; Misfit when shapes cannot fit."""
    began = time.monotonic()
    shapes = _Attempt(run, entry, "shapes", fake=True)
    first = _Attempt(run, entry, FIRST, fake=False)
    found = shapes.wait(began + SECONDS) or Found(None, "fake tensors took too long")
    run.rehearsed(passed=found.passed, detail=found.detail, seconds=time.monotonic() - began)
    if found.passed is False:
        first.wait(0.0)
        raise Misfit(found)
    if first.wait(began + SECONDS) == Found(True):
        with contextlib.suppress(RuntimeError):  # refused; what the training saves is refused with a reason
            run.save_first(first.out)
    for one in (shapes, first):
        shutil.rmtree(one.out, ignore_errors=True)


class _Attempt:
    """`main(run)` in a fork of this process."""

    def __init__(self, run: Run, entry: str, name: str, *, fake: bool) -> None:
        self.out = run.out / name
        self.out.mkdir()
        self._read, write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._read)
            _speak(write, lambda: _tried(run, entry, self.out, fake=fake))
        os.close(write)

    def wait(self, deadline: float) -> Found | None:
        """What it found; None when it died, or was still at it at `deadline` (monotonic seconds) and was ended."""
        said = bytearray()
        while select.select([self._read], [], [], max(deadline - time.monotonic(), 0.0))[0]:
            piece = os.read(self._read, 1 << 16)
            if not piece:
                break
            said += piece
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._read)
        try:
            return Found(**json.loads(said))
        except (ValueError, TypeError):
            return None


def _speak(write: int, attempt: Callable[[], Found]) -> None:
    """In the fork: say what `attempt` found, and be gone. What it prints is not shown: the training prints it again."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        os.write(write, json.dumps(asdict(attempt())).encode())
    finally:
        os._exit(0)


def _tried(run: Run, entry: str, out: Path, *, fake: bool) -> Found:
    tried = Rehearsal(run, out=out, keeps=not fake, batches=8 if fake else 1)
    module, function = entry.split(":")
    mode: AbstractContextManager[Any] = nullcontext()
    if fake:
        _fake_moves()
        torch._dynamo.config.disable = True
        mode = FakeTensorMode(allow_non_fake_inputs=True)
    train.seed(run.seed)
    try:
        with mode:
            getattr(importlib.import_module(module), function)(tried)
    except BaseException as error:  # noqa: BLE001 - whatever a variant raises, SystemExit too
        return _misfit(error, ended=tried.ended) if fake else Found(False)
    return Found(True, "every shape, type and device fits" if fake else "")


def _misfit(error: BaseException, *, ended: bool) -> Found:
    """Whether `error` would happen with real tensors too; the training finds out where that is not certain."""
    said = places.last_line(error)
    unclear = Found(None, f"not applicable: fake tensors cannot do this ({said[:200]})")
    if ended or not isinstance(error, Exception) or FAKE_ONLY.search(said):
        return unclear
    if type(error).__module__.startswith("torch") or isinstance(error, NotImplementedError | MemoryError | OSError):
        return unclear
    raised = traceback.extract_tb(error.__traceback__)[-1].filename
    own = raised.startswith(str(places.genome())) and not isinstance(error, RuntimeError)
    if not own and not MISFIT.search(said):
        return unclear
    text = "".join(traceback.format_exception(error))
    return Found(False, said, text[-train.TRACEBACK_BYTES :])


def _fake_moves() -> None:
    """Let `module.to(...)` replace fake parameters: torch would swap their contents, and its fake mode forbids that."""

    def apply(module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> nn.Module:
        for child in module.children() if recurse else ():
            apply(child, change)
        with torch.no_grad():
            for name, weight in module._parameters.items():
                if weight is not None and (moved := change(weight)) is not weight:
                    module._parameters[name] = nn.Parameter(moved, weight.requires_grad)
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else change(buffer)
        return module

    nn.Module._apply = apply  # type: ignore[method-assign]


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing of the genome runs any more, and torch takes its time to leave
