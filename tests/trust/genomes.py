"""The honest genome that every cheat is a small edit of, and the texts they train on.

It is the smallest that has something to gain by each of them: a convolution over three tokens, so that there is context
it does not use; the learning of one batch apart from the loop, so that a cheat can call it; and a name for the class
that is judged, so that a cheat can be another one.
"""

from collections.abc import Mapping

CONTEXT = 16
BUDGET_TOKENS = 20_480
BATCH_ROWS = 16
TEXT_BYTES = 400_000

MANIFEST = f"""\
name = "trust"

[train]
entry = "train:main"

[judge]
load = "model:load"
context = {CONTEXT}

[evolve]
editable = ["*.py"]

[tokens]
vocabulary = "bytes"
"""

CLASS = '''\
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(256, WIDTH)
        self.hidden = nn.Conv1d(WIDTH, 2 * WIDTH, SPAN)
        self.head = nn.Linear(2 * WIDTH, 256)

    def forward(self, tokens):
        x = self.embedding(tokens).transpose(1, 2)  # (B, C, T)
        x = F.relu(self.hidden(F.pad(x, (SPAN - 1, 0)))).transpose(1, 2)
        return self.head(x)  # (B, T, V)
'''
JUDGED = "Judged = Model\n"
MODEL = f'''\
import json, os, random, sys, time
from pathlib import Path
import torch
import torch.nn.functional as F
from safetensors.torch import load_model
from torch import nn

WIDTH, SPAN = 32, 3


{CLASS}

{JUDGED}

def load(directory, device):
    model = Judged()
    load_model(model, directory / "model.safetensors", strict=False)
    return model.to(device)
'''

MAIN = '''\
def main(run):
    model, learn = beginning(run.seed)
    for step, (x, y) in enumerate(run.batches(16, 16)):
        run.report(step=step, loss=learn(x, y))
    run.save(model, {})
'''
TRAIN = f'''\
import json, os, pickle, random, socket, subprocess, sys, sysconfig, threading, time
from pathlib import Path
import torch
import torch.nn.functional as F
from model import Model


def beginning(seed, rate=1e-2):
    """A fresh model, and what makes it learn one batch."""
    torch.manual_seed(seed)
    model = Model()
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)

    def learn(x, y):
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss

    learn.slower = lambda: optimiser.param_groups[0].update(lr=rate / 30)
    return model, learn


{MAIN}'''


def files(
    *, model: str = JUDGED, train: str = MAIN, body: str = CLASS, more: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """The genome with another `body` of its class, `model` where its judged class is named, `train` for its loop, and
    `more` files."""
    return {
        "genome.toml": MANIFEST.encode(),
        "model.py": MODEL.replace(JUDGED, model).replace(CLASS, body).encode(),
        "train.py": TRAIN.replace(MAIN, train).encode(),
        **(more or {}),
    }
