"""Whether the host's columns can hold what the fields of a schema read and write."""

from __future__ import annotations

import typing as t
import uuid
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timedelta
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.orm import Mapper
from sqlalchemy.orm import SynonymProperty

from . import columns
from .fields import AsColumn
from .fields import Choice
from .fields import JSONObject
from .fields import Text
from .fields import UTCDateTime
from .fields import WholeNumber
from .schema import ModelSchema

_NUMBERS = (int, float, Decimal)

#: By kind of field, the Python types of the columns that hold its values, and what to declare.
#: JSON, a ``dict`` here, holds texts and numbers too.
HOLDS: dict[type[t.Any], tuple[tuple[type[t.Any], ...], str]] = {
    UTCDateTime: ((datetime,), "a DateTime"),
    WholeNumber: ((*_NUMBERS, dict), "an Integer"),
    Choice: ((str, dict), "a String or an Enum"),
    Text: ((str, dict), "a String"),
    JSONObject: ((dict,), "JSON"),
    AsColumn: ((*_NUMBERS, str, uuid.UUID, dict), "an Integer, a Uuid or a String"),
}

#: The types that columns are known to have. Others, such as an enum's, may hold anything.
_KNOWN = {*_NUMBERS, str, bytes, bool, date, datetime, time, timedelta, uuid.UUID, dict, list}

#: What has to be right even if callers can't write it: runs are planned from it.
_PLANNED = ("start_datetime", "end_datetime")


def check(schema: ModelSchema, base: type[ModelSchema]) -> None:
    """Refuse columns that can't hold what their fields read and write.

    :param base: the schema without what a host has changed. A field of another kind, which a
        host has put there, may fit its column.
    :raises TypeError: naming the model, the column and the cure.
    """
    for name, field in schema.fields.items():
        attribute = field.attribute or name
        column = columns.column_of(schema.mapper, attribute)
        if column is None or _is_converted(schema.mapper, attribute):
            continue
        if type(field) is not type(base._declared_fields.get(attribute)):
            continue
        if field.dump_only and attribute not in _PLANNED:
            continue
        held, wanted = HOLDS[type(field)]
        found = _python_types(column)
        if found and not found & {*held}:
            raise TypeError(
                f"{schema.mapper.class_.__name__}.{attribute} must be {wanted}, not"
                f" {column.type!r}: declare it so, or give it a TypeDecorator that converts"
            )


def _python_types(column: sa.Column[t.Any]) -> set[type[t.Any]]:
    """The types of a column's values, one for each variant; nothing if that is not known."""
    found: set[type[t.Any]] = set()
    for one in (column.type, *column.type._variant_mapping.values()):
        # A type of the host's own may convert its values.
        if not type(one).__module__.startswith("sqlalchemy."):
            return set()
        try:
            kind = dict if isinstance(one, sa.JSON) else one.python_type
        except NotImplementedError:
            return set()
        if kind not in _KNOWN:
            return set()
        found.add(kind)
    return found


def _is_converted(mapper: Mapper[t.Any], attribute: str) -> bool:
    """Whether a synonym has a descriptor of the host's own, which may convert its values."""
    found = mapper.attrs.get(attribute)
    if not isinstance(found, SynonymProperty):
        return False
    getter = getattr(found.descriptor, "fget", None)
    ours = (getattr(getter, "__module__", None) or "").startswith("sqlalchemy.")
    return not ours or _is_converted(mapper, found.name)
