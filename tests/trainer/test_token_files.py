"""Directories of tokens: read whole and mapped, refused in one sentence, judged like any other text."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer import pairs
from tests.trainer.conftest import sentences
from trainer import tokens
from trainer.harness.outside.stream import Stream
from trainer.harness.outside.text import HELD_OUT, TextError, needles
from trainer.harness.outside.token_files import prepare

RAW = sentences(8, 1500)
IDS, LENGTHS = pairs.encoded(RAW, merges=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pairs.written(tmp_path / "tokens", IDS, LENGTHS)


def test_the_tokens_are_those_of_the_files(folder: Path) -> None:
    text = prepare(folder, vocabulary="tokens", context=64)
    whole = [text.train, text.parts["public"].tokens, text.parts["private"].tokens]
    assert np.array_equal(np.concatenate(whole), IDS)
    assert text.vocab_size == len(LENGTHS) == 316
    assert abs(len(whole[1]) - len(whole[2])) <= 1


def test_bytes_per_token_add_up_to_the_bytes_of_the_text(folder: Path) -> None:
    text = prepare(folder, vocabulary="tokens", context=64)
    assert sum(text.token_bytes[part.tokens].sum() for part in text.parts.values()) == len(RAW)


@pytest.mark.parametrize("name", ["lengths.json", "lengths.npy"])
def test_bytes_per_token_may_lie_in_a_file_beside(folder: Path, name: str) -> None:
    (folder / "lengths.json").write_text(json.dumps(LENGTHS))
    np.save(folder / "lengths.npy", np.array(LENGTHS))
    pairs.written(folder, IDS, LENGTHS, token_bytes=name)
    assert prepare(folder, vocabulary="tokens", context=64).token_bytes.tolist() == LENGTHS


@pytest.mark.parametrize(("meta", "message"), [
    ({"dtype": "uint32"}, "only \"uint16\" is served"),
    ({"dtype": None}, "only \"uint16\" is served"),
    ({"vocab_size": 65_537}, "from 2 to 65,536"),
    ({"vocab_size": True}, "from 2 to 65,536"),
    ({"vocab_size": 300}, "token_bytes must be 300 numbers"),
    ({"vocab_size": 300, "token_bytes": [1] * 300}, "holds the token 3.. where meta.json says vocab_size 300"),
    ({"token_bytes": None}, "token_bytes must be 316 numbers"),
    ({"token_bytes": [-1, *LENGTHS[1:]]}, "token_bytes must be 316 numbers"),
    ({"token_bytes": [float("nan"), *LENGTHS[1:]]}, "token_bytes must be 316 numbers"),
    ({"token_bytes": [[1]] * 316}, "token_bytes must be 316 numbers"),
    ({"token_bytes": "nowhere.json"}, "token_bytes must be 316 numbers"),
    ({"token_bytes": "../lengths.json"}, "token_bytes must be 316 numbers"),
    ({"token_bytes": "train.bin"}, "token_bytes must be 316 numbers"),
])
def test_a_wrong_description_is_one_sentence(folder: Path, meta: dict[str, Any], message: str) -> None:
    pairs.written(folder, IDS, LENGTHS, **meta)
    with pytest.raises(TextError, match=message) as refusal:
        prepare(folder, vocabulary="tokens", context=64)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("train.bin", None, "has no train.bin"),
    ("heldout.bin", None, "has no heldout.bin"),
    ("meta.json", None, "has no meta.json"),
    ("meta.json", b"[]", "not a JSON object"),
    ("meta.json", b"\xff", "not a JSON object"),
    ("train.bin", b"", "0 bytes"),
    ("train.bin", b"abc", "no whole number of uint16"),
    ("train.bin", bytes(1000), "train.bin is too small"),
    ("heldout.bin", bytes(2), "heldout.bin is too small"),
    ("heldout.bin", bytes(2 * 2599), "2,599 tokens where a context of 64 needs at least 2,600"),
])
def test_a_wrong_file_is_one_sentence(folder: Path, name: str, content: bytes | None, message: str) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(TextError, match=message):
        prepare(folder, vocabulary="tokens", context=64)


def test_windows_of_which_32_tokens_are_in_the_training_text_are_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(300, size=60_000)
    ids[54_000 + 65 * 3 + 10 : 54_000 + 65 * 3 + 42] = ids[101:133]  # in the fourth window of the public half
    ids[54_000 + 65 * 9 + 10 : 54_000 + 65 * 9 + 41] = ids[101:132]  # 31 in a row are not enough
    text = prepare(pairs.written(tmp_path / "tokens", ids, [1] * 300), vocabulary="tokens", context=64)
    every = text.parts["public"].tokens[: 3000 // 65 * 65].reshape(-1, 65)
    assert np.array_equal(text.windows("public"), np.delete(every, 3, axis=0))


def test_half_a_token_is_no_string(tmp_path: Path) -> None:
    """The bytes of the held-out text occur in the training text, one byte further: those are other tokens."""
    rng = np.random.default_rng(0)
    ids = rng.integers(256, size=60_000) * 256
    ids[54_000:] = rng.integers(256, size=6_000)
    ids[:3_000] = ids[54_000:57_000] * 256
    text = prepare(pairs.written(tmp_path / "tokens", ids, [1] * 65_536), vocabulary="tokens", context=64)
    assert not text.known("public").any()


def test_needles_are_uint16_bytes_of_held_out_tokens(folder: Path) -> None:
    text = prepare(folder, vocabulary="tokens", context=64)
    found = needles(text, np.random.default_rng(0), 10)
    assert len(found) == 10
    held_out = IDS[len(IDS) * 9 // 10 :].astype("<u2").tobytes()
    assert all(held_out.index(needle) % 2 == 0 for needle in found)


def test_the_files_are_mapped_and_not_copied(folder: Path) -> None:
    text = prepare(folder, vocabulary="tokens", context=64)
    assert not text.train.flags.owndata
    base = text.train
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    x, y = Stream(text.train, seed=1, segment=64).read(10, 500)
    assert np.array_equal(x[1:54], y[:53])


def test_the_hash_stands_for_every_file(folder: Path) -> None:
    seen = {tokens.look(folder).sha256}
    for name in ("train.bin", "heldout.bin"):
        content = bytearray((folder / name).read_bytes())
        content[0] ^= 1
        (folder / name).write_bytes(content)
        seen.add(tokens.look(folder).sha256)
    pairs.written(folder, IDS, [*LENGTHS[:-1], 99])
    seen.add(tokens.look(folder).sha256)
    assert len(seen) == 4


def test_a_file_is_hashed_once_until_it_changes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in folder.iterdir():
        os.utime(path, (1_000_000_000, 1_000_000_000))
    first = tokens.look(folder, cache=tmp_path / "cache")
    read: list[str] = []
    facts = tokens._read_facts

    def watched(path: Path) -> tuple[str, int]:
        read.append(path.name)
        return facts(path)

    monkeypatch.setattr(tokens, "_read_facts", watched)
    assert tokens.look(folder, cache=tmp_path / "cache").sha256 == first.sha256
    assert read == []
    (folder / "train.bin").write_bytes((folder / "train.bin").read_bytes()[2:])
    assert tokens.look(folder, cache=tmp_path / "cache").sha256 != first.sha256
    assert read == ["train.bin"]


def test_a_file_that_was_just_written_is_not_remembered(folder: Path, tmp_path: Path) -> None:
    tokens.look(folder, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_what_occurs_in_the_training_text_is_kept_too(folder: Path, tmp_path: Path) -> None:
    plain = prepare(folder, vocabulary="tokens", context=64)
    for _ in range(2):
        text = prepare(folder, vocabulary="tokens", context=64, cache=tmp_path / "cache")
        assert all(np.array_equal(text.known(split), plain.known(split)) for split in HELD_OUT)
