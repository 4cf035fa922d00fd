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
