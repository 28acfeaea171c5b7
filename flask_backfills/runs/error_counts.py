"""The errors of the runs of a backfill, each one once: how many runs have it, and which."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from ..tables.run_table import RunTable


class Failure(t.NamedTuple):
    """Runs of one status that have the same error."""

    status: str
    error: str | None
    run_count: int
    #: The lowest and the highest key: where keys are dates, the first and the last.
    first_key: str
    last_key: str


def failures(
    runs: RunTable, backfill: t.Any, status: str | None, offset: int, limit: int
) -> tuple[list[Failure], int]:
    """A page of the errors of the wanted runs of a backfill, and how many there are.

    The most frequent comes first. Two statements.

    :param status: only runs with this status, those without an error too; ``None`` for all runs
        that have an error.
    """
    error = runs.columns.get("error")
    if error is None:
        return [], 0
    of_these = error.is_not(None) if status is None else runs.has(status)
    status_column, key = runs.columns["status"], runs.columns["key"]
    count, first = sa.func.count(), sa.func.min(key)
    query = sa.select(status_column, error, count, first, sa.func.max(key))
    query = query.where(runs.of(backfill), of_these, *runs.wanted_only())
    query = query.group_by(status_column, error)
    total = runs.database.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar()
    page = query.order_by(count.desc(), first, status_column).offset(offset).limit(limit)
    found = [
        Failure(runs.word(word), text, *rest) for word, text, *rest in runs.database.execute(page)
    ]
    return found, total or 0
