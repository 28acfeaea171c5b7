"""The runs of a backfill for a grid: each one where they are few, or counted by cell.

The database counts: a hundred thousand runs are read as one row for each cell and status.
"""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from ..tables import columns
from ..tables.run_table import moment
from ..tables.run_table import RunTable

#: Characters of an error that are read.
_SHORT = 300


class One(t.NamedTuple):
    """A run that has a cell of its own."""

    id: t.Any
    key: str
    #: Naive and in UTC; ``None`` for a generator's run without a date.
    date: datetime | None
    status: str
    error: str | None


class Several:
    """Runs that share a cell."""

    def __init__(self) -> None:
        #: How many have each status.
        self.counts: Counter[str] = Counter()
        #: The first and the last of their keys, where they have no dates.
        self.keys: list[str] = []
        self.error: str | None = None

    def add(self, status: str, count: int, error: str | None, *keys: str) -> None:
        self.counts[status] += count
        self.error = error or self.error
        self.keys += keys


class Extent(t.NamedTuple):
    """How far the runs of a backfill go."""

    dated: int
    undated: int
    first: datetime
    last: datetime


def few(runs: RunTable, backfill: t.Any, most: int) -> list[One] | None:
    """The wanted runs of a backfill in their order; ``None`` if there are more than so many."""
    names = ("id", "key", "execution_date", "status")
    query = sa.select(*(runs.columns[name] for name in names), _error(runs))
    query = query.where(runs.of(backfill), *runs.wanted_only()).limit(most + 1)
    found = [
        One(id_, key, date and columns.in_utc(date, False), runs.word(status), error)
        for id_, key, date, status, error in runs.database.execute(query)
    ]
    # Not by the database, which would have to sort all runs to give the first.
    found.sort(key=lambda one: (one.date is None, one.date or datetime.min, one.key))
    return None if len(found) > most else found


def extent(runs: RunTable, backfill: t.Any) -> Extent:
    """How many wanted runs a backfill has, and between which dates."""
    date = runs.date
    query = sa.select(
        sa.func.count(date), sa.func.count(), sa.func.min(date), sa.func.max(date)
    ).select_from(runs.table)
    query = query.where(runs.of(backfill), *runs.wanted_only())
    dated, total, first, last = runs.database.execute(query).one()
    ends = (columns.in_utc(one, False) if one else datetime.min for one in (first, last))
    return Extent(dated, total - dated, *ends)


def by_date(runs: RunTable, backfill: t.Any, edges: Sequence[datetime]) -> dict[int, Several]:
    """The wanted runs of a backfill that have a date, by the cell that it is in.

    :param edges: where cells begin, and the last one ends, ascending; naive and in UTC.
    """
    date = runs.date

    def place(low: int, high: int) -> t.Any:
        # Halved each time, so that a run is compared with few of hundreds of edges.
        if low == high:
            return sa.literal_column(str(low), sa.Integer())
        middle = (low + high + 1) // 2
        before = date < moment(date, edges[middle])
        return sa.case((before, place(low, middle - 1)), else_=place(middle, high))

    query = sa.select(
        place(0, len(edges) - 2).label("place"),
        runs.columns["status"].label("status"),
        _error(runs),
    ).where(runs.of(backfill), date.is_not(None), *runs.wanted_only())
    return _counted(runs, query, [])


def without_date(runs: RunTable, backfill: t.Any, most: int) -> dict[int, Several]:
    """The wanted runs that have no date, in at most so many cells of equal length."""
    key = runs.columns["key"]
    query = sa.select(
        sa.func.ntile(most).over(order_by=(key, runs.columns["id"])).label("place"),
        runs.columns["status"].label("status"),
        _error(runs),
        key.label("key"),
    ).where(runs.of(backfill), runs.date.is_(None), *runs.wanted_only())
    return _counted(runs, query, ["key"])


def _counted(runs: RunTable, query: t.Any, names: list[str]) -> dict[int, Several]:
    run = query.subquery().c
    keys = [ends(run[name]) for name in names for ends in (sa.func.min, sa.func.max)]
    counted = sa.select(run.place, run.status, sa.func.count(), sa.func.max(run.error), *keys)
    counted = counted.group_by(run.place, run.status).order_by(run.place)
    found: dict[int, Several] = {}
    for place, status, count, error, *ends in runs.database.execute(counted):
        found.setdefault(place, Several()).add(runs.word(status), count, error, *ends)
    return found


def _error(runs: RunTable) -> t.Any:
    error = runs.columns.get("error")
    found = sa.null() if error is None else sa.func.substr(error, 1, _SHORT)
    return found.label("error")
