"""Spans of time as people read them: without what goes without saying.

Three functions say how long: :func:`took` what was measured, :func:`about` what is expected, and
:func:`clock` what counts down.
"""

from __future__ import annotations

import math
from datetime import datetime
from datetime import timedelta
from datetime import tzinfo

from .window import wall
from .window_words import Translate

_DAY = timedelta(days=1)
_ENDS = "{first} to {last}"


def span(
    start: datetime, end: datetime | None, zone: tzinfo, translate: Translate = str.format
) -> str:
    """The interval of a run, which ends before ``end``, in the words of a calendar.

    >>> from datetime import timezone
    >>> def told(*ends):
    ...     return span(*(datetime.fromisoformat(one) for one in ends), timezone.utc)
    >>> told("2023-07-01", "2023-07-02"), told("2023-07-03", "2023-07-10")
    ('2023-07-01', '2023-07-03 to 2023-07-09')
    >>> told("2023-07-01", "2023-08-01"), told("2023-01-01", "2024-01-01")
    ('2023-07', '2023')
    >>> told("2023-07-01 23:00", "2023-07-02"), told("2023-07-01 22:30", "2023-07-02 01:00")
    ('2023-07-01 23:00 to 00:00', '2023-07-01 22:30 to 2023-07-02 01:00')
    >>> span(datetime(2023, 7, 1), None, timezone.utc)
    '2023-07-01 00:00'

    :param start: naive and in UTC, as ``end``; ``None`` where nobody knows when it ends.
    :param zone: where the calendar hangs.
    :param translate: gives each text in the words of the reader.
    """
    first = wall(start, zone)
    if end is None or end <= start:
        return _time(first)
    last = wall(end, zone)
    if not (_is_midnight(first) and _is_midnight(last)):
        same = last.date() in (first.date(), _next(first).date()) and last <= _next(first)
        ends = _clock(last) if same else _time(last)
        return translate(_ENDS, first=_time(first), last=ends)
    if (
        first.day == last.day == 1
        and first.month == last.month == 1
        and last.year == first.year + 1
    ):
        return f"{first:%Y}"
    if first.day == last.day == 1 and _months(last) == _months(first) + 1:
        return f"{first:%Y-%m}"
    return dates(first.date(), (last - _DAY).date(), translate)


def dates(first: object, last: object, translate: Translate = str.format) -> str:
    """Two dates or times that may be the same.

    >>> dates("1 July", "1 July"), dates("1 July", "4 July")
    ('1 July', '1 July to 4 July')
    """
    return str(first) if first == last else translate(_ENDS, first=first, last=last)


def between(
    first: datetime, last: datetime, zone: tzinfo, translate: Translate = str.format
) -> str:
    """The first and the last of some dates of runs, both in.

    >>> from datetime import timezone
    >>> between(datetime(2023, 7, 1), datetime(2023, 7, 9), timezone.utc)
    '2023-07-01 to 2023-07-09'
    >>> between(datetime(2023, 7, 1), datetime(2023, 7, 1, 5), timezone.utc)
    '2023-07-01 00:00 to 2023-07-01 05:00'
    """
    begin, end = wall(first, zone), wall(last, zone)
    if _is_midnight(begin) and _is_midnight(end):
        return dates(begin.date(), end.date(), translate)
    return dates(_time(begin), _time(end), translate)


def _next(midnight: datetime) -> datetime:
    """The midnight after a time."""
    try:
        return datetime.combine(midnight.date() + _DAY, datetime.min.time())
    except OverflowError:
        return datetime.max


def _is_midnight(wall: datetime) -> bool:
    return wall.time() == datetime.min.time()


def _months(wall: datetime) -> int:
    return 12 * wall.year + wall.month


def _time(wall: datetime) -> str:
    return f"{wall.date()} {_clock(wall)}"


def _clock(wall: datetime) -> str:
    if wall.microsecond:
        return wall.time().isoformat()
    return wall.time().isoformat("seconds" if wall.second else "minutes")


def took(seconds: float, translate: Translate = str.format) -> str:
    """How long something took, in its two largest units.

    >>> took(0.26), took(9.94), took(59.6), took(3599)
    ('0.3 s', '9.9 s', '60 s', '59 min 59 s')
    >>> took(7500), took(90_000), took(-1)
    ('2 h 5 min', '1 d 1 h', '0.0 s')
    """
    if seconds < 10:
        return translate("{count} s", count=f"{max(seconds, 0):.1f}")
    whole = round(seconds)
    if whole <= 60:
        return translate("{count} s", count=whole)
    sizes = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    place = next(place for place, (_, size) in enumerate(sizes) if whole >= size)
    (unit, size), *more = sizes[place : place + 2]
    told = [translate(f"{{count}} {unit}", count=f"{whole // size:,}")]
    told += [
        translate(f"{{count}} {name}", count=whole % size // smaller)
        for name, smaller in more
        if whole % size >= smaller
    ]
    return " ".join(told)


def about(seconds: float, translate: Translate = str.format) -> str:
    """About how long something will take: in one unit, since a forecast knows no more.

    >>> about(0.2), about(840), about(5_500), about(200_000)
    ('1 s', '14 min', '2 h', '2 d')

    What would be rounded to 60 minutes is an hour:

    >>> about(59.4), about(59.6), about(3_599), about(86_000)
    ('59 s', '1 min', '1 h', '1 d')
    """
    # Half of what the unit before counts.
    for unit, size, half in (("d", 86_400, 1_800), ("h", 3_600, 30), ("min", 60, 0.5)):
        if seconds >= size - half:
            return translate(f"{{count}} {unit}", count=f"{seconds / size:.0f}")
    return translate("{count} s", count=f"{max(seconds, 1):.0f}")


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, for what counts down: as wide each time, so that nothing jumps.

    >>> clock(3_725.2), clock(90_000)
    ('01:02:06', '25:00:00')
    """
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"
