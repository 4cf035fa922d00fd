"""Recombining two programs, and the family they come from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolution.genetics.crossover import Place, Whose, merge
from evolution.genetics.lineage import founders, nearest_common_ancestor, path_to_root, since

BASE = {"a.py": b"one\ntwo\nthree\nfour\nfive\n", "b.py": b"x\n"}


def a(**lines: bytes) -> dict[str, bytes]:
    content = BASE["a.py"]
    for old, new in lines.items():
        content = content.replace(old.encode(), new)
    return {**BASE, "a.py": content}


def collisions(first: dict[str, bytes], second: dict[str, bytes]) -> list[tuple[str, int, bytes | None, bytes | None]]:
    return [(one.path, one.line, one.first, one.second) for one in merge(BASE, first, second).conflicts]


def test_changes_in_different_places_are_united() -> None:
    assert merge(BASE, a(one=b"1"), a(five=b"5")).tree() == a(one=b"1", five=b"5")


def test_changes_in_different_files_are_united() -> None:
    assert merge(BASE, a(one=b"1"), {**BASE, "b.py": b"y\n"}).tree() == {**a(one=b"1"), "b.py": b"y\n"}


def test_the_same_change_in_both_is_taken_once() -> None:
    found = merge(BASE, a(one=b"1", three=b"3"), a(one=b"1", five=b"5"))
    assert found.tree() == a(one=b"1", three=b"3", five=b"5")
    assert [one.whose for one in found.places] == [Whose.BOTH, Whose.FIRST, Whose.SECOND]


def test_different_changes_of_one_line_are_a_conflict() -> None:
    (found,) = merge(BASE, a(three=b"3"), a(three=b"iii")).conflicts
    assert found == Place("a.py", 3, b"three\n", b"3\n", b"iii\n")
    assert (found.before, found.after) == (b"one\ntwo\n", b"four\nfive\n")


def test_changes_side_by_side_are_a_conflict() -> None:
    assert collisions(a(two=b"2"), a(three=b"3")) == [("a.py", 2, b"2\nthree\n", b"two\n3\n")]


def test_two_insertions_at_one_place_are_a_conflict() -> None:
    assert collisions(a(two=b"two\n2a"), a(two=b"two\n2b")) == [("a.py", 3, b"2a\n", b"2b\n")]


def test_a_removed_file_stays_removed_unless_the_other_changed_it() -> None:
    removed = {"a.py": BASE["a.py"]}
    assert merge(BASE, removed, a(one=b"1")).tree() == {"a.py": a(one=b"1")["a.py"]}
    assert collisions(removed, {**BASE, "b.py": b"y\n"}) == [("b.py", 1, None, b"y\n")]


def test_added_files_meet_only_when_they_are_the_same() -> None:
    one, two = {**BASE, "c.py": b"1\n"}, {**BASE, "d.py": b"2\n"}
    assert merge(BASE, one, two).tree() == {**one, **two}
    assert merge(BASE, one, one).tree() == one
    assert collisions(one, {**BASE, "c.py": b"2\n"}) == [("c.py", 1, b"1\n", b"2\n")]


def test_a_settled_collision_holds_what_was_said_and_the_rest_of_both() -> None:
    found = merge(BASE, a(one=b"1", three=b"3"), a(three=b"iii", five=b"5"))
    (place,) = found.conflicts
    assert found.tree({place: b"III\n"})["a.py"] == b"1\ntwo\nIII\nfour\n5\n"
    assert found.tree({place: place.first})["a.py"] == b"1\ntwo\n3\nfour\n5\n"


def test_a_collision_over_a_file_may_be_settled_by_removing_it() -> None:
    found = merge(BASE, {"a.py": BASE["a.py"]}, {**BASE, "b.py": b"y\n"})
    (place,) = found.conflicts
    assert found.tree({place: None}) == {"a.py": BASE["a.py"]}
    assert found.tree({place: b"y\n"}) == {**BASE, "b.py": b"y\n"}


def test_a_collision_that_nobody_settled_makes_no_tree() -> None:
    with pytest.raises(ValueError, match=r"a\.py:3"):
        merge(BASE, a(three=b"3"), a(three=b"iii")).tree()


LINES = st.lists(st.sampled_from([b"p\n", b"q\n", b"r\n", b"s"]), max_size=8).map(b"".join)


@given(LINES, LINES)
def test_a_parent_that_changed_nothing_leaves_the_other_as_it_is(base: bytes, changed: bytes) -> None:
    assert merge({"a": base}, {"a": base}, {"a": changed}).tree() == {"a": changed}
    assert merge({"a": base}, {"a": changed}, {"a": base}).tree() == {"a": changed}


@given(LINES, LINES, LINES)
def test_taking_one_side_of_every_place_gives_that_parent(base: bytes, one: bytes, other: bytes) -> None:
    found = merge({"a": base}, {"a": one}, {"a": other})
    assert found.tree({place: place.first for place in found.places}) == {"a": one}
    assert found.tree({place: place.second for place in found.places}) == {"a": other}
    assert found.tree({place: place.base for place in found.places}) == {"a": base}


@given(LINES, LINES, LINES)
def test_the_order_of_the_parents_does_not_matter(base: bytes, one: bytes, other: bytes) -> None:
    there, back = merge({"a": base}, {"a": one}, {"a": other}), merge({"a": base}, {"a": other}, {"a": one})
    assert [(place.first, place.second) for place in there.places] == [
        (place.second, place.first) for place in back.places
    ]


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


def test_what_happened_since_an_ancestor_is_every_step_after_it() -> None:
    assert since(FAMILY, 6, 1) == {2, 3, 5, 6}
    assert since(FAMILY, 3, 3) == set()


def test_founders_are_the_first_steps_away_from_the_root() -> None:
    assert founders(FAMILY, 4) == {2}
    assert founders(FAMILY, 6) == {1, 2}
    assert founders(FAMILY, 0) == {0}
