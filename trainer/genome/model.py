"""A GPT: pre-norm Transformer blocks with learned positions (Radford et al. 2019), as small as it can be said."""

import hashlib
import json
import math
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

INIT_STD = 0.02


class Attention(nn.Module):
    """Causal self-attention with several heads (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(C, dim=2)  # (B, T, C) each
        q = q.view(B, T, self.heads, C // self.heads).transpose(1, 2)  # (B, H, T, C / H)
        k = k.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        v = v.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)  # (B, H, T, C / H)
        y = y.transpose(1, 2).reshape(B, T, C)
        return F.dropout(self.proj(y), self.dropout, self.training)


class MLP(nn.Module):
    """Two layers with a GELU (Hendrycks & Gimpel 2016) between them, applied to each position by itself."""

    def __init__(self, *, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.fc = nn.Linear(width, 4 * width, bias=False)
        self.act = nn.GELU()
        self.proj = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(self.act(self.fc(x)))  # (B, T, 4 C) -> (B, T, C)
        return F.dropout(x, self.dropout, self.training)


class Block(nn.Module):
    """Attention and MLP, each behind a norm and beside a residual path (Xiong et al. 2020)."""

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.attention = Attention(width=width, heads=heads, dropout=dropout)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.mlp = MLP(width=width, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Tokens in, logits for each next token out."""

    def __init__(
        self, *, vocab_size: int, context: int, layers: int, heads: int, width: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.embedding = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width=width, heads=heads, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.embedding.weight  # tied (Press & Wolf 2017)

    def forward(self, tokens: Tensor) -> Tensor:
        T = tokens.shape[1]
        x = self.embedding(tokens) + self.positions(torch.arange(T, device=tokens.device))  # (B, T, C)
        x = F.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # (B, T, V)

    def initialise(self, seed: int) -> None:
        """Draw every weight from a generator of its own, so that changing one part leaves the others as they were."""
        for name, weight in self.named_parameters():
            generator = torch.Generator(weight.device).manual_seed(seed_of(seed, name))
            if name.endswith("proj.weight"):  # it adds to the residual path, as 2 * layers of them do
                std = INIT_STD / math.sqrt(2 * len(self.blocks))
                nn.init.normal_(weight, mean=0.0, std=std, generator=generator)
            elif weight.dim() >= 2:
                nn.init.normal_(weight, mean=0.0, std=INIT_STD, generator=generator)


def seed_of(seed: int, name: str) -> int:
    """A seed of its own for everything that has a name."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7], "big")


def load(directory: Path, device: str) -> nn.Module:
    """The model that `run.save` wrote into `directory`."""
    model = GPT(**json.loads((directory / "config.json").read_text()))
    safetensors.torch.load_model(model, str(directory / "model.safetensors"))
    return model.to(device)
