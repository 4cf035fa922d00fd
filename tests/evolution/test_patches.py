"""How patches are applied, and what the gate lets pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolution.errors import PatchRefused
from evolution.patches import apply_edits, apply_unified, gate, lines_changed
from tests.cast import FILES
from trainer.contract import parse_genome

GENOME = parse_genome(FILES["genome.toml"].decode())
POEM = {"a.py": b"one\ntwo\nthree\nfour\nfive\nsix\nseven\n"}


def changed(**files: bytes | None) -> dict[str, bytes]:
    after = {**FILES, **{f"{name}.py": content for name, content in files.items() if content is not None}}
    return {path: content for path, content in after.items() if files.get(path.removesuffix(".py"), b"") is not None}


def test_a_changed_an_added_and_a_removed_file_pass() -> None:
    gate(GENOME, FILES, changed(model=b"x = 1\n"))
    gate(GENOME, FILES, changed(extra=b"x = 1\n"))
    gate(GENOME, FILES, changed(model=None))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("genome.toml", "may not be changed by a patch"),
        ("notes.txt", r"may not be changed: \[evolve\] editable .* allows \*\.py"),
        ("deep/model.py", "may not be changed"),
        ("/etc/passwd.py", "leads out of the genome"),
        ("../outside.py", "leads out of the genome"),
        ("a/../b.py", "leads out of the genome"),
        (".git/hooks.py", "leads out of the genome"),
        ("", "leads out of the genome"),
        ("a\\b.py", "leads out of the genome"),
        ("x\u202egp.py", "cannot be shown"),
        ("x\n.py", "cannot be shown"),
        ("x" * 300 + ".py", "too long"),
    ],
)
def test_a_path_that_may_not_be_touched_is_refused(path: str, message: str) -> None:
    with pytest.raises(PatchRefused, match=message):
        gate(GENOME, FILES, {**FILES, path: b"x = 1\n"})


HIDDEN = ["\u202e", "\u2066", "\u200b", "\ufeff", "\x1b", "\x00", "\x0c", "\r", "\u3164", "\u2028"]


@pytest.mark.parametrize("hidden", HIDDEN)
def test_characters_that_hide_something_are_refused_with_their_line(hidden: str) -> None:
    with pytest.raises(PatchRefused, match=r"model\.py:2 holds control, bidirectional or invisible"):
        gate(GENOME, FILES, changed(model=f"x = 1\ny = 'a{hidden}b'\n".encode()))


def test_what_the_genome_already_held_is_not_the_patchs_doing() -> None:
    before = {**FILES, "old.py": "# \ufeffold\nx = 1\n".encode()}
    gate(GENOME, before, {**before, "old.py": "# \ufeffold\nx = 2\n".encode()})


def test_windows_line_ends_and_letters_of_every_script_pass() -> None:
    gate(GENOME, FILES, changed(model="größe = 'длина'\r\n".encode()))


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(PatchRefused, match="not UTF-8"):
        gate(GENOME, FILES, changed(model=b"x = '\xff'\n"))


def test_nothing_changed_is_no_patch() -> None:
    with pytest.raises(PatchRefused, match="changes nothing"):
        gate(GENOME, FILES, dict(FILES))


def test_a_patch_nobody_can_read_through_is_refused() -> None:
    with pytest.raises(PatchRefused, match="changes 2001 lines"):
        gate(GENOME, FILES, changed(extra=b"x = 1\n" * 2001))
    gate(GENOME, FILES, changed(extra=b"x = 1\n" * 2000))


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(PatchRefused, match="at most 256 kB"):
        gate(GENOME, FILES, changed(extra=b"#" * (256 << 10) + b"\n"))


def test_names_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(PatchRefused, match="letters have no case"):
        gate(GENOME, FILES, {**FILES, "Model.py": b"x = 1\n"})


def test_a_file_cannot_be_a_directory_too() -> None:
    genome = parse_genome(FILES["genome.toml"].decode().replace('"*.py"', '"**"'))
    with pytest.raises(PatchRefused, match="needs a directory where a file is"):
        gate(genome, FILES, {**FILES, "model.py/x.py": b"x = 1\n"})


def test_lines_are_counted_added_and_removed() -> None:
    assert lines_changed(POEM, {"a.py": POEM["a.py"].replace(b"two", b"2"), "b.py": b"x\n"}) == 3


def test_an_edit_replaces_a_text_that_occurs_once() -> None:
    edit = {"path": "a.py", "search": "two\nthree", "replace": "2"}
    assert apply_edits(POEM, [edit])["a.py"].startswith(b"one\n2\nfour")


@pytest.mark.parametrize(
    ("search", "count"), [("o", 3), ("eight", 0), ("", 0)],
)
def test_a_search_text_must_match_exactly_once(search: str, count: int) -> None:
    with pytest.raises(PatchRefused, match=rf"edit 1 occurs {count} times in a\.py"):
        apply_edits(POEM, [{"path": "a.py", "search": search, "replace": "x"}])


def test_edits_follow_each_other() -> None:
    edits = [{"path": "b.py", "content": "x = 1\n"}, {"path": "b.py", "search": "1", "replace": "2"}]
    assert apply_edits(POEM, edits)["b.py"] == b"x = 2\n"


def test_an_edit_without_a_change_is_named() -> None:
    with pytest.raises(PatchRefused, match="edit 2 has neither"):
        apply_edits(POEM, [{"path": "b.py", "content": ""}, {"path": "a.py", "search": "one"}])


def test_half_a_character_is_refused() -> None:
    with pytest.raises(PatchRefused, match="half a character"):
        apply_edits(POEM, [{"path": "b.py", "content": "\ud800"}])


HUNK = "--- a/a.py\n+++ b/a.py\n@@ -{at},3 +{at},3 @@\n two\n-three\n+3\n four\n"


def test_a_hunk_is_applied_where_it_says() -> None:
    assert apply_unified(POEM, HUNK.format(at=2))["a.py"] == POEM["a.py"].replace(b"three", b"3")


def test_a_hunk_with_wrong_line_numbers_finds_its_only_place() -> None:
    assert apply_unified(POEM, HUNK.format(at=40))["a.py"] == POEM["a.py"].replace(b"three", b"3")


def test_a_hunk_that_fits_nowhere_or_twice_is_refused() -> None:
    for files in ({"a.py": b"two\nthree\nFOUR\n"}, {"a.py": b"x\n" + b"two\nthree\nfour\n" * 2}):
        with pytest.raises(PatchRefused, match=r"hunk 1 does not apply to a\.py"):
            apply_unified(files, HUNK.format(at=9))


def test_files_are_added_and_removed() -> None:
    patch = (
        "diff --git a/b.py b/b.py\nnew file mode 100644\n--- /dev/null\n+++ b/b.py\n@@ -0,0 +1 @@\n+x = 1\n"
        "diff --git a/a.py b/a.py\ndeleted file mode 100644\n--- a/a.py\n+++ /dev/null\n@@ -1,7 +0,0 @@\n"
        + "".join(f"-{line}\n" for line in POEM["a.py"].decode().split())
    )
    assert apply_unified(POEM, patch) == {"b.py": b"x = 1\n"}


def test_a_file_without_a_last_line_end_keeps_it_that_way() -> None:
    patch = (
        "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n one\n-two\n\\ No newline at end of file\n"
        "+2\n\\ No newline at end of file\n"
    )
    assert apply_unified({"a.py": b"one\ntwo"}, patch) == {"a.py": b"one\n2"}


def test_a_form_feed_is_not_a_line_end() -> None:
    files = {"a.py": b"one\x0c\ntwo\nthree\nfour\n"}
    assert apply_unified(files, HUNK.format(at=2))["a.py"] == b"one\x0c\ntwo\n3\nfour\n"


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ("", "is empty"),
        ("hello", "is empty"),
        ("--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n one\n", "not a readable unified diff"),
        ("--- a/z.py\n+++ b/z.py\n@@ -1 +1 @@\n-x\n+y\n", "z.py, which is not there"),
        ("--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+x\n", "which is there already"),
        ("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n", "is a link"),
        ("diff --git a/x b/x\nnew file mode 100644\nindex 0..1\nGIT binary patch\nliteral 1\nIc\n", "binary"),
        ("Binary files a/a.py and b/a.py differ\n", "binary"),
    ],
)
def test_a_patch_that_does_not_fit_says_why(patch: str, message: str) -> None:
    with pytest.raises(PatchRefused, match=message):
        apply_unified(POEM, patch)


@given(st.text())
def test_any_text_is_either_applied_or_refused(patch: str) -> None:
    for text in (patch, HUNK.format(at=2) + patch):
        try:
            apply_unified(POEM, text)
        except PatchRefused:
            continue
