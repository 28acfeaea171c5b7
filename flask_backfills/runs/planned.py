"""What a plan reads of a backfill's runs, and what it writes to them.

The plan itself is in :mod:`flask_backfills.rules.plan`.
"""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from ..rules.plan import Entry
from ..rules.plan import Run
from ..rules.plan import Wanted
from ..tables import columns
from ..tables.run_table import BY_KEY
from ..tables.run_table import CHUNK
from ..tables.run_table import delete_by_key
from ..tables.run_table import in_chunks
from ..tables.run_table import RunTable
from ..tables.run_table import update_by_key
from ..tables.unlocked import unlocked_of
from .addition import Addition
from .attempts import Attempts
from .flight import Flight
from .flight import locked
from .lease import lease
from .rollup import Rollup

#: By column, from a wanted run to its value.
Own = list[tuple[str, Callable[[Wanted], t.Any]]]


class Planned:
    """The runs of a backfill that is held, as its plans see them."""

    def __init__(self, table: RunTable, rollup: Rollup) -> None:
        self.table = table
        self.rollup = rollup
        self.attempts = Attempts(table)
        #: The name of the parameter that says of which run a row is.
        self._of_run = table.prepared.name("of_run")

    def load(self, backfill: t.Any, *criteria: t.Any) -> Iterator[Run]:
        """The runs that there are, read as plain rows."""
        names = ("id", "key", "execution_date", "interval_end_datetime", "status", "wanted")
        unmapped = {"interval_end_datetime": sa.null(), "wanted": sa.true()}
        found: list[t.Any] = [self.table.columns.get(name, unmapped.get(name)) for name in names]
        query = sa.select(*found).where(self.table.of(backfill), *criteria)
        for key, name, date, end, status, wanted in self._latest(query):
            date = date and columns.in_utc(date, False)
            end = end and columns.in_utc(end, False)
            yield Run(key, name, date, end, self.table.word(status), bool(wanted))

    def summary(self, backfill: t.Any, *criteria: t.Any) -> tuple[Counter[str], t.Any, t.Any]:
        """How many wanted runs have each status, and the first and the last date of all."""
        date = self.table.date
        query = self.table.count_by(self.table.columns["status"])
        query = query.add_columns(sa.func.min(date), sa.func.max(date))
        query = query.where(self.table.of(backfill), *self.table.wanted_only(), *criteria)
        rows = self._latest(query).all()
        statuses = Counter({self.table.word(status): count for status, count, *_ in rows})
        firsts, lasts = [row[2] for row in rows], [row[3] for row in rows]
        if not rows or None in firsts:
            return statuses, None, None
        return statuses, columns.in_utc(min(firsts), False), columns.in_utc(max(lasts), False)

    def write(self, backfill: t.Any, entries: Iterable[Entry], flight: Flight) -> None:
        """Do what a plan says, as its entries come, a chunk of rows at a time."""
        held = {one.id for one in flight.held}
        # It has variables of its own as they are planned now.
        anew = self.table.row(own_variables=None)
        again = {**anew, **self.table.row(wanted=True)}
        own = self._own_values()
        # What is remembered of an entry, and the statement for a chunk of them.
        writes: dict[str, tuple[Callable[[Entry], t.Any], Callable[[list[t.Any]], t.Any]]] = {
            "add": (_wanted_of, Addition(self.table, backfill).add),
            "redo": (partial(self._row_of, own, again), partial(self._requeue, backfill, held)),
            "renew": (partial(self._row_of, own, anew), self._update),
            "drop": (_id_of, self._drop),
            "retire": (_id_of, self._retire),
            "revive": (_id_of, self._revive),
        }
        chunks: dict[str, list[t.Any]] = {what: [] for what in writes}
        for entry in entries:
            if entry.write is not None:
                if entry.id in held:
                    self._hold([entry.id])
                row_of, flush = writes[entry.write]
                chunk = chunks[entry.write]
                chunk.append(row_of(entry))
                if len(chunk) == CHUNK:
                    flush(chunk)
                    chunks[entry.write] = []
        for what, chunk in chunks.items():
            if chunk:
                writes[what][1](chunk)

    def run_again(self, backfill: t.Any, *criteria: t.Any) -> int:
        """Let runs that have ended, or were cancelled, wait as a new attempt; how many."""
        held = {one.id for one in Flight(self.table, backfill).held}
        ids = unlocked_of(self.table, *criteria, referred=True)
        left = self._left(held & ids)
        for chunk in in_chunks(self.table, ids):
            self._subtract_metrics(backfill, chunk, left)
        update_by_key(self.table, self.table.requeued(), ids)
        return len(ids)

    def are_active(self, backfill: t.Any) -> bool:
        """Whether a run waits, or a worker has one, be it that it was cancelled."""
        flight = Flight(self.table, backfill)
        self.rollup.fold(backfill, flight)
        if self.table.database.clock.is_known:
            self.attempts.sweep(backfill, flight, lease(self.table))
        waits = self.rollup.has(backfill, "initial")
        return bool(flight.has_workers or waits)

    def delete(self, backfill: t.Any) -> None:
        """Delete the runs of a backfill."""
        if not self.table.database.mysql:
            self._execute(sa.delete(self.table.table).where(self.table.of(backfill)))
            return
        query = sa.select(self.table.columns["id"]).where(self.table.of(backfill))
        delete_by_key(self.table, self._latest(query).scalars().all())

    def _own_values(self) -> Own:
        """By column, what a run has of its own."""
        values: dict[str, Callable[[Wanted], t.Any]] = {
            "key": lambda wanted: wanted.key,
            "execution_date": lambda wanted: wanted.date,
            "interval_end_datetime": lambda wanted: wanted.end,
            "variables": lambda wanted: sa.null() if wanted.variables is None else wanted.variables,
        }
        own = []
        for name, value in values.items():
            column = self.table.columns.get(name)
            if column is None:
                continue
            is_moment = name in ("execution_date", "interval_end_datetime")
            if is_moment and columns.is_aware(column):
                value = partial(_aware, value)
            own.append((column.key, value))
        return own

    def _row_of(self, own: Own, same: dict[str, t.Any], entry: Entry) -> dict[str, t.Any]:
        row = {**same, self._of_run: entry.id}
        wanted = _wanted_of(entry)
        for key, value in own:
            row[key] = value(wanted)
        return row

    def _requeue(self, backfill: t.Any, held: set[t.Any], rows: list[t.Any]) -> None:
        ids = [row[self._of_run] for row in rows]
        left = self._left(held.intersection(ids))
        self._subtract_metrics(backfill, self.table.columns["id"].in_(ids), left)
        self._update(rows, self.table.requeued())

    def _left(self, ids: set[t.Any]) -> set[t.Any]:
        """Those of some runs that have ended since they were in flight; all of them are locked.

        An end needs no lock of the backfill's. Nobody is at them any more.
        """
        if not ids:
            return ids
        of_them = self.table.columns["id"].in_(ids)
        left = {one.id for one in locked(self.table, of_them) if one.heartbeat_at and one.has_ended}
        if left:
            update_by_key(self.table, self.table.row(heartbeat_at=None), left)
        return left

    def _subtract_metrics(self, backfill: t.Any, of_them: t.Any, left: set[t.Any]) -> None:
        """What runs count again is not counted twice.

        :param left: those that have ended since, whose numbers were never added.
        """
        metrics = self.table.columns.get("metrics")
        if metrics is not None:
            added = of_them & self.table.columns["id"].not_in(left) if left else of_them
            query = sa.select(metrics).where(added, metrics.is_not(None))
            self.rollup.add_metrics(backfill, list(self._latest(query).scalars()), -1)

    def _update(self, rows: list[t.Any], also: Mapping[str, t.Any] | None = None) -> None:
        mine = self.table.columns["id"] == sa.bindparam(self._of_run)
        query = sa.update(self.table.table).where(mine)
        self._execute(query.values(also) if also else query, rows)

    def _drop(self, ids: list[t.Any]) -> None:
        of_them = self.table.columns["id"].in_(ids)
        free = self.table.free_only()
        gone = delete_by_key(self.table, ids, *free)
        if gone < len(ids):
            # A worker that was told to stop is still at it.
            kept = self.table.row(status="cancelled", wanted=False)
            self.table.update(kept, of_them, self.table.has("initial"))

    def _retire(self, ids: list[t.Any]) -> None:
        if self.table.knows_history:
            statuses = self._hold(ids)
            # Since it was read as running, it may have been given back, or wait for its next try.
            if waiting := [key for key, status in statuses.items() if status == "initial"]:
                self._drop(waiting)
            self.table.update(self.table.row(wanted=False), self.table.columns["id"].in_(ids))

    def _revive(self, ids: list[t.Any]) -> None:
        if self.table.knows_history:
            statuses = self._hold(ids)
            # Since it was read as running, it may have been given back, which nobody wanted then.
            if gone := [key for key, status in statuses.items() if status == "cancelled"]:
                again = self.table.columns["id"].in_(gone)
                if (ended := self.table.columns.get("completed_at")) is not None:
                    self.table.update(self.table.row(heartbeat_at=None), again, ended.is_not(None))
                self.table.update(self.table.requeued(), again)
            self.table.update(self.table.row(wanted=True), self.table.columns["id"].in_(ids))

    def _hold(self, ids: list[t.Any]) -> dict[t.Any, str]:
        """Lock runs; what status each has now.

        A runner may have its own locked for as long as it works: a 503 soon.
        """
        query = sa.select(self.table.columns["id"], self.table.columns["status"])
        if self.table.database.mysql:
            query = query.with_hint(self.table.table, BY_KEY)
        query = query.with_for_update(nowait=True, key_share=True)
        # Of a list of 1,000 ids, MariaDB makes a subquery, and looks at every row for it.
        parts = in_chunks(self.table, ids, CHUNK // 2)
        found = (row for part in parts for row in self._execute(query.where(part)))
        return {key: self.table.word(status) for key, status in found}

    def _latest(self, query: t.Any) -> t.Any:
        return self._execute(self.table.database.latest(query))

    def _execute(self, statement: t.Any, rows: list[t.Any] | None = None) -> t.Any:
        return self.table.database.execute(statement, rows)


def _wanted_of(entry: Entry) -> Wanted:
    return t.cast(Wanted, entry.wanted)


def _id_of(entry: Entry) -> t.Any:
    return entry.id


def _aware(value: Callable[[Wanted], datetime | None], wanted: Wanted) -> datetime | None:
    at = value(wanted)
    return at and columns.in_utc(at, True)
