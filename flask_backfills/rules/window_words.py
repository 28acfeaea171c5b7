"""A window as people say it, and the windows that people ask for most. No I/O.

Moments are naive and in UTC. Days are those of the window's zone.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timedelta
from datetime import timezone
from datetime import tzinfo

from .window import INTERVAL_TYPES
from .window import wall

#: Gives a text in the words of the reader, with its values filled in.
Translate = Callable[..., str]

#: The short names of the months.
MONTHS = tuple("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())

#: A step of one unit.
ONE = {
    "minute": "every minute",
    "hour": "hourly",
    "day": "daily",
    "week": "weekly",
    "month": "monthly",
    "year": "yearly",
}

_DAY = timedelta(days=1)
_MIDNIGHT = time()


class Days(t.NamedTuple):
    """A window that people ask for by a name."""

    name: str
    start: date
    #: Its last day, or the day after it where the end of a window is not a part of it.
    end: date


def say_window(
    start: datetime,
    end: datetime,
    interval_type: str | None = None,
    interval_units: int | None = None,
    *,
    zone: tzinfo = timezone.utc,
    inclusive: bool = True,
    translate: Translate = str.format,
) -> str:
    """A window and its step.

    >>> july = datetime(2023, 7, 1), datetime(2023, 7, 31)
    >>> say_window(*july, "day", 1), say_window(*july, "week", 2)
    ('1-31 Jul 2023, daily', '1-31 Jul 2023, every 2 weeks')
    >>> say_window(datetime(2023, 7, 1), datetime(2023, 8, 1), "day", 1, inclusive=False)
    '1-31 Jul 2023, daily'
    >>> say_window(datetime(2022, 12, 30), datetime(2023, 1, 2), "month", 1)
    '30 Dec 2022 - 2 Jan 2023, monthly'

    Hours are said where the days are not whole. The last run may fill the last day:

    >>> say_window(datetime(2023, 7, 1), datetime(2023, 7, 2, 12), "hour", 6)
    '1 Jul 00:00 - 2 Jul 2023 12:00, every 6 hours'
    >>> say_window(datetime(2023, 7, 1), datetime(2023, 7, 2, 18), "hour", 6)
    '1-2 Jul 2023, every 6 hours'
    >>> say_window(datetime(2023, 7, 1, 9), datetime(2023, 7, 1, 17, 30), "minute", 15)
    '1 Jul 2023, 09:00-17:30, every 15 minutes'

    Days are those of a zone:

    >>> from zoneinfo import ZoneInfo
    >>> midnight, after = datetime(2023, 7, 1, 4), datetime(2023, 7, 31, 4)
    >>> say_window(midnight, after, "day", 1, zone=ZoneInfo("America/New_York"))
    '1-31 Jul 2023, daily'

    :param interval_type: one of the words of an interval; ``None``, or another one, is not said.
    :param inclusive: whether the end itself may be a date.
    :param translate: gives each text in the words of the reader.
    """
    first, last = wall(start, zone), wall(end, zone)
    fills = _fills_its_day(last, last - first, interval_type, interval_units, inclusive)
    whole = first.time() == _MIDNIGHT and fills
    if whole and not inclusive and last.time() == _MIDNIGHT and last > first:
        last -= _DAY
    span = _days(first, last, translate) if whole else _times(first, last, translate)
    step = say_step(interval_type, interval_units, translate)
    return translate("{span}, {step}", span=span, step=step) if step else span


def say_step(
    interval_type: str | None, interval_units: int | None, translate: Translate = str.format
) -> str:
    """How often a run comes; an empty text if that is not known.

    >>> say_step("hour", 1), say_step("day", 3), say_step(None, 3)
    ('hourly', 'every 3 days', '')
    """
    if interval_type not in INTERVAL_TYPES or not interval_units:
        return ""
    if interval_units == 1:
        return translate(ONE[interval_type])
    return translate(f"every {{count}} {interval_type}s", count=f"{interval_units:,}")


def known_days(today: date, inclusive: bool = True) -> list[Days]:
    """The windows that people ask for most. All of their days are over.

    >>> for name, start, end in known_days(date(2023, 3, 10)):
    ...     print(f"{name}: {start} to {end}")
    Last 7 days: 2023-03-03 to 2023-03-09
    Last month: 2023-02-01 to 2023-02-28
    This month so far: 2023-03-01 to 2023-03-09
    >>> [name for name, *_ in known_days(date(2023, 3, 1))]
    ['Last 7 days', 'Last month']

    :param inclusive: whether the end of a window is a part of it.
    """
    this_month = today.replace(day=1)
    before = this_month - _DAY
    spans = {
        "Last 7 days": (today - 7 * _DAY, today),
        "Last month": (before.replace(day=1), this_month),
        "This month so far": (this_month, today),
    }
    after = _DAY if inclusive else timedelta(0)
    return [Days(name, start, end - after) for name, (start, end) in spans.items() if start < end]


def _fills_its_day(
    last: datetime,
    length: timedelta,
    interval_type: str | None,
    interval_units: int | None,
    inclusive: bool,
) -> bool:
    """Whether a window that ends so is said in days."""
    if interval_type not in ("minute", "hour"):
        # Of 23:59, people mean the whole day.
        return last.time() == _MIDNIGHT or (last.hour, last.minute) == (23, 59)
    if not inclusive:
        return last.time() == _MIDNIGHT
    # The last run is within the day, and ends with it.
    since = last - datetime.combine(last.date(), _MIDNIGHT)
    step = INTERVAL_TYPES[interval_type] * (interval_units or 1)
    ends_with_it = since.total_seconds() + step == _DAY.total_seconds()
    return bool(since) and ends_with_it and not length.total_seconds() % step


def _days(first: datetime, last: datetime, translate: Translate) -> str:
    if first.date() == last.date():
        return _day(first, translate, year=True)
    if (first.year, first.month) == (last.year, last.month):
        until = _day(last, translate, year=True)
        return translate("{first}-{last}", first=first.day, last=until)
    start = _day(first, translate, year=first.year != last.year)
    return translate("{first} - {last}", first=start, last=_day(last, translate, year=True))


def _times(first: datetime, last: datetime, translate: Translate) -> str:
    if first.date() == last.date():
        day, start, end = _day(first, translate, year=True), _clock(first), _clock(last)
        return translate("{day}, {start}-{end}", day=day, start=start, end=end)
    start = _day(first, translate, year=first.year != last.year)
    until = _day(last, translate, year=True)
    start, until = f"{start} {_clock(first)}", f"{until} {_clock(last)}"
    return translate("{first} - {last}", first=start, last=until)


def _day(day: datetime, translate: Translate, *, year: bool) -> str:
    month = translate(MONTHS[day.month - 1])
    if year:
        return translate("{day} {month} {year}", day=day.day, month=month, year=day.year)
    return translate("{day} {month}", day=day.day, month=month)


def _clock(moment: datetime) -> str:
    seconds = f":{moment:%S}" if moment.second or moment.microsecond else ""
    return f"{moment:%H:%M}{seconds}"
