"""The forecast of a backfill: how many runs it has to do, how many at once, and until when."""

from __future__ import annotations

import math
import typing as t
from datetime import datetime
from datetime import timedelta

from ..rules.forecast import forecast
from ..rules.forecast import LATELY
from ..rules.forecast import Seconds
from ..rules.forecast import seen_at_once
from ..rules.forecast import Span
from ..rules.past import Past
from ..rules.past import past
from ..runs import durations
from ..runs.durations import Durations
from ..tables import columns
from ..tables.run_table import RunTable
from ..tables.settings import settings_of
from .expansion import show


def tell_forecast(
    runs: RunTable,
    backfill: t.Any,
    waiting: int | None = None,
    at_once: int | None = None,
    last_end: datetime | None = None,
) -> dict[str, t.Any] | None:
    """What an answer says of how long the runs of a backfill take. Two statements.

    ``seconds`` and ``finish`` are ``None`` where too little is known or nothing is left to do;
    ``finish`` is also ``None`` while the backfill is paused. Moments are in UTC.

    :param waiting: how many runs would wait; ``None`` for those that do.
    :param at_once: how many runs are supposed to run at once; ``None`` for as many as will.
    :param last_end: when the interval of the last run ends, naive and in UTC, if that is known.
    :returns: ``None`` if the run model does not map when runs began and ended.
    """
    found = durations.read(runs, backfill)
    if found is None:
        return None
    settings = settings_of(backfill)
    now = runs.now()
    waiting = found.waiting if waiting is None else waiting
    # No plan ends these: what it no longer needs is waited for.
    elapsed = [max(now.timestamp() - began, 0.0) for began in found.running]
    at_once = at_once or settings.get("pipeline_run_limit") or _seen(found, now)
    took = [max(one.end - one.start, 0.0) for one in (*found.own, *found.others)]
    known = past(took, len(found.own), waiting)
    seconds = forecast(waiting, elapsed, at_once, *known)
    if waiting and last_end is not None and settings.get("only_ended") is True:
        seconds = _after(columns.in_utc(last_end, True) - now, seconds, known)
    paused = settings.get("paused") is True
    told = {
        "runs": waiting + len(elapsed),
        "at_once": at_once,
        "seconds": seconds and {word: round(one, 3) for word, one in seconds._asdict().items()},
        "finish": None if seconds is None or paused else _finish(now, seconds),
        "based_on": len(known.durations),
    }
    return {**told, "paused": True} if paused else told


def _seen(found: Durations, now: datetime) -> int:
    """How many ran at once lately; 1 if that is not known."""
    finished = found.own if found.own or found.running else found.others
    # The clocks of those who wrote this may differ from ours.
    open_ = [Span(min(began, now.timestamp()), now.timestamp()) for began in found.running]
    more = len(finished) > LATELY
    return max(seen_at_once([*finished[:LATELY], *open_], more), len(found.running), 1)


def _after(wait: timedelta, seconds: Seconds | None, known: Past) -> Seconds | None:
    """The same, where the last run can't begin before some time has passed."""
    one = forecast(1, [], 1, *known)
    if seconds is None or one is None:
        return seconds
    begins = max(wait.total_seconds(), 0.0)
    return Seconds(max(seconds.p50, begins + one.p50), max(seconds.p90, begins + one.p90))


def _finish(now: datetime, seconds: Seconds) -> dict[str, str] | None:
    """The moments, to the second; ``None`` for such as no calendar has."""
    start = now.replace(tzinfo=None, microsecond=0)
    try:
        ends = {k: start + timedelta(seconds=math.ceil(v)) for k, v in seconds._asdict().items()}
    except OverflowError:
        return None
    return {word: show(end) for word, end in ends.items()}
