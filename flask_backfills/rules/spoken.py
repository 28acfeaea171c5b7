"""Moments and intervals, read from people's words: "2 weeks ago", "2 days". No I/O.

:mod:`.window_words` says them.

Moments are naive and in UTC.
"""

from __future__ import annotations

import re
from datetime import datetime
from datetime import timedelta
from datetime import tzinfo

from .window import INTERVAL_TYPES
from .window import local
from .window import Window
from .window_words import ONE
from .zones import moment_of

_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
_UNIT = f"({'|'.join(INTERVAL_TYPES)})s?"
_AGO = re.compile(f"(an?|[0-9]{{1,9}}) {_UNIT} ago")
_EVERY = re.compile(f"(?:(an?|[0-9]{{1,9}}) )?{_UNIT}")


def moment(text: str, now: datetime, zone: tzinfo) -> datetime | None:
    """The moment that somebody means by words; ``None`` for other text, such as a date.

    Days and longer units are counted in the calendar of the zone, and their moment is the
    beginning of that day. Minutes and hours are elapsed time, and their moment is the beginning
    of that minute or hour.

    >>> from datetime import timezone
    >>> now = datetime(2026, 11, 29, 23, 41, 7)
    >>> for words in ("2 weeks ago", "yesterday", "an hour ago", "now", "2026-11-15"):
    ...     print(moment(words, now, timezone.utc))
    2026-11-15 00:00:00
    2026-11-28 00:00:00
    2026-11-29 22:00:00
    2026-11-29 23:41:00
    None

    :param now: naive and in UTC.
    :raises OverflowError: if it is not within the years 1 to 9999.
    """
    words = _plain(text)
    if words == "now":
        return _begin(now, "minute", zone)
    today = local(now, zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    if words in _DAYS:
        return moment_of(today + timedelta(days=_DAYS[words]), zone)
    found = _AGO.fullmatch(words)
    if found is None:
        return None
    count, unit = _number(found[1]), found[2]
    if unit in ("minute", "hour"):
        return _begin(now - count * timedelta(seconds=INTERVAL_TYPES[unit]), unit, zone)
    return moment_of(Window(today, today, unit, count).date(-1), zone)


def interval(text: str) -> tuple[str, int] | None:
    """The type and the units of an interval in words; ``None`` for other text.

    >>> interval("day"), interval("2 weeks"), interval("hourly"), interval("fortnight")
    (('day', 1), ('week', 2), ('hour', 1), None)
    """
    words = _plain(text)
    for interval_type, told in ONE.items():
        if words == told:
            return interval_type, 1
    found = _EVERY.fullmatch(words)
    return None if found is None else (found[2], _number(found[1]))


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _number(word: str | None) -> int:
    return int(word) if word is not None and word.isdecimal() else 1


def _begin(moment: datetime, unit: str, zone: tzinfo) -> datetime:
    """The beginning of the minute, or of the hour as clocks in the zone show it."""
    there = local(moment, zone)
    minutes = there.minute if unit == "hour" else 0
    return moment - timedelta(minutes=minutes, seconds=there.second, microseconds=there.microsecond)
