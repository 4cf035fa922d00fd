"""The scorer against models that are honest and models that are not."""

import math
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.contract import MAX_PAYLOAD_BYTES, Cause
from trainer.harness.outside.judge import AskerFailed, Counted
from trainer.harness.outside.nats import PIECE, NotFinite, log_probabilities
from trainer.harness.outside.scorer import MAX_COLUMNS, REPEAT_ROWS, Judgement, Tokens, judge

VOCAB, CONTEXT, WINDOWS = 11, 16, 300
RNG = np.random.default_rng(0)
TEXT = RNG.integers(VOCAB, size=(WINDOWS, CONTEXT + 1)).astype(np.uint16)
TABLE = RNG.normal(size=(VOCAB, VOCAB)).astype(np.float32)
BYTES = np.ones(VOCAB)


@dataclass
class Bigram:
    """An honest model: the next token depends on the last one only."""

    padding: int = 0
    low_precision: bool = False
    asked: list[tuple[int, ...]] = field(default_factory=list)
    closed: bool = False

    def logits(
        self, tokens: NDArray[np.uint16], *, start: int = 0, stop: int | None = None, quick: bool = False
    ) -> NDArray[np.float32]:
        self.asked.append(tokens.shape)
        found = self.answer(tokens)
        found = np.concatenate([found, np.zeros((*found.shape[:2], self.padding), dtype=np.float32)], axis=2)
        return found[:, start:stop]

    def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
        return TABLE[tokens]

    def flops(self, context: int) -> Counted:
        return Counted(flops_per_token=6.0 * VOCAB * VOCAB, parameters=VOCAB * VOCAB)

    def close(self) -> None:
        self.closed = True


class Peeker(Bigram):
    """Sees the token after the one it should predict, wherever the window holds it."""

    bonus = 1.0

    def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
        found = TABLE[tokens].copy()
        rows, places = np.indices(tokens[:, 1:].shape)
        found[rows, places, tokens[:, 1:]] += self.bonus
        return found


class ModestPeeker(Peeker):
    """Takes so little that no single answer looks odd."""

    bonus = 0.01


class AcrossRows(Bigram):
    """Looks into the other rows of the batch: better where they are the windows' neighbours in the text."""

    def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
        return TABLE[tokens] + np.float32(0.5) * TABLE[np.roll(tokens, 1, axis=0)]


class Dice(Bigram):
    rng = np.random.default_rng(5)

    def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
        return (TABLE[tokens] + self.rng.normal(size=(*tokens.shape, VOCAB))).astype(np.float32)


@dataclass
class Constant(Bigram):
    value: float = 0.0

    def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
        return np.full((*tokens.shape, VOCAB), self.value, dtype=np.float32)


class Rounded(Bigram):
    """An honest model in a precision so low that its answers differ a little with their company."""

    def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
        return TABLE[tokens] * np.float32(1.0006 if len(tokens) == REPEAT_ROWS else 1.0)


@dataclass
class Learner(Bigram):
    """Learns from the windows it is asked about, and remembers what it answered, so that no repeat gives it away."""

    counts: NDArray[np.float32] = field(default_factory=lambda: np.zeros((VOCAB, VOCAB), dtype=np.float32))
    known: dict[bytes, NDArray[np.float32]] = field(default_factory=dict)

    def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
        for row in tokens:
            if row.tobytes() not in self.known:
                self.known[row.tobytes()] = TABLE[row] + np.log1p(self.counts)[row]
                np.add.at(self.counts, (row[:-1], row[1:]), 1)
        return np.stack([self.known[row.tobytes()] for row in tokens])


def score(window: Bigram, prefix: Bigram | None = None, *, seed: int = 1, text: Tokens = TEXT) -> Judgement:
    return judge(
        window, prefix or type(window)(padding=window.padding, low_precision=window.low_precision), windows=text,
        token_bytes=BYTES, rng=np.random.default_rng(seed),
    )


def true_losses() -> NDArray[np.float64]:
    logits = TABLE.astype(np.float64)[TEXT[:, :-1]]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    chosen: NDArray[np.float64] = -np.take_along_axis(log_p, TEXT[:, 1:, None].astype(int), axis=-1)[..., 0]
    return chosen


def test_the_log_softmax_is_our_own_and_exact() -> None:
    logits = (RNG.normal(size=(5, 7, VOCAB)) * 30).astype(np.float32)
    targets = RNG.integers(VOCAB, size=(5, 7)).astype(np.uint16)
    exact = logits.astype(np.float64)
    exact = exact - exact.max(-1, keepdims=True)
    exact = exact - np.log(np.exp(exact).sum(-1, keepdims=True))
    expected = np.take_along_axis(exact, targets[..., None].astype(int), axis=-1)[..., 0]
    assert log_probabilities(logits, targets) == pytest.approx(expected, abs=1e-4)


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([[3e37, -3e37]], dtype=np.float32)
    assert log_probabilities(logits, np.array([0], dtype=np.uint16)) == pytest.approx([0.0])


