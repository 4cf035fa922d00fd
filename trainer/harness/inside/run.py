"""The object that `main(run)` gets: batches, progress, claimed numbers, and where to save."""

import json
import math
import time
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
WAIT_SECONDS = 0.005  # for a slower rank

Batch = tuple[Tensor, Tensor]


class Run:
    """One training run, as docs/genomes.md describes it. With several processes each has its own, and its own rank."""

    def __init__(self, line: Line, *, out: Path, rank: int = 0) -> None:
        told, _ = line.ask({"op": "hello", "rank": rank})
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
        self._states: int = told["state"]
        self._sent: list[tuple[int, int]] = []

    def batches(self, batch_size: int, block_size: int) -> Iterator[Batch]:
        """(x, y), LongTensor [B, T] each, until the budget is used up. All calls share one stream and one budget.

        With several processes every rank gets its own rows of one global batch of world × B rows.
        """
        shape = _shape(batch_size, block_size)
        while True:
            question = {"op": "batch", "number": self._number + 1, "shape": shape, "rank": self.rank}
            reply, payload = self._line.ask(question)
            if "error" in reply:
                raise ValueError(reply["error"])
            if reply.get("wait"):
                time.sleep(WAIT_SECONDS)
                continue
            self.progress = reply["progress"]
            if reply.get("end"):
                return
            self._number += 1
            yield self._tensors(payload, shape)

    def validation(self, batch_size: int, block_size: int) -> Iterator[Batch]:
        """(x, y) over a fixed slice of the *training* text, once. Costs time, and no tokens."""
        shape, index = _shape(batch_size, block_size), 0
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
        """Claimed numbers for the charts: floats or scalar tensors. Rank 0 speaks for all."""
        if self.rank:
            return
        self._line.tell({
            "op": "report",
            "step": int(step),
            **({} if loss is None else {"loss": _number(loss)}),  # a report may be about other numbers
            "numbers": {name: _number(value) for name, value in numbers.items()},
        })

    def save(self, model: nn.Module, config: Mapping[str, Any]) -> None:
        """Write model.safetensors, and config.json with vocab_size added, to `out`; the last complete one is judged.

        Rank 0 saves for all: in other ranks it does nothing.
        """
        if self.rank:
            return
        safetensors.torch.save_model(model, str(self.out / MODEL_FILE))
        (self.out / CONFIG_FILE).write_text(json.dumps({**config, "vocab_size": self.vocab_size}))
        self._upload()

    def save_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Keep what this training needs to go on after the batch it was given last, should its container be lost.

        `tensors` (at least one) go as safetensors, `numbers` as JSON. The last complete state counts; rank 0 saves for
        all. It costs time, and no tokens.
        """
        if self.rank:
            return
        if not tensors:
            raise ValueError("run.save_state needs at least one tensor: give it the parameters of the model")
        copies = {name: one.detach().to("cpu", copy=True).contiguous() for name, one in tensors.items()}
        question = {"op": "save_state", "state": self._states + 1, "number": self._number}
        self._send(question, MODEL_FILE, safetensors.torch.save(copies))
        self._send(question, CONFIG_FILE, json.dumps(dict(numbers)).encode())
        self._states += 1

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors (on `device`) and numbers that a container of this training saved before it was lost, or None.

        `batches` and `progress` go on from there by themselves.
        """
        tensors, numbers = self._fetch(MODEL_FILE), self._fetch(CONFIG_FILE)
        if tensors is None or numbers is None:
            return None
        found = safetensors.torch.load(tensors)
        return {name: one.to(self.device) for name, one in found.items()}, json.loads(numbers)

    def finish(self) -> None:
        """Send a checkpoint that was written to `out` without `save`, and say that the training is over.

        With several processes `ranks` says so, when all of them are.
        """
        if self.rank == 0 and self._on_disk() not in ([], self._sent):
            self._upload()
        if self.world == 1:
            self._line.ask({"op": "done"})

    def fail(self, *, error: str, traceback: str) -> None:
        """Say why the training is over."""
        self._line.ask({"op": "failed", "error": error, "traceback": traceback})

    def rehearsed(self, *, passed: bool | None, detail: str, seconds: float) -> None:
        """Say how the genome did on fake tensors; only a check is asked. None: they cannot tell."""
        self._line.ask({"op": "rehearsed", "passed": passed, "detail": detail, "seconds": seconds})

    def save_first(self, folder: Path) -> None:
        """Send the weights as they begin, which a check compares with those it ends with; nothing without them."""
        if all((folder / name).is_file() for name in (MODEL_FILE, CONFIG_FILE)):
            self._send_folder({"op": "save_first"}, folder)

    def _upload(self) -> None:
        self._send_folder({"op": "save", "save": self._saves + 1}, self.out)
        self._saves, self._sent = self._saves + 1, self._on_disk()

    def _send_folder(self, question: Mapping[str, Any], folder: Path) -> None:
        for name in (MODEL_FILE, CONFIG_FILE):
            path = folder / name
            with path.open("rb") as file:
                self._send_pieces(question, name, iter(lambda: file.read(CHUNK_BYTES), b""), size=path.stat().st_size)

    def _send(self, question: Mapping[str, Any], name: str, content: bytes) -> None:
        pieces = (memoryview(content)[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES))
        self._send_pieces(question, name, pieces, size=len(content))

    def _send_pieces(
        self, question: Mapping[str, Any], name: str, pieces: Iterator[bytes] | Iterator[memoryview], *, size: int
    ) -> None:
        offset = 0
        for piece in pieces:
            reply, _ = self._line.ask({**question, "file": name, "size": size, "offset": offset}, piece)
            if "error" in reply:
                raise RuntimeError(f"the checkpoint was refused: {reply['error']}")
            offset += len(piece)

    def _fetch(self, name: str) -> bytes | None:
        """A file of the saved state, or None when there is none."""
        content, size = bytearray(), 1
        while len(content) < size:
            reply, piece = self._line.ask({"op": "load_state", "file": name, "offset": len(content)})
            if reply.get("none"):
                return None
            content, size = content + piece, reply["size"]
        return bytes(content)

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


def _shape(batch_size: int, block_size: int) -> list[int]:
    shape = [int(batch_size), int(block_size)]
    if min(shape) < 1:
        raise ValueError(f"a batch has at least one row of one token, not {shape}")
    return shape


def _number(value: float | Tensor | None) -> float | None:
    if value is None:
        return None
    number = float(value.item() if isinstance(value, Tensor) else value)
    return number if math.isfinite(number) else None
