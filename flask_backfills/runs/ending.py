"""Runs that end, are left, or are given back. Each touches the run's own row alone."""

from __future__ import annotations

import random
import typing as t
from collections.abc import Collection
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

import sqlalchemy as sa

from ..rules.lifecycle import ACTIVE
from ..tables import columns
from ..tables.backfill_table import BackfillTable
from ..tables.run_table import RunTable
from ..tables.settings import readable
from ..tables.settings import settings_of
from ..tables.snapshots import past_snapshot
from ..tables.unlocked import unlocked
from .attempts import Attempts
from .lease import lease

#: The error of a run whose end could not be written.
CHANGED = "The runner deleted its run, or changed its status, attempt, worker or id."

#: How often a run is done again whose own work the database has undone.
MAX_INTERRUPTIONS = 20


class Discarded(Exception):
    """A run that is no longer the caller's to end."""


class Mine:
    """The criteria that a run is still as its worker claimed it.

    :param run: the run as it was claimed, or its id, of which less is known.
    """

    def __init__(self, runs: RunTable, run: t.Any, attempt: int | None = None) -> None:
        whole = isinstance(run, runs.model)
        self._runs = runs
        self.id = runs.key_of(run) if whole else run
        #: Since when, if it is known.
        self.started_at = getattr(run, "started_at", None) if whole else None
        #: When its worker said something of it, such as that it has ended. Not before it began,
        #: be it that the database's clock was asked again meanwhile.
        self.at = runs.now()
        if self.started_at is not None:
            self.at = max(self.at, columns.in_utc(self.started_at, True))
        #: What its row holds, by column.
        self.holds = {runs.columns["id"]: self.id}
        self._knows_worker = whole and "worker" in runs.columns
        if self._knows_worker:
            # SQLite may give a deleted run's id again; nobody gives this name again.
            self.holds[runs.columns["worker"]] = run.worker
        self._attempt = getattr(run, "attempt", None) if whole else attempt
        self._column = None if self._attempt is None else runs.columns.get("attempt")
        if self._column is not None:
            self.holds[self._column] = self._attempt

    @property
    def running(self) -> dict[t.Any, t.Any]:
        """What its row holds as long as it is running."""
        return {**self.holds, self._runs.columns["status"]: self._runs.member("running")}

    @property
    def begun(self) -> dict[str, t.Any]:
        """Since when it is done, be it that it was claimed before; empty if that is not known."""
        return self._runs.row(started_at=self.started_at) if self.started_at else {}

    @property
    def is_young(self) -> bool:
        """Whether it was begun less than a second ago, so that it can't be too late."""
        return self.started_at is not None and not self._runs.is_older(self.started_at, 1)

    @property
    def row(self) -> list[t.Any]:
        return [column == value for column, value in self.holds.items()]

    @property
    def worker(self) -> list[t.Any]:
        """The same, be it planned anew meanwhile: often, if it names its worker, else once."""
        if self._column is None:
            return self.row
        its_own = [one == value for one, value in self.holds.items() if one is not self._column]
        if self._knows_worker:
            return [*its_own, self._column >= self._attempt]
        return [*its_own, self._column.in_([self._attempt, (self._attempt or 0) + 1])]

    @property
    def stopped(self) -> list[t.Any]:
        """The same of one that was told to stop, which keeps its attempt."""
        return self.worker if self._knows_worker else self.row


