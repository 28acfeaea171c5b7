"""How long runs took: what a forecast reads of a backfill and of its pipeline, in two SELECTs.

No index knows when runs ended. So the newest are looked for where they are: in the newest
backfills, and at both ends of a long one, as it may run backwards.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from ..rules.forecast import MOST
from ..rules.forecast import Span
from ..tables import columns
from ..tables import lists
from ..tables.run_table import RunTable

#: Where a row comes from.
_FINISHED, _RUNNING = range(2)


class Durations(t.NamedTuple):
    """Finished runs, the newest first, and what is left to do; moments in seconds since 1970."""

    #: Those of the backfill itself.
    own: list[Span]
    #: Those of other backfills of its pipeline.
    others: list[Span]
    #: When those of the backfill began that run; now, where that is not known.
    running: list[float]
    #: How many of the backfill wait.
    waiting: int


def read(runs: RunTable, backfill: t.Any) -> Durations | None:
    """The newest finished runs, at most :data:`MOST`, of the backfill first.

    Runs of backfills that the scope hides are not read.

    :returns: ``None`` if the model does not map when runs began and ended.
    """
    if not {"started_at", "completed_at"} <= runs.columns.keys():
        return None
    own = runs.backfills.key_of(backfill)
    with runs.database.session.no_autoflush:
        counts, waiting = _counts(runs, backfill)
        rows = runs.database.execute(_rows(runs, backfill, *_chosen(own, counts))).all()
    # A run may be at both ends.
    finished = {row.id: row for row in rows if row.part == _FINISHED}
    mine = _spans(row for row in finished.values() if row.of == own)
    others = _spans(row for row in finished.values() if row.of != own)
    now = runs.now()
    began = [_seconds(row.began or now) for row in rows if row.part == _RUNNING]
    return Durations(mine, others[: MOST - len(mine)], began, waiting)


def _counts(runs: RunTable, backfill: t.Any) -> tuple[dict[t.Any, int], int]:
    """How many runs have completed, of the newest backfills of a pipeline, and how many wait.

    Of more than :data:`MOST` that have completed, it is not told how many more.
    """
    table, of_it = runs.backfills, runs.columns["backfill_id"]
    of_each = _count(runs, of_it == table.key, runs.has("completed"))
    # Of the backfill itself apart: it may not be one of the newest.
    mine = _count(runs, runs.of(backfill), runs.has("completed"))
    waiting = sa.select(sa.func.count()).select_from(runs.table)
    waiting = waiting.where(runs.of(backfill), runs.has("initial"))
    counted = of_each, mine, waiting.scalar_subquery()
    query = table.select(lists.of_pipelines(table, [str(backfill.pipeline_uuid)]))
    query = query.with_only_columns(table.key, *counted)
    query = query.order_by(*lists.newest_first(table)).limit(MOST)
    rows = table.database.execute(query).all()
    own, own_waiting = (rows[0][2], rows[0][3]) if rows else (0, 0)
    key = table.key_of(backfill)
    first = {} if key is None else {key: own}
    return {**first, **{row[0]: row[1] for row in rows if row[0] != key}}, own_waiting


def _count(runs: RunTable, *criteria: t.Any) -> t.Any:
    """How many runs there are, counted no further than is needed."""
    table = runs.backfills.mapper.local_table
    query: t.Any = sa.select(sa.literal_column("1")).select_from(runs.table).where(*criteria)
    beyond = query.correlate(table).limit(1).offset(MOST).scalar_subquery()
    count = query.with_only_columns(sa.func.count()).correlate(table).scalar_subquery()
    return sa.case((beyond.is_not(None), MOST + 1), else_=count)


def _chosen(own: t.Any, counts: dict[t.Any, int]) -> tuple[list[t.Any], list[t.Any]]:
    """The backfills whose runs are read whole, and at most one of which only the ends are."""
    whole: list[t.Any] = []
    room = MOST
    for key, count in counts.items():
        if count > MOST:
            return whole, [key]
        if count or key == own:
            whole.append(key)
            room -= count
        if room <= 0:
            break
    return whole, []


def _rows(runs: RunTable, backfill: t.Any, whole: list[t.Any], long: list[t.Any]) -> t.Any:
    """A SELECT of the runs that run, and of those that have completed."""
    of_it, date = runs.columns["backfill_id"], runs.date
    # History too: the backfill waits for its end.
    parts = [_of(runs, _RUNNING, "running", runs.of(backfill))]
    if whole:
        parts.append(_of(runs, _FINISHED, "completed", of_it.in_(whole)).limit(2 * MOST))
    for key in long:
        one = _of(runs, _FINISHED, "completed", of_it == key)
        for order in ((date, runs.key), (date.desc(), runs.key.desc())):
            parts.append(one.order_by(*order).limit(MOST))
    return sa.union_all(*(sa.select(part.subquery()) for part in parts))


def _of(runs: RunTable, part: int, status: str, *criteria: t.Any) -> t.Any:
    # A part is no parameter: drivers would not know of which type it is.
    found = [sa.literal_column(str(part), sa.Integer()).label("part")]
    names = {"id": "id", "of": "backfill_id", "began": "started_at", "ended": "completed_at"}
    found += [runs.columns[name].label(label) for label, name in names.items()]
    return sa.select(*found).where(runs.has(status), *criteria)


def _spans(rows: Iterable[t.Any]) -> list[Span]:
    """The newest of some rows in seconds, less those that were marked as done by hand."""
    known = (row for row in rows if row.began is not None and row.ended is not None)
    spans = (Span(_seconds(row.began), _seconds(row.ended)) for row in known)
    return sorted(spans, key=lambda one: one.end, reverse=True)[:MOST]


def _seconds(at: datetime) -> float:
    return columns.in_utc(at, True).timestamp()
