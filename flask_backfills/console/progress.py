"""How the runs of backfills stand: in their order, and how fast they end."""

from __future__ import annotations

import typing as t
from collections import Counter
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import sqlalchemy as sa

from .. import columns
from ..runs import Runs

#: How far back it is looked for how fast runs end.
LATELY = timedelta(minutes=10)

#: How a run ends that was worked on.
ENDED = ("completed", "failed")


class Group:
    """Runs that follow each other."""

    def __init__(self) -> None:
        #: How many have each status.
        self.counts: Counter[str] = Counter()
        self.dates: list[datetime] = []
        self.keys: list[str] = []
        self.error: str | None = None


def groups(runs: Runs, backfill: t.Any, most: int) -> list[Group]:
    """The wanted runs of a backfill, in at most so many groups of equal length: one SELECT."""
    model = runs.model
    order = (model.execution_date, runs.key)
    numbered = sa.select(
        sa.func.ntile(most).over(order_by=order).label("place"),
        model.status.label("status"),
        model.execution_date.label("date"),
        model.key.label("key"),
        (model.error if _maps(runs, "error") else sa.null()).label("error"),
    ).where(model.backfill_id == runs.table.key_of(backfill))
    if runs.knows_history:
        numbered = numbered.where(model.wanted.is_(True))
    run = numbered.subquery().c
    low, high = sa.func.min, sa.func.max
    query = sa.select(
        run.place,
        run.status,
        sa.func.count(),
        *(low(run.date), high(run.date), low(run.key), high(run.key), high(run.error)),
    )
    query = query.group_by(run.place, run.status).order_by(run.place)
    found: dict[int, Group] = {}
    for place, status, count, first, last, low_key, high_key, error in _execute(runs, query):
        group = found.setdefault(place, Group())
        group.counts[str(runs.run_schema.word("status", status))] += count
        group.dates += [columns.in_utc(date, False) for date in (first, last) if date is not None]
        group.keys += [low_key, high_key]
        group.error = error or group.error
    return list(found.values())


def pace(runs: Runs, backfill: t.Any) -> tuple[int, datetime] | None:
    """How many runs have ended in the last minutes, and since when they ran."""
    if not (_maps(runs, "started_at") and _maps(runs, "completed_at")):
        return None
    model = runs.model
    since = datetime.now(timezone.utc) - LATELY
    aware = columns.is_aware(t.cast(t.Any, columns.column_of(runs.mapper, "completed_at")))
    query = sa.select(sa.func.count(), sa.func.min(model.started_at)).where(
        model.backfill_id == runs.table.key_of(backfill),
        model.status.in_([runs.run_schema.member("status", word) for word in ENDED]),
        model.completed_at > columns.in_utc(since, aware),
    )
    [(count, first)] = _execute(runs, query)
    return (count, max(columns.in_utc(first, True), since)) if first is not None else None


def _maps(runs: Runs, attribute: str) -> bool:
    return columns.column_of(runs.mapper, attribute) is not None


def _execute(runs: Runs, query: t.Any) -> t.Any:
    return runs.table.session.execute(query, bind_arguments={"mapper": runs.mapper})
