"""Statements that are made once: to make one takes longer than to send it."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping

import sqlalchemy as sa

from .database import Database


class Prepared:
    """The statements of a host's table that workers send all the time."""

    def __init__(self, database: Database, table: sa.Table) -> None:
        self.database = database
        self.table = table
        # What begins the names of parameters begins the name of no column: SQLAlchemy would take
        # them for its value.
        self._prefix = "_"
        while any(key.startswith(self._prefix) for key in table.columns.keys()):
            self._prefix += "_"
        self._made: dict[tuple[t.Hashable, ...], t.Any] = {}

    def name(self, of: str) -> str:
        """The name of a parameter, which is the name of no column."""
        return f"{self._prefix}{of}"

    def once(self, key: tuple[t.Hashable, ...], make: Callable[[], t.Any]) -> t.Any:
        """What was made for a key, and for the dialect of the database."""
        key = (self.database.dialect.name, *key)
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def update(
        self,
        values: Mapping[str, t.Any],
        held: Mapping[sa.Column[t.Any], t.Any],
        connection: sa.Connection | None = None,
    ) -> int:
        """Write values, by the keys of their columns, to the rows that hold others.

        :param connection: another one than the session's.
        :returns: how many there were.
        """
        computed = {key: one for key, one in values.items() if isinstance(one, sa.ClauseElement)}
        plain = [key for key in values if key not in computed]
        known = [column for column, one in held.items() if one is not None]
        unknown = [column for column, one in held.items() if one is None]
        query = self.once(
            ("update", *plain, None, *known, None, *unknown),
            lambda: self._update(plain, known, unknown),
        )
        if computed:
            query = query.values(computed)
        sent = {self.name(f"new_{key}"): values[key] for key in plain}
        sent |= {self.name(f"held_{column.key}"): held[column] for column in known}
        execute = connection.execute if connection is not None else self.database.execute
        return t.cast(int, execute(query, sent).rowcount)

    def _update(self, plain: list[str], known: list[t.Any], unknown: list[t.Any]) -> t.Any:
        columns = self.table.columns
        new = {key: sa.bindparam(self.name(f"new_{key}"), type_=columns[key].type) for key in plain}
        same = [holds(one, self.name(f"held_{one.key}")) for one in known]
        return sa.update(self.table).where(*same, *(one.is_(None) for one in unknown)).values(new)


def holds(column: sa.Column[t.Any], name: str) -> t.Any:
    """The criterion that a column holds what the parameter of a name is."""
    return column == sa.bindparam(name, type_=column.type)
