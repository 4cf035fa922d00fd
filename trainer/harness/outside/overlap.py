"""Finding 64-byte strings: of held-out text in training text, and of held-out text in files a container can read."""

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NEEDLE_BYTES = 64
_BLOCK = 32  # every 64-byte string, wherever it begins, covers one whole aligned block of 32
_CHUNK = 1 << 22
_TABLE_BITS = 24
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_MASK = (1 << 64) - 1

Hashes = NDArray[np.uint64]


def occurs_in(text: bytes, other: bytes) -> NDArray[np.bool_]:
    """Whether the 64 bytes that begin at each place of `text` occur anywhere in `other`: [max(len(text) - 63, 0)].

    By 64-bit hashes: a string that occurs is always found; one that does not is taken for one with odds of about 1e-10.
    """
    wanted = _rolling(text)
    table = np.zeros(1 << _TABLE_BITS, dtype=bool)  # a first look that is cheap, for texts of gigabytes
    table[wanted >> np.uint64(64 - _TABLE_BITS)] = True
    ordered, found = np.unique(wanted), np.zeros(0, dtype=np.uint64)
    for start in range(0, max(len(other) - NEEDLE_BYTES + 1, 0), _CHUNK):
        hashes = _rolling(other[start : start + _CHUNK + NEEDLE_BYTES - 1])
        likely = hashes[table[hashes >> np.uint64(64 - _TABLE_BITS)]]
        found = np.union1d(found, np.intersect1d(likely, ordered))
    return np.isin(wanted, found)


def _rolling(text: bytes) -> Hashes:
    """The polynomial hash (Karp & Rabin 1987) of the 64 bytes that begin at each place: [max(len(text) - 63, 0)]."""
    size = len(text)
    if size < NEEDLE_BYTES:
        return np.zeros(0, dtype=np.uint64)
    powers = _powers(_MULTIPLIER, size)
    values = _VALUES[np.frombuffer(text, dtype=np.uint8)]
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(values * powers, dtype=np.uint64)])
    raw: Hashes = sums[NEEDLE_BYTES:] - sums[:-NEEDLE_BYTES]  # wraps, as it should
    hashes: Hashes = raw * _powers(pow(_MULTIPLIER, -1, 1 << 64), len(raw))
    return hashes ^ (hashes >> np.uint64(29))


def _powers(base: int, count: int) -> Hashes:
    """base**0 … base**(count - 1), modulo 2**64."""
    factors = np.full(count, base, dtype=np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)


_VALUES: Hashes = np.random.Philox(key=64).random_raw(256)
_WEIGHTS: Hashes = np.random.Philox(key=32).random_raw(_BLOCK // 8) | np.uint64(1)


@dataclass(frozen=True)
class Hit:
    """A needle found in a file."""

    path: Path
    needle: bytes

    def __str__(self) -> str:
        return str(self.path)


def search(paths: Iterable[Path], needles: Sequence[bytes]) -> list[Hit]:
    """Every file under `paths` that holds one of the 64-byte `needles`, at any offset. Symlinks are not followed.

    A file that cannot be read is left out: an unprivileged container could not read it either.
    """
    lookup = _Lookup(needles)
    return [Hit(path, needle) for path in _files(paths) for needle in sorted(_found_in(path, lookup))]


class _Lookup:
    """The needles, by the hash of each 32-byte piece of them."""

    def __init__(self, needles: Sequence[bytes]) -> None:
        self.blocks = _needle_blocks(needles)
        self._keys = np.array(sorted(self.blocks), dtype=np.uint64)
        self._table = np.zeros(1 << 20, dtype=bool)
        self._table[self._keys >> np.uint64(44)] = True

    def places(self, hashes: Hashes) -> NDArray[np.int64]:
        """Which of `hashes` belong to a needle."""
        likely = np.flatnonzero(self._table[hashes >> np.uint64(44)])
        return likely[np.isin(hashes[likely], self._keys)]


def _needle_blocks(needles: Sequence[bytes]) -> dict[int, list[tuple[bytes, int]]]:
    """The hash of each 32-byte piece of each needle -> the needle and where in it the piece begins."""
    blocks: dict[int, list[tuple[bytes, int]]] = {}
    for needle in needles:
        if len(needle) != NEEDLE_BYTES:
            raise ValueError(f"a needle has {len(needle)} bytes where {NEEDLE_BYTES} are needed")
        for shift in range(NEEDLE_BYTES - _BLOCK + 1):
            key = int(_block_hashes(needle[shift : shift + _BLOCK])[0])
            blocks.setdefault(key, []).append((needle, shift))
    return blocks


def _block_hashes(data: bytes | memoryview) -> Hashes:
    """One hash per aligned block of 32 bytes."""
    whole = len(data) // _BLOCK * _BLOCK
    words = np.frombuffer(data[:whole], dtype="<u8").reshape(-1, _BLOCK // 8)
    hashes: Hashes = words[:, 0] * _WEIGHTS[0]
    for column in range(1, _BLOCK // 8):  # four strided passes are faster than a sum over so short an axis
        hashes += words[:, column] * _WEIGHTS[column]
    return hashes


def _found_in(path: Path, lookup: _Lookup) -> set[bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return set()
    try:
        if os.fstat(descriptor).st_size < NEEDLE_BYTES:
            return set()
        with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as data:
            return set(_matches(data, lookup))
    except (OSError, ValueError):  # a device, or a file that shrank
        return set()
    finally:
        os.close(descriptor)


def _matches(data: mmap.mmap, lookup: _Lookup) -> Iterator[bytes]:
    for start in range(0, len(data), _CHUNK):
        hashes = _block_hashes(data[start : start + _CHUNK])
        for index in lookup.places(hashes):
            place = start + int(index) * _BLOCK
            for needle, shift in lookup.blocks[int(hashes[index])]:
                if place >= shift and data[place - shift : place - shift + NEEDLE_BYTES] == needle:
                    yield needle


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Regular files under `paths`, each real file once."""
    seen: set[tuple[int, int]] = set()
    for top in paths:
        for path in [top] if top.is_file() and not top.is_symlink() else _walk(top):
            status = path.lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield path


def _walk(top: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(top):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path
