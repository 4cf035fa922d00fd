"""nanoGPT's checkpoint as the judge asks for it. Runs in a container only: the checkpoint is a pickle."""

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

CHECKPOINT = "ckpt.pt"
COMPILED = "_orig_mod."  # what torch.compile puts before every name


class EveryPosition(nn.Module):
    """nanoGPT's forward gives logits for every position only when it gets targets: any will do."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:  # (B, T) -> (B, T, V')
        answer = self.model(tokens, tokens)
        logits: Tensor = answer[0] if isinstance(answer, tuple) else answer
        return logits


def load(directory: Path, device: str) -> nn.Module:
    """The model of the checkpoint in `directory`, built by the genome's own model.py."""
    saved: dict[str, Any] = torch.load(directory / CHECKPOINT, map_location=device, weights_only=True)
    code = importlib.import_module("model")
    model: nn.Module = code.GPT(code.GPTConfig(**saved["model_args"]))
    model.load_state_dict({name.removeprefix(COMPILED): value for name, value in saved["model"].items()})
    return EveryPosition(model.to(device))
