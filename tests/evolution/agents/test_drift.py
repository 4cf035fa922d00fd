"""White space that a model quoted wrongly is put right, and nothing else is guessed."""

import pytest

from evolution.agents import drift

TEXT = "class A:\n    def f(self):\n        x = 1\n\n        return x\n\n    def g(self):\n        return 2\n"


def test_a_quotation_without_its_indentation_is_found_and_the_replacement_indented() -> None:
    search, replace = drift.settled(TEXT, "x = 1\n\nreturn x", "x = 3\nif x:\n    x = 4\nreturn x")
    assert search == "        x = 1\n\n        return x\n"
    assert replace == "        x = 3\n        if x:\n            x = 4\n        return x\n"


def test_tabs_and_blanks_at_the_ends_of_lines_do_not_matter() -> None:
    search, _ = drift.settled(TEXT, "    def g(self):   \n\t\treturn 2\t", "pass")
    assert search == "    def g(self):\n        return 2\n"


@pytest.mark.parametrize("search", ["x = 2", "return", "", "   ", "x = 1\nreturn x"])
def test_other_words_are_never_guessed(search: str) -> None:
    assert drift.settled(TEXT, search, "y")[0] == search


def test_what_is_there_more_than_once_is_left_for_the_refusal() -> None:
    twice = "  a = 1\n  b\n  a = 1\n  b\n"
    assert drift.settled(twice, "a = 1\nb", "c")[0] == "a = 1\nb"


def test_lengths_of_hunks_are_counted_again() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1,99 +1 @@ def f\n a\n-b\n+c\n+d\n@@\n-e\n"
    assert drift.renumbered(diff).splitlines()[2] == "@@ -1,2 +1,3 @@ def f"
    assert drift.renumbered(diff).splitlines()[7] == "@@ -1,1 +1,0 @@"
