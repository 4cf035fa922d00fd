"""A trainer that owns its loop, with the shape and the quirks of those that people bring."""

import math
import pickle
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import GPT, GPTConfig

# settings, which configurator.py replaces
out_dir = "out"
eval_interval = 2000
log_interval = 10
eval_iters = 200
always_save_checkpoint = True
dataset = "openwebtext"
gradient_accumulation_steps = 2 * 4
batch_size = 12
block_size = 1024
n_embd = 16
dropout = 0.0
padded_vocab = 0  # round the vocabulary up to a multiple of this
learning_rate = 6e-4
max_iters = 600000
warmup_iters = 2
lr_decay_iters = 600000
min_lr = 6e-5
device = "cuda"
dtype = "bfloat16"
compile = True
exec(Path("configurator.py").read_text())

tokens_per_iter = gradient_accumulation_steps * batch_size * block_size
print(f"tokens per iteration will be: {tokens_per_iter:,}")
Path(out_dir).mkdir(parents=True, exist_ok=True)
torch.manual_seed(1337)
data_dir = Path("data") / dataset


def get_batch(split: str) -> tuple[Tensor, Tensor]:
    data = np.memmap(data_dir / f"{split}.bin", dtype=np.uint16, mode="r")
    places = torch.randint(len(data) - block_size, (batch_size,))
    x = torch.stack([torch.from_numpy(data[i : i + block_size].astype(np.int64)) for i in places])
    y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + block_size].astype(np.int64)) for i in places])
    return x.to(device), y.to(device)


meta = pickle.loads((data_dir / "meta.pkl").read_bytes())
vocab_size = meta["vocab_size"]
if padded_vocab:
    vocab_size = math.ceil(vocab_size / padded_vocab) * padded_vocab
model_args = {"block_size": block_size, "vocab_size": vocab_size, "n_embd": n_embd, "dropout": dropout}
model = GPT(GPTConfig(**model_args))
model.to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)


@torch.no_grad()
def estimate_loss() -> dict[str, float]:
    model.eval()
    losses = {}
    for split in ("train", "val"):
        losses[split] = sum(float(model(*get_batch(split))[1]) for _ in range(eval_iters)) / eval_iters
    model.train()
    return losses


def get_lr(it: int) -> float:
    if it < warmup_iters:
        return learning_rate * (it + 1) / (warmup_iters + 1)
    if it > lr_decay_iters:
        return min_lr
    share = (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    return min_lr + 0.5 * (1.0 + math.cos(math.pi * share)) * (learning_rate - min_lr)


def save(best: float) -> None:
    prefix = "_orig_mod."  # what torch.compile leaves in the names
    checkpoint = {
        "model": {prefix + name: value for name, value in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "model_args": model_args,
        "iter_num": iter_num,
        "best_val_loss": torch.tensor(best),
        "config": {"learning_rate": learning_rate, "dataset": dataset},
    }
    torch.save(checkpoint, Path(out_dir) / "ckpt.pt")


iter_num = 0
best_val_loss = 1e9
X, Y = get_batch("train")
t0 = time.time()
while True:
    for group in optimizer.param_groups:
        group["lr"] = get_lr(iter_num)
    if iter_num % eval_interval == 0:
        found = estimate_loss()
        print(f"step {iter_num}: train loss {found['train']:.4f}, val loss {found['val']:.4f}")
        if found["val"] < best_val_loss or always_save_checkpoint:
            best_val_loss = found["val"]
            if iter_num > 0:
                save(best_val_loss)
    for _ in range(gradient_accumulation_steps):
        loss = model(X, Y)[1] / gradient_accumulation_steps
        X, Y = get_batch("train")
        loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    t1 = time.time()
    if iter_num % log_interval == 0:
        total = float(loss) * gradient_accumulation_steps
        print(f"iter {iter_num}: loss {total:.4f}, time {(t1 - t0) * 1000:.2f}ms, mfu {-100.0:.2f}%")
    t0 = t1
    iter_num += 1
    if iter_num > max_iters:
        break
