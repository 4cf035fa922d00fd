"""The object that `main(run)` gets: batches, progress, claimed numbers, and where to save."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from trainer.contract import CONFIG_FILE, MODEL_FILE
from trainer.harness.inside.line import Line

CHUNK_BYTES = 4 << 20
WARM_BATCHES = 16

Batch = tuple[Tensor, Tensor]


class Run:
    """One training run, as docs/genomes.md describes it."""

    def __init__(self, line: Line, *, out: Path) -> None:
        told, _ = line.ask({"op": "hello"})
        self.device: str = told["device"]
        self.seed: int = told["seed"]
        self.vocab_size: int = told["vocab_size"]
        self.rank: int = told["rank"]
        self.world: int = told["world"]
        self.budget_tokens: int | None = told["budget_tokens"]
        self.out = out
        self.progress: float = told["progress"]  # 0.0 … 1.0 of the budget
        self._line = line
        self._number: int = told["number"]
        self._saves: int = told["save"]
        self._sent: list[tuple[int, int]] = []

    def batches(self, batch_size: int, block_size: int) -> Iterator[Batch]:
        """(x, y), LongTensor [B, T] each, until the budget is used up. All calls share one stream and one budget."""
        shape = [int(batch_size), int(block_size)]
        while True:
            reply, payload = self._line.ask({"op": "batch", "number": self._number + 1, "shape": shape})
            self.progress = reply["progress"]
            if reply.get("end"):
                return
            self._number += 1
            yield self._tensors(payload, shape)

    def validation(self, batch_size: int, block_size: int) -> Iterator[Batch]:
        """(x, y) over a fixed slice of the *training* text, once. Costs time, and no tokens."""
        shape, index = [int(batch_size), int(block_size)], 0
        while True:
            reply, payload = self._line.ask({"op": "validation", "index": index, "shape": shape})
            if reply.get("end"):
                return
            index += 1
            yield self._tensors(payload, shape)

    def warmup(self, batch_size: int, block_size: int) -> Iterator[Batch]:
        """A few (x, y) of random ids, to compile on. Before the first batch they are off the clock, for two minutes."""
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(WARM_BATCHES):
            self._line.ask({"op": "warmup"})
            ids = torch.randint(self.vocab_size, (batch_size, block_size + 1), generator=generator)
            yield ids[:, :-1].to(self.device), ids[:, 1:].to(self.device)

    def report(self, *, step: int, loss: float | Tensor | None = None, **numbers: float | Tensor) -> None:
        """Claimed numbers for the charts: floats or scalar tensors."""
        self._line.tell({
            "op": "report",
            "step": int(step),
            "loss": _number(loss),
            "numbers": {name: _number(value) for name, value in numbers.items()},
        })

    def save(self, model: nn.Module, config: Mapping[str, Any]) -> None:
        """Write model.safetensors, and config.json with vocab_size added, to `out`; the last complete one is judged."""
        safetensors.torch.save_model(model, str(self.out / MODEL_FILE))
        (self.out / CONFIG_FILE).write_text(json.dumps({**config, "vocab_size": self.vocab_size}))
        self._upload()

    def finish(self) -> None:
        """Send a checkpoint that was written to `out` without `save`, and say that the training is over."""
        if self._on_disk() not in ([], self._sent):
            self._upload()
        self._line.ask({"op": "done"})

    def fail(self, *, error: str, traceback: str) -> None:
        """Say why the training is over."""
        self._line.ask({"op": "failed", "error": error, "traceback": traceback})

    def _upload(self) -> None:
        number = self._saves + 1
        for name in (MODEL_FILE, CONFIG_FILE):
            path = self.out / name
            size, offset = path.stat().st_size, 0
            with path.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    request = {"op": "save", "save": number, "file": name, "size": size, "offset": offset}
                    reply, _ = self._line.ask(request, chunk)
                    if "error" in reply:
                        raise RuntimeError(f"the checkpoint was refused: {reply['error']}")
                    offset += len(chunk)
        self._saves, self._sent = number, self._on_disk()

    def _on_disk(self) -> list[tuple[int, int]]:
        """What tells one checkpoint in `out` from another; empty when there is no complete one."""
        paths = [self.out / name for name in (MODEL_FILE, CONFIG_FILE)]
        if not all(path.is_file() for path in paths):
            return []
        return [(path.stat().st_mtime_ns, path.stat().st_size) for path in paths]

    def _tensors(self, payload: bytearray, shape: list[int]) -> Batch:
        both = torch.frombuffer(payload, dtype=torch.uint16).to(torch.int64).view(2, *shape)
        both = both.to(self.device, non_blocking=True)
        return both[0], both[1]


def _number(value: float | Tensor | None) -> float | None:
    if value is None:
        return None
    number = float(value.item() if isinstance(value, Tensor) else value)
    return number if math.isfinite(number) else None
