"""The queue that workers use: runs are claimed, ended and taken back.

Each is a transaction of its own. Which runs there are is for the plan, and which may be handed
out now is in :mod:`.next`.
"""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Collection
from collections.abc import Mapping
from datetime import timedelta

import sqlalchemy as sa

from .. import signals
from ..rules.lifecycle import ACTIVE
from ..tables.assign import Changes
from ..tables.backfill_table import BackfillTable
from ..tables.run_table import moment
from ..tables.run_table import now
from ..tables.run_table import RunTable
from ..tables.schema import BackfillSchema
from .next import Next
from .progress import Progress
from .rollup import Rollup

#: How many characters of an error are stored if its column has no length.
MAX_ERROR = 10_000


class Queue:
    """The runs of one blueprint's backfills, for workers: ``blueprint.runs``.

    Each method is a transaction of its own in the session that the blueprint was given.
    """

    def __init__(
        self, table: BackfillTable, schema: BackfillSchema, rollup: Rollup, progress: Progress
    ) -> None:
        self.table = table
        self.schema = schema
        self.runs = rollup.runs
        self.rollup = rollup
        self.progress = progress
        self.next = Next(rollup)

    def claim(self, backfill_id: t.Any = None, limit: int = 1) -> list[t.Any]:
        """Hand out the next runs, and set their status to ``running``.

        Runs come in the order of ``execution_date``, then of the primary key. With
        ``settings.order`` ``backwards``, the order is reversed. Each run goes to one worker
        only. No run is handed out while ``settings.paused`` is true, beyond
        ``settings.pipeline_run_limit``, or once ``settings.max_failures`` runs have failed.

        The runs are detached from the session, with the values that they had when claimed.

        :param backfill_id: only runs of this backfill. ``None`` for all backfills, the oldest
            first.
        :param limit: the largest number of runs to return.
        """
        claimed: list[t.Any] = []
        for key in [backfill_id] if backfill_id is not None else self.active_backfills():
            if len(claimed) >= limit:
                break
            with self.table.database.transaction():
                backfill = self.table.hold(key)
                found = self.next.find(backfill, limit - len(claimed))
                changes = self._hand_out(backfill, found)
            signals.tell(self.table.session, self.schema, backfill, changes)
            claimed += found
        return claimed

    def begin(self, run_id: t.Any) -> t.Any:
        """Claim one run whose message has arrived from the queue.

        If the run may not start now (see :meth:`claim`), it goes back to waiting and can be
        queued again.

        :returns: the run, detached as in :meth:`claim`. ``None`` if it is no longer waiting
            or may not start now.
        """
        with self.table.database.transaction():
            backfill, run = self._hold_run(run_id)
            if run is None or self.runs.word(run.status) != "initial":
                return None
            if self.next.room(backfill, 1) < 1:
                self.runs.assign(run, queued_at=None)
                return None
            changes = self._hand_out(backfill, [run])
        signals.tell(self.table.session, self.schema, backfill, changes)
        return run

    def finish(
        self,
        run_id: t.Any,
        status: str,
        metrics: Mapping[str, t.Any] | None = None,
        error: str | None = None,
        attempt: int | None = None,
    ) -> bool:
        """End a claimed run. The last run to end also ends its backfill.

        :param status: ``completed`` or ``failed``.
        :param metrics: numbers in it are added to the metrics of the backfill.
        :param error: why the run failed. Stored if the run model maps ``error``.
        :param attempt: the ``attempt`` of the run when it was claimed. A late result of an
            earlier attempt is then ignored.
        :returns: ``False`` if the result was discarded, because the run was cancelled, has
            ended or was handed out again. Then nothing is changed, and uncommitted work in
            the session is rolled back.
        """
        if status not in ("completed", "failed"):
            raise ValueError(f"a run ends as 'completed' or 'failed', not as {status!r}")
        with self.table.database.transaction():
            backfill, run = self._hold_run(run_id)
            ours = run is not None and self.runs.word(run.status) == "running"
            if not ours or attempt not in (None, getattr(run, "attempt", None)):
                # With what the caller has left in the session, if anything.
                self.table.session.rollback()
                return False
            self.runs.assign(run, status=status, completed_at=now(), error=_told(self.runs, error))
            changes: Changes = {}
            if backfill is not None:
                self.rollup.add_metrics(backfill, metrics or {})
                self.table.session.flush()
                changes = self.rollup.settle(backfill)
        signals.tell(self.table.session, self.schema, backfill, changes)
        return True

    def recover(self, older_than: timedelta) -> int:
        """Take back runs that have been running for too long, because their worker has died.

        They wait again, as a new attempt. Runs that are no longer needed are cancelled.

        :param older_than: take back runs that were claimed longer ago than this. If a worker
            is still alive, :meth:`finish` returns ``False`` to it, provided that it passes
            ``attempt``.
        :returns: how many runs were taken back.
        """
        started_at = self.runs.columns.get("started_at")
        if started_at is None:
            raise TypeError(f"{self.runs.model.__name__} has no started_at, which recover() needs")
        before = started_at < moment(started_at, now() - older_than)
        running = self.runs.has("running")
        of_backfill = self.runs.columns["backfill_id"]
        with self.table.database.transaction():
            query = sa.select(of_backfill).where(running, before).distinct()
            keys = list(self.runs.database.execute(query).scalars())
        taken = 0
        for key in keys:
            with self.table.database.transaction():
                backfill = self.table.hold(key)
                lost = (of_backfill == key, running, before)
                wanted = self.runs.columns.get("wanted")
                if wanted is not None:
                    taken += self.runs.cancel(*lost, wanted.is_(False))
                taken += self.runs.update(self.runs.requeued(), *lost)
                changes = {} if backfill is None else self.rollup.settle(backfill)
            signals.tell(self.table.session, self.schema, backfill, changes)
        return taken

    def counts(self, backfill_ids: Collection[t.Any]) -> dict[t.Any, Counter[str]]:
        """Count the runs of each backfill by status, without history. One statement."""
        return self.progress.counts(backfill_ids)

    def active_backfills(self) -> list[t.Any]:
        """The primary keys of the active backfills, the oldest first."""
        model = self.table.model
        statuses = [self.schema.member("status", word) for word in ACTIVE]
        query = sa.select(self.table.key).where(model.status.in_(statuses)).order_by(self.table.key)
        with self.table.database.transaction():
            return list(self.table.session.scalars(query))

    def _hand_out(self, backfill: t.Any, found: list[t.Any]) -> Changes:
        """Let runs and their backfill begin, and the runs out of the session."""
        for run in found:
            self.runs.assign(
                run, status="running", started_at=now(), completed_at=None, queued_at=None
            )
        changes = self.rollup.begin(backfill) if found else {}
        self.table.session.flush()
        for run in found:
            # Readable after the commit, in any context or thread of the worker.
            self.table.session.expunge(run)
        return changes

    def _hold_run(self, run_id: t.Any) -> tuple[t.Any, t.Any]:
        """A run and its backfill, both locked; ``None`` for what is gone."""
        self.table.database.begin_writing()
        of_run = sa.select(self.runs.model.backfill_id).where(self.runs.key == run_id)
        backfill = self.table.hold(self.table.session.scalar(of_run))
        query = sa.select(self.runs.model).where(self.runs.key == run_id).with_for_update()
        run = self.table.session.scalar(query.execution_options(populate_existing=True))
        return backfill, run


def _told(runs: RunTable, error: str | None) -> str | None:
    """An error as its column takes it."""
    if error is None or "error" not in runs.columns:
        return None
    most = getattr(runs.columns["error"].type, "length", None) or MAX_ERROR
    return error.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[:most]
