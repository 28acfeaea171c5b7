"""Runs that begin: the next ones of a backfill, or the one that a message names."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.orm import lazyload

from ..tables.assign import Changes
from ..tables.backfill_table import BackfillTable
from ..tables.settings import settings_of
from . import canary
from . import processes
from .attempts import Attempts
from .flight import Flight
from .followed import noted
from .followed import record_of_worker
from .lease import lease
from .next import Next
from .rollup import Rollup

#: With one of these settings no run is claimed before somebody is free to do it: its time counts
#: from the claim, or it is not to be begun once others have failed.
NOT_AHEAD = {"run_timeout", "max_failures"}

#: From a locked backfill to a function that gives a run the variables that it is called with, by
#: column.
Variables = Callable[[t.Any], Callable[[t.Any], dict[str, t.Any]]]

#: A backfill, what was handed out of it, and what was changed of it.
HandedOut = tuple[t.Any, list[t.Any], Changes]


class HandOut:
    """Hands out runs within the caller's transaction, whose first statement is the lock."""

    def __init__(self, table: BackfillTable, rollup: Rollup, variables: Variables) -> None:
        self.table = table
        self.runs = rollup.runs
        self.rollup = rollup
        self.variables = variables
        self.next = Next(table, rollup)
        self.attempts = Attempts(self.runs)

    def next_of(self, backfill_id: t.Any, most: int, ahead: int = 0) -> HandedOut:
        """Hand out the next runs of a backfill, unless somebody else has it locked.

        :param ahead: how many more, if they may wait for a moment in their worker.
        """
        backfill = self.table.hold(backfill_id, skip_locked=True)
        if backfill is None:
            return None, [], {}
        before = noted(self.rollup, backfill)
        flight = self.flight(backfill)
        if not NOT_AHEAD.isdisjoint(settings_of(backfill)):
            ahead = 0
        found = self.next.find(backfill, flight, most + ahead)
        if not all(map(self.attempts.is_first, found)):
            # One of them may have killed its worker: the next death is not to be theirs.
            found = found[: max(most, 0)]
        if found:
            return backfill, found, self._begin(backfill, found, before)
        changes = self.rollup.settle(backfill, flight=flight)
        record_of_worker(self.rollup, backfill, before)
        return backfill, [], changes

    def one(self, backfill_id: t.Any, run_id: t.Any) -> HandedOut:
        """Hand out one run, if it waits and may run now, unless somebody has its backfill locked."""
        backfill = self.table.hold_soon(backfill_id)
        if backfill is None:
            # Its message is used up: whoever looks for the next runs sends it again.
            waits = self.runs.columns["id"] == run_id, self.runs.has("initial")
            self.runs.update(self.runs.row(queued_at=None), *waits)
            return None, [], {}
        past, now = self.next.past(backfill)
        query = sa.select(self.runs.model, sa.and_(sa.true(), *past.values()))
        query = query.where(self.runs.key == run_id).options(lazyload("*"))
        query = query.with_for_update(of=self.runs.model, key_share=True)
        query = query.execution_options(populate_existing=True)
        found = self.table.session.execute(query, now).one_or_none()
        if found is None or self.runs.word(found[0].status) != "initial":
            return backfill, [], {}
        before = noted(self.rollup, backfill)
        run, is_due = found
        flight = self.flight(backfill)
        has_worker = any(one.id == run_id for one in flight.held)
        if has_worker or not is_due or self.next.room(backfill, flight, 1) < 1:
            self.runs.assign(run, queued_at=None)
            changes = canary.pause(self.runs, self.rollup.schema, backfill)
            record_of_worker(self.rollup, backfill, before)
            return backfill, [], changes
        return backfill, [run], self._begin(backfill, [run], before)

    def flight(self, backfill: t.Any) -> Flight:
        """What is in flight of a locked backfill, once the rest is rolled up and taken back."""
        flight = Flight(self.runs, backfill)
        self.rollup.fold(backfill, flight)
        # Which workers are dead is told by the database's clock alone.
        if self.runs.database.clock.is_known:
            self.attempts.sweep(backfill, flight, lease(self.runs))
        return flight

    def _begin(self, backfill: t.Any, found: list[t.Any], before: Mapping[str, t.Any]) -> Changes:
        """Let runs and their backfill begin, and the runs out of the session."""
        now = self.runs.now()
        worker = processes.name()
        variables_of = self.variables(backfill)
        for run in found:
            self.runs.assign(
                run,
                status="running",
                started_at=now,
                heartbeat_at=now,
                completed_at=None,
                queued_at=None,
                available_at=None,
                worker=worker,
                tries=(getattr(run, "tries", None) or 0) + 1,
                **variables_of(run),
            )
        changes = self.rollup.begin(backfill)
        record_of_worker(self.rollup, backfill, before)
        self.table.session.flush()
        for run in found:
            if computed := sa.inspect(run).expired_attributes:
                # By the database, when the run was written.
                self.table.session.refresh(run, computed)
            # Readable after the commit, in any context or thread of the worker.
            self.table.session.expunge(run)
        return changes
