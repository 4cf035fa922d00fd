"""The numbers of the recipe: one preset for a CPU, one for a GPU."""

from dataclasses import dataclass

CONTEXT = 64  # tokens; genome.toml promises as many to the judge


@dataclass(frozen=True)
class Preset:
    layers: int
    heads: int
    width: int
    dropout: float
    batch_size: int  # rows of CONTEXT tokens
    learning_rate: float
    min_learning_rate: float
    beta2: float
    weight_decay: float
    grad_clip: float


# nanoGPT's recipe for a CPU: about 0.8 million parameters.
CPU = Preset(
    layers=4,
    heads=4,
    width=128,
    dropout=0.0,
    batch_size=12,
    learning_rate=1e-3,
    min_learning_rate=1e-4,
    beta2=0.99,
    weight_decay=0.1,
    grad_clip=1.0,
)

# About 25 million parameters.
GPU = Preset(
    layers=8,
    heads=8,
    width=512,
    dropout=0.0,
    batch_size=256,
    learning_rate=6e-4,
    min_learning_rate=6e-5,
    beta2=0.99,
    weight_decay=0.1,
    grad_clip=1.0,
)
