import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.conftest import sentences
from trainer.harness.outside import text as texts
from trainer.harness.outside.text import Text, TextError, needles, prepare, windows


def test_bytes_are_split_90_5_5_in_the_order_of_the_text() -> None:
    raw = sentences(2, 1000)
    text = prepare(raw, vocabulary="bytes", context=64)
    assert b"".join(part.raw for part in text.parts.values()) == raw
    assert [round(len(part.tokens) / len(raw), 2) for part in text.parts.values()] == [0.9, 0.05, 0.05]
    assert bytes(text.train.astype(np.uint8)) == text.parts["train"].raw
    assert text.vocab_size == 256
    assert text.sha256 == hashlib.sha256(raw).hexdigest()


def test_characters_are_those_of_the_training_text_and_one_unknown() -> None:
    raw = sentences(2, 2000) + "äöü€ only at the end ".encode() * 40
    text = prepare(raw, vocabulary="chars", context=64)
    seen = sorted(set(bytes(text.parts["train"].raw).decode()))
    assert text.vocab_size == len(seen) + 1
    assert seen[int(text.train[0])] == raw.decode()[0]
    assert (text.parts["private"].tokens == len(seen)).any()


def test_token_bytes_add_up_to_the_bytes_of_the_text() -> None:
    raw = ("größer und schöner, " * 3000).encode() + "€".encode() * 500
    text = prepare(raw, vocabulary="chars", context=16)
    total = sum(text.token_bytes[part.tokens].sum() for part in text.parts.values())
    assert total == pytest.approx(len(raw))


@pytest.mark.parametrize("raw", [b"", b"too short", sentences(2, 100)])
@pytest.mark.parametrize("vocabulary", ["bytes", "chars"])
def test_a_text_too_small_is_one_sentence(raw: bytes, vocabulary: str) -> None:
    with pytest.raises(TextError, match=r"too small.*give a longer text") as refusal:
        prepare(raw, vocabulary=vocabulary, context=64)
    assert "\n" not in str(refusal.value)


def test_characters_need_utf8() -> None:
    with pytest.raises(TextError, match="not UTF-8 at byte"):
        prepare(b"\xff\xfe" * 50_000, vocabulary="chars", context=64)


def test_a_directory_of_tokens_is_no_vocabulary_for_a_text() -> None:
    with pytest.raises(TextError, match="takes no text"):
        prepare(sentences(2, 1000), vocabulary="data/tokens", context=64)


def test_windows_are_disjoint_pieces_of_the_held_out_text(text: Text) -> None:
    found = text.windows("public")
    assert found.dtype == np.uint16
    assert found.shape[1] == text.context + 1
    raw = bytes(text.parts["public"].raw)
    places = [raw.index(bytes(row.astype(np.uint8))) for row in found]
    assert all(later - earlier >= 65 for earlier, later in pairwise(places))


def test_windows_with_a_string_of_the_training_text_are_left_out() -> None:
    raw = bytearray(sentences(3, 3000))
    cut = int(len(raw) * 0.95)
    raw[cut + 130 : cut + 195] = raw[1001:1066]  # into the third window of the private part
    text = prepare(bytes(raw), vocabulary="bytes", context=64)
    start = cut - len(text.parts["train"].raw) - len(text.parts["public"].raw)
    assert abs(start) <= 1
    copied = bytes(raw[1001:1066])
    kept = b"".join(bytes(row.astype(np.uint8)) for row in text.windows("private"))
    assert copied[:64] not in kept
    assert len(kept) // 65 < len(text.parts["private"].tokens) // 65


def test_a_text_that_only_repeats_itself_is_refused() -> None:
    text = prepare(b"the same line again and again and again, always the same line.\n" * 1000,
                   vocabulary="bytes", context=64)
    with pytest.raises(TextError, match="repeats itself"):
        text.windows("public")


def test_the_number_of_scored_tokens_is_capped(text: Text) -> None:
    assert text.windows("public", scored_tokens=64 * 30).shape == (30, 65)
    assert len(text.windows("public")) > 30


def test_windows_work_on_characters_of_several_bytes() -> None:
    rng = np.random.default_rng(0)
    raw = "".join(chr(int(n)) for n in rng.integers(0xE0, 0x180, size=40_000)).encode()
    text = prepare(raw, vocabulary="chars", context=16)
    every = windows(text.parts["public"], text.known("public"), context=16)
    assert len(every) == len(text.parts["public"].tokens) // 17


def test_a_few_windows_serve_for_checks(text: Text) -> None:
    assert text.check_windows(8).shape == (8, 65)


def test_needles_are_held_out_strings_that_the_training_text_does_not_have(text: Text) -> None:
    found = needles(text, np.random.default_rng(0), 40)
    assert len(found) == len(set(found)) == 40
    held_out = [bytes(text.parts[split].raw) for split in texts.HELD_OUT]
    assert all(any(needle in part for part in held_out) for needle in found)
    assert not any(needle in bytes(text.parts["train"].raw) for needle in found)


def test_validation_is_a_slice_of_the_training_text(text: Text) -> None:
    assert bytes(text.validation.astype(np.uint8)) in bytes(text.parts["train"].raw)


@pytest.fixture
def raw() -> bytes:
    """Half known text, half new, with characters of two bytes."""
    return sentences(5, 1500) + sentences(5, 200) + "größer ".encode() * 9 + sentences(6, 1500)


@pytest.mark.parametrize("vocabulary", ["bytes", "chars"])
def test_what_is_kept_in_the_cache_is_what_was_found(raw: bytes, vocabulary: str, tmp_path: Path) -> None:
    plain = prepare(raw, vocabulary=vocabulary, context=64)
    for _ in range(2):
        text = prepare(raw, vocabulary=vocabulary, context=64, cache=tmp_path)
        for split in texts.HELD_OUT:
            assert np.array_equal(text.windows(split), plain.windows(split))
            assert np.array_equal(text.parts[split].tokens, plain.parts[split].tokens)
            assert text.parts[split].raw == plain.parts[split].raw
        assert np.array_equal(text.train, plain.train)
        assert np.array_equal(text.token_bytes, plain.token_bytes)


def test_the_cache_is_read(raw: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = prepare(raw, vocabulary="chars", context=64, cache=tmp_path).windows("public")
    monkeypatch.setattr(texts, "occurs_in", None)
    monkeypatch.setattr(texts, "_find_characters", None)
    assert np.array_equal(prepare(raw, vocabulary="chars", context=64, cache=tmp_path).windows("public"), expected)


def test_a_damaged_cache_is_computed_again_and_mended(raw: bytes, tmp_path: Path) -> None:
    expected = prepare(raw, vocabulary="chars", context=64, cache=tmp_path).windows("public")
    whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(whole) == 2
    for path, content in whole.items():
        path.write_bytes(content[:-9] + bytes(9))
    assert np.array_equal(prepare(raw, vocabulary="chars", context=64, cache=tmp_path).windows("public"), expected)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == whole