def test_an_honest_model_gets_its_true_loss() -> None:
    found, losses = score(Bigram()), true_losses()
    assert found.cause is None
    assert found.val_loss == pytest.approx(losses.mean(), abs=1e-6)
    assert found.perplexity == pytest.approx(math.exp(losses.mean()), rel=1e-6)
    assert found.bits_per_byte == pytest.approx(losses.mean() / math.log(2), rel=1e-6)
    assert found.val_loss_error == pytest.approx(losses.mean(axis=1).std(ddof=1) / math.sqrt(WINDOWS), rel=1e-4)
    assert found.correction == 0.0
    assert found.scored_tokens == WINDOWS * CONTEXT
    assert (found.flops_per_token, found.parameters) == (6.0 * VOCAB**2, VOCAB**2)


def test_equal_weights_score_equally_whatever_was_drawn() -> None:
    assert len({score(Bigram(), seed=seed).val_loss for seed in range(5)}) == 1


def test_bits_per_byte_use_the_scorers_own_byte_counts() -> None:
    found = judge(Bigram(), Bigram(), windows=TEXT, token_bytes=BYTES * 2, rng=np.random.default_rng(0))
    assert found.bits_per_byte == pytest.approx(true_losses().mean() / math.log(2) / 2, rel=1e-6)


def test_a_padded_vocabulary_counts_in_the_softmax() -> None:
    padded, plain = score(Bigram(padding=5)), score(Bigram())
    assert padded.cause is None
    assert padded.val_loss is not None
    assert plain.val_loss is not None
    assert padded.val_loss > plain.val_loss + 0.1


def test_a_model_that_peeks_is_caught() -> None:
    found = score(Peeker())
    assert found.cause == Cause.PEEKED
    assert found.val_loss is None


@pytest.mark.parametrize("seed", range(5))
def test_modest_peeking_is_caught(seed: int) -> None:
    assert score(ModestPeeker(), seed=seed).cause == Cause.PEEKED


def test_a_model_that_only_behaves_on_prefixes_is_caught() -> None:
    assert score(Peeker(), Bigram()).cause == Cause.PEEKED


def test_looking_into_other_rows_is_caught() -> None:
    assert score(AcrossRows()).cause in (Cause.UNSTABLE, Cause.PEEKED)


def test_dice_are_caught() -> None:
    assert score(Dice()).cause in (Cause.UNSTABLE, Cause.PEEKED)


def test_being_worse_on_windows_is_caught() -> None:
    """The mean of what peeking gains at some places can be hidden by what is lost at others; their distance cannot."""

    class WorseOnWindows(Bigram):
        def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
            return TABLE[tokens] * np.float32(3.0 if tokens.shape[1] == CONTEXT else 1.0)

    found = score(WorseOnWindows())
    assert (found.cause, found.val_loss) == (Cause.UNSTABLE, None)
    assert "apart" in found.detail


def test_peeking_that_is_made_up_for_elsewhere_is_caught() -> None:
    """In one container it peeks a little; in the other it is as much better, by having seen more questions."""

    class Hiding(Bigram):
        def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
            logits = TABLE[tokens].copy()
            strength = 0.02 * np.random.default_rng(len(tokens)).choice([-1, 1], size=(*tokens.shape, 1))
            return np.asarray(logits * (1 + strength * (tokens.shape[1] == CONTEXT)), dtype=np.float32)

    assert score(Hiding()).cause == Cause.UNSTABLE


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_score(value: float) -> None:
    found = score(Constant(value=value), Constant(value=value))
    assert (found.cause, found.val_loss, found.perplexity) == (Cause.BAD_LOGITS, None, None)


def test_a_loss_beyond_all_measure_is_no_score() -> None:
    class Sure(Bigram):
        def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
            found = np.zeros((*tokens.shape, VOCAB), dtype=np.float32)
            found[..., 0] = 1e6
            return found

    assert score(Sure()).cause == Cause.DIVERGED


def test_too_few_columns_are_refused() -> None:
    found = judge(Bigram(), Bigram(), windows=TEXT, token_bytes=np.ones(VOCAB + 1), rng=np.random.default_rng(0))
    assert found.cause == Cause.BAD_LOGITS


def test_a_model_that_does_not_answer_has_its_cause() -> None:
    class Silent(Bigram):
        def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
            raise AskerFailed(Cause.OUT_OF_TIME, "took too long")

    found = score(Silent())
    assert (found.cause, found.detail) == (Cause.OUT_OF_TIME, "took too long")


def test_prefixes_are_asked_from_short_to_long() -> None:
    """So nobody has seen the token after a prefix of a window before it is asked for that token."""
    prefix = Bigram()
    score(Bigram(), prefix)
    widths = [width for _, width in prefix.asked if width < CONTEXT]
    assert widths == sorted(widths)
    assert set(widths) == set(range(1, CONTEXT))


