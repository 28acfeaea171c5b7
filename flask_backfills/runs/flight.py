"""The few runs of a backfill that workers have, or that are not rolled up yet: one SELECT."""

from __future__ import annotations

import typing as t
from datetime import datetime

import sqlalchemy as sa

from ..rules.lifecycle import ACTIVE
from ..tables import columns
from ..tables.prepared import holds
from ..tables.run_table import RunTable


class Held(t.NamedTuple):
    """A run in flight, as its row stands; moments are naive and in UTC."""

    id: t.Any
    backfill_id: t.Any
    key: str
    status: str
    attempt: int | None
    tries: int | None
    losses: int | None
    wanted: bool
    started_at: datetime | None
    heartbeat_at: datetime | None
    completed_at: datetime | None
    available_at: datetime | None
    metrics: t.Any
    worker: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, and waits to be rolled up."""
        return not self.has_worker

    @property
    def has_worker(self) -> bool:
        """Whether a worker still works on it, be it that it was cancelled or failed meanwhile."""
        return self.status in ACTIVE or (
            self.status in ("cancelled", "failed") and self.completed_at is None
        )

    @property
    def took_too_long(self) -> bool:
        """Whether it has failed, or waits for its next try, before its worker has ended."""
        return self.status == "failed" or (self.status == "initial" and bool(self.available_at))


class Flight:
    """What is in flight of one backfill that is held."""

    def __init__(self, runs: RunTable, backfill: t.Any) -> None:
        query = runs.prepared.once(
            ("flight",),
            lambda: _rows(runs).where(
                holds(runs.columns["backfill_id"], "backfill"), runs.is_in_flight()
            ),
        )
        sent = {"backfill": runs.backfills.key_of(backfill)}
        rows = runs.database.execute(runs.database.latest(query), sent)
        self.held = [_held(runs, row) for row in rows]
        #: The ids of those that take too long, and whose runners have them locked.
        self.late: set[t.Any] = set()

    @property
    def running(self) -> int:
        return sum(one.status == "running" for one in self.held)

    @property
    def at_once(self) -> int:
        """How many runs workers have, those included that were cancelled meanwhile.

        One that took too long has lost its place, be it tried again or not.
        """
        at_once = [one for one in self.held if one.has_worker and not one.took_too_long]
        return sum(one.id not in self.late for one in at_once)

    @property
    def has_workers(self) -> bool:
        """Whether any worker still works on a run."""
        return any(one.has_worker for one in self.held)

    @property
    def ended(self) -> list[Held]:
        return [one for one in self.held if one.has_ended]

    def silent_since(self, before: datetime) -> list[Held]:
        """The runs whose worker has not renewed its lease since a moment."""
        before = columns.in_utc(before, False)
        silent = []
        for one in self.held:
            last = one.heartbeat_at or one.started_at
            if one.has_worker and last is not None and last < before:
                silent.append(one)
        return silent

    def without(self, gone: list[Held]) -> None:
        self.held = [one for one in self.held if one not in gone]


def locked(runs: RunTable, *criteria: t.Any) -> list[Held]:
    """The runs that meet some criteria as they stand now, of those that the caller has locked.

    To read them otherwise would show them as they were when the transaction first read, in MySQL.
    """
    query = _rows(runs).where(*criteria).with_for_update(skip_locked=True, key_share=True)
    return [_held(runs, row) for row in runs.database.execute(query)]


def _rows(runs: RunTable) -> t.Any:
    return sa.select(*[runs.columns.get(one, sa.null()).label(one) for one in Held._fields])


def _held(runs: RunTable, row: t.Any) -> Held:
    values = row._asdict()
    for name in ("started_at", "heartbeat_at", "completed_at"):
        values[name] = values[name] and columns.in_utc(values[name], False)
    status = runs.word(values["status"])
    if status == "failed" and "completed_at" not in runs.columns:
        # It can't be told whether its worker is still at it.
        values["completed_at"] = values["heartbeat_at"]
    wanted = values["wanted"] is None or bool(values["wanted"])
    return Held(**{**values, "status": status, "wanted": wanted})
