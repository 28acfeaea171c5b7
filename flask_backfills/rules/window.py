"""Computes the dates of a window from its start, end and interval. No I/O.

Datetimes are naive and in UTC. Whatever a window's length, finding its count, one of its
dates or the place of a date takes a few dozen steps at most: :meth:`Window.date` is
arithmetic and rises with its index, so that everything else is a bisection over it.
"""

from __future__ import annotations

import itertools
import operator
import typing as t
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from datetime import tzinfo
from functools import cache
from functools import cached_property

#: The units of an interval, with Mage's names, and the smallest length of each in seconds.
INTERVAL_TYPES = {
    "minute": 60,
    "hour": 3_600,
    "day": 86_400,
    "week": 7 * 86_400,
    "month": 28 * 86_400,
    "year": 365 * 86_400,
}
_MONTHS = {"month": 1, "year": 12}


D = t.TypeVar("D")


class Interval(t.NamedTuple):
    """The time that one run covers: from its date up to the next date."""

    start: datetime
    end: datetime
    #: The date before, on the grid that goes on before the window; ``None`` before year 1.
    previous: datetime | None


@dataclass(frozen=True)
class Window:
    """The dates from a start to an end, a number of calendar or clock units apart.

    >>> window = Window(datetime(2023, 1, 31), datetime(2023, 4, 30), "month", 1)
    >>> [f"{date:%d %b}" for date in window.dates()]
    ['31 Jan', '28 Feb', '31 Mar', '30 Apr']
    >>> Window(datetime(2003, 3, 5), datetime(2023, 3, 5), "minute", 1).count()
    10519201

    :param start: the first date.
    :param end: no date is after this.
    :param zone: the time zone in which days, weeks, months and years are counted. Minutes
        and hours are elapsed time.
    :param inclusive: whether ``end`` itself may be a date.
    """

    start: datetime
    end: datetime
    interval_type: str
    interval_units: int
    zone: tzinfo = timezone.utc
    inclusive: bool = True

    def count(self) -> int:
        """How many dates there are.

        >>> Window(datetime(2023, 3, 1), datetime(2023, 3, 5), "hour", 4).count()
        25
        """
        return self._count

    @cached_property
    def _count(self) -> int:
        # Three more than the shortest unit makes of it: a zone may move by a day.
        step = INTERVAL_TYPES[self.interval_type] * self.interval_units
        most = (self.end - self.start) // timedelta(seconds=1) // step + 3
        return bisect_left(range(max(most, 0)), True, key=lambda k: not self._holds(k))

    def date(self, index: int) -> datetime:
        """The date at an index, counted from the start and never from the date before.

        :raises OverflowError: if it is not within the years 1 to 9999.
        """
        if index == 0:
            return self.start
        if self._step is not None:
            return self.start + index * self._step
        units = index * self.interval_units
        if self.interval_type in _MONTHS:
            there = _months_later(self._local, units * _MONTHS[self.interval_type])
        else:
            there = self._local + units * timedelta(seconds=INTERVAL_TYPES[self.interval_type])
            if self.interval_type == "day" and self.interval_units == 1:
                there = self._over_skipped_days(there)
        return there.replace(tzinfo=self.zone).astimezone(timezone.utc).replace(tzinfo=None)

    def dates(self, offset: int = 0, limit: int | None = None) -> Iterator[datetime]:
        """A page of the dates, or all from ``offset`` on."""
        return (interval.start for interval in self.intervals(offset, limit))

    def intervals(self, offset: int = 0, limit: int | None = None) -> Iterator[Interval]:
        """A page of what the runs cover, each up to the next date, the last one too.

        One that would end after year 9999 ends with it.
        """
        last = self.count()
        if limit is not None:
            last = min(last, offset + limit)
        if offset >= last:
            return
        previous = self._date_or(offset - 1, None)
        current = self.date(offset)
        for index in range(offset + 1, last + 1):
            following = self._date_or(index, datetime.max)
            yield Interval(current, following, previous)
            previous, current = current, following

    def edges(self, offset: int, limit: int) -> list[datetime]:
        """The dates of a page and the one after them, as :meth:`intervals` has them.

        >>> window = Window(datetime(2023, 1, 31), datetime(2023, 4, 30), "month", 1)
        >>> [f"{date:%d %b}" for date in window.edges(2, 1000)]
        ['31 Mar', '30 Apr', '31 May']
        """
        last = min(self.count(), offset + limit)
        if offset >= last:
            return []
        after = self._date_or(last, datetime.max)
        if self._step is not None:
            steps = itertools.repeat(self._step, last - offset - 1)
            return [*itertools.accumulate(steps, operator.add, initial=self.date(offset)), after]
        return [*map(self.date, range(offset, last)), after]

    def index(self, moment: datetime) -> int | None:
        """Where a date is among the dates; ``None`` if it is not one.

        >>> Window(datetime(2024, 2, 29), datetime(2032, 1, 1), "year", 1).index(
        ...     datetime(2028, 2, 29)
        ... )
        4
        """
        count = self.count()
        if self._step is not None:
            index = (moment - self.start) // self._step
        else:
            index = bisect_left(range(count), moment, key=self.date)
        return index if 0 <= index < count and self.date(index) == moment else None

    def shared(self, other: Window) -> range:
        """The indexes of the dates that ``other`` has too, where its grid is the same one.

        Empty where the grids differ, even if some dates happen to meet.
        """
        grid = ("interval_type", "interval_units", "zone")
        if any(getattr(self, name) != getattr(other, name) for name in grid):
            return range(0)
        if self.interval_type in _MONTHS and self._local.day != other._local.day:
            if max(self._local.day, other._local.day) > 28:
                return range(0)
        if self.interval_type not in _CLOCK and self._local.time() != other._local.time():
            return range(0)
        meeting = max(self.start, other.start)
        mine, theirs = self.index(meeting), other.index(meeting)
        if mine is None or theirs is None:
            return range(0)
        return range(mine, mine + min(self.count() - mine, other.count() - theirs))

    def _holds(self, index: int) -> bool:
        try:
            moment = self.date(index)
        except OverflowError:
            return False
        return moment <= self.end if self.inclusive else moment < self.end

    def _date_or(self, index: int, default: D) -> datetime | D:
        try:
            return self.date(index)
        except OverflowError:
            return default

    @cached_property
    def _step(self) -> timedelta | None:
        """What lies between two dates, where that is always the same."""
        elapsed = self.interval_type in _CLOCK or self.zone is timezone.utc
        if self.interval_type in _MONTHS or not elapsed:
            return None
        try:
            return self.interval_units * timedelta(seconds=INTERVAL_TYPES[self.interval_type])
        except OverflowError:
            # Longer than all time: the start is the only date.
            return None

    @cached_property
    def _local(self) -> datetime:
        return wall(self.start, self.zone)

    def _over_skipped_days(self, there: datetime) -> datetime:
        for day in _skipped_days(self.zone):
            if self._local.date() < day <= there.date():
                there += timedelta(days=1)
        return there


