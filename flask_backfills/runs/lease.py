"""How long a worker may be silent before its runs are taken back, unless it has them marked."""

from __future__ import annotations

import typing as t
from datetime import timedelta

import sqlalchemy as sa

from .. import config
from ..tables import marks
from ..tables.run_table import moment
from ..tables.run_table import RunTable


def lease(runs: RunTable) -> timedelta:
    """The lease of a run: ``BACKFILLS_LEASE``."""
    default = None if "heartbeat_at" in runs.columns else config.LEASE_OF_A_WHOLE_RUN
    return timedelta(seconds=config.number("BACKFILLS_LEASE", default))


def is_left(runs: RunTable) -> t.Any:
    """The criterion that no worker is at a run, or that it has been silent for its lease."""
    beat = runs.columns.get("heartbeat_at")
    if beat is None:
        return sa.true()
    # That is told by the database's clock alone.
    silent = beat < moment(beat, runs.now() - lease(runs))
    return beat.is_(None) | silent if runs.database.clock.is_known else beat.is_(None)


def mark_of(runs: RunTable, key: t.Any, run: t.Any) -> str:
    """The name of the mark of a run, as a worker has claimed it."""
    worker = run.worker if "worker" in runs.columns else None
    return marks.name_of(runs.database, runs.table, key, worker)


def is_marked(runs: RunTable, run: t.Any) -> bool:
    """Whether a worker is at a run, though its lease is over.

    :param run: one :class:`in flight <.flight.Held>`.
    """
    return marks.is_marked(runs.database, mark_of(runs, run.id, run))
