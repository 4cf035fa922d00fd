"""What `main(run)` gets when it is only tried: random ids, nobody who counts, and a checkpoint that stays here."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from trainer.contract import CONFIG_FILE, MODEL_FILE
from trainer.harness.inside.run import Batch, Run

BATCHES = 8  # as many as a check asks of every genome


class Rehearsal:
    """Stands in for Run, without a line to anybody.

    `batches` ends after `batches` of them, or, from the second on, after `seconds`. `keeps` says whether checkpoints
    are written to `out`: fake tensors have nothing to write.
    """

    rank, world, progress = 0, 1, 0.0

    def __init__(self, run: Run, *, out: Path, keeps: bool, batches: int = BATCHES, seconds: float = 1.0) -> None:
        self.device, self.seed, self.vocab_size = run.device, run.seed, run.vocab_size
        self.budget_tokens = run.budget_tokens
        self.out = out
        self.ended = False  # whether somebody was told that the budget is used up
        self._keeps = keeps
        self._left = batches
        self._least = min(batches, 2)
        self._seconds = seconds
        self._began: float | None = None

    def batches(self, batch_size: int, block_size: int) -> Iterator[Batch]:
        """(x, y), LongTensor [B, T] each, of random ids."""
        while self._left > 0 and not self._is_late():
            self._left -= 1
            self._least -= 1
            yield self._batch(batch_size, block_size)
        self.ended, self.progress = True, 1.0

    def validation(self, batch_size: int, block_size: int) -> Iterator[Batch]:
        yield self._batch(batch_size, block_size)

    warmup = validation

    def report(self, *, step: int, loss: float | Tensor | None = None, **numbers: float | Tensor) -> None:
        """Nobody listens."""
        int(step)

    def save(self, model: nn.Module, config: Mapping[str, Any]) -> None:
        """As Run.save, as far as it can be tried."""
        text = json.dumps({**config, "vocab_size": self.vocab_size})
        if self._keeps:
            safetensors.torch.save_model(model, str(self.out / MODEL_FILE))
            (self.out / CONFIG_FILE).write_text(text)

    def save_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Nothing is kept."""
        if not tensors:
            raise ValueError("run.save_state needs at least one tensor: give it the parameters of the model")
        json.dumps(dict(numbers))

    def load_state(self) -> None:
        """There is never anything to go on from."""

    def _is_late(self) -> bool:
        self._began = self._began or time.monotonic()
        return self._least <= 0 and time.monotonic() - self._began > self._seconds

    def _batch(self, batch_size: int, block_size: int) -> Batch:
        ids = torch.randint(self.vocab_size, (int(batch_size), int(block_size) + 1)).to(self.device)
        return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
