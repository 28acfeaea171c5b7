"""Which errors the runs of a backfill have: each one whole, or those of a kind as one.

The terminal shows each error once and whole, a page at a time: there, people read what went wrong.
Only equal texts are one error for it. The console has a line for each kind of error, so it reads
no more of a text than is compared, and :mod:`flask_backfills.rules.failures` groups them.
"""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from ..rules.failures import COMPARED
from ..rules.failures import Seen
from ..rules.failures import shape_of
from ..tables import columns
from ..tables.run_table import RunTable

#: Different errors that are read to be shown, the most frequent first. Each of 100,000 runs may
#: have another.
MOST = 2_000


class Recorded(t.NamedTuple):
    """Runs of one status that have the same error."""

    status: str
    error: str | None
    run_count: int
    #: The lowest and the highest key: where keys are dates, the first and the last.
    first_key: str
    last_key: str


def recorded(
    runs: RunTable, backfill: t.Any, status: str | None, offset: int, limit: int
) -> tuple[list[Recorded], int]:
    """A page of the errors of the wanted runs of a backfill, and how many there are.

    The most frequent comes first. Two statements.

    :param status: only runs with this status, those without an error too; ``None`` for all runs
        that have an error.
    """
    error = runs.columns.get("error")
    if error is None:
        return [], 0
    of_these = error.is_not(None) if status is None else runs.has(status)
    query = sa.select(
        runs.columns["status"], _exact(runs, error).label("error"), runs.columns["key"]
    )
    one = query.where(runs.of(backfill), of_these, *runs.wanted_only()).subquery().c
    word, key = one[0], one[2]
    count, first = sa.func.count(), sa.func.min(key)
    query = sa.select(word, one.error, count, first, sa.func.max(key)).group_by(word, one.error)
    total = runs.database.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar()
    page = query.order_by(count.desc(), first, word).offset(offset).limit(limit)
    found = [
        Recorded(runs.word(word), _text(text), *rest)
        for word, text, *rest in runs.database.execute(page)
    ]
    return found, total or 0


def are_told(runs: RunTable) -> bool:
    """Whether the model maps errors that the database can compare."""
    column = runs.columns.get("error")
    return column is not None and isinstance(columns.plain_type(column), sa.String)


def seen(runs: RunTable, backfill: t.Any, most: int = MOST) -> list[Seen]:
    """The errors that wanted runs of a backfill have failed with, the most frequent first.

    One SELECT: the database counts them.

    :param most: how many different ones are read.
    """
    failed = sa.select(_compared(runs).label("error"), runs.date.label("date"))
    failed = failed.where(*failed_only(runs, backfill))
    one = failed.subquery().c
    count, date = sa.func.count(), one.date
    query = sa.select(one.error, count, sa.func.min(date), sa.func.max(date)).group_by(one.error)
    query = query.order_by(count.desc(), one.error).limit(most)
    return [
        Seen(_text(error), number, *(at and columns.in_utc(at, False) for at in (first, last)))
        for error, number, first, last in runs.database.execute(query)
    ]


def has_one_of(runs: RunTable, errors: t.Collection[str | None]) -> t.Any:
    """The criterion that a run has one of some errors, as far as they are compared."""
    if not are_told(runs):
        return sa.false()
    error = _compared(runs)
    texts: list[t.Any] = [one for one in errors if one is not None]
    if runs.database.mysql and _is_plain(runs):
        texts = [one.encode() for one in texts]
    found: t.Any = error.in_(texts)
    return found | error.is_(None) if None in errors else found


def alike(runs: RunTable, backfill: t.Any, name: str) -> list[t.Any]:
    """The ids of all wanted runs of a backfill that have failed with an error of a group.

    No more of an error is read than is compared, but that of each failed run.

    :param name: that of the group, as :meth:`Shape.name` gives it.
    """
    if not are_told(runs):
        return []
    query = sa.select(runs.columns["id"], _compared(runs).label("error"))
    query = query.where(*failed_only(runs, backfill))
    names: dict[t.Any, bool] = {}
    found = []
    for key, error in runs.database.execute(runs.database.latest(query)):
        if error not in names:
            names[error] = shape_of(_text(error)).name() == name
        if names[error]:
            found.append(key)
    return found


def failed_only(runs: RunTable, backfill: t.Any) -> tuple[t.Any, ...]:
    """The criterion that a run of a backfill has failed and is no history."""
    return runs.of(backfill), runs.has("failed"), *runs.wanted_only()


def _compared(runs: RunTable) -> t.Any:
    """The error of a run, as far as it is compared."""
    column = runs.columns["error"]
    return _exact(runs, sa.func.substr(column, 1, COMPARED)) if _is_plain(runs) else column


def _exact(runs: RunTable, error: t.Any) -> t.Any:
    """An error, so that only equal texts are one, whatever the collation of the column."""
    return columns.exact(error, runs.database.dialect) if _is_plain(runs) else error


def _is_plain(runs: RunTable) -> bool:
    """Whether the column holds the text itself, and not what a type of the host's makes of it."""
    column = runs.columns["error"]
    return columns.plain_type(column) is column.type and isinstance(column.type, sa.String)


def _text(error: t.Any) -> str | None:
    # As bytes where a collation of MySQL would take some texts for the same.
    return error.decode("utf-8", "replace") if isinstance(error, bytes) else error
