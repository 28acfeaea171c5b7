"""What follows for a backfill from its runs: its status and its metrics.

What it adds is derived from rows. So it can be done again after a crash: by the next end, the
next claim or the next look for lost runs.
"""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Mapping

import sqlalchemy as sa

from .. import dbapi
from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import outcome
from ..tables import columns
from ..tables.assign import Changes
from ..tables.assign import enter
from ..tables.event_table import EventTable
from ..tables.logs import warn
from ..tables.run_table import RunTable
from ..tables.run_table import update_by_key
from ..tables.schema import BackfillSchema
from ..tables.settings import settings_of
from ..tables.unlocked import unlocked_of
from ..tables.unlocked import update_unlocked
from . import canary
from . import metrics
from .flight import Flight
from .flight import Held
from .spared import Spared


class Blocked(Exception):
    """A backfill that a worker can't end, since somebody has a run locked that is to be cancelled.

    Nothing is rolled up then, so that the next look does it all.
    """


class Rollup:
    """Updates a locked backfill to match its runs."""

    def __init__(
        self, runs: RunTable, schema: BackfillSchema, events: EventTable | None = None
    ) -> None:
        self.runs = runs
        self.schema = schema
        self.events = events
        self._sums = Spared(runs.database)
        #: What workers write into the history.
        self.told = Spared(runs.database)

    def status_of(self, backfill: t.Any) -> str | None:
        """Return the status of a backfill, as a word."""
        return self.schema.word("status", backfill.status)

    def begin(self, backfill: t.Any) -> Changes:
        """Set a backfill to ``running`` when its first run is handed out."""
        if self.status_of(backfill) != "initial":
            return {}
        return enter(backfill, "running", self.schema)

    def fold(self, backfill: t.Any, flight: Flight) -> None:
        """Add the metrics of the runs that have ended, each once.

        One that the host has locked is left in flight: nobody waits for it.
        """
        ended = flight.ended
        if not ended:
            return
        done = self.runs.row(heartbeat_at=None)
        if self.runs.database.is_ours:
            # Who holds the backfill has read them as they are: nobody else rolls them up.
            free = update_unlocked(self.runs, done, [one.id for one in ended])
            ended = [one for one in ended if one.id in free]
            self.add_metrics(backfill, [one.metrics for one in ended])
        else:
            self._fold_each(backfill, ended, done)
        flight.without(ended)

    def is_in_line(self, backfill: t.Any) -> bool:
        """Whether all runs that have ended are added up, once those are that nobody has locked."""
        flight = Flight(self.runs, backfill)
        self.fold(backfill, flight)
        return not flight.ended

    def _fold_each(self, backfill: t.Any, ended: list[Held], done: dict[str, t.Any]) -> None:
        """In a transaction of the host's, which may not see that they were rolled up since."""
        beat = self.runs.columns["heartbeat_at"]
        for one in ended:
            mark = self.runs.columns["id"] == one.id, beat.is_not(None), self.runs.has(one.status)
            if self.runs.update(done, *mark):
                self.add_metrics(backfill, [one.metrics])

    def add_metrics(self, backfill: t.Any, of_runs: list[t.Any], sign: int = 1) -> None:
        """Add the numbers among the metrics of runs to those of their backfill.

        Those that can't be stored are logged and left out: how runs ended must not wait for them.
        """
        if columns.column_of(self.schema.mapper, "metrics") is None:
            return
        counted = [one for one in of_runs if metrics.numbers_of(one)]
        if counted and not self._adds(backfill, counted, sign) and len(counted) > 1:
            for one in counted:
                self._adds(backfill, [one], sign)

    def _adds(self, backfill: t.Any, of_runs: list[t.Any], sign: int) -> bool:
        """Whether the sums could be stored."""
        sums = backfill.metrics
        for one in of_runs:
            sums = metrics.add(sums, one, sign)
        key = self.runs.backfills.key_of(backfill)
        refused = self._sums.write(key, lambda: setattr(backfill, "metrics", sums))
        if refused and len(of_runs) == 1:
            warn(
                "The metrics of backfill %s lack those of a run, since they can't be stored: %s",
                *(key, dbapi.told(refused)),
            )
        return refused is None

    def settle(
        self,
        backfill: t.Any,
        statuses: Mapping[str, int] | None = None,
        flight: Flight | None = None,
    ) -> Changes:
        """End an active backfill if nothing is left to run; pause it if its canary has ended.

        :param statuses: the number of its runs by status, if known.
        :param flight: what is in flight, if known.
        """
        status = self.status_of(backfill)
        if status not in ACTIVE:
            # A status that nobody has set says nothing of the runs, which are the host's then.
            if status and flight and (flight.running or self.has(backfill, "initial")):
                # Their runners had them locked when the backfill was cancelled.
                self.cancel(backfill)
            return {}
        ended = self._end(backfill, statuses, flight)
        return ended or canary.pause(self.runs, self.schema, backfill)

    def _end(
        self, backfill: t.Any, statuses: Mapping[str, int] | None, flight: Flight | None
    ) -> Changes:
        known = flight
        if statuses is None:
            if flight is None:
                flight = Flight(self.runs, backfill)
                # Who is told of its end is told all of its metrics.
                self.fold(backfill, flight)
            if flight.running or flight.ended:
                return {}
            waiting = self.has(backfill, "initial")
            if waiting and not self.fails_too_often(backfill):
                return {}
            statuses = Counter(failed=waiting or self.has(backfill, "failed"))
        else:
            waiting = bool(statuses.get("initial"))
        ended = outcome(statuses, settings_of(backfill).get("max_failures"))
        if ended is None:
            return {}
        if waiting and (known is None or not self.runs.keeps_ends):
            self.cancel(backfill)
        elif waiting and not self._cancel_waiting(backfill):
            # A worker does not wait for that, as people do.
            raise Blocked
        canary.lift(self.runs.backfills, backfill)
        return enter(backfill, ended, self.schema)

    def is_done(self, backfill: t.Any) -> bool:
        """Whether all of its runs are completed, be it that it was not rolled up since."""
        if Flight(self.runs, backfill).running:
            return False
        left = ("initial", "failed", "cancelled")
        return self.has(backfill, "completed") and not any(self.has(backfill, one) for one in left)

    def cancel(self, backfill: t.Any, *criteria: t.Any) -> int:
        """Cancel every run that waits or runs, or those of them that meet some criteria; how many.

        One that a worker has gets its ``completed_at`` when the worker lets go of it. One that
        its runner has locked is left as it is: nobody waits for a runner.
        """
        active = self.runs.has(*ACTIVE)
        if not (self.runs.database.is_sqlite or self.runs.database.mysql):
            # SQLite locks no rows. In MySQL, an UPDATE waits for each lock that it comes across,
            # be it left out or not.
            running = self.runs.of(backfill), self.runs.has("running"), *criteria
            free = unlocked_of(self.runs, *running, referred=True)
            active = self.runs.has("initial") | self.runs.columns["id"].in_(free)
        return self.runs.update(self._cancelled(), self.runs.of(backfill), active, *criteria)

    def _cancel_waiting(self, backfill: t.Any) -> bool:
        """Cancel every run that waits, unless somebody has one of them locked."""
        waiting = self.runs.of(backfill), self.runs.has("initial")
        if self.runs.database.is_sqlite:
            return self.cancel(backfill) > 0
        free = unlocked_of(self.runs, *waiting, referred=True)
        count = sa.select(sa.func.count()).select_from(self.runs.table).where(*waiting)
        if len(free) < self.runs.database.execute(count).scalar():
            return False
        # By their keys: an UPDATE of MySQL's would wait for others, too.
        update_by_key(self.runs, self._cancelled(), free)
        return True

    def _cancelled(self) -> dict[str, t.Any]:
        values = self.runs.row(status="cancelled", completed_at=self.runs.now())
        beat = self.runs.columns.get("heartbeat_at")
        ended = self.runs.columns.get("completed_at")
        if beat is not None and ended is not None:
            values[ended.key] = sa.case((beat.is_(None), values[ended.key]), else_=None)
        return values

    def fails_too_often(self, backfill: t.Any) -> bool:
        """Whether ``settings.max_failures`` is reached, so that nothing else is executed."""
        most: int | None = settings_of(backfill).get("max_failures")
        if not most:
            return False
        return self.has(backfill, "failed", most)

    def has(self, backfill: t.Any, status: str, least: int = 1) -> bool:
        """Whether at least so many of the wanted runs have a status."""
        query = sa.select(self.runs.key).where(self.runs.of(backfill), self.runs.has(status))
        # The database counts, since there may be as many as a setting says. An index alone tells
        # whether there are so many; which of them are history only the rows.
        query = query.limit(1).offset(least - 1)
        wanted = self.runs.wanted_only()
        asked = [query, query.where(*wanted)] if wanted and least > 1 else [query.where(*wanted)]
        latest, execute = self.runs.database.latest, self.runs.database.execute
        return all(execute(latest(one)).first() is not None for one in asked)
