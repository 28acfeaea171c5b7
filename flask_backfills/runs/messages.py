"""Runs that wait in a message queue of the host's, such as Celery's.

A message may be lost or come twice: what it is worth is decided when it arrives, by
:meth:`~flask_backfills.runs.queue.Queue.begin`.
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from datetime import datetime
from datetime import timedelta

import sqlalchemy as sa

from ..tables.run_table import moment
from ..tables.run_table import now
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
        with self.table.database.transaction():
            found = self.next.find(self.table.hold(backfill_id), most)
            found = [run for run in found if run.queued_at is None]
            for run in found:
                self.runs.assign(run, queued_at=now())
            queued = [Queued(self.runs.key_of(run), run.queued_at) for run in found]
        return queued

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
            lost = lost | (queued_at < moment(queued_at, now() - older_than))
        waiting = self.runs.has("initial")
        with self.table.database.transaction():
            self.table.database.begin_writing()
            return self.runs.update(self.runs.row(queued_at=None), waiting, lost)

    def withdraw(self, backfill_id: t.Any) -> list[Queued]:
        """Return the runs that were cancelled while queued, and mark them as not queued."""
        with self.table.database.transaction():
            backfill = self.table.hold(backfill_id)
            query = sa.select(self.runs.model).where(
                self.runs.of(backfill), self.runs.has("cancelled")
            )
            found = self.table.session.scalars(query.where(self.runs.model.queued_at.is_not(None)))
            queued = [Queued(self.runs.key_of(run), run.queued_at) for run in found]
            if queued:
                of_them = self.runs.columns["id"].in_([one.run_id for one in queued])
                self.runs.update(self.runs.row(queued_at=None), of_them)
        return queued
