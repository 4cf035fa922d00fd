"""Recombining two programs, and the family they come from."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from evolution.genetics.crossover import Conflicts, merge
from evolution.genetics.lineage import nearest_common_ancestor, path_to_root

BASE = {"a.py": b"one\ntwo\nthree\nfour\nfive\n", "b.py": b"x\n"}


def a(**lines: bytes) -> dict[str, bytes]:
    content = BASE["a.py"]
    for old, new in lines.items():
        content = content.replace(old.encode(), new)
    return {**BASE, "a.py": content}


def test_changes_in_different_places_are_united() -> None:
    assert merge(BASE, a(one=b"1"), a(five=b"5")) == a(one=b"1", five=b"5")


def test_changes_in_different_files_are_united() -> None:
    assert merge(BASE, a(one=b"1"), {**BASE, "b.py": b"y\n"}) == {**a(one=b"1"), "b.py": b"y\n"}


def test_the_same_change_in_both_is_taken_once() -> None:
    assert merge(BASE, a(one=b"1", three=b"3"), a(one=b"1", five=b"5")) == a(one=b"1", three=b"3", five=b"5")


def test_different_changes_of_one_line_are_a_conflict() -> None:
    assert merge(BASE, a(three=b"3"), a(three=b"iii")) == Conflicts(("a.py",))


def test_changes_side_by_side_are_a_conflict() -> None:
    assert merge(BASE, a(two=b"2"), a(three=b"3")) == Conflicts(("a.py",))


def test_two_insertions_at_one_place_are_a_conflict() -> None:
    assert merge(BASE, a(two=b"two\n2a"), a(two=b"two\n2b")) == Conflicts(("a.py",))


def test_a_removed_file_stays_removed_unless_the_other_changed_it() -> None:
    removed = {"a.py": BASE["a.py"]}
    assert merge(BASE, removed, a(one=b"1")) == {"a.py": a(one=b"1")["a.py"]}
    assert merge(BASE, removed, {**BASE, "b.py": b"y\n"}) == Conflicts(("b.py",))


def test_added_files_meet_only_when_they_are_the_same() -> None:
    assert merge(BASE, {**BASE, "c.py": b"1\n"}, {**BASE, "d.py": b"2\n"}) == {**BASE, "c.py": b"1\n", "d.py": b"2\n"}
    assert merge(BASE, {**BASE, "c.py": b"1\n"}, {**BASE, "c.py": b"2\n"}) == Conflicts(("c.py",))


def test_with_chance_a_collision_takes_one_parents_lines_and_the_rest_of_both() -> None:
    first, second = a(one=b"1", three=b"3"), a(three=b"iii", five=b"5")
    found = {merge(BASE, first, second, rng=Random(seed))["a.py"] for seed in range(20)}  # type: ignore[index]
    assert found == {b"1\ntwo\n3\nfour\n5\n", b"1\ntwo\niii\nfour\n5\n"}


def test_with_chance_a_file_that_one_removed_and_the_other_changed_is_still_a_conflict() -> None:
    assert merge(BASE, {"a.py": BASE["a.py"]}, {**BASE, "b.py": b"y\n"}, rng=Random(1)) == Conflicts(("b.py",))


def test_with_chance_nothing_else_changes() -> None:
    for one, other in ((a(one=b"1"), a(five=b"5")), (a(one=b"1", three=b"3"), a(one=b"1", five=b"5"))):
        assert merge(BASE, one, other, rng=Random(1)) == merge(BASE, one, other)


LINES = st.lists(st.sampled_from([b"p\n", b"q\n", b"r\n", b"s"]), max_size=8).map(b"".join)


@given(LINES, LINES)
def test_a_parent_that_changed_nothing_leaves_the_other_as_it_is(base: bytes, changed: bytes) -> None:
    assert merge({"a": base}, {"a": base}, {"a": changed}) == {"a": changed}
    assert merge({"a": base}, {"a": changed}, {"a": base}) == {"a": changed}


@given(LINES, LINES, LINES)
def test_the_order_of_the_parents_does_not_matter(base: bytes, one: bytes, other: bytes) -> None:
    assert merge({"a": base}, {"a": one}, {"a": other}) == merge({"a": base}, {"a": other}, {"a": one})


#       0
#     1   2
#    3  x  4      5 is a crossover of 1 and 2; 6 of 3 and 5
FAMILY = {0: [], 1: [0], 2: [0], 3: [1], 4: [2], 5: [1, 2], 6: [3, 5]}


def test_the_nearest_common_ancestor() -> None:
    assert nearest_common_ancestor(FAMILY, 3, 4) == 0
    assert nearest_common_ancestor(FAMILY, 3, 5) == 1
    assert nearest_common_ancestor(FAMILY, 4, 6) == 2
    assert nearest_common_ancestor(FAMILY, 6, 1) == 1
    assert nearest_common_ancestor({0: [], 1: []}, 0, 1) is None


def test_the_path_to_the_root_follows_first_parents() -> None:
    assert path_to_root(FAMILY, 6) == [6, 3, 1, 0]
