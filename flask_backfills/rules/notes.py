"""What people overlook in a window: sentences for those who look at a plan. No I/O.

Moments are naive and in UTC. Days and months are those of the window's zone.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from collections.abc import Sequence
from datetime import date
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from datetime import tzinfo
from itertools import islice

from . import zones
from .lifecycle import SHOWN
from .window import local
from .window import Window

#: How many of a kind are told one by one.
FEW = 5

#: How many dates are looked at for short months.
_LOOKED_AT = 1_000

_MONTHS = "January February March April May June July August September October November December"
_CALENDAR = ("day", "week", "month", "year")
_DAY = timedelta(days=1)
_WEEK = 7 * _DAY


class Span(t.NamedTuple):
    """The time that the runs of a window cover."""

    start: datetime
    end: datetime


class Other(t.NamedTuple):
    """Another backfill that is active."""

    key: str
    status: str | None
    span: Span


def span_of(window: Window) -> Span:
    """From the first date to the end of the last run. A window without dates covers nothing.

    >>> window = Window(datetime(2023, 7, 1), datetime(2023, 7, 31), "week", 1)
    >>> f"{span_of(window).end:%d %b}"
    '05 Aug'
    """
    edges = window.edges(max(window.count() - 1, 0), 1)
    return Span(window.start, edges[-1] if edges else window.start)


def overlaps(
    span: Span, others: Sequence[Other], more: bool = False, zone: tzinfo | None = None
) -> list[str]:
    """One sentence for each backfill that covers a part of a span, and one for those left out.

    >>> july = Span(datetime(2023, 7, 1), datetime(2023, 8, 1))
    >>> overlaps(july, [Other("12", "running", Span(datetime(2023, 7, 30), datetime(2023, 8, 9)))])
    ['Overlaps backfill 12 (running) from 2023-07-30 00:00:00 to 2023-08-01 00:00:00.']
    >>> overlaps(july, [Other("12", "running", Span(datetime(2023, 8, 1), datetime(2023, 8, 9)))])
    []

    :param more: whether there are others that are not in the list.
    :param zone: where moments are shown, with their offset; ``None`` for UTC, without one.
    """
    told = []
    for key, status, (start, end) in others:
        start, end = max(span.start, start), min(span.end, end)
        if start < end:
            since, until = (m if zone is None else zones.show(m, zone) for m in (start, end))
            told.append(f"Overlaps backfill {key} ({SHOWN[status]}) from {since} to {until}.")
    if len(told) > FEW:
        at_least = "at least " if more else ""
        told[FEW:] = [f"And {at_least}{len(told) - FEW:,} more."]
    return told


def canary(count: int, waiting: int) -> list[str]:
    """That some runs are done first, unless they would be all that wait.

    >>> canary(3, 1200)
    ['The canary goes first: 3 of 1,200 runs. When they have ended, the backfill pauses.']
    >>> canary(3, 3)
    []
    """
    if count >= waiting:
        return []
    return [
        f"The canary goes first: {count} of {waiting:,} runs. When they have ended, the backfill"
        " pauses."
    ]


def notes(window: Window) -> list[str]:
    """One sentence for each thing that people overlook in a window that has dates.

    >>> from zoneinfo import ZoneInfo
    >>> march = datetime(2023, 3, 1), datetime(2023, 3, 31)
    >>> for note in notes(Window(*march, "day", 1, ZoneInfo("America/New_York"), inclusive=False)):
    ...     print(note)
    The start is 28 February 19:00 in America/New_York.
    12 March has 23 hours.
    30 March 20:00 is not included as a date: the last run goes from 30 March 19:00 to 31 March 19:00.
    """
    calendar = _Calendar(window)
    return [
        *_start(window, calendar),
        *_long_days(window, calendar),
        *_short_months(window, calendar),
        *_end(window, calendar),
    ]


class _Calendar:
    """Names moments in the zone of a window; with the year where the window has several."""

    def __init__(self, window: Window) -> None:
        self.zone = window.zone
        years = {local(one, window.zone).year for one in (window.start, window.end)}
        self._only = years.pop() if len(years) == 1 else None

    def day(self, day: date) -> str:
        year = "" if day.year == self._only else f" {day.year}"
        return f"{day.day} {_MONTHS.split()[day.month - 1]}{year}"

    def moment(self, moment: datetime) -> str:
        """
        >>> window = Window(datetime(2023, 3, 1), datetime(2023, 3, 2), "hour", 1)
        >>> [_Calendar(window).moment(datetime(*parts)) for parts in ((2023, 3, 1), (2024, 3, 1, 7))]
        ['1 March', '1 March 2024 07:00']
        """
        there = local(moment, self.zone)
        clock = "" if _is_midnight(there) else f" {there:%H:%M}"
        if there.second or there.microsecond:
            clock += f":{there:%S}"
        return self.day(there.date()) + clock


def _is_midnight(there: datetime) -> bool:
    return not (there.hour or there.minute or there.second or there.microsecond)


def _start(window: Window, calendar: _Calendar) -> Iterator[str]:
    """A start that is another time of day in the zone, from which days are counted."""
    there = local(window.start, window.zone)
    if window.interval_type in _CALENDAR and there.utcoffset() and not _is_midnight(there):
        yield f"The start is {calendar.moment(window.start)} in {window.zone}."


def _long_days(window: Window, calendar: _Calendar) -> Iterator[str]:
    """Days on which the clocks change, where a step is no longer than a week."""
    if window.interval_type in ("month", "year"):
        return
    found = [*islice(days_of_other_length(span_of(window), window.zone), FEW + 1)]
    for day, hours in found[:FEW]:
        yield (
            f"{calendar.day(day)} has {hours:g} hours."
            if hours
            else (f"{calendar.day(day)} does not exist in {window.zone}.")
        )
    if len(found) > FEW:
        yield "And later days do not have 24 hours."


def days_of_other_length(span: Span, zone: tzinfo) -> Iterator[tuple[date, float]]:
    """The days of a span that do not have 24 hours in a zone, and how many they have.

    >>> from zoneinfo import ZoneInfo
    >>> year = Span(datetime(2023, 1, 1), datetime(2024, 1, 1))
    >>> [(f"{day:%d %b}", hours) for day, hours in days_of_other_length(year, ZoneInfo("Europe/Oslo"))]
    [('26 Mar', 23.0), ('29 Oct', 25.0)]
    """
    if zone is timezone.utc or span.start >= span.end:
        return
    # A day within the years that every zone has.
    first = max(local(span.start, zone).date(), date(1, 1, 3))
    last = min(local(span.end - timedelta(microseconds=1), zone).date(), date(9999, 12, 28))
    day = first
    while day <= last:
        # No zone changes its clocks there and back within a week.
        after = day + min(_WEEK, last + _DAY - day)
        if _begin(after, zone) - _begin(day, zone) != after - day:
            for one in (day + n * _DAY for n in range((after - day).days)):
                length = _begin(one + _DAY, zone) - _begin(one, zone)
                if length != _DAY:
                    yield one, length / timedelta(hours=1)
        day = after


def _begin(day: date, zone: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(timezone.utc)


def _short_months(window: Window, calendar: _Calendar) -> Iterator[str]:
    """Months that lack the day on which the window starts."""
    anchor = local(window.start, window.zone).day
    if window.interval_type not in ("month", "year") or anchor <= 28:
        return
    dates = islice(window.dates(), _LOOKED_AT)
    days = (local(one, window.zone).date() for one in dates)
    found = [*islice((calendar.day(day) for day in days if day.day != anchor), FEW + 1)]
    if found:
        more = " and later ones" if len(found) > FEW else ""
        named = {29: "29th", 30: "30th", 31: "31st"}[anchor]
        yield (
            f"Months without a {named} have their run on their last day:"
            f" {', '.join(found[:FEW])}{more}."
        )


def _end(window: Window, calendar: _Calendar) -> Iterator[str]:
    """An end that is no date of a run."""
    last, after = window.edges(window.count() - 1, 1)
    end = calendar.moment(window.end)
    near = timedelta(seconds=1 if window.interval_type == "minute" else 60)
    if last < window.end == after:
        yield f"{end} is not included."
    elif last < window.end < after - near:
        # An end of 23:59 is meant as the end of the last run.
        yield (
            f"{end} is not included as a date: the last run goes from {calendar.moment(last)}"
            f" to {calendar.moment(after)}."
        )
