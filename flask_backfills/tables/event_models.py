"""What of a host's event model can't work: refused when the blueprint is registered."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.types import NullType
from sqlalchemy.types import TypeDecorator
from sqlalchemy.types import UserDefinedType

from ..rules.history import ACTIONS
from . import columns
from .fields import Choice
from .models import AnyMapper
from .models import check_filled
from .models import check_types
from .models import require_polymorphic
from .schema import ModelSchema

#: The attributes that an event can't do without.
NEEDED = ("backfill_id", "created_at", "action", "changes")

#: What an event has at some times alone.
EMPTIED = ("actor", "run_key", "run_count")

TYPES: dict[str, type[t.Any]] = {
    "created_at": sa.DateTime,
    "actor": sa.String,
    "action": sa.String,
    "changes": sa.JSON,
    "run_key": sa.String,
    "run_count": sa.Integer,
}


def check_events(
    schema: ModelSchema, mapped: Mapping[str, sa.Column[t.Any]], backfills: AnyMapper
) -> None:
    """Refuse a model of events that can't be written in the transaction of a change.

    :param mapped: its columns, by attribute.
    :raises TypeError: naming the model and the cure.
    """
    mapper = schema.mapper
    name = mapper.class_.__name__
    if not isinstance(mapper.persist_selectable, sa.Table) or mapper.version_id_col is not None:
        raise TypeError(
            f"the rows of {name} are written into one table, without a version_id_col: pass a model"
            " with all its columns in one table"
        )
    require_polymorphic(mapper)
    for attribute in NEEDED:
        if attribute not in mapped:
            raise TypeError(
                f"{name}.{attribute} must be a column: map one, or give it the name with"
                " sqlalchemy.orm.synonym"
            )
    check_types(mapper, mapped, backfills)
    for attribute, column in mapped.items():
        _check_column(name, attribute, column)
    _check_action(name, schema, mapped["action"])
    if {key.column.table for key in mapped["backfill_id"].foreign_keys} & {*backfills.tables}:
        raise TypeError(
            f"{name}.backfill_id must not have a foreign key, since the events of a deleted"
            " backfill stay: declare the column without one"
        )
    keys = [
        t.cast(sa.Table, one.local_table).metadata.info.get("bind_key")
        for one in (mapper, backfills)
    ]
    if keys[0] != keys[1]:
        raise TypeError(apart(mapper, backfills))
    filled = {column.key for attribute, column in mapped.items() if attribute != "id"}
    check_filled(mapper, mapped, filled, "event")


def apart(mapper: AnyMapper, backfills: AnyMapper) -> str:
    """What to say of a table that is in another database than the table of backfills."""
    return (
        f"the table of {mapper.class_.__name__} must be in the database of"
        f" {backfills.class_.__name__}, in whose transactions it is written: give both the same"
        " bind"
    )


def _check_column(name: str, attribute: str, column: sa.Column[t.Any]) -> None:
    kind = TYPES.get(attribute)
    # A type of the host's own may hold anything.
    is_own = isinstance(column.type, (TypeDecorator, UserDefinedType, NullType))
    if kind is not None and not is_own and not isinstance(column.type, kind):
        raise TypeError(f"{name}.{attribute} must be a {kind.__name__}, not {column.type!r}")
    if attribute in EMPTIED and not column.nullable:
        raise TypeError(f"{name}.{attribute} must be nullable: not every event has one")
    if attribute != "id" and columns.is_generated(column):
        raise TypeError(
            f"{name}.{attribute} must not be computed, since this package writes it: rename the"
            " attribute, or make it a plain column"
        )


def _check_action(name: str, schema: ModelSchema, column: sa.Column[t.Any]) -> None:
    """Refuse a column that can't hold each action."""
    known = t.cast(Choice, schema.fields["action"]).members
    kind = columns.plain_type(column)
    length = None if isinstance(kind, sa.Enum) else getattr(kind, "length", None)
    lacking = [word for word in ACTIONS if word not in known or (length and len(word) > length)]
    if lacking:
        raise TypeError(
            f"{name}.action can't hold {', '.join(lacking)}: use a String(32), or an Enum with all"
            " of these"
        )
