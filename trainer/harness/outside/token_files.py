"""A text that comes as a directory of tokens (trainer/tokens.py): mapped, never copied, whatever its size."""

from pathlib import Path

from trainer.harness.outside.text import MIN_CONTEXTS, MIN_WINDOWS, VALIDATION_TOKENS, Part, Text, TextError, Tokens
from trainer.tokens import HELD_OUT, TRAIN, TokensError, look, mapped

# Every place of the held-out text is hashed at once: this much of each half is enough for all windows ever scored.
HALF_TOKENS = 1 << 22


def prepare(folder: Path, *, vocabulary: str, context: int, cache: Path | None = None) -> Text:
    """The text in the directory `folder`; TextError if unusable.

    train.bin is the training text; heldout.bin is cut into a public and a private half, of which the first 4 M tokens
    are used. Held-out windows of which 32 tokens in a row occur in train.bin are left out, as with any other text.
    """
    try:
        files = look(folder, cache=cache)
    except TokensError as error:
        raise TextError(str(error)) from error
    train, held_out = mapped(folder / TRAIN), mapped(folder / HELD_OUT)
    _large_enough(folder / TRAIN, train, least=MIN_CONTEXTS * (context + 1), context=context)
    _large_enough(folder / HELD_OUT, held_out, least=2 * MIN_WINDOWS * (context + 1), context=context)
    middle = len(held_out) // 2
    return Text(
        vocabulary=vocabulary,
        vocab_size=files.vocab_size,
        context=context,
        train=train,
        validation=train[-min(VALIDATION_TOKENS, len(train) // 5) :],
        token_bytes=files.token_bytes,
        sha256=files.sha256,
        parts={
            "train": _part(train),
            "public": _part(held_out[:middle][:HALF_TOKENS]),
            "private": _part(held_out[middle:][:HALF_TOKENS]),
        },
        cache=cache,
    )


def _part(tokens: Tokens) -> Part:
    return Part(tokens, tokens.data.cast("B"), unit=2)


def _large_enough(path: Path, tokens: Tokens, *, least: int, context: int) -> None:
    if len(tokens) < least:
        raise TextError(
            f"{path} is too small: {len(tokens):,} tokens where a context of {context} needs at least {least:,}: "
            "give more"
        )
