"""Computes which parts of a span the runs of several backfills have completed. No I/O.

Intervals are half-open, and exact to the microsecond. The steps of the backfills may differ.
Datetimes are naive and in UTC.
"""

from __future__ import annotations

import typing as t
from bisect import bisect_left
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from datetime import datetime
from datetime import timedelta
from heapq import heappop
from heapq import heappush
from itertools import groupby
from operator import itemgetter

#: The statuses of runs that count. All others leave a gap.
COUNTED = ("completed", "running", "failed")

#: The lists of pieces.
KINDS = ("covered", "running", "failed", "gaps", "overlaps")

#: The share is cut off after so many parts of one.
PARTS = 10_000

_TICK = timedelta(microseconds=1)


class Run(t.NamedTuple):
    """The interval of a run, from its start up to its end. The keys of backfills can be sorted."""

    start: datetime
    end: datetime
    status: str
    backfill: t.Any


class Piece(t.NamedTuple):
    """A part of the span, and the backfills that it is about, in their order."""

    start: datetime
    end: datetime
    backfills: tuple[t.Any, ...]


class Pieces(t.NamedTuple):
    """A page of pieces, in the order of time, and how many there are in all."""

    page: list[Piece]
    total: int


class Coverage(t.NamedTuple):
    """What is known of a span."""

    #: By kind, one of :data:`KINDS`.
    pieces: dict[str, Pieces]
    #: The completed part, from 0 to 1. It is cut off and not rounded: 1 says that nothing is
    #: missing.
    share: float