_CLOCK = ("minute", "hour")


def local(moment: datetime, zone: tzinfo) -> datetime:
    """The time in a zone at a naive moment in UTC.

    Within a day of year 1 or 9999, where the zone may have none, it is UTC's.
    """
    if zone is timezone.utc:
        return moment
    utc = moment.replace(tzinfo=timezone.utc)
    try:
        return utc.astimezone(zone)
    except OverflowError:
        return utc


def wall(moment: datetime, zone: tzinfo) -> datetime:
    """The same as clocks show it, without the zone: an hour that comes twice looks the same."""
    return local(moment, zone).replace(tzinfo=None, fold=0)


def _months_later(moment: datetime, months: int) -> datetime:
    years, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    if not 1 <= years <= 9999:
        raise OverflowError
    day = min(moment.day, monthrange(years, month + 1)[1])
    return moment.replace(year=years, month=month + 1, day=day)


@cache
def _skipped_days(zone: tzinfo) -> tuple[date, ...]:
    """The days that a zone left out when it moved over the date line.

    >>> from zoneinfo import ZoneInfo
    >>> _skipped_days(ZoneInfo("Pacific/Apia"))
    (datetime.date(2011, 12, 30),)
    """

    def begins(day: datetime) -> datetime:
        return day.replace(tzinfo=zone).astimezone(timezone.utc)

    # Within a year that has one, the offset ends at least half a day further on.
    years = [datetime(year, 1, 1) for year in range(1800, 2101)]
    found = []
    for this, following in itertools.pairwise(years):
        elapsed = begins(following) - begins(this)
        if following - this - elapsed > timedelta(hours=12):
            days = [this + timedelta(days=n) for n in range((following - this).days)]
            found += [day.date() for day in days if begins(day) == begins(day + timedelta(days=1))]
    return tuple(found)
