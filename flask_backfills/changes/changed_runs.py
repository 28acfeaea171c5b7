"""Runs of a backfill, as people change them: try them again, mark them as done, cancel them."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from functools import partial

import sqlalchemy as sa
from sqlalchemy.orm import lazyload

from .. import errors
from .. import signals
from ..rules import lifecycle
from ..runs.flight import Flight
from ..runs.followed import noted
from ..runs.followed import record
from ..runs.lease import is_left
from ..runs.planned import Planned
from ..tables.assign import Changes
from ..tables.assign import enter
from ..tables.backfill_table import BackfillTable
from ..tables.beside import change
from ..tables.event_table import acting
from ..tables.run_table import in_chunks
from ..tables.run_table import update_by_key
from ..tables.settings import settings_of
from ..tables.unlocked import unlocked_of
from .history import changed_runs

R = t.TypeVar("R")

STILL_AT_IT = (
    "A worker is still at this run. It can be marked as done once the worker has left it,"
    " or has been silent for its lease."
)

#: A function from a locked backfill to the ids of some of its runs.
Chosen = Callable[[t.Any], list[t.Any]]


class ChangedRuns:
    """Changes single runs, or many. A change is one transaction; signals are sent after it."""

    def __init__(self, table: BackfillTable, planned: Planned) -> None:
        self.table = table
        self.runs = planned.table
        self.planned = planned
        self.rollup = planned.rollup

    def set_status(
        self,
        pipeline_uuid: str,
        backfill_id: t.Any,
        found: t.Any,
        status: str,
        show: Callable[[t.Any, t.Any], R],
        *,
        running_too: bool = False,
        unless_retried: bool = False,
        keep: bool = True,
    ) -> R:
        """Let a run wait again (``initial``), count as done (``completed``), or be cancelled.

        Its backfill follows: one that has ended is active again when a run waits, and a failed
        one whose last failed run is gone is completed.

        :param found: the criterion of the run.
        :param show: what to return of the backfill and the run, before the commit.
        :param running_too: try a running run again too: it is cancelled first.
        :param unless_retried: leave a run alone that waits to be tried again while its worker is
            still at it: that attempt has been cancelled.
        :param keep: ``False`` to change nothing, and only to see what would be.
        :raises flask_backfills.errors.RunNotFound: if there is no such run.
        :raises flask_backfills.errors.TransitionRefused: for a status that can't follow, or that
            is to mark as done what a worker is still at.
        :raises flask_backfills.errors.NotWanted: for a run that is history.
        """

        def do(backfill: t.Any) -> tuple[R, Changes]:
            before = noted(self.rollup, backfill)
            run = self._locked(backfill, found)
            flight = Flight(self.runs, backfill)
            self.rollup.fold(backfill, flight)
            changes: Changes = {}
            if not (unless_retried and self._is_retried(run, flight)):
                old = self._change(backfill, run, status, running_too)
                changes = self._follow(backfill)
                if keep:
                    changed_runs(self.rollup.events, backfill, old, status, key=run.key)
                    record(self.rollup, backfill, before, acting.get())
            self.table.session.flush()
            self.table.session.refresh(run)
            return show(backfill, run), changes

        return self._in_transaction(pipeline_uuid, backfill_id, do, keep)

    def set_status_of_all(
        self,
        pipeline_uuid: str,
        backfill_id: t.Any,
        old: str,
        new: str,
        *,
        criteria: t.Iterable[t.Any] = (),
        chosen: Chosen | None = None,
        expected: int | None = None,
        keep: bool = True,
    ) -> int:
        """The same for every wanted run of a backfill that has the status ``old``.

        :param criteria: what else the runs have to meet.
        :param chosen: which of them alone; called once the backfill is locked.
        :param expected: how many they were when somebody was asked.
        :returns: how many were changed. Those that their runners have locked are left as they are,
            and none is marked as done that a worker is still at.
        :raises flask_backfills.errors.TransitionRefused: if ``new`` can't follow ``old``.
        :raises flask_backfills.errors.PlanMismatch: if they are not as many as expected.
        """
        if refused := lifecycle.refusal(lifecycle.RUN_TRANSITIONS, old, new, "run"):
            raise errors.TransitionRefused(refused)
        criteria = tuple(criteria)

        def do(backfill: t.Any) -> tuple[int, Changes]:
            before = noted(self.rollup, backfill)
            self.rollup.fold(backfill, Flight(self.runs, backfill))
            these = self.runs.of(backfill), self.runs.has(old), *self.runs.wanted_only()
            parts = self._parts(backfill, chosen)
            count = sum(self._make(new, backfill, (*these, *criteria, *one)) for one in parts)
            if expected not in (None, count):
                raise errors.PlanMismatch({"count": count})
            changes = self._follow(backfill) if count else {}
            if count and keep:
                changed_runs(self.rollup.events, backfill, old, new, count=count)
                record(self.rollup, backfill, before, acting.get())
            return count, changes

        return self._in_transaction(pipeline_uuid, backfill_id, do, keep)

    def _parts(self, backfill: t.Any, chosen: Chosen | None) -> t.Iterator[list[t.Any]]:
        """The criteria of the runs that are chosen, so many at a time as one statement takes."""
        if chosen is None:
            yield []
            return
        for chunk in in_chunks(self.runs, chosen(backfill)):
            yield [chunk]

    def _in_transaction(
        self,
        pipeline_uuid: str,
        backfill_id: t.Any,
        do: Callable[[t.Any], tuple[R, Changes]],
        keep: bool,
    ) -> R:
        """Change runs of a backfill that is locked, and send its signals."""

        def locked() -> tuple[t.Any, R, Changes]:
            backfill = self.table.find(pipeline_uuid, backfill_id, lock=True)
            return backfill, *do(backfill)

        # Which workers are silent is told by the database's clock.
        self.table.database.synchronize()
        backfill, told, changes = change(self.table.database, locked, keep=keep)
        if keep:
            signals.tell(self.table.session, self.rollup.schema, backfill, changes, of_run=True)
        return told

    def _locked(self, backfill: t.Any, found: t.Any) -> t.Any:
        query = sa.select(self.runs.model).where(self.runs.of(backfill), found)
        query = query.options(lazyload("*")).execution_options(populate_existing=True)
        # A runner may have it locked for as long as it works: that is a 503 soon.
        query = query.with_for_update(of=self.runs.model, key_share=True, nowait=True)
        run = self.table.session.scalars(query).one_or_none()
        if run is None:
            raise errors.RunNotFound()
        return run

    def _is_retried(self, run: t.Any, flight: Flight) -> bool:
        waits = self.runs.word(run.status) == "initial"
        key = self.runs.key_of(run)
        return waits and any(one.id == key and not one.took_too_long for one in flight.held)

    def _change(self, backfill: t.Any, run: t.Any, status: str, running_too: bool) -> str:
        """Change one run, and return its old status."""
        old = before = self.runs.word(run.status)
        its_own = self.runs.key == self.runs.key_of(run)
        if running_too and old == "running":
            self.rollup.cancel(backfill, its_own)
            old = "cancelled"
        if refused := lifecycle.refusal(lifecycle.RUN_TRANSITIONS, old, status, "run"):
            raise errors.TransitionRefused(refused)
        if self.runs.knows_history and not run.wanted:
            raise errors.NotWanted()
        if not self._make(status, backfill, [its_own]) and status == "completed":
            raise errors.TransitionRefused(STILL_AT_IT)
        return before

    def _make(self, status: str, backfill: t.Any, criteria: t.Iterable[t.Any]) -> int:
        """Give a status to the runs that meet some criteria; how many there were."""
        do: dict[str, Callable[..., int]] = {
            "initial": partial(self.planned.run_again, backfill),
            "completed": self._mark_as_done,
            "cancelled": partial(self.rollup.cancel, backfill),
        }
        return do[status](*criteria)

    def _mark_as_done(self, *criteria: t.Any) -> int:
        done = self.runs.row(
            status="completed",
            # Nothing was executed, so it took no time: not since an attempt that has failed, either.
            started_at=None,
            completed_at=self.runs.now(),
            error=None,
            heartbeat_at=None,
            queued_at=None,
            available_at=None,
        )
        # What a worker is still at keeps its place in the limit, and its backfill, until it is left.
        criteria = *criteria, is_left(self.runs)
        ids = unlocked_of(self.runs, *criteria, referred=True)
        return update_by_key(self.runs, done, ids)

    def _follow(self, backfill: t.Any) -> Changes:
        status = self.rollup.status_of(backfill)
        if status in lifecycle.ACTIVE:
            return self.rollup.settle(backfill)
        if self.rollup.has(backfill, "initial"):
            if self.rollup.fails_too_often(backfill):
                most = settings_of(backfill)["max_failures"]
                raise errors.TransitionRefused(
                    f"The other failed runs reach settings.max_failures, which is {most}: the run "
                    f"would not be executed. Raise it, or start the backfill again."
                )
            return enter(backfill, "initial", self.rollup.schema)
        if status == "failed" and not self.rollup.has(backfill, "failed"):
            return enter(backfill, "completed", self.rollup.schema)
        return {}
