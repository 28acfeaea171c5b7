"""Runs that wait in a message queue of the host's, such as Celery's.

A message may be lost or come twice: what it is worth is decided when it arrives, by
:meth:`MessageQueue.begin`.
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from datetime import datetime
from datetime import timedelta

import sqlalchemy as sa

from .. import signals
from ..tables.assign import Changes
from ..tables.run_table import moment
from . import canary
from . import processes
from .flight import Flight
from .followed import noted
from .followed import record_of_worker
from .queue import leave
from .queue import Queue


class Queued(t.NamedTuple):
    """A run in a queue: its primary key, and the time when it was queued."""

    run_id: t.Any
    at: datetime


class MessageQueue(Queue):
    """The queue, for workers that get a message for each run."""

    def enqueue(self, backfill_id: t.Any, most: int) -> list[Queued]:
        """Mark the next runs as queued. The caller must then send them to its queue.

        These are the runs that :meth:`claim` would hand out, without those that are queued
        already. They wait until :meth:`begin` claims them.

        :param most: how many runs may be queued at a time. A lower
            ``settings.pipeline_run_limit`` takes precedence.
        """

        def enqueue() -> tuple[t.Any, list[Queued], Changes]:
            backfill = self.table.hold_soon(backfill_id)
            if backfill is None:
                return None, [], {}
            before = noted(self.rollup, backfill)
            flight = self.hand_out.flight(backfill)
            found = self.hand_out.next.find(backfill, flight, most)
            found = [run for run in found if run.queued_at is None]
            for run in found:
                self.runs.assign(run, queued_at=self.runs.now())
            queued = [Queued(self.runs.key_of(run), run.queued_at) for run in found]
            # What has ended is rolled up by now, and nobody else would look at it.
            changes = canary.pause(self.runs, self.schema, backfill)
            record_of_worker(self.rollup, backfill, before)
            return backfill, queued, changes

        backfill, queued, changes = self.table.database.again(enqueue)
        signals.tell(self.table.session, self.schema, backfill, changes)
        return queued

    def begin(self, run_id: t.Any) -> t.Any:
        """Claim one run whose message has arrived.

        If the run may not be handed out now (see :meth:`claim`), it waits to be queued again.

        :returns: the run, detached as those of :meth:`claim`; ``None`` if it is no longer
            waiting, or may not run now.
        """
        self.table.database.synchronize()
        key = self.progress.backfill_of(run_id)
        found: list[t.Any] = []

        def hand_out() -> tuple[t.Any, Changes]:
            backfill, found[:], changes = self.hand_out.one(key, run_id)
            return backfill, changes

        try:
            backfill, changes = self.table.database.again(hand_out)
            signals.tell(self.table.session, self.schema, backfill, changes)
        except BaseException:
            leave(self, found)
            raise
        return found[0] if found else None

    def unqueue(
        self, *, run_ids: Collection[t.Any] = (), older_than: timedelta | None = None
    ) -> int:
        """Mark waiting runs as not queued, because their messages are lost.

        :param run_ids: runs that could not be sent.
        :param older_than: also all runs that were queued longer ago than this.
        :returns: how many runs were marked.
        """
        queued_at = self.runs.columns["queued_at"]
        lost: t.Any = self.runs.columns["id"].in_(run_ids)
        if older_than is not None:
            lost = lost | (queued_at < moment(queued_at, self.runs.now() - older_than))
        waiting = self.runs.has("initial")
        values = self.runs.row(queued_at=None)
        return self.table.database.again(lambda: self.runs.update(values, waiting, lost))

    def died_here(self, run_id: t.Any) -> bool:
        """Take a run back whose worker was a process of this machine that is no more.

        For messages that come again: the one who had it first may well be alive.
        """
        key = self.progress.backfill_of(run_id)

        def take_back() -> tuple[t.Any, bool, Changes]:
            backfill = self.table.hold_soon(key)
            if backfill is None:
                return None, False, {}
            before = noted(self.rollup, backfill)
            flight = Flight(self.runs, backfill)
            dead = [
                one for one in flight.held if one.id == run_id and processes.is_dead(one.worker)
            ]
            taken = self.hand_out.attempts.lose(backfill, dead)
            changes = self.rollup.settle(backfill)
            record_of_worker(self.rollup, backfill, before)
            return backfill, bool(taken), changes

        backfill, taken, changes = self.table.database.again(take_back)
        signals.tell(self.table.session, self.schema, backfill, changes)
        return taken

    def withdraw(self, backfill_id: t.Any) -> list[Queued]:
        """Return the runs that were cancelled while queued, and mark them as not queued."""

        def withdraw() -> list[Queued]:
            backfill = self.table.hold_soon(backfill_id)
            if backfill is None:
                return []
            query = sa.select(self.runs.model).where(
                self.runs.of(backfill), self.runs.has("cancelled")
            )
            found = self.table.session.scalars(query.where(self.runs.model.queued_at.is_not(None)))
            queued = [Queued(self.runs.key_of(run), run.queued_at) for run in found]
            if queued:
                of_them = self.runs.columns["id"].in_([one.run_id for one in queued])
                self.runs.update(self.runs.row(queued_at=None), of_them)
            return queued

        return self.table.database.again(withdraw)
