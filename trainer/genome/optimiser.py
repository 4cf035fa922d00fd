"""The rule that turns gradients into steps: AdamW (Loshchilov & Hutter 2019)."""

import torch
from torch import nn

BETA1 = 0.9


def configure_optimiser(
    model: nn.Module, *, learning_rate: float, beta2: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Matrices and embeddings decay towards zero; the gains of the norms do not."""
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    free = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(BETA1, beta2), fused=True)
