"""Kinds of change: what a change is called that no operator made. Standard library only, no Django.

The words are those of GPT training code; docs/memory.md says how often they agree with the families of the built-in
operators, and a test holds them to it.
"""

import re
from collections import Counter
from collections.abc import Collection

OTHER = "other"
# In the order in which a tie is decided. A word counts where it is a part of a name, case ignored.
WORDS: dict[str, str] = {
    "normalisation": r"rms|layer_?norm|group_?norm|(?<!grad_)(?<!max_)norm(?!al_|_\b)|rsqrt",
    "activation": r"gelu|relu|silu|swish|swiglu|geglu|glu\b|\bact\b|activation|leaky",
    "positions": r"rotary|\brope|alibi|position|\bwpe\b|sinusoid|\bcos\b.*\bsin\b",
    "head": r"lm_head|\btanh\b|\.head\b|\bhead\b|soft_?cap|logit|unembed|tied|untie",
    "initialisation": r"init_std|initial|init\.|xavier|kaiming|trunc_normal|normal_|zeros_|orthogonal_",
    "residual": r"residual|\bblock\.forward|\bskip|layer_?scale|\bresid|\blam(bda)?s?_|parallel_block",
    "attention": r"attention|attn|\bqkv?\b|\bkv?\b|scaled_dot|softmax|n_head|\bheads\b|causal|flash",
    "optimiser": (
        r"adam|\bsgd|muon|\blion\b|optimi[sz]er|beta|"
        r"momentum|weight_decay|param_groups|clip|fused|nesterov|newton"
    ),
    "schedule": (
        r"schedule|warm_?up|cosine|learning_rate|min_lr|"
        r"\blr\b|cool_?down|anneal|progress|\blowest\b|\bhighest\b"
    ),
    "batches": r"batch|block_size|micro|accum|seq(uence)?_len|\bcontext\b",
    "precision": r"bfloat16|float16|\bhalf\b|autocast|\bamp\b|tf32|matmul_precision|fp8|gradscaler",
    "loop": r"compile|run\.report|synchroni[sz]e|zero_grad|non_blocking|no_sync|\bitem\b|report_every|average|\bema\b",
}
SETTINGS = "settings"  # said only where nothing else was: code is full of these words
_SETTING = re.compile(r"dropout|n_layer|layers|depth|width|n_embd|d_model|bias", re.IGNORECASE)
_FOUND = {family: re.compile(words, re.IGNORECASE) for family, words in WORDS.items()}
OF_A_REGION = 2  # what a region is called says more than one shingle of its code


def kind_of(regions: Collection[str], shingles: Collection[str]) -> str:
    """The kind of change whose words are most frequent in what was changed; OTHER where there are none."""
    votes: Counter[str] = Counter()
    for text, weight in [*((one, OF_A_REGION) for one in regions), *((one, 1) for one in shingles)]:
        for family, words in _FOUND.items():
            votes[family] += weight * bool(words.search(text))
    best = max(WORDS, key=lambda family: votes[family])  # the first of equals
    if votes[best]:
        return best
    return SETTINGS if any(_SETTING.search(one) for one in (*regions, *shingles)) else OTHER
