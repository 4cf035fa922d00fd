"""One hidden layer over a token and the one before it, with a tied head: a GPT in its interface only."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass
class GPTConfig:
    block_size: int = 16
    vocab_size: int = 64
    n_embd: int = 16
    dropout: float = 0.0


class GPT(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.hidden = nn.Linear(2 * config.n_embd, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.lm_head.weight = self.wte.weight
        nn.init.normal_(self.wte.weight, std=0.1)

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        assert idx.size(1) <= self.config.block_size, "longer than block_size"
        now = self.wte(idx)  # (B, T, C)
        before = torch.cat([torch.zeros_like(now[:, :1]), now[:, :-1]], dim=1)
        x = now + torch.tanh(self.hidden(self.drop(torch.cat([now, before], dim=2))))
        if targets is None:
            # when sampling only the last position is wanted
            return self.lm_head(x[:, [-1], :]), None
        logits = self.lm_head(x)
        return logits, functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
