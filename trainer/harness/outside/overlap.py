"""Finding 64-byte strings: of held-out text in training text, and of held-out text in files a container can read."""

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NEEDLE_BYTES = 64
_BLOCK = 32  # every 64-byte string, wherever it begins, covers one whole aligned block of 32
_CHUNK = 1 << 22
_ROLL = 1 << 17  # places hashed at a time: their arrays stay in the processor's cache
FAR_LARGER = 32  # than the texts: a training text that is worth a look at its blocks first
MANY_BLOCKS = 64  # in one piece: closer looks at each would cost more than one at all of it
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64

Hashes = NDArray[np.uint64]
Units = NDArray[np.uint8] | NDArray[np.uint16]
Raw = bytes | memoryview


def occurs_in(texts: Sequence[Raw], other: Raw, *, unit: int = 1) -> list[NDArray[np.bool_]]:
    """For each of `texts`: whether the 64 bytes that begin at each place of it occur anywhere in `other`.

    Places are `unit` bytes apart (2 for texts of uint16 tokens) and so many in a text: max(places - 64 / unit + 1, 0).
    `other` is read once, in pieces, so that it may be a mapped file of any size. By 64-bit hashes: a string that occurs
    is always found; one that does not is taken for one with odds of about 1e-10 per gigabyte of `other`.
    """
    span = NEEDLE_BYTES // unit
    pieces = [_units(text, unit) for text in texts]
    hashes = [_rolling(piece, span=span) for piece in pieces]
    distinct, inverse = np.unique(np.concatenate(hashes), return_inverse=True)
    wanted, found = _Ordered(distinct), np.zeros(len(distinct), dtype=bool)
    for part in _parts(_units(other, unit), pieces, span=span):
        _, places = wanted.find(_rolling(part, span=span))
        found[places] = True
    return np.split(found[inverse], np.cumsum([len(one) for one in hashes])[:-1])


class _Ordered:
    """Hashes in order, with a first look that is cheap: one in some dozens passes it by accident."""

    def __init__(self, hashes: Hashes) -> None:
        self.hashes = np.sort(hashes)
        bits = min(max(len(self.hashes).bit_length() + 4, 16), 26)
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, dtype=bool)
        self._table[self.hashes >> self._shift] = True

    def find(self, hashes: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which of `hashes` are among ours, and where."""
        likely = np.flatnonzero(self._table[hashes >> self._shift])
        asked = hashes[likely]
        places = np.minimum(np.searchsorted(self.hashes, asked), len(self.hashes) - 1)
        same = self.hashes[places] == asked if len(asked) else np.zeros(0, dtype=bool)
        return likely[same], places[same]


def _parts(other: Units, texts: Sequence[Units], *, span: int) -> Iterator[Units]:
    """The parts of `other` to look at closely."""
    if len(other) > FAR_LARGER * sum(map(len, texts)):
        halves = _Ordered(np.concatenate([_rolling(text, span=span // 2) for text in texts]))
        return _promising(other, halves, span=span)
    return (other[start : start + _ROLL + span - 1] for start in range(0, len(other), _ROLL))


def _promising(other: Units, halves: _Ordered, *, span: int) -> Iterator[Units]:
    """The parts of `other` in which a string of `span` units can be one of a text's.

    Every such string, wherever it begins, covers one aligned block of half its length: only where such a block is known
    is it worth to look closer, and blocks are few.
    """
    half = span // 2
    for start in range(0, len(other), _ROLL):
        blocks, _ = halves.find(_blocks(other[start : start + _ROLL], half))
        begins = start + blocks * half
        if len(begins) > MANY_BLOCKS:
            yield other[max(int(begins[0]) - half, 0) : int(begins[-1]) + span]
        else:
            for begin in begins.tolist():
                yield other[max(begin - half, 0) : begin + span]


def _blocks(units: Units, size: int) -> Hashes:
    """What `_rolling` says of every aligned block of `size` units."""
    count = len(units) // size
    rising, _ = _powers(size)
    raw: Hashes = (_VALUES[units[: count * size]].reshape(count, size) * rising).sum(axis=1, dtype=np.uint64)
    return raw ^ (raw >> np.uint64(29))


def _units(text: Raw, unit: int) -> Units:
    return np.frombuffer(text, dtype=f"<u{unit}")


def _rolling(units: Units, *, span: int) -> Hashes:
    """The polynomial hash (Karp & Rabin 1987) of the `span` units that begin at each place."""
    if len(units) < span:
        return np.zeros(0, dtype=np.uint64)
    rising, falling = _powers(len(units))
    sums = np.zeros(len(units) + 1, dtype=np.uint64)
    np.cumsum(_VALUES[units] * rising, out=sums[1:])
    hashes: Hashes = sums[span:] - sums[:-span]  # wraps, as it should
    hashes *= falling[: len(hashes)]
    hashes ^= hashes >> np.uint64(29)
    return hashes


def _powers(count: int) -> tuple[Hashes, Hashes]:
    """m**0 … m**(count - 1) and their inverses, modulo 2**64."""
    most = _ROLL + 2 * NEEDLE_BYTES
    if count <= most:  # a piece of a text: the same numbers again and again
        rising, falling = _piece_powers(most)
        return rising[:count], falling[:count]
    return _progression(_MULTIPLIER, count), _progression(pow(_MULTIPLIER, -1, 1 << 64), count)


@cache
def _piece_powers(count: int) -> tuple[Hashes, Hashes]:
    return _progression(_MULTIPLIER, count), _progression(pow(_MULTIPLIER, -1, 1 << 64), count)


def _progression(base: int, count: int) -> Hashes:
    factors = np.full(count, base, dtype=np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)


_VALUES: Hashes = np.random.Philox(key=64).random_raw(1 << 16)
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
