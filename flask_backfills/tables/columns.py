"""Facts about the columns of the host's models: their types and limits."""

from __future__ import annotations

import re
import typing as t
import uuid
from contextlib import suppress
from datetime import datetime
from datetime import timezone
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import ColumnProperty
from sqlalchemy.orm import Mapper
from sqlalchemy.orm import SynonymProperty
from sqlalchemy.types import TypeDecorator
from sqlalchemy.types import TypeEngine


def mapper_of(model: type[t.Any]) -> Mapper[t.Any]:
    """The mapper of a model with a primary key of one column.

    :raises TypeError: if ``model`` is no such class.
    """
    mapper = sa.inspect(model, raiseerr=False)
    if not isinstance(mapper, Mapper):
        raise TypeError(
            f"{model!r} is not a mapped class: pass a model, such as a subclass of db.Model"
        )
    if len(mapper.primary_key) != 1:
        raise TypeError(f"{model.__name__} must have a primary key of a single column")
    return mapper


def require(model: type[t.Any], *attributes: str) -> None:
    """Check that a model maps the attributes that the routes need.

    :raises TypeError: naming the first that is missing.
    """
    mapper_of(model)
    for attribute in attributes:
        if not hasattr(model, attribute):
            raise TypeError(
                f"{model.__name__} has no attribute {attribute}: add a column of that name, or"
                " map an existing column to it with sqlalchemy.orm.synonym"
            )


def key_attribute(mapper: Mapper[t.Any]) -> str:
    """The name of the attribute that holds the primary key."""
    return mapper.get_property_by_column(key_column(mapper)).key


def key_column(mapper: Mapper[t.Any]) -> sa.Column[t.Any]:
    """The column of the primary key."""
    return t.cast("sa.Column[t.Any]", mapper.primary_key[0])


def mapped_as(mapper: Mapper[t.Any], attribute: str) -> str | None:
    """The name under which a column is mapped, behind any synonym; ``None`` if none is."""
    found = mapper.attrs.get(attribute)
    while isinstance(found, SynonymProperty):
        found = mapper.attrs.get(found.name)
    return found.key if isinstance(found, ColumnProperty) else None


def column_of(mapper: Mapper[t.Any], attribute: str) -> sa.Column[t.Any] | None:
    """The column behind an attribute; ``None`` for an expression or what is not mapped."""
    key = mapped_as(mapper, attribute)
    column = mapper.attrs[key].columns[0] if key else None
    return column if isinstance(column, sa.Column) else None


def is_generated(column: sa.Column[t.Any]) -> bool:
    """Whether the database alone writes a column: it refuses what others give it."""
    identity = column.identity
    return column.computed is not None or (identity is not None and bool(identity.always))


def is_written(mapper: Mapper[t.Any], attribute: str) -> bool:
    """Whether an attribute is a column that can be written."""
    column = column_of(mapper, attribute)
    return column is not None and not is_generated(column)


def plain_type(column: sa.Column[t.Any]) -> TypeEngine[t.Any]:
    """The column's type, without the host's decorators."""
    type_: TypeEngine[t.Any] = column.type
    while isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance
    return type_


@lru_cache(maxsize=1_000)
def python_type(column: sa.Column[t.Any]) -> type[t.Any]:
    """``int``, ``uuid.UUID`` or ``str``: how the column's values look in Python."""
    try:
        found = column.type.python_type
    except NotImplementedError:
        return str
    return found if found in (int, uuid.UUID) else str


def exact(column: t.Any, dialect: sa.Dialect) -> t.Any:
    """What a column of text holds, to compare it character by character, whatever its collation."""
    if dialect.name in ("mysql", "mariadb"):
        # As bytes: each of its collations takes a space at the end for nothing.
        return sa.cast(sa.cast(column, mysql.CHAR(charset="utf8mb4")), sa.BINARY)
    if dialect.name == "postgresql":
        return sa.collate(sa.cast(column, sa.Text), "C")
    return sa.collate(column, "BINARY")


@lru_cache(maxsize=1_000)
def integer_range(column: sa.Column[t.Any]) -> tuple[int, int]:
    """The least and the greatest integer that the column holds on every database."""
    type_ = plain_type(column)
    bits = (
        64 if isinstance(type_, sa.BigInteger) else 16 if isinstance(type_, sa.SmallInteger) else 32
    )
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def is_aware(column: sa.Column[t.Any]) -> bool:
    """Whether the column's datetimes carry a time zone, be it that the host's decorator asks so."""
    return bool(getattr(plain_type(column), "timezone", False)) or (
        isinstance(column.type, TypeDecorator) and _refuses_naive(column.type)
    )


@lru_cache(maxsize=1_000)
def _refuses_naive(type_: TypeDecorator[t.Any]) -> bool:
    """Whether a type takes datetimes with a time zone alone, as that of SQLAlchemy's own recipe."""
    process = type_.bind_processor(DefaultDialect())
    if process is None or not isinstance(type_.impl_instance, (sa.DateTime, TypeDecorator)):
        return False
    moment = datetime(2000, 1, 1)
    try:
        process(moment)
        return False
    except Exception:
        with suppress(Exception):
            process(moment.replace(tzinfo=timezone.utc))
            return True
        return False


#: The digits of a fraction of a second that a column stores where its type does not say.
_DIGITS = {"mysql": 0, "mariadb": 0, "postgresql": 6}


def digits(column: sa.Column[t.Any], dialect: sa.Dialect) -> int:
    """How many digits of a fraction of a second a column of datetimes stores: 6 for all of them.

    PostgreSQL rounds what has more. MySQL and MariaDB cut or round it, as they are set.
    """
    if dialect.name not in _DIGITS:
        return 6
    # What drivers make of a type has lost them.
    declared = re.search(r"\((\d)\)", column.type.compile(dialect=dialect))
    return min(int(declared[1]), 6) if declared else _DIGITS[dialect.name]


def in_utc(moment: datetime, aware: bool) -> datetime:
    """The same moment in UTC, naive or aware; one without an offset is in UTC already.

    :raises OverflowError: if it is before year 1 or after year 9999 there.
    """
    if moment.tzinfo is None:
        if not aware:
            return moment
        moment = moment.replace(tzinfo=timezone.utc)
    moment = moment.astimezone(timezone.utc)
    return moment if aware else moment.replace(tzinfo=None)


#: NUL, and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

#: Columns that hold one value each, and no object or array.
_PLAIN = (sa.String, sa.Numeric, sa.Integer, sa.Boolean, sa.DateTime, sa.Date)


def refusal(column: sa.Column[t.Any] | None, value: t.Any) -> str | None:
    """Why no database stores a value in a column, whatever field has read it."""
    if isinstance(value, (dict, list)) and column is not None and isinstance(column.type, _PLAIN):
        return "Must not be an object or an array."
    return None if _all_storable(value) else "Must not contain NUL or an unpaired surrogate."


def _all_storable(value: t.Any) -> bool:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return all(map(_all_storable, value)) and all(map(_all_storable, value.values()))
    return not isinstance(value, (list, tuple)) or all(map(_all_storable, value))


def storable(value: str) -> bool:
    """Whether every database can store a text."""
    return _UNSTORABLE.search(value) is None
