"""One training run, from the first weight to the checkpoint."""

from typing import Any

import torch
import torch.nn.functional as F
from config import CONTEXT, CPU, GPU
from model import GPT, seed_of
from optimiser import configure_optimiser
from schedule import learning_rate
from torch import nn

REPORT_EVERY = 10  # steps


def main(run: Any) -> None:
    on_gpu = run.device.startswith("cuda")
    preset = GPU if on_gpu else CPU
    shape = {
        "context": CONTEXT,
        "layers": preset.layers,
        "heads": preset.heads,
        "width": preset.width,
        "dropout": preset.dropout,
    }
    model = GPT(vocab_size=run.vocab_size, **shape).to(run.device)
    model.initialise(run.seed)
    optimiser = configure_optimiser(
        model, learning_rate=preset.learning_rate, beta2=preset.beta2, weight_decay=preset.weight_decay
    )
    torch.manual_seed(seed_of(run.seed, "dropout"))  # nothing else draws from the global generator
    model.train()
    for step, (x, y) in enumerate(run.batches(preset.batch_size, CONTEXT)):  # (B, T) each
        rate = learning_rate(run.progress, highest=preset.learning_rate, lowest=preset.min_learning_rate)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=on_gpu):
            logits = model(x)  # (B, T, V)
        loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), preset.grad_clip)
        optimiser.step()
        if step % REPORT_EVERY == 0:
            run.report(step=step, loss=loss, learning_rate=rate)
    run.save(model, shape)
