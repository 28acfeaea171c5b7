"""Computes the runs of a backfill, from its window or from a generator."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from datetime import tzinfo
from functools import lru_cache
from itertools import islice

from marshmallow import ValidationError

from .. import config
from .. import errors
from ..rules import zones
from ..rules.plan import Wanted
from ..rules.window import Interval
from ..rules.window import INTERVAL_TYPES
from ..rules.window import local
from ..rules.window import Window
from ..tables import columns
from ..tables.fields import JSONObject
from ..tables.fields import UTCDateTime
from ..tables.schema import BackfillSchema
from ..tables.schema import RunSchema

#: A function from a backfill to one dict for each run. The dict overrides the backfill's
#: variables. ``key`` (a string) and ``execution_date`` (a datetime or ISO 8601) are optional.
Generator = Callable[[t.Any], Iterable[Mapping[str, t.Any]]]

#: The attributes that decide which runs a backfill has.
DECISIVE = (
    "start_datetime",
    "end_datetime",
    "interval_type",
    "interval_units",
    "block_uuid",
)
_SECOND = timedelta(seconds=1)
_LOCAL = "interval_start_local"

#: The key of a run that is known by its date.
_key = datetime.isoformat


class Expansion:
    """Computes the runs of a backfill.

    :param zone: the time zone of ``ds`` and ``hr``, in which days, weeks, months and years
        are counted.
    :param inclusive: whether the end of the window itself may have a run.
    :param generators: your generator functions, by ``block_uuid``.
    """

    def __init__(
        self,
        schema: BackfillSchema,
        run_schema: RunSchema | None,
        zone: tzinfo,
        inclusive: bool,
        generators: Mapping[str, Generator],
    ) -> None:
        self.schema = schema
        self.run_schema = run_schema
        self.zone = zone
        self.inclusive = inclusive
        self.generators = generators

    def window(self, values: Mapping[str, t.Any]) -> Window | None:
        """Make the window from the result of :meth:`values`; ``None`` if a value is missing."""
        if any(values[name] is None for name in DECISIVE[:4]):
            return None
        start, end = (columns.in_utc(values[name], False) for name in DECISIVE[:2])
        step = values["interval_type"], values["interval_units"]
        return Window(start, end, *step, zone=self.zone, inclusive=self.inclusive)

    def last_end(self, backfill: t.Any) -> datetime | None:
        """When the interval of the last run ends, naive and in UTC; ``None`` if no window says."""
        values = self.values(backfill)
        window = None if values["block_uuid"] is not None else self.window(values)
        count = 0 if window is None else window.count()
        return window.edges(count - 1, 1)[-1] if window is not None and count else None

    def values(self, backfill: t.Any) -> dict[str, t.Any]:
        """The attributes of a backfill that decide which runs it has.

        A stored interval that is not valid (stored without the API) is returned as ``None``.
        """
        values = {name: getattr(backfill, name, None) for name in DECISIVE}
        word, units = values["interval_type"], values["interval_units"]
        word = self.schema.word("interval_type", word)
        values["interval_type"] = word if word in INTERVAL_TYPES else None
        values["interval_units"] = units if isinstance(units, int) and units > 0 else None
        return values

    def of(self, backfill: t.Any) -> Window | list[Wanted]:
        """Return the window of a backfill, or the runs that its generator gives.

        :raises flask_backfills.errors.Refused: if an attribute that the plan needs is
            missing, or if there would be no run or more than ``BACKFILLS_MAX_RUNS``.
        """
        values = self.values(backfill)
        name = values["block_uuid"]
        if name is not None:
            return self._generated(backfill, str(name))
        window = self.window(values)
        if window is None:
            lacking = [name for name in DECISIVE[:4] if values[name] is None]
            raise errors.Refused(
                {self.schema.key_of(name): ["Needed to plan the runs."] for name in lacking}
            )
        self._check_count("end_datetime", window.count())
        return window

    def count(self, backfill: t.Any) -> int | None:
        """How many runs a window asks for; ``None`` for a generator or half a window."""
        values = self.values(backfill)
        window = None if values["block_uuid"] is not None else self.window(values)
        return None if window is None else window.count()

    def preview(self, backfill: t.Any, offset: int, limit: int) -> list[dict[str, t.Any]]:
        """A page of the variables that the runs of a backfill have of their own."""
        values = self.values(backfill)
        if values["block_uuid"] is not None:
            # A start would read no more of it.
            first, last = (min(one, max_runs()) for one in (offset, offset + limit))
            given = self._given(backfill, str(values["block_uuid"]), first, last)
            return [wanted.variables or {} for wanted in given]
        window = self.window(values)
        intervals = window.intervals(offset, limit) if window else ()
        return [self.variables(interval) for interval in intervals]

    def wanted(self, window: Window, offset: int = 0, limit: int | None = None) -> Iterator[Wanted]:
        """The runs of a page of a window, each known by its date."""
        for start, end, _ in window.intervals(offset, limit):
            yield Wanted(_key(start), start, end)

    def dated(
        self, window: Window, size: int, indexes: range | None = None
    ) -> Iterator[tuple[list[str], list[datetime], list[datetime]]]:
        """The runs of a window, some at a time: their keys, their dates and their ends.

        :param indexes: those of the dates, ascending; ``None`` for all.
        """
        indexes = range(window.count()) if indexes is None else indexes
        for offset in range(0, len(indexes), size):
            some = indexes[offset : offset + size]
            edges = window.edges(some.start, len(some))
            yield [*map(_key, edges[:-1])], edges[:-1], edges[1:]

    def variables_of(self, backfill: t.Any) -> Callable[[t.Any], dict[str, t.Any]]:
        """From a run of a backfill to the variables that it is called with, by column.

        They are the backfill's, overridden by the run's own, which are kept for its next attempt.
        """
        shared = getattr(backfill, "variables", None)
        shared = shared if isinstance(shared, dict) else {}
        values = self.values(backfill)
        window = None if values["block_uuid"] is not None else self.window(values)

        def variables(run: t.Any) -> dict[str, dict[str, t.Any] | None]:
            if window is not None and run.execution_date is not None:
                index = window.index(columns.in_utc(run.execution_date, False))
                if index is not None:
                    [interval] = window.intervals(index, 1)
                    return {"variables": {**shared, **self.variables(interval)}}
            own = _own_variables(run)
            return {"variables": {**shared, **own}, "own_variables": own}

        return variables

    def variables(self, interval: Interval) -> dict[str, t.Any]:
        """The variables that describe the interval of a run, with Mage's names.

        ``ds`` (date) and ``hr`` (hour) are the start in the blueprint's time zone. The
        datetimes are in UTC. ``interval_seconds`` is the length of the interval. In other zones
        than UTC, ``interval_start_local`` is the start there, with its offset.
        """
        start, end, previous = interval
        shown = show(start)
        # In autumn, two hours of a zone share ``ds`` and ``hr``.
        local_start = {} if self.zone is timezone.utc else {_LOCAL: zones.show(start, self.zone)}
        return {
            **self._day_and_hour(start),
            "execution_date": shown,
            "interval_start_datetime": shown,
            "interval_end_datetime": show(end),
            "interval_seconds": (end - start) // _SECOND,
            "interval_start_datetime_previous": previous and show(previous),
            **local_start,
        }

    def _generated(self, backfill: t.Any, name: str) -> list[Wanted]:
        key, limit = self.schema.key_of("block_uuid"), max_runs()
        # One more than may be, since a generator may never end.
        wanted = self._given(backfill, name, 0, limit + 1)
        if len(wanted) > limit:
            raise errors.Refused(
                {key: [f"The generator gives more than {limit:,} runs, which is the limit."]}
            )
        self._check_count("block_uuid", len(wanted))
        if len({one.key for one in wanted}) < len(wanted):
            raise errors.Refused({key: ["The generator gives two runs with the same key."]})
        return wanted

    def _given(self, backfill: t.Any, name: str, first: int, last: int) -> list[Wanted]:
        """The runs that a generator gives, from one position to before another."""
        key = self.schema.key_of("block_uuid")
        if name not in self.generators:
            raise errors.Refused({key: [f"No generator is registered as {errors.text(name)}."]})
        # It is asked for no more of them than are needed.
        given = islice(enumerate(self.generators[name](backfill)), first, last)
        try:
            return [self._of_dict(one, position) for position, one in given]
        except ValidationError as error:
            raise errors.Refused(
                {key: ["The generator gives a run that is not valid.", *error.messages]}
            ) from None

    def _of_dict(self, given: Mapping[str, t.Any], position: int) -> Wanted:
        key = str(given.get("key", position))
        if self.run_schema is not None:
            key = self.run_schema.fields["key"].deserialize(key)
        own = {name: value for name, value in given.items() if name != "key"}
        date = given.get("execution_date")
        if date is not None:
            if not isinstance(date, datetime):
                date = UTCDateTime().deserialize(date)
            date = columns.in_utc(date, False)
            own = {**self._day_and_hour(date), **own, "execution_date": show(date)}
        JSONObject().deserialize(own)
        return Wanted(key, date, None, own)

    def _day_and_hour(self, moment: datetime) -> dict[str, str]:
        there = show(local(moment, self.zone))
        return {"ds": there[:10], "hr": there[11:13]}

    def _check_count(self, attribute: str, count: int) -> None:
        if count == 0:
            message = "There would be no runs."
        elif count > max_runs():
            message = f"There would be {count:,} runs. The limit is {max_runs():,}."
        else:
            return
        raise errors.Refused({self.schema.key_of(attribute): [message]})


def max_runs() -> int:
    return config.whole("BACKFILLS_MAX_RUNS")


def _own_variables(run: t.Any) -> dict[str, t.Any]:
    """What a generator gave a run, be it that it was handed out since."""
    own: dict[str, t.Any] | None = getattr(run, "own_variables", None)
    return (getattr(run, "variables", None) or {}) if own is None else own


def too_large(variables: dict[str, t.Any]) -> str | None:
    """What to say of a backfill's variables that are too large for its runs.

    Each run that has begun has a copy of them.
    """
    most = config.whole("BACKFILLS_MAX_VARIABLES")
    written = json.dumps(variables, ensure_ascii=False, separators=(",", ":"))
    size = len(written.encode("utf-8", "replace"))
    return f"Has {size:,} bytes of JSON. The limit is {most:,}." if size > most else None


@lru_cache(maxsize=8)
def show(moment: datetime) -> str:
    """Format a datetime for the API. Cached, since the end of a run is the start of the next."""
    return moment.isoformat(sep=" ")