class Ending:
    """What workers say of the runs that they have, within the caller's transaction."""

    def __init__(self, table: BackfillTable, runs: RunTable) -> None:
        self.table = table
        self.runs = runs
        self.attempts = Attempts(runs)

    def end(self, mine: Mine, status: str, metrics: Mapping[str, t.Any], error: str | None) -> None:
        """Write how a run ended.

        :raises Discarded: if it is not the caller's to end, or has taken too long.
        """
        self.table.database.begin_writing()
        # What the host's function has set on its own columns of the run, first.
        self.table.session.flush()
        if status == "failed":
            values = self.attempts.raised(*self._row(mine, lock=True), error, mine.at)
        elif self._late(mine):
            raise Discarded
        else:
            values = self.runs.completed(mine.at, metrics, error)
        # Its lease may have been renewed since the host's function has read something.
        with past_snapshot(self.table.database):
            if not self.runs.prepared.update({**mine.begun, **values}, mine.running):
                raise Discarded

    def discard(self, mine: Mine) -> None:
        """Leave a run whose end was not taken.

        If it is still its worker's, the host's function has changed or deleted it, in the
        transaction that was rolled back: nobody can end it that way.
        """
        self.let_go(mine)
        with suppress(Discarded):
            values = self.attempts.raised(*self._row(mine, lock=True), CHANGED)
            self.runs.update(values, *mine.row, self.runs.has("running"))

    def let_go(self, mine: Mine) -> None:
        """Say that a worker has left a run that is not its own any more, or is late with it."""
        with suppress(Discarded):
            if late := self._late(mine, lock=True):
                # Nobody has seen it yet.
                self.runs.update(self.attempts.late(*late), *mine.row, self.runs.has("running"))
        open_ = self.runs.columns.get("completed_at")
        if open_ is not None:
            left = self.runs.row(completed_at=self.runs.now(), heartbeat_at=None)
            told_to_stop = self.runs.has("cancelled", "failed")
            self.runs.update(left, *mine.stopped, told_to_stop, open_.is_(None))
        free = self.runs.row(heartbeat_at=None, worker=None)
        if free:
            self.runs.update(free, *mine.worker, self.runs.has("initial"))

    def give_back(self, mine: Mine, pause: float = 0, leaving: float = 0) -> int:
        """Let a run wait again, if it is still wanted; the attempt does not count.

        :param pause: seconds before it may be handed out.
        :param leaving: seconds for which its worker may still be at it, if that does not say
            otherwise.
        """
        left = self._left(leaving)
        values = self.runs.row(status="initial", started_at=None, queued_at=None)
        values |= left or self.runs.row(heartbeat_at=None, worker=None)
        if pause:
            values |= self.runs.row(available_at=self.runs.now() + timedelta(seconds=pause))
        if (tries := self.runs.columns.get("tries")) is not None:
            values[tries.key] = tries - 1
        running = *mine.row, self.runs.has("running")
        wanted = self.runs.columns.get("wanted", sa.true())
        # First: an edit may come between, which can do without it.
        given = self.runs.update(values, *running, wanted.is_not(False))
        if not given and self.runs.knows_history:
            gone = self.runs.row(status="cancelled", queued_at=None)
            gone |= left or self.runs.row(completed_at=self.runs.now())
            given = self.runs.update(gone, *running, wanted.is_(False))
        if not given and left:
            # Not one that runs: without the column `worker`, it may be somebody else's by now.
            stopped = self.runs.has("initial", "cancelled", "failed")
            self.runs.update(left, *mine.worker, stopped, self.runs.is_in_flight())
        elif not given:
            self.let_go(mine)
        return given

    def _left(self, leaving: float) -> dict[str, t.Any]:
        """The lease of a worker that may still be at a run, for some seconds."""
        if not leaving or "heartbeat_at" not in self.runs.columns:
            return {}
        # Silent for all of a lease but these seconds.
        left = timedelta(seconds=leaving) - lease(self.runs)
        return self.runs.row(heartbeat_at=self.runs.now() + min(left, timedelta()))

    def give_back_free(self, mine: list[Mine], leaving: float) -> tuple[int, list[Mine]]:
        """Give back the runs that nobody has locked; how many it were, and the others.

        On MySQL, rows of a runner's own that refer to its run have it locked.
        """
        free = unlocked(self.runs, [one.id for one in mine])
        given = sum(self.give_back(one, leaving=leaving) for one in mine if one.id in free)
        return given, [one for one in mine if one.id not in free]

    def interrupted(self, mine: Mine, error: str) -> None:
        """Let a run wait again whose transaction was lost; each time a little longer."""
        row, _ = self._row(mine)
        losses = (row.losses or 0) + 1
        told = self.runs.row(losses=losses, error=error)
        if losses > MAX_INTERRUPTIONS:
            failed = self.runs.row(status="failed", completed_at=self.runs.now())
            self.runs.update({**failed, **told}, *mine.row, self.runs.has("running"))
        # What has undone each other is not to begin at the same moment again.
        elif self.give_back(mine, min(0.05 * 2**losses, 60) * random.uniform(0.5, 1)) and told:
            self.runs.update(told, self.runs.columns["id"] == mine.id)

    def renew(self, mine: Collection[Mine]) -> set[t.Any]:
        """Renew the lease of runs, be they cancelled or failed meanwhile.

        :returns: the ids of those that nobody has locked.
        """
        # Where a runner's own rows refer to its run, its transaction may have it locked; then
        # it is nobody else's, either.
        free = unlocked(self.runs, [one.id for one in mine])
        for one in mine:
            if one.id in free:
                self._renew(one)
        return free

    def renew_own(self, run: t.Any) -> None:
        """Renew the lease of a run in the transaction of its runner, which may have it locked."""
        with past_snapshot(self.table.database):
            self._renew(Mine(self.runs, run))

    def _renew(self, mine: Mine) -> None:
        beat = self.runs.row(heartbeat_at=self.runs.now())
        waiting = self.runs.has("initial", "running", "cancelled", "failed")
        self.runs.update(beat, *mine.worker, waiting, self.runs.is_in_flight())

    def begin_late(self, mine: Mine) -> bool:
        """Let the time of a run start now, if it is still its worker's."""
        now = self.runs.row(started_at=mine.at, heartbeat_at=mine.at)
        return self.runs.update(now, *mine.row, self.runs.has("running")) == 1

    def look(self, runs: Collection[t.Any]) -> tuple[set[t.Any], set[t.Any]]:
        """The ids of the runs that are still their workers', and the backfills of late ones."""
        claimed = {self.runs.key_of(run): run for run in runs}
        columns = self.runs.columns
        names = ("id", "attempt", "worker", "started_at", "backfill_id")
        found = [columns.get(name, sa.null()).label(name) for name in names]
        settings = readable(self.table.model).label("settings")
        query = sa.select(*found, settings).join(
            self.table.model, self.table.key == columns["backfill_id"]
        )
        # One that its runner has locked is running still when its backfill was cancelled.
        active = [self.runs.status_of_backfills(word) for word in ACTIVE]
        query = query.where(columns["id"].in_(list(claimed)), self.runs.has("running"))
        query = query.where(self.table.model.status.in_(active))
        ours, late = set(), set()
        for row in self.runs.database.execute(query):
            run = claimed[row.id]
            if (row.attempt, row.worker) != (
                getattr(run, "attempt", None),
                getattr(run, "worker", None),
            ):
                continue
            seconds = settings_of(row).get("run_timeout")
            if seconds is not None and self.runs.is_older(row.started_at, seconds):
                late.add(row.backfill_id)
            else:
                ours.add(row.id)
        return ours, late

    def _late(self, mine: Mine, lock: bool = False) -> tuple[t.Any, Mapping[str, t.Any]] | None:
        """What decides about a run that is over ``settings.run_timeout``, a second at the least."""
        if mine.is_young:
            return None
        row, settings = self._row(mine, lock)
        seconds = settings.get("run_timeout")
        late = seconds is not None and self.runs.is_older(row.started_at, seconds)
        return (row, settings) if late else None

    def _row(self, mine: Mine, lock: bool = False) -> tuple[t.Any, Mapping[str, t.Any]]:
        """What decides what becomes of a run: of itself, and the settings of its backfill.

        :param lock: keep edits from changing it until it is decided.
        """
        names = ("tries", "losses", "attempt", "wanted", "started_at", "backfill_id")
        found = [self.runs.columns.get(name, sa.null()).label(name) for name in names]
        query = sa.select(*found).where(*mine.row)
        query = query.with_for_update(key_share=True) if lock else query
        row = self.runs.database.execute(query).first()
        if row is None:
            raise Discarded
        if not hasattr(self.table.model, "settings"):
            return row, {}
        settings = readable(self.table.model).label("settings")
        query = sa.select(settings).where(self.table.key == row.backfill_id)
        of_backfill = self.table.database.execute(query).first()
        return row, settings_of(of_backfill)
