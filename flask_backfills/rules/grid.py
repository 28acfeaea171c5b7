"""Lays dates out as a calendar: days in rows of 7, hours in rows of 24, months in rows of 12. No I/O.

Dates are naive and in UTC; the calendar is that of a time zone. Where there would be too many
cells, a cell stands for more: a day of hours, a week of days.
"""

from __future__ import annotations

import typing as t
from bisect import bisect_right
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from datetime import tzinfo
from itertools import groupby
from itertools import pairwise

from .levels import Level
from .levels import LEVELS
from .levels import levels
from .levels import number_of
from .levels import start_of
from .window import INTERVAL_TYPES
from .window import local
from .window import wall
from .window_words import MONTHS
from .zones import moment_of

#: The most cells that are looked at as one.
MOST = 400

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_QUARTER = 3


class Row(t.NamedTuple):
    """Cells beside each other."""

    #: What stands before them, such as a month and a day: the words that can be translated.
    words: tuple[str, ...]
    #: The column of the first cell; those before it are no part of the span.
    column: int
    #: The places of its cells among all.
    places: range


@dataclass(frozen=True)
class Layout:
    """The cells from one date to another, in rows.

    >>> july = layout(datetime(2023, 7, 1), datetime(2023, 7, 31), "day", 1)
    >>> for row in july.rows():
    ...     print(*row.words, row.column, len(row.places))
    2023 Jun 26 5 2
    Jul 3 0 7
    Jul 10 0 7
    Jul 17 0 7
    Jul 24 0 7
    Jul 31 0 1
    >>> july.columns
    ('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')
    >>> july.place(datetime(2023, 7, 3, 12)), july.name(2)
    (2, ('2023-07-03', '2023-07-03'))
    """

    level: Level
    zone: tzinfo
    #: The number of the first cell, counted from year 1.
    first: int
    #: Where cells begin, and the last one ends; naive and in UTC.
    edges: Sequence[datetime]
    #: What the clock shows, less UTC, where rows are hours.
    offset: timedelta = timedelta(0)

    def __len__(self) -> int:
        return len(self.edges) - 1

    def place(self, date: datetime) -> int:
        """The cell of a date. One outside is in the first or the last."""
        return min(max(bisect_right(self.edges, date) - 1, 0), len(self) - 1)

    def span(self, place: int) -> tuple[datetime, datetime]:
        """When a cell begins, and up to when it goes; naive and in UTC."""
        return self.edges[place], self.edges[place + 1]

    @property
    def columns(self) -> tuple[str, ...]:
        """What stands over the cells of a row."""
        kind, units = self.level
        if kind == "day":
            return DAYS
        steps = range(0, self.level.width * units, units)
        if kind == "month":
            return tuple(MONTHS[step] for step in steps)
        return tuple(str(step + (kind == "week")) for step in steps)

    def rows(self) -> Iterator[Row]:
        """The rows, each with the places of its cells."""
        year = None
        for row, group in groupby(range(len(self)), lambda n: self._row(self.first + n)):
            places = list(group)
            begins = self._start_of_row(row)
            words = self._words(begins)
            if self.level.seconds < INTERVAL_TYPES["week"] and begins.year != year:
                words = (str(begins.year), *words)
            year = begins.year
            column = self._column(self.first + places[0], row)
            yield Row(words, column, range(places[0], places[-1] + 1))

    def name(self, place: int) -> tuple[str, str]:
        """From when to when a cell goes, as people read it there: twice the same for one day."""
        kind, units = self.level
        begins = self._begins(self.first + place)
        ends = self._begins(self.first + place + 1)
        if kind in ("minute", "hour"):
            last = f"{ends:%H:%M}" if ends.date() == begins.date() else f"{_day(ends)} {ends:%H:%M}"
            return f"{_day(begins)} {begins:%H:%M}", last
        if kind == "month" and units == 1:
            return (_day(begins)[:-3],) * 2
        if kind == "year" and units == 1:
            return (f"{begins.year:04}",) * 2
        return _day(begins), _day(ends - timedelta(days=1) if ends < datetime.max else ends)

    def _begins(self, number: int) -> datetime:
        """When a cell begins, as the clock shows it there."""
        begins = start_of(self.level, number)
        if self.level.kind == "minute":
            return wall(_shifted(begins, -self.offset), self.zone)
        return begins

    def _row(self, number: int) -> int:
        if self.level.kind == "week":
            return _quarter(start_of(self.level, number))
        return number // self.level.width

    def _start_of_row(self, row: int) -> datetime:
        if self.level.kind == "week":
            return datetime(max(row // 4, 1), row % 4 * _QUARTER + 1, 1)
        return self._begins(row * self.level.width)

    def _column(self, number: int, row: int) -> int:
        if self.level.kind == "week":
            # The first Monday of the quarter is the first column.
            return number - number_of(self.level, self._start_of_row(row) + timedelta(days=6))
        return number % self.level.width

    def _words(self, begins: datetime) -> tuple[str, ...]:
        kind = self.level.kind
        if kind in ("month", "year"):
            return (str(begins.year),)
        if kind == "week":
            return str(begins.year), f"Q{begins.month // _QUARTER + 1}"
        day = MONTHS[begins.month - 1], str(begins.day)
        return (*day, f"{begins:%H:%M}") if kind == "minute" else day


def layout(
    first: datetime,
    last: datetime,
    kind: str,
    units: int,
    zone: tzinfo = timezone.utc,
    most: int = MOST,
) -> Layout:
    """The cells for the dates from one to another, a step apart.

    Each step has a cell of its own, as long as there are not too many:

    >>> layout(datetime(2023, 7, 1), datetime(2023, 7, 3), "hour", 6).columns
    ('0', '6', '12', '18')
    >>> long = layout(datetime(2023, 7, 1), datetime(2027, 6, 30, 23), "hour", 1)
    >>> long.level, len(long)
    (Level(kind='week', units=1), 210)

    :param last: not before ``first``.
    :param zone: the time zone of the calendar. Where clocks are put back, an hour that comes
        twice is one cell.
    :param most: how many cells there may be.
    """
    offset = local(first, zone).utcoffset() or timedelta(0)
    level, low, high = LEVELS[-1], 0, 0
    for level in levels(kind, units):
        there = [_there(level, date, zone, offset) for date in (first, last)]
        low, *_, high = sorted(number_of(level, one) for one in there)
        if high - low < most:
            break
    starts = (start_of(level, number) for number in range(low, high + 2))
    if level.kind == "minute":
        edges = [_shifted(start, -offset) for start in starts]
    else:
        edges = [_utc(start, zone) for start in starts]
    return Layout(level, zone, low, edges, offset)


def step_of(dates: Iterable[datetime]) -> tuple[str, int]:
    """The longest unit that keeps dates apart, in which they may be laid out.

    >>> step_of([datetime(2023, 3, 1), datetime(2023, 1, 1), datetime(2023, 2, 1)])
    ('month', 1)
    """
    apart = min((b - a for a, b in pairwise(sorted(set(dates)))), default=timedelta(days=1))
    units = [unit for unit, seconds in INTERVAL_TYPES.items() if seconds <= apart.total_seconds()]
    return (units or ["minute"])[-1], 1


def _there(level: Level, date: datetime, zone: tzinfo, offset: timedelta) -> datetime:
    """What the clock shows at a date, by which its cell is known."""
    if level.kind == "minute":
        # Clocks that are put back show each minute of an hour twice.
        return _shifted(date, offset)
    return wall(date, zone)


def _utc(there: datetime, zone: tzinfo) -> datetime:
    try:
        return moment_of(there, zone)
    except OverflowError:
        return there


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return moment


def _quarter(there: datetime) -> int:
    return there.year * 4 + (there.month - 1) // _QUARTER


def _day(moment: datetime) -> str:
    # Not strftime, which writes a year before 1000 shorter on some systems.
    return moment.date().isoformat()
