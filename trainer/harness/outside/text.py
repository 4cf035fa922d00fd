"""The text of an experiment: its tokens, its split, and the held-out windows everyone is judged on."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer import cache as kept
from trainer.harness.outside.overlap import NEEDLE_BYTES, Raw, occurs_in, search

__all__ = ["HELD_OUT", "Part", "Text", "TextError", "needles", "prepare", "search", "windows"]

Tokens = NDArray[np.uint16]
Split = Literal["train", "public", "private"]
HeldOut = Literal["public", "private"]
SPLITS: tuple[Split, ...] = ("train", "public", "private")
HELD_OUT: tuple[HeldOut, ...] = ("public", "private")

TRAIN_SHARE, PUBLIC_SHARE = 0.90, 0.05  # the rest is private
SCORED_TOKENS = 262_144
MIN_WINDOWS = 20  # in each held-out part
MIN_CONTEXTS = 10  # of training text
VALIDATION_TOKENS = 65_536
ALGORITHM = 1  # of what is kept in the cache: raise it with every change of a result


class TextError(ValueError):
    """This text cannot be used; the message is one sentence that says what to change."""


@dataclass(frozen=True)
class Part:
    """One contiguous part of the text. `raw` is its bytes, or those of its uint16 tokens where only these are known.

    Strings are compared wherever a multiple of `unit` bytes of `raw` begins. Token n begins at unit `starts`[n]; None:
    one token is one unit.
    """

    tokens: Tokens
    raw: Raw
    unit: int = 1
    starts: NDArray[np.int64] | None = None

    def begins(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """At which unit of `raw` each of these tokens begins."""
        return places if self.starts is None else self.starts[places]


@dataclass(frozen=True)
class Text:
    """A prepared text.

    `train` and `validation` are uint16 tokens; `validation` is a slice of the *training* text, for the trainer's own
    looks. `token_bytes` [vocab_size] is how many bytes of text each token stands for. `cache` is a folder for what is
    costly to find again; None: nothing is kept.
    """

    vocabulary: str
    vocab_size: int
    context: int
    train: Tokens
    validation: Tokens
    token_bytes: NDArray[np.float64]
    sha256: str  # of the raw bytes
    parts: Mapping[Split, Part]
    cache: Path | None = None
    _known: dict[HeldOut, NDArray[np.bool_]] = field(default_factory=dict, repr=False, compare=False)

    def windows(self, split: HeldOut, *, scored_tokens: int = SCORED_TOKENS) -> Tokens:
        """The held-out windows of `split`, see `windows`: uint16 [W, context + 1]."""
        return windows(self.parts[split], self.known(split), context=self.context, scored_tokens=scored_tokens)

    def check_windows(self, count: int) -> Tokens:
        """A few windows of *training* text, uint16 [count, context + 1]: to try a model on, not to score it."""
        width = self.context + 1
        count = min(count, len(self.validation) // width)
        return self.validation[: count * width].reshape(count, width)

    def known(self, split: HeldOut) -> NDArray[np.bool_]:
        """Whether the 64 bytes that begin at each unit of the held-out `split` occur in the training text."""
        if not self._known:
            self._known.update(self._read_known() or self._find_known())
        return self._known[split]

    def _find_known(self) -> dict[HeldOut, NDArray[np.bool_]]:
        train = self.parts["train"]
        found = occurs_in([self.parts[split].raw for split in HELD_OUT], train.raw, unit=train.unit)
        kept.write(self.cache, self._known_key(), np.packbits(np.concatenate(found)).tobytes())
        return dict(zip(HELD_OUT, found, strict=True))

    def _read_known(self) -> dict[HeldOut, NDArray[np.bool_]] | None:
        payload = kept.read(self.cache, self._known_key())
        if payload is None:
            return None
        sizes = [_strings(self.parts[split]) for split in HELD_OUT]
        bits = np.unpackbits(np.frombuffer(payload, dtype=np.uint8), count=sum(sizes)).astype(bool)
        return {"public": bits[: sizes[0]], "private": bits[sizes[0] :]}

    def _known_key(self) -> str:
        # The vocabulary decides where the parts begin, the context does not.
        return f"known {ALGORITHM} {self.sha256} {self.vocabulary}"


def prepare(raw: bytes, *, vocabulary: str, context: int, cache: Path | None = None) -> Text:
    """Split `raw` 90/5/5 into training, public and private text and turn it into tokens; TextError if unusable.

    `vocabulary` is "bytes", or "chars" (the sorted characters of the training text and one unknown, UTF-8); a directory
    of tokens is read by token_files.prepare. `cache` is a folder that no container sees.
    """
    sha256 = hashlib.sha256(raw).hexdigest()
    if vocabulary == "bytes":
        parts, token_bytes = _bytes(raw)
    elif vocabulary == "chars":
        parts, token_bytes = _characters(raw, sha256=sha256, cache=cache)
    else:
        raise TextError(
            f"the vocabulary {vocabulary!r} brings its own tokens and takes no text: "
            "use \"bytes\" or \"chars\" under [tokens] in genome.toml"
        )
    _large_enough(parts, context=context)
    train = parts["train"].tokens
    return Text(
        vocabulary=vocabulary,
        vocab_size=len(token_bytes),
        context=context,
        train=train,
        validation=train[-min(VALIDATION_TOKENS, len(train) // 5) :],
        token_bytes=token_bytes,
        sha256=sha256,
        parts=parts,
        cache=cache,
    )


def windows(part: Part, known: NDArray[np.bool_], *, context: int, scored_tokens: int = SCORED_TOKENS) -> Tokens:
    """The windows of a held-out `part`: uint16 [W, context + 1], fixed, disjoint, in the order of the text.

    Windows of which a 64-byte string is `known` from the training text are left out. Of what remains, at most
    `scored_tokens` // context windows are taken, evenly spread. TextError when fewer than 20 remain.
    """
    # Disjoint also at the edges: a token that is one window's target is never another's input.
    width = context + 1
    count = len(part.tokens) // width
    edges = part.begins(np.arange(0, count * width + 1, width, dtype=np.int64))
    chosen = np.flatnonzero(~_any_known(known, edges, span=NEEDLE_BYTES // part.unit))
    if len(chosen) < MIN_WINDOWS:
        raise TextError(
            f"only {len(chosen)} of {count} held-out windows do not also occur in the training text: "
            "give a text that repeats itself less, or a longer one"
        )
    most = max(scored_tokens // context, MIN_WINDOWS)
    if len(chosen) > most:
        chosen = chosen[np.linspace(0, len(chosen) - 1, most).round().astype(np.int64)]
    found: Tokens = part.tokens[: count * width].reshape(count, width)[chosen]
    return found


def needles(text: Text, rng: np.random.Generator, count: int) -> list[bytes]:
    """Random held-out strings of 64 bytes that are not in the training text, to search mounts for."""
    found: list[bytes] = []
    for split in HELD_OUT:
        part = text.parts[split]
        places = np.flatnonzero(~text.known(split))
        # More than needed, because some are left out below.
        places = rng.choice(places, size=min(8 * count, len(places)), replace=False) * part.unit
        strings = (bytes(part.raw[place : place + NEEDLE_BYTES]) for place in places)
        distinct = (string for string in strings if len(set(string)) >= 12)  # rows of dashes are everywhere
        found.extend(string for string, _ in zip(distinct, range((count + 1) // 2), strict=False))
    return found[:count]


def _strings(part: Part) -> int:
    """How many strings of 64 bytes begin in `part`."""
    return max((len(part.raw) - NEEDLE_BYTES) // part.unit + 1, 0)


def _any_known(known: NDArray[np.bool_], edges: NDArray[np.int64], *, span: int) -> NDArray[np.bool_]:
    """Whether any known string of `span` units lies between edge n and edge n + 1: [len(edges) - 1].

    A window shorter than a string goes by where it begins.
    """
    sums = np.concatenate([[0], np.cumsum(known)])
    firsts = np.minimum(edges[:-1], len(known))
    ends = np.minimum(np.maximum(edges[1:] - span + 1, edges[:-1] + 1), len(known))
    anywhere: NDArray[np.bool_] = sums[ends] > sums[firsts]
    return anywhere


def _bytes(raw: bytes) -> tuple[dict[Split, Part], NDArray[np.float64]]:
    pieces = [raw[a:b] for a, b in pairwise(_cuts(len(raw)))]
    parts = [Part(np.frombuffer(piece, dtype=np.uint8).astype(np.uint16), piece) for piece in pieces]
    return dict(zip(SPLITS, parts, strict=True)), np.ones(256)


@dataclass(frozen=True)
class _Characters:
    """A text in characters: its tokens, what each stands for in bytes, and at which byte every one begins."""

    tokens: Tokens
    token_bytes: NDArray[np.float64]
    held_out: NDArray[np.int64]  # where each token from the first held-out one on begins, and where the last one ends

    def encode(self) -> bytes:
        file = io.BytesIO()
        for array in (self.tokens, self.token_bytes, self.held_out):
            np.save(file, array, allow_pickle=False)
        return file.getvalue()

    @classmethod
    def decode(cls, payload: memoryview) -> "_Characters":
        file = io.BytesIO(payload)
        return cls(*(np.load(file, allow_pickle=False) for _ in range(3)))


def _characters(
    raw: bytes, *, sha256: str, cache: Path | None
) -> tuple[dict[Split, Part], NDArray[np.float64]]:
    key = f"characters {ALGORITHM} {sha256}"
    payload = kept.read(cache, key)
    if payload is not None:
        known = _Characters.decode(payload)
    else:
        known = _find_characters(raw)
        kept.write(cache, key, known.encode())
    cuts, starts = _cuts(len(known.tokens)), known.held_out
    parts: dict[Split, Part] = {"train": Part(known.tokens[: cuts[1]], raw[: starts[0]])}
    for split, (a, b) in zip(HELD_OUT, pairwise(cuts[1:]), strict=True):
        begins = starts[a - cuts[1] : b - cuts[1] + 1]
        parts[split] = Part(known.tokens[a:b], raw[begins[0] : begins[-1]], starts=begins - begins[0])
    return parts, known.token_bytes


def _find_characters(raw: bytes) -> _Characters:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(
            f"the text is not UTF-8 at byte {error.start}: convert it, or use vocabulary = \"bytes\""
        ) from error
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    lengths = (1 + (points > 0x7F).astype(np.int64) + (points > 0x7FF) + (points > 0xFFFF)).astype(np.int64)
    first = _cuts(len(points))[1]
    alphabet = np.unique(points[:first])
    unknown = len(alphabet)  # the last token
    if unknown >= 0xFFFF:
        raise TextError(
            f"the text has {unknown:,} different characters where at most 65,534 are possible: "
            "use vocabulary = \"bytes\""
        )
    tokens = _numbered(points, alphabet)
    held_out = int(lengths[:first].sum()) + np.concatenate([[0], np.cumsum(lengths[first:])])
    return _Characters(tokens, _character_bytes(tokens, lengths, vocab_size=unknown + 1), held_out)


def _numbered(points: NDArray[np.uint32], alphabet: NDArray[np.uint32]) -> Tokens:
    """Each character's place in the sorted `alphabet`, or len(alphabet) if it is not in it."""
    if not len(alphabet):
        return np.zeros(len(points), dtype=np.uint16)
    places = np.minimum(np.searchsorted(alphabet, points), len(alphabet) - 1)
    return np.where(alphabet[places] == points, places, len(alphabet)).astype(np.uint16)