def coverage(
    runs: Iterable[Run],
    start: datetime,
    end: datetime,
    offset: int = 0,
    limit: int | None = None,
) -> Coverage:
    """What the runs cover of a span, in O(n log n).

    - ``covered``: where a run has completed.
    - ``running``: where a run is running.
    - ``failed``: where a run has failed and none has completed.
    - ``gaps``: where no run has completed and none is running.
    - ``overlaps``: where two runs or more have completed.

    Neighbours with the same backfills are one piece.

    >>> first, second, third, fourth = (datetime(2023, 7, day) for day in (1, 2, 3, 4))
    >>> found = coverage([Run(first, third, "completed", 12)], second, fourth)
    >>> [piece.backfills for piece in found.pieces["covered"].page], found.share
    ([(12,)], 0.5)
    >>> [(piece.start.day, piece.end.day) for piece in found.pieces["gaps"].page]
    [(3, 4)]

    :param offset: how many pieces each list leaves out.
    :param limit: the length of each list at the most; ``None`` for all.
    :raises ValueError: unless the span ends after it starts.
    """
    if start >= end:
        raise ValueError("the span must end after it starts")
    layers = {status: _Layer() for status in COUNTED}
    completed, running, failed = layers.values()
    lists = {kind: _List(offset, limit) for kind in KINDS}
    done = timedelta()
    before = start
    for moment, changes in groupby(_changes(runs, start, end), itemgetter(0)):
        if completed.total:
            done += moment - before
        before = moment
        completed.toggled.clear()
        running.toggled.clear()
        failed.toggled.clear()
        for _, status, backfill, step in changes:
            if step:
                layers[status].change(backfill, step)
        inside = moment < end
        lists["covered"].at(moment, completed, inside and completed.total > 0)
        lists["running"].at(moment, running, inside and running.total > 0)
        lists["failed"].at(moment, failed, inside and failed.total > 0 and not completed.total)
        lists["gaps"].at(moment, _NOBODY, inside and not completed.total and not running.total)
        lists["overlaps"].at(moment, completed, inside and completed.total > 1)
    pieces = {kind: Pieces(found.page, found.count) for kind, found in lists.items()}
    return Coverage(pieces, (done // _TICK) * PARTS // ((end - start) // _TICK) / PARTS)


def completed_wholly(
    windows: Iterable[tuple[t.Any, datetime, datetime]], runs: Iterable[Run]
) -> dict[t.Any, t.Any]:
    """Which windows one backfill has completed alone, by one run or by several together.

    >>> first, second, third = (datetime(2023, 7, day) for day in (1, 2, 3))
    >>> done = [Run(first, second, "completed", 12), Run(second, third, "completed", 12)]
    >>> completed_wholly([("both", first, third)], done)
    {'both': 12}

    :param windows: a key, a start and an end of each. Each starts and ends after the one before.
    :param runs: those of other statuses than ``completed`` don't count.
    :returns: by the key of a window, the first of the backfills that have completed it.
    """
    spans = sorted(_unions(runs))
    place, found = 0, {}
    # Those that have begun, the first backfill on top.
    begun: list[tuple[t.Any, datetime]] = []
    for key, start, end in windows:
        while place < len(spans) and spans[place][0] <= start:
            _, backfill, until = spans[place]
            heappush(begun, (backfill, until))
            place += 1
        # What ends before this window does ends before all that follow.
        while begun and begun[0][1] < end:
            heappop(begun)
        if begun:
            found[key] = begun[0][0]
    return found


def spread(spans: Iterable[tuple[datetime, datetime]], edges: Sequence[datetime]) -> list[float]:
    """How many seconds of each cell some spans fill that don't overlap.

    >>> edges = [datetime(2023, 7, 1), datetime(2023, 7, 2), datetime(2023, 7, 3)]
    >>> spread([(datetime(2023, 7, 1, 12), datetime(2023, 7, 9))], edges)
    [43200.0, 86400.0]
    """
    found = [0.0] * (len(edges) - 1)
    for start, end in spans:
        place = max(bisect_right(edges, start) - 1, 0)
        for cell in range(place, min(bisect_left(edges, end), len(found))):
            filled = min(end, edges[cell + 1]) - max(start, edges[cell])
            found[cell] += max(filled.total_seconds(), 0.0)
    return found


def shared(
    spans: Sequence[tuple[datetime, datetime]], others: Sequence[tuple[datetime, datetime]]
) -> list[tuple[datetime, datetime]]:
    """What some spans have in common with others; neither overlap among themselves.

    >>> first, second, third, fourth = (datetime(2023, 7, day) for day in (1, 2, 3, 4))
    >>> shared([(first, third)], [(second, fourth)]) == [(second, third)]
    True
    """
    found, place = [], 0
    for start, end in spans:
        while place and others[place - 1][1] > start:
            place -= 1
        while place < len(others) and others[place][0] < end:
            if others[place][1] > start:
                found.append((max(start, others[place][0]), min(end, others[place][1])))
            place += 1
    return found


class _Layer:
    """The runs with one status at a moment of the sweep."""

    def __init__(self) -> None:
        #: How many runs each backfill has there.
        self.counts: dict[t.Any, int] = {}
        self.total = 0
        #: The backfills that are there since this moment, or no more.
        self.toggled: set[t.Any] = set()

    def change(self, backfill: t.Any, step: int) -> None:
        was = self.counts.get(backfill, 0)
        self.total += step
        if was and was + step:
            self.counts[backfill] = was + step
            return
        self.toggled ^= {backfill}
        if was:
            del self.counts[backfill]
        else:
            self.counts[backfill] = step


#: What a gap is about.
_NOBODY = _Layer()


class _List:
    """The pieces of one kind, while the sweep comes by. Only those of the page are kept."""

    def __init__(self, offset: int, limit: int | None) -> None:
        self.offset = offset
        self.limit = limit
        self.page: list[Piece] = []
        self.count = 0
        self._since: datetime | None = None
        self._backfills: tuple[t.Any, ...] | None = None

    def at(self, moment: datetime, layer: _Layer, is_open: bool) -> None:
        """Go on from a moment: with a piece, or without."""
        if self._since is not None and (not is_open or layer.toggled):
            if self._backfills is not None:
                self.page.append(Piece(self._since, moment, self._backfills))
            self.count += 1
            self._since = None
        if is_open and self._since is None:
            self._since = moment
            # There may be many backfills: they are listed only for what is shown.
            kept = self.count >= self.offset
            if self.limit is not None:
                kept = kept and self.count < self.offset + self.limit
            self._backfills = tuple(sorted(layer.counts)) if kept else None


def _changes(
    runs: Iterable[Run], start: datetime, end: datetime
) -> list[tuple[datetime, str, t.Any, int]]:
    """When runs begin and end within a span, in the order of time, and both ends of the span."""
    found: list[tuple[datetime, str, t.Any, int]] = [(start, "", None, 0), (end, "", None, 0)]
    for run in runs:
        first, last = max(run.start, start), min(run.end, end)
        if first < last and run.status in COUNTED:
            found.append((first, run.status, run.backfill, 1))
            found.append((last, run.status, run.backfill, -1))
    found.sort(key=itemgetter(0))
    return found


def _unions(runs: Iterable[Run]) -> Iterator[tuple[datetime, t.Any, datetime]]:
    """What each backfill has completed: starts and ends that neither meet nor overlap."""
    of: defaultdict[t.Any, list[tuple[datetime, datetime]]] = defaultdict(list)
    for run in runs:
        if run.status == "completed" and run.start < run.end:
            of[run.backfill].append((run.start, run.end))
    for backfill, spans in of.items():
        spans.sort()
        start, end = spans[0]
        for first, last in spans[1:]:
            if first > end:
                yield start, backfill, end
                start, end = first, last
            end = max(end, last)
        yield start, backfill, end
