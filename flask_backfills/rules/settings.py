"""The settings that decide how a backfill's runs are handed out: names, bounds and choices.

Every other key of ``settings`` is the host's.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from .lifecycle import ACTIVE
from .plan import REPROCESS
from .plan import USUALLY

_MOST = 2**31 - 1

#: How often a run is tried at the most.
MOST_ATTEMPTS = 100

#: Whole numbers, with the least and the most that each may be.
NUMBERS = {
    "canary": (1, 10),
    "max_attempts": (1, MOST_ATTEMPTS),
    "max_failures": (1, _MOST),
    "pipeline_run_limit": (1, _MOST),
    "priority": (-_MOST, _MOST),
    "retry_delay": (0, _MOST),
    "run_timeout": (1, _MOST),
}

#: Words, and those that each may be.
CHOICES = {"order": ("forwards", "backwards"), "reprocess": tuple(REPROCESS)}

#: True or false.
SWITCHES = ("only_ended", "paused", "skip_covered")

SETTINGS = sorted([*NUMBERS, *CHOICES, *SWITCHES])

#: Seconds before something that raised is tried again, and the most that they are doubled to.
RETRY_DELAY = 30
LONGEST_DELAY = 3600

#: How often a run is handed out, at least, whose worker dies each time.
LOST_ATTEMPTS = 3


def delay(settings: Mapping[str, t.Any], tries: int) -> int:
    """Seconds to wait before the next try, after so many.

    >>> [delay({"retry_delay": 10}, tries) for tries in (1, 2, 3)], delay({}, 40)
    ([10, 20, 40], 3600)
    """
    first: int = settings.get("retry_delay", RETRY_DELAY)
    doubled: int = first * 2 ** min(tries - 1, 31)
    return min(doubled, max(first, LONGEST_DELAY))


def skips_covered(settings: t.Any) -> bool:
    """Whether a plan leaves out what another backfill has completed.

    >>> skips_covered({"skip_covered": True}), skips_covered({}), skips_covered(None)
    (True, False, False)
    """
    return isinstance(settings, Mapping) and settings.get("skip_covered") is True


def to_do(settings: t.Any, counts: Mapping[str, int] | None, dates: int | None) -> int | None:
    """How many runs people wait for: the dates of a window, or where some are skipped, its runs.

    >>> to_do({}, {"completed": 4}, 9), to_do({"skip_covered": True}, {"completed": 4}, 9)
    (9, 4)
    >>> to_do({}, {"completed": 12, "initial": 1}, 9)
    12

    :param counts: how many runs there are, by their status.
    """
    there = sum((counts or {}).values())
    if there and skips_covered(settings):
        return there
    ended = sum(count for status, count in (counts or {}).items() if status not in ACTIVE)
    # Of a window that was made shorter since, more may have ended than it has.
    return dates and max(dates, ended)


def canary_of(settings: t.Any) -> int | None:
    """How many runs are done first; ``None`` if all are alike.

    >>> canary_of({"canary": 3}), canary_of({"canary": 99}), canary_of(None)
    (3, None, None)
    """
    count = settings.get("canary") if isinstance(settings, Mapping) else None
    least, most = NUMBERS["canary"]
    return count if type(count) is int and least <= count <= most else None


def reprocess_of(settings: Mapping[str, t.Any]) -> str:
    """Which of its runs a start runs again.

    >>> reprocess_of({"reprocess": "all"}), reprocess_of({})
    ('all', 'failed')
    """
    return settings.get("reprocess") or USUALLY


def is_paused(settings: t.Any) -> bool:
    """Whether runs are held back until the backfill is resumed.

    >>> is_paused({"paused": True}), is_paused({"paused": "yes"}), is_paused(None)
    (True, False, False)
    """
    return isinstance(settings, Mapping) and settings.get("paused") is True