def _character_bytes(tokens: Tokens, lengths: NDArray[np.int64], *, vocab_size: int) -> NDArray[np.float64]:
    """Mean UTF-8 length of each token: exact for known characters, the mean of the unknown ones for the last."""
    counts = np.bincount(tokens, minlength=vocab_size)
    sums = np.bincount(tokens, weights=lengths, minlength=vocab_size)
    return np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)


def _cuts(length: int) -> Sequence[int]:
    first = int(length * TRAIN_SHARE)
    return [0, first, first + int(length * PUBLIC_SHARE), length]


def _large_enough(parts: Mapping[Split, Part], *, context: int) -> None:
    """TextError when there is too little of a part for windows of `context` tokens."""
    train, held_out = len(parts["train"].tokens), min(len(parts[split].tokens) for split in HELD_OUT)
    for_windows, for_training = MIN_WINDOWS * (context + 1), MIN_CONTEXTS * (context + 1)
    if held_out < for_windows or train < for_training:
        total = sum(len(part.tokens) for part in parts.values())
        least = int(max(for_windows / PUBLIC_SHARE, for_training / TRAIN_SHARE)) + 20
        raise TextError(
            f"the text is too small: {total:,} tokens where a context of {context} needs at least {least:,}: "
            "give a longer text"
        )
