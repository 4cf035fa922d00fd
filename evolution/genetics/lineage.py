"""Family relations, over a map from each individual to its parents. The map has no cycles: parents are older."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=int)  # a variant's number: larger is younger
Parents = Mapping[Key, Sequence[Key]]


def ancestors(parents: Parents[Key], key: Key) -> set[Key]:
    """`key` and everything it descends from."""
    seen: set[Key] = set()
    waiting = [key]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += parents.get(one, ())
    return seen


def nearest_common_ancestor(parents: Parents[Key], first: Key, second: Key) -> Key | None:
    """The youngest individual that both descend from (or that one of them is); None for strangers.

    A common ancestor of which another common ancestor descends is never the youngest: children are younger.
    """
    shared = ancestors(parents, first) & ancestors(parents, second)
    return max(shared, default=None)


def path_to_root(parents: Parents[Key], key: Key) -> list[Key]:
    """`key`, its first parent, that one's first parent, and so on to the one that has none."""
    path = [key]
    while before := parents.get(path[-1], ()):
        path.append(before[0])
    return path
