"""A small byte-pair vocabulary made from a text, and its directory of tokens, as a researcher would bring one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def encoded(raw: bytes, *, merges: int) -> tuple[Ids, list[int]]:
    """The tokens of `raw` and how many bytes each stands for: bytes first, then the most frequent pairs, greedily."""
    ids, lengths = np.frombuffer(raw, dtype=np.uint8).astype(np.int64), [1] * 256
    for _ in range(merges):
        pairs = ids[:-1] << 32 | ids[1:]
        found, counts = np.unique(pairs, return_counts=True)
        pair = int(found[counts.argmax()])
        ids = _merged(ids, pairs == pair, len(lengths))
        lengths.append(lengths[pair >> 32] + lengths[pair & 0xFFFFFFFF])
    return ids, lengths


def _merged(ids: Ids, here: NDArray[np.bool_], new: int) -> Ids:
    places = np.flatnonzero(here)
    kept: list[int] = []
    for place in places.tolist():  # "aaa" holds the pair "aa" once
        if not kept or place > kept[-1] + 1:
            kept.append(place)
    ids = ids.copy()
    ids[kept] = new
    return np.delete(ids, np.array(kept, dtype=np.int64) + 1)


def directory(folder: Path, raw: bytes, *, merges: int = 60, **meta: Any) -> Path:
    """A directory with the tokens of `raw`, nine tenths of them to train on; `meta` replaces what meta.json says."""
    ids, lengths = encoded(raw, merges=merges)
    return written(folder, ids, lengths, **meta)


def written(folder: Path, ids: Ids, lengths: list[int], **meta: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cut = len(ids) * 9 // 10
    (folder / "train.bin").write_bytes(ids[:cut].astype("<u2").tobytes())
    (folder / "heldout.bin").write_bytes(ids[cut:].astype("<u2").tobytes())
    told = {"dtype": "uint16", "vocab_size": len(lengths), "token_bytes": lengths, **meta}
    (folder / "meta.json").write_text(json.dumps({name: value for name, value in told.items() if value is not None}))
    return folder
