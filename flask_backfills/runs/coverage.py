"""Reads what the runs of all backfills of a pipeline cover: one SELECT, of few rows.

The database joins runs that follow each other, so that a hundred thousand runs of a backfill
are read as one row.
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa

from ..rules.coverage import COUNTED
from ..rules.coverage import Coverage
from ..rules.coverage import coverage
from ..rules.coverage import Run
from ..tables import columns
from ..tables import lists
from ..tables.run_table import moment
from ..tables.run_table import RunTable


def has_intervals(runs: RunTable) -> bool:
    """Whether the run model says where the interval of a run ends."""
    return "interval_end_datetime" in runs.columns


def of_pipeline(
    runs: RunTable,
    pipeline_uuid: str,
    start: datetime,
    end: datetime,
    offset: int,
    limit: int | None,
) -> Coverage:
    """What the visible backfills of a pipeline cover of a span, as pages of pieces.

    :param start: naive and in UTC, as ``end``, which is after it.
    """
    found = intervals(runs, pipeline_uuid, COUNTED, start, end)
    return coverage(found, start, end, offset, limit)


def intervals(
    runs: RunTable,
    pipeline_uuid: str,
    statuses: Collection[str],
    start: datetime,
    end: datetime,
    besides: t.Any = None,
) -> Iterator[Run]:
    """The intervals of the runs of a pipeline that share something with a span.

    Runs that are no longer wanted count too: what they have done is done. Runs without an
    interval, such as those of generators, don't count.

    :param besides: the key of a backfill whose runs are left out.
    """
    shown: dict[t.Any, t.Any] = {}
    words: dict[t.Any, str] = {}
    since: t.Any = None
    query = _edges(runs, pipeline_uuid, statuses, start, end, besides)
    for key, status, begins, ends, is_first, is_last in runs.database.execute(query):
        if is_first:
            since = columns.in_utc(begins, False)
        if is_last:
            if key not in shown:
                shown[key] = runs.schema.fields["backfill_id"]._serialize(key, "", None)
            if status not in words:
                words[status] = runs.word(status)
            yield Run(since, columns.in_utc(ends, False), words[status], shown[key])


def _edges(
    runs: RunTable,
    pipeline_uuid: str,
    statuses: Collection[str],
    start: datetime,
    end: datetime,
    besides: t.Any,
) -> t.Any:
    """A SELECT of the first and the last of runs that follow each other, in their order."""
    table = runs.backfills
    of, status, identity = (runs.columns[name] for name in ("backfill_id", "status", "id"))
    first, last = runs.date, runs.columns["interval_end_datetime"]
    backfills = table.select(lists.of_pipelines(table, [pipeline_uuid]))
    visible = backfills.with_only_columns(table.key)
    if backfills._with_options:
        # They count for a whole statement alone.
        visible = list(table.database.execute(visible).scalars())
    # By an index that claims need too.
    order: t.Any = {"partition_by": [of, status], "order_by": [first, identity]}
    inner = sa.select(
        of.label("of"),
        status.label("status"),
        first.label("begins"),
        last.label("ends"),
        identity.label("identity"),
        sa.func.lag(last).over(**order).label("before"),
        sa.func.lead(first).over(**order).label("after"),
    ).where(
        of.in_(visible),
        runs.has(*statuses),
        first < moment(first, end),
        last > moment(last, start),
    )
    if besides is not None:
        inner = inner.where(of != besides)
    run = inner.subquery().c
    is_first, is_last = (
        sa.or_(other.is_(None), other != mine)
        for other, mine in ((run.before, run.begins), (run.after, run.ends))
    )
    if columns.is_aware(first) != columns.is_aware(last):
        # To compare the two, a database would assume a zone of its own.
        is_first = is_last = sa.true()
    query = sa.select(
        *(run.of, run.status, run.begins, run.ends),
        sa.case((is_first, 1), else_=0),
        sa.case((is_last, 1), else_=0),
    )
    query = query.where(sa.or_(is_first, is_last))
    return query.order_by(run.of, run.status, run.begins, run.identity)
