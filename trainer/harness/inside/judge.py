"""Answers the scorer's questions with the genome's model: `python -P -m trainer.harness.inside.judge`.

It is started while the training still runs and imports torch, and torch alone; the genome and its weights it reads when
it is told to. (A fork from a parent that has imported torch would save the same seconds, and share its memory between
two models that must not know of each other.)

What is asked and answered (JSON headers):

    {op: load, first}                                   {op: loaded} or {op: failed, error}
                                                        first: the weights a check began with, once it was asked
    {op: logits, shape: [B, T], start, stop, quick}     {shape, dtype} and float32 logits [B, stop − start, V']
        and uint16 tokens                               dtype: what the model's own logits were
    {op: flops, shape: [1, T]}                          {flops_per_token, parameters, low_precision}
"""

import contextlib
import importlib
import math
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch  # noqa: F401 - for the genome, which will want it
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from trainer.contract import FIRST, MAX_PAYLOAD_BYTES, read_genome, receive, send
from trainer.harness.inside import places

LOW_PRECISION = (torch.bfloat16, torch.float16)

Answer = tuple[dict[str, Any], bytes | memoryview]


def main() -> int:
    """Exit code 0 when the scorer hung up, 1 when there is no model to ask."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(places.socket()))
    with contextlib.suppress(ConnectionError):
        receive(connection, limit=0)  # load: until now nothing of the genome was imported
        places.settle()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            model = _load(device, places.weights())
        except BaseException as error:  # noqa: BLE001 - whatever a variant raises, SystemExit too, is the answer
            _print_traceback()
            send(connection, {"op": "failed", "error": places.last_line(error)})
            return 1
        send(connection, {"op": "loaded"})
        while True:
            question, payload = receive(connection)
            if question["op"] == "load":
                model = _load(device, places.weights() / FIRST)
                send(connection, {"op": "loaded"})
                continue
            send(connection, *_answer(model, question, payload, device=device))
    return 0


def _load(device: str, weights: Path) -> nn.Module:
    module, function = read_genome(places.genome()).load.split(":")
    model = getattr(importlib.import_module(module), function)(weights, device)
    if not isinstance(model, nn.Module):
        raise TypeError(f"load must return a torch.nn.Module, not {type(model).__name__}")
    return model.eval()


def _answer(model: nn.Module, question: Mapping[str, Any], payload: bytearray, *, device: str) -> Answer:
    try:
        if question["op"] == "flops":
            return _flops(model, question["shape"][1], device=device), b""
        tokens = torch.frombuffer(payload, dtype=torch.uint16).to(torch.int64).view(question["shape"]).to(device)
        hasty = question["quick"] and device == "cuda"
        with torch.autocast("cuda", dtype=torch.bfloat16) if hasty else contextlib.nullcontext():
            return _logits(model, tokens, start=question["start"], stop=question["stop"])
    except BaseException as error:  # noqa: BLE001 - likewise
        _print_traceback()
        return {"error": places.last_line(error)}, b""


@torch.inference_mode()
def _logits(model: nn.Module, tokens: Tensor, *, start: int, stop: int) -> Answer:
    logits = model(tokens)  # (B, T, V')
    if not isinstance(logits, Tensor) or logits.dim() != 3 or logits.shape[:2] != tokens.shape:
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"forward must return logits [B, T, V], not {shape}")
    if not logits.is_floating_point():
        raise TypeError(f"forward must return floating-point logits, not {logits.dtype}")
    logits = logits[:, start:stop]
    if 4 * math.prod(logits.shape) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"logits of shape {list(logits.shape)} are larger than one message may be")
    numbers = logits.to(device="cpu", dtype=torch.float32).contiguous().numpy()
    dtype = str(logits.dtype).removeprefix("torch.")
    return {"shape": list(numbers.shape), "dtype": dtype}, numbers.reshape(-1).view("u1").data


def _flops(model: nn.Module, context: int, *, device: str) -> dict[str, Any]:
    """FLOPs per token of one forward and backward pass, which is three forward passes (Kaplan et al. 2020, table 1)."""
    tokens = torch.zeros((1, context), dtype=torch.int64, device=device)
    if "torch._dynamo" in sys.modules:
        torch.compiler.set_stance("force_eager")  # what is compiled is not counted
    # The other attention kernels count as zero on a CPU; the mathematical one is made of products that are counted.
    with _Counter() as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():  # type: ignore[no-untyped-call]
        model(tokens)
    return {
        "flops_per_token": 3 * counter.flops / context,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "low_precision": counter.low,
    }


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts FLOPs by PyTorch's own formulas, and notices whether anything is computed in less than float32.

    As torch.utils.flop_counter.FlopCounterMode does, which imports two seconds of compiler for it.
    """

    flops = 0
    low = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the default imports the compiler, to keep it out of here

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if function not in flop_registry and function._overloadpacket not in flop_registry:
            with self:
                made = function.decompose(*args, **given)
            if made is not NotImplemented:
                return made
        found = function(*args, **given)
        if formula := flop_registry.get(function._overloadpacket):
            self.flops += formula(*args, **given, out_val=found)
        self.low = self.low or (isinstance(found, Tensor) and found.dtype in LOW_PRECISION)
        return found


def _print_traceback() -> None:
    print(traceback.format_exc(), file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
