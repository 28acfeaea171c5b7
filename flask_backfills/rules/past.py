"""Which finished runs say how long the next ones take, and how long that would be. No I/O."""

from __future__ import annotations

import math
import typing as t
from bisect import bisect_right
from collections.abc import Sequence

#: So many of the newest count alone, if those before them differ.
AGES = (100, 300)

#: From so many of its own on, a backfill can be told apart from others of its pipeline.
OWN = 5

#: Standard errors by which durations differ that do not count together.
DIFFERENT = 3.0

#: Standard errors by which durations grow that are taken to go on growing. Fewer than for a
#: difference, since who waits is told too little otherwise.
GROWS = 1.5


class Past(t.NamedTuple):
    """What finished runs say of the next ones."""

    #: The seconds that one of the next may take, each as likely.
    durations: Sequence[float]

    #: By what share of itself their level may be off, as a standard error.
    error: float = 0.0


def past(durations: Sequence[float], own: int, waiting: int) -> Past:
    """What counts of some durations: all, or those up to where they are of another time or kind.

    Where each run takes longer than the one before it, they are as long as they would be then.

    :param durations: the newest first, those of the backfill itself before all others.
    :param own: how many of them are of the backfill itself.
    :param waiting: how many runs have not begun.
    """
    # One after the other in time are those of one backfill, or of those before it.
    in_a_row = durations[:own] if own else durations
    grown = _grown(in_a_row, waiting)
    # A line explains no step.
    if grown and len(comparable(grown.durations, len(in_a_row))) == len(in_a_row):
        return grown
    return Past(comparable(durations, own))


def _grown(durations: Sequence[float], waiting: int) -> Past | None:
    """Durations as they would be in the middle of the next runs; ``None`` if they don't grow."""
    count = len(durations)
    if count < AGES[0]:
        return None
    mean, middle = sum(durations) / count, (count - 1) / 2
    spread = count * (count**2 - 1) / 12
    slope = sum((middle - age) * (one - mean) for age, one in enumerate(durations)) / spread
    off = [one - mean - slope * (middle - age) for age, one in enumerate(durations)]
    error = math.sqrt(sum(one**2 for one in off) / (count - 2) / spread)
    if slope <= GROWS * error:
        return None
    # Nobody knows how long it goes on.
    ahead = min(waiting / 2, count / 4)
    levels = [max(mean + slope * (middle - age), mean / 4) for age in range(count)]
    then = mean + slope * (middle + ahead)
    grown = [one * then / level for one, level in zip(durations, levels, strict=True)]
    return Past(grown, error * (middle + ahead) / then)


def comparable(durations: Sequence[float], own: int) -> Sequence[float]:
    """The first of some durations, up to where they are of another time or another kind.

    >>> len(comparable([5.0] * 1000, own=1000))
    1000
    >>> len(comparable([5.0] * 300 + [9.0] * 700, own=1000))
    300
    >>> len(comparable([5.0] * 20 + [9.0] * 700, own=20))
    20

    :param durations: the newest first, those of the backfill itself before all others.
    :param own: how many of them are of the backfill itself.
    """
    ages = sorted({*AGES, *([own] if own >= OWN else [])})
    for age, next_age in zip(ages, [*ages[1:], len(durations)], strict=True):
        older = durations[age:next_age]
        if older and abs(_difference(durations[:age], older)) > DIFFERENT:
            return durations[:age]
    return durations


def _difference(some: Sequence[float], others: Sequence[float]) -> float:
    """By how many standard errors some are longer than others, by their ranks.

    By ranks, since one very long run would hide a difference of all others.
    """
    ordered = sorted(others)
    # Equal ones are half longer.
    longer = sum(bisect_right(ordered, one) + _less(ordered, one) for one in some) / 2
    pairs = len(some) * len(others)
    error = math.sqrt(pairs * (len(some) + len(others) + 1) / 12)
    return (longer - pairs / 2) / error


def _less(ordered: Sequence[float], than: float) -> int:
    """How many are less."""
    return bisect_right(ordered, math.nextafter(than, -math.inf))
