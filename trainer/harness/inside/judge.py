"""Answers the scorer's questions with the genome's model: `python -P -m trainer.harness.inside.judge`.

What is asked and answered (JSON headers):

    (first)                              {op: loaded} or {op: failed, error}
    {op: logits, shape: [B, T], last}    and uint16 tokens: {shape} and float32 logits [B, T, V'], or [B, 1, V'] if last
    {op: flops, shape: [1, T]}           {flops_per_token, parameters}
"""

import importlib
import math
import socket
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainer.contract import MAX_PAYLOAD_BYTES, read_genome, receive, send
from trainer.harness.inside import places

Answer = tuple[dict[str, Any], bytes]


def main() -> int:
    """Exit code 0 when the scorer hung up, 1 when there is no model to ask."""
    places.settle()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(places.socket()))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model = _load(device)
    except BaseException as error:  # noqa: BLE001 - whatever a variant raises, SystemExit too, is the answer
        _print_traceback()
        send(connection, {"op": "failed", "error": places.last_line(error)})
        return 1
    send(connection, {"op": "loaded"})
    try:
        while True:
            question, payload = receive(connection)
            send(connection, *_answer(model, question, payload, device=device))
    except ConnectionError:
        return 0


def _load(device: str) -> nn.Module:
    module, function = read_genome(places.genome()).load.split(":")
    model = getattr(importlib.import_module(module), function)(places.weights(), device)
    if not isinstance(model, nn.Module):
        raise TypeError(f"load must return a torch.nn.Module, not {type(model).__name__}")
    return model.eval()


def _answer(model: nn.Module, question: Mapping[str, Any], payload: bytearray, *, device: str) -> Answer:
    try:
        if question["op"] == "flops":
            return _flops(model, question["shape"][1], device=device), b""
        tokens = torch.frombuffer(payload, dtype=torch.uint16).to(torch.int64).view(question["shape"])
        return _logits(model, tokens.to(device), last=question["last"])
    except BaseException as error:  # noqa: BLE001 - likewise
        _print_traceback()
        return {"error": places.last_line(error)}, b""


@torch.inference_mode()
def _logits(model: nn.Module, tokens: Tensor, *, last: bool) -> Answer:
    logits = model(tokens)  # (B, T, V')
    if not isinstance(logits, Tensor) or logits.dim() != 3 or logits.shape[:2] != tokens.shape:
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"forward must return logits [B, T, V], not {shape}")
    if last:
        logits = logits[:, -1:]
    if 4 * math.prod(logits.shape) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"logits of shape {list(logits.shape)} are larger than one message may be")
    numbers = logits.to(device="cpu", dtype=torch.float32).contiguous().numpy()
    return {"shape": list(numbers.shape)}, numbers.tobytes()


def _flops(model: nn.Module, context: int, *, device: str) -> dict[str, Any]:
    """FLOPs per token of one forward and backward pass, which is three forward passes (Kaplan et al. 2020, table 1)."""
    tokens = torch.zeros((1, context), dtype=torch.int64, device=device)
    # The other attention kernels count as zero on a CPU; the mathematical one is made of products that are counted.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(tokens)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"flops_per_token": 3 * counter.get_total_flops() / context, "parameters": parameters}


def _print_traceback() -> None:
    print(traceback.format_exc(), file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
