"""The scorer against models that are honest and models that are not."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.contract import Cause
from trainer.harness.outside.judge import AskerFailed
from trainer.harness.outside.scorer import Judgement, judge, log_probabilities

VOCAB, CONTEXT, WINDOWS = 11, 16, 300
RNG = np.random.default_rng(0)
TEXT = RNG.integers(VOCAB, size=(WINDOWS, CONTEXT + 1)).astype(np.uint16)
TABLE = RNG.normal(size=(VOCAB, VOCAB)).astype(np.float32)
BYTES = np.ones(VOCAB)


@dataclass
class Bigram:
    """An honest model: the next token depends on the last one only."""

    padding: int = 0
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def logits(self, tokens: NDArray[np.uint16], *, last: bool = False) -> NDArray[np.float32]:
        self.asked.append(tokens.shape)
        found = self.answer(tokens)
        found = np.concatenate([found, np.zeros((*found.shape[:2], self.padding), dtype=np.float32)], axis=2)
        return found[:, -1:] if last else found

    def answer(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
        return TABLE[tokens]

    def flops(self, context: int) -> tuple[float, int]:
        return 6.0 * VOCAB * VOCAB, VOCAB * VOCAB


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


def score(window: Bigram, prefix: Bigram | None = None, *, seed: int = 1) -> Judgement:
    return judge(window, prefix or window, windows=TEXT, token_bytes=BYTES, rng=np.random.default_rng(seed))


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
    assert score(Dice()).cause == Cause.UNSTABLE


def test_being_bad_on_windows_gains_nothing() -> None:
    """Whoever answers prefixes better than windows has the windows' loss, not a lucky draw's."""
    found = score(Bigram(), Constant())
    assert found.gain is not None
    assert found.gain < -0.1
    assert found.val_loss == pytest.approx(true_losses().mean(), abs=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_score(value: float) -> None:
    found = score(Constant(value=value))
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


def test_no_window_is_cut_twice_and_prefixes_are_prefixes() -> None:
    prefix = Bigram()
    score(Bigram(), prefix)
    assert sum(rows for rows, _ in prefix.asked) == WINDOWS
    assert {width for _, width in prefix.asked} == set(range(1, CONTEXT + 1))


def test_questions_stay_below_the_limit_of_a_message() -> None:
    window = Bigram()
    judge(window, window, windows=TEXT, token_bytes=BYTES, rng=np.random.default_rng(0))
    assert max(rows for rows, _ in window.asked) <= 64
