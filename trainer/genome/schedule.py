"""The learning rate over a training: a short rise, then a cosine (Loshchilov & Hutter 2017)."""

import math

WARMUP = 0.05  # of the budget


def learning_rate(progress: float, *, highest: float, lowest: float) -> float:
    """The rate when `progress` (0 … 1) of the budget is used."""
    if progress < WARMUP:
        return highest * progress / WARMUP
    fallen = min((progress - WARMUP) / (1.0 - WARMUP), 1.0)
    return lowest + (highest - lowest) * 0.5 * (1.0 + math.cos(math.pi * fallen))
