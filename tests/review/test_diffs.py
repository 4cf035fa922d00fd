from hypothesis import given
from hypothesis import strategies as st

from review.diffs import file_diffs, hunks_of, pieces

LINES = st.lists(st.sampled_from(["a", "b", "", "c"]), max_size=12)


@given(LINES, LINES)
def test_hunks_lead_from_one_text_to_the_other(old: list[str], new: list[str]) -> None:
    result, done = [], 0
    before = old or [""]
    for hunk in hunks_of("x.py", "\n".join(old), "\n".join(new)):
        result += before[done : hunk.old_start - 1]
        result += hunk.new
        done = hunk.old_start - 1 + len(hunk.old)
    assert result + before[done:] == (new or [""])


@given(LINES, LINES)
def test_the_table_shows_every_line_or_counts_it(old: list[str], new: list[str]) -> None:
    files = file_diffs({"x.py": "\n".join(old).encode()}, {"x.py": "\n".join(new).encode()})
    for file in files:
        rows = list(file.rows())
        folded = sum(row.folded for row in rows)
        assert len([row for row in rows if row.left]) + folded == max(1, len(old))
        assert len([row for row in rows if row.right]) + folded == max(1, len(new))


def test_the_id_of_a_hunk_outlives_changes_elsewhere() -> None:
    first = list(hunks_of("x.py", "a\nb\nc\nd", "a\nB\nc\nd"))
    moved = list(hunks_of("x.py", "0\na\nb\nc\nd", "1\na\nB\nc\nd"))
    assert first[0].id == moved[1].id


def test_equal_hunks_of_one_file_have_ids_of_their_own() -> None:
    ids = [hunk.id for hunk in hunks_of("x.py", "a\nb\nc\na\nd", "X\nb\nc\nX\nd")]
    assert len(set(ids)) == 2


def test_a_changed_word_is_marked_within_its_line() -> None:
    file = file_diffs({"x.py": b"rate = 1.0\n"}, {"x.py": b"rate = 2.0\n"})[0]
    row = next(file.rows())
    assert row.left is not None
    assert (row.left.before, row.left.changed, row.left.after) == ("rate = ", "1", ".0")


def test_what_is_no_text_is_not_shown() -> None:
    file = file_diffs({"x": b"\xff\xfe"}, {"x": b"y"})[0]
    assert not file.readable


def test_what_cannot_be_seen_becomes_an_escape() -> None:
    shown = list(pieces("a\u202eb\x1b[0m\u200bé\t"))
    assert [piece for piece, hidden in shown if hidden] == ["\\u202e", "\\x1b", "\\u200b"]
    assert "é" in [piece for piece, hidden in shown if not hidden]
