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


def since(parents: Parents[Key], key: Key, ancestor: Key) -> set[Key]:
    """`key` and everything between it and `ancestor`: what `ancestor` does not descend from, and is not itself."""
    return ancestors(parents, key) - ancestors(parents, ancestor)


def founders(parents: Parents[Key], key: Key) -> set[Key]:
    """The lineages that `key` belongs to, each by its first step away from the root; the root is its own founder."""
    line = ancestors(parents, key)
    roots = {one for one in line if not parents.get(one)}
    return {one for one in line if set(parents.get(one, ())) & roots} or roots


def youngest_shared(parents: Parents[Key], keys: Sequence[Key]) -> Key | None:
    """The youngest individual that all of `keys` descend from or are; None for strangers, or for nobody."""
    lines = [ancestors(parents, key) for key in keys]
    return max(set.intersection(*lines), default=None) if lines else None
