"""Inserts many rows at a time: sent as one text, of which the database makes the rows.

Binding each value of a row takes Python several times as long as the database takes to store
the row. So what the rows have in common is bound once, and the rest is sent as JSON.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

AnyType = TypeEngine[t.Any]

#: From the values of a column to what is sent for them.
Texts = Callable[[Sequence[t.Any]], Sequence[t.Any]]

#: Tells one format from another: its parts differ, and each has leading zeros.
_ODD = datetime(1, 2, 3, 4, 5, 6, 7)

_encode = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode

_TEXT = sa.bindparam("rows", type_=sa.Text())


class BulkInsert:
    """An INSERT of rows that have most of their values in common.

    Made by :func:`bulk_insert`. It is executed with what :meth:`parameters` returns.
    """

    def __init__(
        self,
        table: sa.Table,
        dialect: sa.Dialect,
        same: Mapping[str, t.Any],
        own: Sequence[sa.Column[t.Any]],
    ) -> None:
        types = [column.type.dialect_impl(dialect) for column in own]
        self._texts = [_texts_of(type_, dialect) for type_ in types]
        self._by_column = dialect.name == "postgresql"
        given: list[t.Any] = [
            value if isinstance(value, sa.ClauseElement) else sa.literal(value, table.c[key].type)
            for key, value in same.items()
        ]
        select = sa.select(*given, *_READ[dialect.name](types))
        names = [*same, *(column.key for column in own)]
        self.statement = sa.insert(table).from_select(names, select)

    def parameters(self, values: Iterable[Sequence[t.Any]]) -> dict[str, str]:
        """What to execute the statement with.

        :param values: for each column of ``own``, its values in the order of the rows.
        """
        columns: list[Sequence[t.Any]] = []
        before: tuple[t.Any, Sequence[t.Any]] = (None, ())
        for texts_of, column in zip(self._texts, values, strict=True):
            if texts_of is before[0] and column[:-1] == before[1][1:]:
                # Where each run ends when the next begins, its end has been written already.
                columns.append([*columns[-1][1:], *texts_of(column[-1:])])
            else:
                columns.append(texts_of(column))
            before = texts_of, column
        sent = columns if self._by_column else list(zip(*columns, strict=True))
        return {"rows": _encode(sent)}


def bulk_insert(
    table: sa.Table,
    dialect: sa.Dialect,
    same: Mapping[str, t.Any],
    own: Sequence[sa.Column[t.Any]],
) -> BulkInsert | None:
    """Make the INSERT; ``None`` where the same rows would not be stored that way.

    This is so if the database doesn't read JSON, if a column of ``own`` holds something else
    than texts and moments, or if Python has to compute a default for each row.

    :param same: by column key, the values that all rows have.
    :param own: the columns of which each row has a value of its own.
    """
    written = {*same, *(column.key for column in own)}
    left = [column.default for column in table.c if column.key not in written]
    computed = any(default is not None and default.is_callable for default in left)
    if computed or not _reads_json(dialect) or not all(_is_plain(one, dialect) for one in own):
        return None
    return BulkInsert(table, dialect, same, own)


def _reads_json(dialect: sa.Dialect) -> bool:
    version = getattr(dialect, "server_version_info", None) or ()
    if dialect.name == "sqlite":
        # Before, it was an option when SQLite was built.
        return version >= (3, 38)
    if dialect.name in ("mysql", "mariadb"):
        return version >= ((10, 6) if getattr(dialect, "is_mariadb", False) else (8, 0, 4))
    return dialect.name == "postgresql"


def _is_plain(column: sa.Column[t.Any], dialect: sa.Dialect) -> bool:
    """Whether a column's values are texts or moments, stored by nothing of the host's own."""
    type_ = column.type.dialect_impl(dialect)
    if not isinstance(type_, (sa.String, sa.DateTime)) or isinstance(type_, sa.Enum):
        # A TypeDecorator is neither.
        return False
    return type_.bind_expression(sa.bindparam(None)) is None


def _texts_of(type_: AnyType, dialect: sa.Dialect) -> Texts:
    """From values to the texts that the driver would send for them."""
    process = type_.bind_processor(dialect)
    if isinstance(type_, sa.DateTime):
        if dialect.name == "postgresql":
            return _with_offset
        if process is None or process(_ODD) == _ODD.isoformat(" ", "microseconds"):
            # On SQLite, Python's own is many times as fast.
            return _with_microseconds
    if process is None:
        return list
    return lambda values: [process(value) for value in values]


def _with_offset(values: Sequence[t.Any]) -> list[str | None]:
    return [value and str(value) for value in values]


def _with_microseconds(values: Sequence[t.Any]) -> list[str | None]:
    return [value and value.isoformat(" ", "microseconds")[:26] for value in values]


def _sqlite(types: Sequence[AnyType]) -> list[t.Any]:
    row = sa.func.json_each(_TEXT).table_valued("value").c.value
    paths = [f"'$[{index}]'" for index in range(len(types))]
    return [sa.func.json_extract(row, sa.literal_column(path)) for path in paths]


def _postgresql(types: Sequence[AnyType]) -> list[t.Any]:
    found = []
    for index, type_ in enumerate(types):
        each = sa.func.json_array_elements_text(sa.cast(_TEXT, sa.JSON)[index])
        # A text is cut by a cast to its column, where it is too long, and refused by an INSERT.
        found.append(sa.cast(each, type_) if isinstance(type_, sa.DateTime) else each)
    return found


def _mysql(types: Sequence[AnyType]) -> list[t.Any]:
    names = [f"c{index}" for index in range(len(types))]
    read = ", ".join(f"{name} TEXT PATH '$[{index}]'" for index, name in enumerate(names))
    parts: t.Any = sa.literal_column(f"'$[*]' COLUMNS ({read})")
    return list(sa.func.json_table(_TEXT, parts).table_valued(*names).c)


#: What a SELECT of each row's own values has, by dialect.
_READ: dict[str, Callable[[Sequence[AnyType]], list[t.Any]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "mysql": _mysql,
    "mariadb": _mysql,
}
