"""Moments in a time zone: how they are read without an offset, and shown with it. No I/O.

Moments are naive and in UTC.
"""

from __future__ import annotations

from datetime import datetime
from datetime import timedelta
from datetime import timezone
from datetime import tzinfo

from .window import local

_MINUTE = timedelta(minutes=1)


def moment_of(there: datetime, zone: tzinfo) -> datetime:
    """The moment of a time in a zone.

    A time that the clocks skip is as much later as they skip. One that comes twice is the first.

    >>> from zoneinfo import ZoneInfo
    >>> york = ZoneInfo("America/New_York")
    >>> show(moment_of(datetime(2023, 3, 12, 2, 30), york), york)
    '2023-03-12 03:30:00-04:00'
    >>> show(moment_of(datetime(2023, 11, 5, 1, 30), york), york)
    '2023-11-05 01:30:00-04:00'

    :raises OverflowError: if it is before year 1 or after year 9999 in UTC.
    """
    return there.replace(tzinfo=zone, fold=0).astimezone(timezone.utc).replace(tzinfo=None)


def show(moment: datetime, zone: tzinfo) -> str:
    """A moment in a zone, with its offset, as it may be sent back.

    An offset is written in hours and minutes. Where clocks had seconds in it, before there were
    time zones, it is the nearest, as RFC 3339 has it.

    >>> from zoneinfo import ZoneInfo
    >>> show(datetime(1850, 1, 1, 5), ZoneInfo("America/New_York"))
    '1850-01-01 00:04:00-04:56'

    Where the zone has none, within a day of year 1 or 9999, the moment is shown in UTC.

    >>> show(datetime(9999, 12, 31, 23, 59), ZoneInfo("Asia/Tokyo"))
    '9999-12-31 23:59:00+00:00'
    """
    utc = moment.replace(tzinfo=timezone.utc)
    offset = local(moment, zone).utcoffset() or timedelta(0)
    try:
        there = utc.astimezone(timezone(round(offset / _MINUTE) * _MINUTE))
    except OverflowError:
        there = utc
    return there.isoformat(sep=" ")
