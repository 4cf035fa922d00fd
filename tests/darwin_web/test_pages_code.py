"""Code and numbers as pages show them."""

import pytest

from darwin_web.pages.code import difference, highlighted, text_of
from darwin_web.templatetags import darwin
from evolution.models import Status


def test_a_difference_numbers_both_sides() -> None:
    [file] = difference({"a.py": b"x = 1\ny = 2\n"}, {"a.py": b"x = 1\ny = 3\nz = 4\n"})
    signs = [(row.sign, row.old, row.new) for row in file.rows if row.sign != "@"]
    assert signs == [(" ", 1, 1), ("-", 2, None), ("+", None, 2), ("+", None, 3), (" ", 3, 4)]
    assert (file.added, file.removed) == (2, 1)


def test_files_that_came_or_went_are_part_of_the_difference() -> None:
    files = difference({"gone.py": b"a = 1\n"}, {"new.py": b"b = 1\n"})
    assert [(file.path, file.added > 0, file.removed > 0) for file in files] == [
        ("gone.py", False, True), ("new.py", True, False),
    ]


def test_equal_trees_differ_in_nothing() -> None:
    assert difference({"a.py": b"x"}, {"a.py": b"x"}) == []


def test_highlighting_escapes_and_keeps_every_line() -> None:
    source = '"""<b>\nstill & text\n"""\n\nx = "<i>"\n'
    lines = highlighted("a.py", source)
    assert len(lines) == source.count("\n") + 1
    assert not any("<b>" in line or "<i>" in line for line in lines)


def test_a_reader_sees_characters_that_would_hide_something() -> None:
    assert text_of("x = 1 \u202e# \x07".encode()) == "x = 1 \\u202e# \\x07"
    assert text_of("größer – ok".encode()) == "größer – ok"
    assert text_of(b"\xff") == "�"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (999, "999"), (1234, "1.23 k"), (65_536, "65.5 k"), (812_345, "812 k"), (3e9, "3.00 G")],
)
def test_counts_are_short(value: float | None, text: str) -> None:
    assert darwin.short_count(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.21, "0.2 s"), (42, "42 s"), (720, "12 min"), (9000, "2.5 h")])
def test_durations_have_a_unit(seconds: float, text: str) -> None:
    assert darwin.duration(seconds) == text


def test_a_change_carries_its_sign() -> None:
    assert darwin.signed(-0.0213) == "−2.1 %"
    assert darwin.signed(0.05) == "+5.0 %"


def test_every_status_has_a_shape_a_word_and_a_tone_of_its_own_look() -> None:
    assert set(darwin.MARKS) == {status.value for status in Status}
    looks = {(entry["path"], entry["tone"]) for entry in darwin.MARKS.values()}
    assert len(looks) == len(darwin.MARKS)
