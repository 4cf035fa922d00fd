"""From logits to log-probabilities: our own log-softmax, in float32, in pieces that stay in a processor's cache."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PIECE = 1 << 18  # numbers worked on at a time: 1 MiB


class NotFinite(ValueError):
    """Logits that are no finite numbers."""


def log_probabilities(logits: NDArray[np.float32], targets: NDArray[np.integer]) -> Floats:
    """Log-probabilities in nats that `logits` [..., V'] give to `targets` [...]; NotFinite for any NaN or infinity.

    Memory beside the two: a few MiB, whatever their size.
    """
    columns = logits.shape[-1]
    rows, chosen = logits.reshape(-1, columns), targets.reshape(-1).astype(np.int64)
    found = np.empty(len(rows))
    step = max(PIECE // columns, 1)
    for start in range(0, len(rows), step):
        found[start : start + step] = _piece(rows[start : start + step], chosen[start : start + step])
    return found.reshape(targets.shape)


def _piece(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float32]:
    top = logits.max(axis=1, keepdims=True)
    if not (np.isfinite(top).all() and np.isfinite(logits.min())):  # maximum and minimum keep a NaN
        raise NotFinite("logits that are not finite numbers")
    picked = logits[np.arange(len(logits)), targets] - top[:, 0]
    with np.errstate(under="ignore", over="ignore"):  # 3e38 below the top is minus infinity, and its exp is 0
        lower = logits - top
        np.exp(lower, out=lower)
    nats: NDArray[np.float32] = picked - np.log(lower.sum(axis=1, dtype=np.float32))
    return nats
