"""The text of an experiment: its tokens, its split, and the held-out windows everyone is judged on."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.harness.outside.overlap import NEEDLE_BYTES, occurs_in, search

__all__ = ["Part", "Text", "TextError", "needles", "prepare", "search", "windows"]

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


class TextError(ValueError):
    """This text cannot be used; the message is one sentence that says what to change."""


@dataclass(frozen=True)
class Part:
    """One contiguous part of the text. `starts` [n + 1] says where each token begins in `raw`."""

    tokens: Tokens
    raw: bytes
    starts: NDArray[np.int64]


@dataclass(frozen=True)
class Text:
    """A prepared text.

    `train` and `validation` are uint16 tokens; `validation` is a slice of the *training* text, for the trainer's own
    looks. `token_bytes` [vocab_size] is how many bytes of text each token stands for.
    """

    vocabulary: str
    vocab_size: int
    context: int
    train: Tokens
    validation: Tokens
    token_bytes: NDArray[np.float64]
    sha256: str  # of the raw bytes
    parts: Mapping[Split, Part]

    def windows(self, split: HeldOut, *, scored_tokens: int = SCORED_TOKENS) -> Tokens:
        """The held-out windows of `split`, see `windows`: uint16 [W, context + 1]."""
        return windows(
            self.parts[split], train=self.parts["train"], context=self.context, scored_tokens=scored_tokens
        )

    def check_windows(self, count: int) -> Tokens:
        """A few windows of *training* text, uint16 [count, context + 1]: to try a model on, not to score it."""
        width = self.context + 1
        count = min(count, len(self.validation) // width)
        return self.validation[: count * width].reshape(count, width)


def prepare(raw: bytes, *, vocabulary: str, context: int) -> Text:
    """Split `raw` 90/5/5 into training, public and private text and turn it into tokens; TextError if unusable.

    `vocabulary` is "bytes", or "chars" (the sorted characters of the training text and one unknown, UTF-8).
    """
    if vocabulary == "bytes":
        parts, token_bytes = _bytes(raw)
    elif vocabulary == "chars":
        parts, token_bytes = _characters(raw)
    else:
        raise TextError(
            f"the vocabulary {vocabulary!r} is not supported yet: "
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
        sha256=hashlib.sha256(raw).hexdigest(),
        parts=parts,
    )


def windows(part: Part, *, train: Part, context: int, scored_tokens: int = SCORED_TOKENS) -> Tokens:
    """The windows of a held-out `part`: uint16 [W, context + 1], fixed, disjoint, in the order of the text.

    Windows of which a 64-byte string occurs in the training text are left out. Of what remains, at most
    `scored_tokens` // context windows are taken, evenly spread. TextError when fewer than 20 remain.
    """
    # Disjoint also at the edges: a token that is one window's target is never another's input.
    width = context + 1
    count = len(part.tokens) // width
    known = occurs_in(part.raw, train.raw)  # [bytes], by where each 64-byte string begins
    edges = part.starts[: count * width + 1 : width]
    kept = np.array([n for n, (a, b) in enumerate(pairwise(edges)) if not _any_known(known, int(a), int(b))], dtype=int)
    if len(kept) < MIN_WINDOWS:
        raise TextError(
            f"only {len(kept)} of {count} held-out windows do not also occur in the training text: "
            "give a text that repeats itself less, or a longer one"
        )
    most = max(scored_tokens // context, MIN_WINDOWS)
    if len(kept) > most:
        kept = kept[np.linspace(0, len(kept) - 1, most).round().astype(np.int64)]
    chosen: Tokens = part.tokens[: count * width].reshape(count, width)[kept]
    return chosen


def needles(text: Text, rng: np.random.Generator, count: int) -> list[bytes]:
    """Random held-out strings of 64 bytes that are not in the training text, to search mounts for."""
    found: list[bytes] = []
    for split in HELD_OUT:
        part = text.parts[split]
        known = occurs_in(part.raw, text.parts["train"].raw)
        places = rng.permutation(np.flatnonzero(~known))
        strings = (part.raw[place : place + NEEDLE_BYTES] for place in places)
        distinct = (string for string in strings if len(set(string)) >= 12)  # rows of dashes are everywhere
        found.extend(string for string, _ in zip(distinct, range((count + 1) // 2), strict=False))
    return found[:count]


def _any_known(known: NDArray[np.bool_], start: int, end: int) -> bool:
    """Whether any 64-byte string inside bytes `start` … `end` is known; a shorter window goes by where it begins."""
    return bool(known[start : max(end - NEEDLE_BYTES + 1, start + 1)].any())


def _bytes(raw: bytes) -> tuple[dict[Split, Part], NDArray[np.float64]]:
    cuts = _cuts(len(raw))
    pieces = [raw[a:b] for a, b in pairwise(cuts)]
    parts = [
        Part(np.frombuffer(piece, dtype=np.uint8).astype(np.uint16), piece, np.arange(len(piece) + 1, dtype=np.int64))
        for piece in pieces
    ]
    return dict(zip(SPLITS, parts, strict=True)), np.ones(256)


def _characters(raw: bytes) -> tuple[dict[Split, Part], NDArray[np.float64]]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(
            f"the text is not UTF-8 at byte {error.start}: convert it, or use vocabulary = \"bytes\""
        ) from error
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    lengths = (1 + (points > 0x7F).astype(np.int64) + (points > 0x7FF) + (points > 0xFFFF)).astype(np.int64)
    cuts = _cuts(len(points))
    alphabet = np.unique(points[: cuts[1]])
    unknown = len(alphabet)  # the last token
    if unknown >= 0xFFFF:
        raise TextError(
            f"the text has {unknown:,} different characters where at most 65,534 are possible: "
            "use vocabulary = \"bytes\""
        )
    tokens = _numbered(points, alphabet)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    parts = [
        Part(tokens[a:b], raw[starts[a] : starts[b]], starts[a : b + 1] - starts[a])
        for a, b in pairwise(cuts)
    ]
    return dict(zip(SPLITS, parts, strict=True)), _character_bytes(tokens, lengths, vocab_size=unknown + 1)


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
    train, held_out = len(parts["train"].tokens), min(len(parts[split].tokens) for split in HELD_OUT)
    for_windows, for_training = MIN_WINDOWS * (context + 1), MIN_CONTEXTS * (context + 1)
    if held_out < for_windows or train < for_training:
        total = sum(len(part.tokens) for part in parts.values())
        least = int(max(for_windows / PUBLIC_SHARE, for_training / TRAIN_SHARE)) + 20
        raise TextError(
            f"the text is too small: {total:,} tokens where a context of {context} needs at least {least:,}: "
            "give a longer text"
        )
