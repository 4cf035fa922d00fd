"""A vocabulary that is a directory of tokens: what must be in it, and the hash that stands for it.

    meta.json      {"dtype": "uint16", "vocab_size": V, "token_bytes": [V numbers], or the name of a JSON or .npy file}
    train.bin      the training text: uint16 token ids, little-endian, nothing else
    heldout.bin    the held-out text, likewise; its first half is public, its second private

`token_bytes` says how many bytes of text each token stands for, so that bits per byte can be told.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer import cache as kept

META, TRAIN, HELD_OUT = "meta.json", "train.bin", "heldout.bin"
DTYPE = "uint16"
MAX_VOCAB = 1 << 16
MAX_META_BYTES = 16 << 20
MAX_TOKEN_BYTES = 1 << 20
PIECE_BYTES = 1 << 24
SETTLED_SECONDS = 2.0  # a file changed more recently may change again within one tick of its clock


class TokensError(ValueError):
    """This directory of tokens cannot be used; the message is one sentence that says what to change."""


@dataclass(frozen=True)
class TokenFiles:
    """A directory of tokens that was looked at from its first byte to its last."""

    folder: Path
    vocab_size: int
    token_bytes: NDArray[np.float64]  # [vocab_size]
    sha256: str  # of the three files: it changes with any byte of them


def look(folder: Path, *, cache: Path | None = None) -> TokenFiles:
    """Check the directory and hash it, or TokensError.

    Files are read in pieces, so that they may be larger than the memory. With a `cache` folder, a file of the same
    size, place and time of change is not read again.
    """
    for name in (META, TRAIN, HELD_OUT):
        if not (folder / name).is_file():
            raise TokensError(f"{folder} has no {name}: a vocabulary is \"bytes\", \"chars\", or a directory with "
                              f"{TRAIN}, {HELD_OUT} and {META}")
    try:
        meta = _object(_small(folder / META), folder / META)
        vocab_size = _vocab_size(meta, folder / META)
        token_bytes = _token_bytes(meta, folder, vocab_size)
        facts = [_facts(folder / name, vocab_size, cache) for name in (TRAIN, HELD_OUT)]
    except OSError as error:
        raise TokensError(f"{error.filename or folder} cannot be read ({error.strerror}): make it readable") from error
    described = json.dumps([DTYPE, vocab_size, token_bytes.tolist(), *facts])
    return TokenFiles(folder, vocab_size, token_bytes, hashlib.sha256(described.encode()).hexdigest())


def mapped(path: Path) -> NDArray[np.uint16]:
    """The tokens of a file, read from the disk when they are looked at."""
    return np.asarray(np.memmap(path, dtype="<u2", mode="r"))


def _small(path: Path) -> bytes:
    if path.stat().st_size > MAX_META_BYTES:
        raise TokensError(f"{path} has more than {MAX_META_BYTES >> 20} MB: keep only what is asked for in it")
    return path.read_bytes()


def _object(content: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise TokensError(f"{path} is not a JSON object: write dtype, vocab_size and token_bytes into it")
    return value


def _vocab_size(meta: dict[str, Any], path: Path) -> int:
    if meta.get("dtype") != DTYPE:
        raise TokensError(f"{path} says dtype {meta.get('dtype')!r}: only \"{DTYPE}\" is served, so write the tokens "
                          f"as that and keep to {MAX_VOCAB:,} of them")
    size = meta.get("vocab_size")
    if not isinstance(size, int) or isinstance(size, bool) or not 2 <= size <= MAX_VOCAB:
        raise TokensError(f"{path} says vocab_size {size!r}: give a whole number from 2 to {MAX_VOCAB:,}")
    return size


def _token_bytes(meta: dict[str, Any], folder: Path, vocab_size: int) -> NDArray[np.float64]:
    """How many bytes each token stands for: [vocab_size]."""
    wrong = TokensError(f"{folder / META}: token_bytes must be {vocab_size:,} numbers from 0 to {MAX_TOKEN_BYTES:,}, "
                        "or the name of a JSON or .npy file beside it that holds them")
    value = meta.get("token_bytes")
    try:
        if isinstance(value, str):
            value = _listed(folder, value)
        lengths = np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError, EOFError, RecursionError, FileNotFoundError) as error:
        raise wrong from error
    # NaN is in no range either.
    if lengths.shape != (vocab_size,) or not ((lengths >= 0) & (lengths <= MAX_TOKEN_BYTES)).all() or not lengths.any():
        raise wrong
    return lengths


def _listed(folder: Path, name: str) -> Any:
    if Path(name).name != name:
        raise ValueError("not beside it")
    if name.endswith(".npy"):
        return np.load(folder / name, allow_pickle=False)
    return json.loads(_small(folder / name))


def _facts(path: Path, vocab_size: int, cache: Path | None) -> str:
    """The sha256 of a file of tokens of which none is too large."""
    sha256, largest = _known_facts(path, cache)
    if largest >= vocab_size:
        raise TokensError(f"{path} holds the token {largest:,} where {META} says vocab_size {vocab_size:,}: "
                          "correct one of them")
    return sha256


def _known_facts(path: Path, cache: Path | None) -> tuple[str, int]:
    before = _stamp(path)
    known = kept.read(cache, before)
    if known is not None:
        sha256, largest = json.loads(bytes(known))
        return str(sha256), int(largest)
    found = _read_facts(path)
    if _stamp(path) != before:
        raise TokensError(f"{path} changed while it was read: wait until it is written")
    if time.time() - path.stat().st_mtime > SETTLED_SECONDS:
        kept.write(cache, before, json.dumps(found).encode())
    return found


def _stamp(path: Path) -> str:
    status = path.stat()
    which = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return f"token file 1 {path.resolve()} {which}"


def _read_facts(path: Path) -> tuple[str, int]:
    """sha256 and the largest token of a file."""
    size = path.stat().st_size
    if size % 2 or not size:
        raise TokensError(f"{path} has {size:,} bytes, which is no whole number of uint16 tokens: write it again")
    whole, largest = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            whole.update(piece)
            largest = max(largest, int(np.frombuffer(piece[: len(piece) // 2 * 2], dtype="<u2").max(initial=0)))
    return whole.hexdigest(), largest
