"""What the cells of a calendar stand for: some minutes, hours, days ... or years. No I/O."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timedelta

from .window import INTERVAL_TYPES

#: By kind, how many make a row: an hour, a day, a week, a quarter, a year, ten years.
ROWS = {"minute": 60, "hour": 24, "day": 7, "week": 14, "month": 12, "year": 10}

#: So many of a kind are one of the next.
_NEXT = {"minute": ("hour", 60), "hour": ("day", 24), "day": ("week", 7), "month": ("year", 12)}

#: A Monday, so that weeks can be counted from it.
_FIRST = datetime(1, 1, 1)


class Level(t.NamedTuple):
    """What a cell stands for: some minutes, hours ... or years."""

    kind: str
    units: int = 1

    @property
    def width(self) -> int:
        """How many cells a row has."""
        # Of a hundred years, as of one, ten are a row.
        return max(ROWS[self.kind] // self.units, 1) if self.kind != "year" else 10

    @property
    def seconds(self) -> int:
        """How long a cell is, at least."""
        return INTERVAL_TYPES[self.kind] * self.units


#: What cells may stand for, the shortest first.
LEVELS = (
    Level("minute"),
    Level("minute", 10),
    Level("hour"),
    Level("day"),
    Level("week"),
    Level("month"),
    Level("year"),
    Level("year", 10),
    Level("year", 100),
)


def levels(kind: str, units: int) -> list[Level]:
    """What a cell may stand for where dates are so far apart, the shortest first."""
    while kind in _NEXT and units % _NEXT[kind][1] == 0:
        kind, units = _NEXT[kind][0], units // _NEXT[kind][1]
    divides = kind in ("minute", "hour", "month") and ROWS[kind] % units == 0
    own = Level(kind, units if divides else 1)
    return [own, *(level for level in LEVELS if level.seconds > own.seconds)]


def number_of(level: Level, there: datetime) -> int:
    """The number of the cell of a moment, counted from year 1 or 0."""
    kind, units = level
    if kind == "year":
        return there.year // units
    if kind == "month":
        return (there.year * 12 + there.month - 1) // units
    return (there - _FIRST) // timedelta(seconds=level.seconds)


def start_of(level: Level, number: int) -> datetime:
    """When a cell begins; the first or the last moment for one that begins beyond them."""
    kind, units = level
    if kind in ("year", "month"):
        year, month = divmod(number * units, 12) if kind == "month" else (number * units, 0)
        if not 1 <= year <= 9999:
            return datetime.min if year < 1 else datetime.max
        return datetime(year, month + 1, 1)
    try:
        return _FIRST + number * timedelta(seconds=level.seconds)
    except OverflowError:
        return datetime.max
