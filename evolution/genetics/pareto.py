"""Selection on several objectives at once: NSGA-II (Deb, Pratap, Agarwal & Meyarivan 2002), pure numbers.

An objective vector has one number for each objective, larger is better; None where something was not measured: such an
individual is behind everyone and in front of nobody.
"""

import math
from collections.abc import Sequence

Point = Sequence[float] | None


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is at least as good everywhere and better somewhere."""
    pairs = list(zip(one, other, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def fronts(points: Sequence[Point]) -> list[list[int]]:
    """Places of `points` front by front: nobody in a front is dominated by anybody in it or behind it.

    The last front holds those without numbers. Within a front the order is that of `points`.
    """
    left = [at for at, point in enumerate(points) if point is not None]
    found: list[list[int]] = []
    while left:
        front = [at for at in left if not any(_beats(points, other, at) for other in left)]
        found.append(front)
        left = [at for at in left if at not in front]
    without = [at for at, point in enumerate(points) if point is None]
    return [*found, without] if without else found


def crowding(points: Sequence[Sequence[float]]) -> list[float]:
    """How lonely each of `points`, one front, is: the sum over the objectives of the gap between its neighbours.

    In units of the front's own range. The ends of every objective are infinitely lonely.
    """
    lonely = [0.0] * len(points)
    for objective in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda at: points[at][objective])
        span = points[order[-1]][objective] - points[order[0]][objective]
        lonely[order[0]] = lonely[order[-1]] = math.inf
        if span > 0:
            for before, at, after in zip(order, order[1:], order[2:], strict=False):
                lonely[at] += (points[after][objective] - points[before][objective]) / span
    return lonely


def ranked(points: Sequence[Point]) -> list[int]:
    """Places of `points`, best first: by front, then the lonelier first; equals in the order they came."""
    order: list[int] = []
    for front in fronts(points):
        known = [point for at in front if (point := points[at]) is not None]
        lonely = dict(zip(front, crowding(known) if known else [0.0] * len(front), strict=True))
        order += sorted(front, key=lambda at: -lonely[at])
    return order


def _beats(points: Sequence[Point], one: int, other: int) -> bool:
    a, b = points[one], points[other]
    return a is not None and b is not None and dominates(a, b)
