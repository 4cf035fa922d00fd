import os
from pathlib import Path

import numpy as np
import pytest

from trainer.harness.outside import overlap
from trainer.harness.outside.overlap import occurs_in, search

RANDOM = np.random.default_rng(0)
NOISE = RANDOM.bytes(20_000)
NEEDLE = RANDOM.bytes(64)


def test_strings_that_occur_are_found_wherever_they_are() -> None:
    text = NOISE[:300] + RANDOM.bytes(300)
    (known,) = occurs_in([text], NOISE)
    assert known[: 300 - 63].all()
    assert not known[300 - 63 + 1 :].any()


def test_pieces_do_not_hide_what_lies_across_their_border(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "_ROLL", 1024)
    assert occurs_in([NOISE[1000:1100]], NOISE)[0].all()


def test_a_short_text_has_no_strings() -> None:
    assert [known.shape for known in occurs_in([b"short", b""], NOISE)] == [(0,), (0,)]
    assert not occurs_in([NOISE[:100]], b"short")[0].any()


@pytest.mark.parametrize("place", [0, 1, 31, 32, 33, 63, 1000, 20_000])
def test_a_needle_is_found_at_any_offset(tmp_path: Path, place: int) -> None:
    path = tmp_path / "deep" / "file"
    path.parent.mkdir()
    path.write_bytes(NOISE[:place] + NEEDLE + NOISE[place:])
    (hit,) = search([tmp_path], [RANDOM.bytes(64), NEEDLE])
    assert (hit.path, hit.needle) == (path, NEEDLE)
    assert str(hit) == str(path)


def test_a_needle_is_found_across_the_border_of_two_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "_CHUNK", 1024)
    (tmp_path / "file").write_bytes(NOISE[:1000] + NEEDLE + NOISE)
    assert len(search([tmp_path], [NEEDLE])) == 1


def test_almost_a_needle_is_no_hit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(NOISE + NEEDLE[:63] + b"?" + NOISE)
    assert search([tmp_path], [NEEDLE]) == []


def test_a_single_file_can_be_searched(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(NEEDLE)
    assert len(search([tmp_path / "file"], [NEEDLE])) == 1


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(NEEDLE)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "folder").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(inside / "pipe")
    assert search([inside, inside / "link"], [NEEDLE]) == []


def test_a_needle_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="64"):
        search([tmp_path], [b"short"])


@pytest.mark.parametrize("unit", [1, 2])
@pytest.mark.parametrize("share", [0.02, 0.6])
@pytest.mark.parametrize("far_larger", [0, 1000])
def test_strings_are_found_as_a_slow_search_finds_them(
    monkeypatch: pytest.MonkeyPatch, unit: int, share: float, far_larger: int
) -> None:
    monkeypatch.setattr(overlap, "FAR_LARGER", far_larger)
    monkeypatch.setattr(overlap, "_ROLL", 4096)
    rng = np.random.default_rng(3)
    other = bytearray(rng.bytes(40_000))
    texts = [bytearray(rng.bytes(3_000)), bytearray(rng.bytes(1_000))]
    for text in texts:
        while rng.random() > 0.1:
            size = int(rng.integers(50, 50 + int(1000 * share)))
            here, there = (int(rng.integers((len(one) - size) // 2)) * 2 for one in (text, other))
            text[here : here + size] = other[there : there + size]
    texts[0][:70], texts[1][-66:] = other[:70], other[-66:]
    strings = {bytes(other[place : place + 64]) for place in range(0, len(other) - 63, unit)}
    expected = [
        [bytes(text[place : place + 64]) in strings for place in range(0, len(text) - 63, unit)] for text in texts
    ]
    found = occurs_in([bytes(text) for text in texts], bytes(other), unit=unit)
    assert [one.tolist() for one in found] == expected
    assert sum(map(sum, expected)) > 5