def test_what_may_escape_the_audit_is_told() -> None:
    found = score(Bigram(padding=5))
    assert found.cuts > 1900
    assert found.audit_bound == pytest.approx(3 / found.cuts * math.log(VOCAB + 5))


def test_a_model_that_learns_from_what_it_is_asked_is_caught() -> None:
    assert score(Learner()).cause in (Cause.UNSTABLE, Cause.PEEKED)


def test_low_precision_may_differ_more_between_repeats() -> None:
    assert score(Rounded()).cause == Cause.UNSTABLE
    assert score(Rounded(low_precision=True)).cause is None


def test_low_precision_that_only_shows_inside_the_model_counts_too() -> None:
    class Autocast(Rounded):
        def flops(self, context: int) -> Counted:
            return Counted(flops_per_token=1.0, parameters=1, low_precision=True)

    found = score(Autocast())
    assert (found.cause, found.low_precision) == (None, True)


def test_flops_that_cannot_be_counted_cost_no_score() -> None:
    class Uncounted(Bigram):
        def flops(self, context: int) -> Counted:
            raise AskerFailed(Cause.BAD_LOGITS, "no idea")

    found = score(Uncounted())
    assert found.val_loss is not None
    assert (found.cause, found.flops_per_token, found.no_flops) == (None, None, "no idea")


def timed(window: Bigram, prefix: Bigram) -> Judgement:
    return judge(
        window, prefix, windows=TEXT, token_bytes=BYTES, rng=np.random.default_rng(0), practice=TEXT.reshape(-1),
    )


def test_the_forward_pass_is_timed_on_large_batches_of_other_text() -> None:
    window = Bigram()
    found = timed(window, Bigram())
    assert found.forward_tokens_per_second is not None
    assert found.forward_tokens_per_second > 0
    assert max(rows for rows, _ in window.asked) >= 512


def test_whoever_is_hasty_only_when_timed_is_caught() -> None:
    class Hasty(Bigram):
        def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
            return TABLE[tokens] if len(tokens) <= 64 else np.zeros((*tokens.shape, VOCAB), dtype=np.float32)

    plain = score(Hasty())
    assert plain.cause in (None, Cause.UNSTABLE)
    found = timed(Hasty(), Hasty())
    assert (found.cause, "timed" in found.detail) == (Cause.UNSTABLE, True)


def test_padding_beyond_all_measure_is_refused() -> None:
    found = score(Bigram(padding=MAX_COLUMNS))
    assert found.cause == Cause.BAD_LOGITS


def test_a_vocabulary_of_50257_is_asked_in_pieces_that_fit_into_a_message() -> None:
    columns, context = 50_304, 4096
    text = RNG.integers(VOCAB, size=(3, context + 1)).astype(np.uint16)
    largest = 0

    class Large(Bigram):
        def logits(
            self, tokens: NDArray[np.uint16], *, start: int = 0, stop: int | None = None, quick: bool = False
        ) -> NDArray[np.float32]:
            nonlocal largest
            places = tokens[:, start:stop]
            largest = max(largest, 4 * places.size * columns)
            return np.broadcast_to(np.float32(0.0), (*places.shape, columns))

    with_small_pieces = judge(
        Large(), Large(), windows=text[:, : 2 * 1024 + 1], token_bytes=np.ones(50_257), rng=np.random.default_rng(0)
    )
    assert with_small_pieces.val_loss == pytest.approx(math.log(columns), abs=1e-4)
    assert MAX_PAYLOAD_BYTES / 2 < largest <= MAX_PAYLOAD_BYTES


def test_one_answer_larger_than_a_piece_is_scored_alike() -> None:
    logits = RNG.normal(size=(40, 3, PIECE // 16)).astype(np.float32)
    targets = RNG.integers(PIECE // 16, size=(40, 3)).astype(np.uint16)
    one_by_one = [[log_probabilities(logits[i, j], targets[i, j]) for j in range(3)] for i in range(40)]
    assert log_probabilities(logits, targets) == pytest.approx(np.array(one_by_one))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_enough(value: float) -> None:
    logits = np.zeros((5, VOCAB), dtype=np.float32)
    logits[3, 4] = value
    with pytest.raises(NotFinite):
        log_probabilities(logits, np.zeros(5, dtype=np.uint16))


def test_a_failure_of_one_container_hangs_up_on_both() -> None:
    class Silent(Bigram):
        def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
            raise AskerFailed(Cause.OUT_OF_TIME, "took too long")

    window, prefix = Bigram(), Silent()
    assert score(window, prefix).cause == Cause.OUT_OF_TIME
    assert window.closed
    assert prefix.closed


def test_whoever_watches_can_end_it() -> None:
    class Enough(Exception):
        pass

    class Slow(Bigram):
        def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
            time.sleep(0.1)
            return TABLE[tokens]

    def look() -> None:
        raise Enough

    slow = Slow()
    with pytest.raises(Enough):
        judge(slow, Slow(), windows=TEXT[:40], token_bytes=BYTES, rng=np.random.default_rng(0), look=look)
    assert slow.closed
