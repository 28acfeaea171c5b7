"""Inserts the runs that a plan adds."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from ..rules.plan import Wanted
from ..tables import columns
from ..tables.bulk import bulk_insert
from ..tables.run_table import RunTable

#: What each run has of its own, in the order of :class:`~flask_backfills.rules.plan.Wanted`.
_OWN = ("key", "execution_date", "interval_end_datetime", "variables")


class Addition:
    """The runs that a backfill gets, a chunk of rows at a time."""

    def __init__(self, table: RunTable, backfill: t.Any) -> None:
        self.table = table
        self._own = {name: table.columns[name] for name in _OWN if name in table.columns}
        #: By column, what they have in common; with a null where a run has no variables of its own.
        self._same = table.discriminator | table.row(
            backfill_id=table.backfills.key_of(backfill),
            pipeline_uuid=backfill.pipeline_uuid,
            status="initial",
            attempt=1,
            wanted=True,
        )
        if "variables" in self._own:
            self._same[self._own["variables"].key] = sa.null()
        dated = [column for name, column in self._own.items() if name != "variables"]
        dialect = table.database.dialect
        self._bulk = bulk_insert(table.table, dialect, self._same, dated)

    def add(self, wanted: list[Wanted]) -> None:
        """Insert a run for each of those wanted."""
        given = dict(zip(_OWN, zip(*wanted, strict=True), strict=True))
        if all(variables is None for variables in given["variables"]):
            del given["variables"]
        self._insert(given)

    def add_dated(self, keys: list[str], dates: list[datetime], ends: list[datetime]) -> None:
        """Insert runs that are known by their dates."""
        self._insert({"key": keys, "execution_date": dates, "interval_end_datetime": ends})

    def _insert(self, given: Mapping[str, Sequence[t.Any]]) -> None:
        own = {
            column.key: _held(column, given[name])
            for name, column in self._own.items()
            if name in given
        }
        statement: t.Any
        sent: t.Any
        if self._bulk is not None and "variables" not in given:
            statement, sent = self._bulk.statement, self._bulk.parameters(own.values())
        else:
            statement = sa.insert(self.table.table)
            rows = zip(*own.values(), strict=True)
            sent = [{**self._same, **dict(zip(own, row, strict=True))} for row in rows]
        self.table.database.execute(statement, sent)


def _held(column: sa.Column[t.Any], values: Sequence[t.Any]) -> Sequence[t.Any]:
    """Values as a column holds them."""
    if isinstance(column.type, sa.JSON):
        return [sa.null() if value is None else value for value in values]
    if columns.is_aware(column):
        return [value and columns.in_utc(value, True) for value in values]
    return values
