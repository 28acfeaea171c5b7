"""How long runs will take, from how long others took: what has happened is drawn again.

No shape of the durations is assumed. So it is as good for two kinds of runs as for one.
"""

from __future__ import annotations

import heapq
import math
import random
import typing as t
from bisect import bisect_right
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from .spans import about

#: How many finished runs are asked for.
MOST = 1_000

#: Fewer finished runs than these say nothing.
LEAST = 3

#: How often the runs are played through.
TIMES = 200

#: How many runs are given to workers one by one: so many for each worker, at least and at most.
#: Those before them keep all workers busy, so that their sum is enough.
GIVEN_EACH, GIVEN_LEAST, GIVEN_MOST = 8, 64, 1_500

#: The finished runs that say how many run at once.
LATELY = 100


class Span(t.NamedTuple):
    """When something began and ended, in seconds since any moment that is the same for all."""

    start: float
    end: float


class Seconds(t.NamedTuple):
    """What half of the outcomes do not exceed, and what nine of ten do not."""

    p50: float
    p90: float


def forecast(
    waiting: int,
    running: Sequence[float],
    at_once: int,
    durations: Sequence[float],
    error: float = 0.0,
) -> Seconds | None:
    """The seconds until runs have ended; ``None`` if nothing waits or too little is known.

    The same arguments give the same answer. The work is bounded, however many runs there are.

    >>> forecast(6, [], 2, [10.0] * 3)
    Seconds(p50=30.0, p90=30.0)
    >>> forecast(0, [4.0], 2, [10.0] * 3)
    Seconds(p50=6.0, p90=6.0)

    :param waiting: how many runs have not begun.
    :param running: for each run that has begun, the seconds since then.
    :param at_once: how many run at once, at least 1.
    :param durations: the seconds that comparable runs took.
    :param error: by what share of itself their level may be off, as a standard error.
    """
    if len(durations) < LEAST or not waiting + len(running):
        return None
    # The seed is always the same, so that two answers differ only by what was asked.
    chance = random.Random(0)
    ordered = sorted(durations)
    outcomes = sorted(
        _outcome(waiting, running, at_once, ordered, chance) * _level(error, chance)
        for _ in range(TIMES)
    )
    return Seconds(_quantile(outcomes, 0.5), _quantile(outcomes, 0.9))


def _outcome(
    waiting: int,
    running: Sequence[float],
    at_once: int,
    ordered: Sequence[float],
    chance: random.Random,
) -> float:
    """Play the runs through once."""
    one_by_one = min(waiting, GIVEN_MOST, max(GIVEN_EACH * at_once, GIVEN_LEAST))
    # Whole rounds, since runs of equal length go in rounds.
    before = (waiting - one_by_one) // at_once * at_once
    one_by_one = waiting - before
    past = ordered
    if not before and one_by_one * 10 > len(ordered):
        # That the past could have been another one, too, only counts where it is short.
        past = chance.choices(ordered, k=len(ordered))
    # Those that run have their workers from the start, be they more than may run at once.
    rests = sorted(_rest(elapsed, ordered, chance) for elapsed in running)
    jobs = chance.choices(past, k=one_by_one)
    last = max(rests, default=0.0)
    # A worker beyond these would have nothing to do.
    idle = min(max(at_once - len(rests), 0), one_by_one)
    before_these = _sum(before, waiting, ordered, chance) / at_once
    # Where more run than may, those that end first leave no room for another.
    free = [before_these + at for at in [0.0] * idle + rests[max(len(rests) - at_once, 0) :]]
    for seconds in jobs:
        ends = free[0] + seconds
        heapq.heapreplace(free, ends)
        last = max(last, ends)
    return last


def _level(error: float, chance: random.Random) -> float:
    """By what the level of all durations may differ from the expected one."""
    return max(chance.gauss(1, error), 0.0) if error else 1.0


def _sum(count: int, of: int, ordered: Sequence[float], chance: random.Random) -> float:
    """The sum of some of the runs, from the mean of fewer draws.

    The mean of many draws hardly varies. But the mean of the past is itself off, which counts for
    all of the runs. So it is the mean of just so many draws that it varies as much as both.
    """
    if not count:
        return 0.0
    draws = math.ceil(count**2 / (of**2 / len(ordered) + count))
    return count * sum(chance.choices(ordered, k=draws)) / draws


def _rest(elapsed: float, ordered: Sequence[float], chance: random.Random) -> float:
    """How long a run goes on that has run for a while: as those did that took longer.

    If it takes longer than any of them, nothing is known: then as if it began now.
    """
    shorter = bisect_right(ordered, elapsed)
    if shorter == len(ordered):
        return chance.choice(ordered)
    return chance.choice(ordered[shorter:]) - elapsed


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1]


def seen_at_once(spans: Sequence[Span], more: bool = False) -> int:
    """How many ran at once for most of the time in which any ran; 0 if none ran.

    >>> seen_at_once([Span(0, 10), Span(0, 9), Span(9, 20), Span(10, 20)])
    2

    :param spans: of the runs that have ended last, and of those that run, up to now.
    :param more: whether others ended before these. They may have run beside the first of these,
        so that it is looked only from the first end on.
    """
    if not spans:
        return 0
    since = min(one.end if more else one.start for one in spans)
    times: dict[int, float] = {}
    before, count = since, 0
    for moment, step in _steps(spans):
        if count and moment > before:
            times[count] = times.get(count, 0.0) + moment - before
        before, count = max(moment, since), count + step
    half = sum(times.values()) / 2
    for number in sorted(times):
        half -= times[number]
        if half <= 0:
            return number
    return 0


def _steps(spans: Sequence[Span]) -> Iterator[tuple[float, int]]:
    """The moments at which one more or one less runs. Where both happen, the end comes first."""
    ordered = [(one.start, 1) for one in spans if one.start < one.end]
    ordered += [(one.end, -1) for one in spans if one.start < one.end]
    yield from sorted(ordered)


def sentence(forecast: Mapping[str, t.Any] | None) -> str | None:
    """A forecast for people; ``None`` if it is not known.

    >>> sentence({"seconds": {"p50": 840, "p90": 1020}, "runs": 31, "at_once": 4})
    'The forecast: about 14 min for 31 runs, 4 at once. With a chance of 90 %, at most 17 min.'

    Where both ends are the same to people, it is one figure:

    >>> sentence({"seconds": {"p50": 840, "p90": 850}, "runs": 31, "at_once": 4})
    'The forecast: about 14 min for 31 runs, 4 at once.'

    :param forecast: as the API shows it.
    """
    if not forecast or not forecast["seconds"]:
        return None
    half, most = (about(forecast["seconds"][one]) for one in ("p50", "p90"))
    runs, at_once = forecast["runs"], forecast["at_once"]
    counted = "1 run" if runs == 1 else f"{runs:,} runs, {at_once:,} at once"
    likely = f"The forecast: about {half} for {counted}."
    return likely if half == most else f"{likely} With a chance of 90 %, at most {most}."
