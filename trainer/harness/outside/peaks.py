"""Peak arithmetic of devices, and what share of it a training used."""

# Dense bfloat16 peaks in FLOP/s, from the makers' data sheets; without sparsity. The more specific name comes first.
DENSE_BF16 = (
    ("GB200", 2500e12),
    ("B200", 2250e12),
    ("H200 NVL", 836e12),
    ("H200", 989e12),
    ("H100 NVL", 836e12),
    ("H100 PCIE", 756e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("A40", 150e12),
    ("L4", 121e12),
    ("MI300X", 1307e12),
    ("RTX 5090", 210e12),
    ("RTX 4090", 165e12),
    ("RTX 3090", 71e12),
)


def peak_flops(name: str) -> float | None:
    """Dense bfloat16 FLOP/s of the GPU called `name` by its driver, or None when the table does not know it."""
    words = name.upper().replace("-", " ").split()
    for known, peak in DENSE_BF16:
        parts = known.split()
        # Whole words, or "L4" would also be found in "L40S".
        if all(part in words for part in parts):
            return peak
    return None


def mfu(flops_per_token: float, tokens_per_second: float, peak: float) -> float:
    """Model FLOPS utilization (Chowdhery et al. 2022, appendix B): the share of `peak` FLOP/s the training used."""
    return flops_per_token * tokens_per_second / peak
