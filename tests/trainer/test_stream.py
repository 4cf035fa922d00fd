import numpy as np
import pytest

from trainer.harness.outside.stream import Stream

TOKENS = np.arange(5000, dtype=np.uint16)


def test_the_same_seed_is_the_same_stream() -> None:
    one, two = (Stream(TOKENS, seed=3, segment=64).read(0, 1000) for _ in range(2))
    assert np.array_equal(one[0], two[0])
    assert not np.array_equal(one[0], Stream(TOKENS, seed=4, segment=64).read(0, 1000)[0])


@pytest.mark.parametrize("piece", [1, 7, 64, 129, 500])
def test_it_reads_the_same_in_any_pieces(piece: int) -> None:
    stream = Stream(TOKENS, seed=3, segment=64)
    whole = stream.read(0, 1000)[0]
    pieces = [stream.read(start, min(piece, 1000 - start))[0] for start in range(0, 1000, piece)]
    assert np.array_equal(np.concatenate(pieces), whole)


def test_a_far_position_is_read_at_once() -> None:
    stream = Stream(TOKENS, seed=3, segment=64)
    assert np.array_equal(stream.read(10**12, 200)[0][100:], stream.read(10**12 + 100, 100)[0])


def test_each_target_is_the_true_successor_in_the_text() -> None:
    x, y = Stream(TOKENS, seed=3, segment=64).read(0, 5000)
    assert np.array_equal(y, x + 1)


def test_rows_of_one_segment_are_windows_of_the_text_at_random_places() -> None:
    x, _ = Stream(TOKENS, seed=3, segment=64).read(0, 64 * 2000)
    rows = x.reshape(-1, 64).astype(int)
    assert (np.diff(rows, axis=1) == 1).all()
    starts = rows[:, 0]
    assert starts.min() < 50
    assert starts.max() > len(TOKENS) - 65 - 50
    assert abs(starts.mean() - (len(TOKENS) - 65) / 2) < 100


def test_a_text_shorter_than_a_segment_is_refused() -> None:
    with pytest.raises(ValueError, match="longer text"):
        Stream(TOKENS[:64], seed=0, segment=64)
