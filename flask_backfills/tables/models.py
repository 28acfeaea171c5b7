"""What of a host's models can't work: refused when the blueprint is registered."""

from __future__ import annotations

import inspect
import typing as t
from collections.abc import Mapping
from datetime import date
from datetime import time
from datetime import timedelta
from decimal import Decimal
from enum import Enum

import sqlalchemy as sa
from marshmallow import RAISE
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapper
from sqlalchemy.types import NullType
from sqlalchemy.types import TypeDecorator

from ..rules.lifecycle import STATUSES
from . import columns
from .fields import Choice
from .schema import BackfillSchema
from .schema import ModelSchema

AnyMapper = Mapper[t.Any]

#: What each new run is given; of the last ones, a null where a run has none.
GIVEN = "backfill_id pipeline_uuid key status attempt wanted execution_date".split()
GIVEN += ["interval_end_datetime", "variables"]

#: What a run has at some times alone.
EMPTIED = "queued_at started_at completed_at error metrics heartbeat_at available_at".split()
EMPTIED += ["worker", "variables"]

#: Values that the path of a URL can't name exactly.
_NO_NAMES = (bool, float, Decimal, date, time, timedelta, bytes, dict, list, Enum)


def check_backfills(schema: BackfillSchema) -> None:
    """Refuse a model of backfills that can't be served.

    :raises TypeError: naming the model and the cure.
    """
    mapper = schema.mapper
    _check_name(mapper, "primary key", columns.key_column(mapper))
    _check_name(mapper, "pipeline_uuid", columns.column_of(mapper, "pipeline_uuid"))
    pipeline = columns.mapped_as(mapper, "pipeline_uuid") or "pipeline_uuid"
    _check_fields(schema)
    for name in arguments(mapper.class_):
        if (columns.mapped_as(mapper, name) or name) != pipeline and name not in schema.keys:
            raise TypeError(
                f"{mapper.class_.__name__}() requires {name}, which a request can't give: give that"
                f" argument of its __init__ a default, or add {name} to the schema"
            )


def check_runs(
    mapper: AnyMapper, mapped: Mapping[str, sa.Column[t.Any]], backfills: AnyMapper
) -> None:
    """Refuse a model of runs whose rows can't be written as they are: many at a time.

    :param mapped: its columns, by attribute.
    :raises TypeError: naming the model and the cure.
    """
    _check_table(mapper)
    _check_name(mapper, "primary key", mapped["id"])
    check_types(mapper, mapped, backfills)
    name = mapper.class_.__name__
    for attribute, column in mapped.items():
        if attribute != "id" and columns.is_generated(column):
            raise TypeError(
                f"{name}.{attribute} must not be computed, since this package writes it: rename"
                " the attribute, or make it a plain column"
            )
        if attribute in EMPTIED and not column.nullable:
            raise TypeError(
                f"{name}.{attribute} must be nullable: it is empty while a run has none"
            )
    filled = {mapped[attribute].key for attribute in GIVEN if attribute in mapped}
    check_filled(mapper, mapped, filled, "run")


def check_filled(
    mapper: AnyMapper, mapped: Mapping[str, sa.Column[t.Any]], filled: set[str], what: str
) -> None:
    """Refuse columns of a table that nothing fills in a new row."""
    filled = filled | discriminator(mapper).keys()
    for column in mapped["id"].table.columns:
        if column.key not in filled and is_never_filled(column):
            raise TypeError(
                f"the column {column.name} of {mapper.class_.__name__} must not be null, and"
                f" nothing fills it in a new {what}: give it a default= or a server_default=, or"
                " make it nullable"
            )


def _check_fields(schema: BackfillSchema) -> None:
    """Refuse fields that take a value which is stored nowhere, and a schema that lacks some."""
    name = type(schema).__name__
    # What names a backfill, and what workers look up: it may be renamed with data_key=.
    for needed, there in (
        ("id", schema.dump_fields),
        ("pipeline_uuid", schema.fields),
        ("status", schema.fields),
    ):
        if needed not in there:
            raise TypeError(f"{name} must have {needed}: leave it out of exclude= and load_only=")
    if not isinstance(schema.fields["status"], Choice):
        raise TypeError(
            f"{name}.status must be the field of BackfillSchema, which knows the statuses: don't"
            " replace it; Meta.dump_only makes it read-only"
        )
    if schema.unknown != RAISE:
        raise TypeError(f"{name} must refuse unknown keys: leave out unknown= and Meta.unknown")
    model = schema.mapper.class_
    for attribute, key in schema.keys.items():
        mapped = schema.mapper.attrs.get(attribute)
        is_read_alone = columns.mapped_as(schema.mapper, attribute) is not None and (
            not columns.is_written(schema.mapper, attribute)
        )
        found = inspect.getattr_static(model, attribute, None)
        setter = getattr(found, "fset", None) or (
            mapped is not None or not isinstance(found, (property, hybrid_property, type(None)))
        )
        if key not in schema.closed and (is_read_alone or not setter):
            raise TypeError(
                f"{name}.{key} can be written, and {model.__name__}.{attribute} can't: map a column"
                " of that name, or make the field dump_only=True"
            )


def check_statuses(model: type[t.Any], schema: ModelSchema) -> None:
    """Refuse a column that can't hold each status.

    :raises TypeError: naming the words that it lacks.
    """
    missing = set(STATUSES) - t.cast(Choice, schema.fields["status"]).members.keys()
    if missing:
        words = ", ".join(sorted(missing))
        raise TypeError(f"the status column of {model.__name__} must also accept {words}")


def discriminator(mapper: AnyMapper) -> dict[str, t.Any]:
    """What tells a row of the model from those of others in its table, by column."""
    column = mapper.polymorphic_on
    if column is None or mapper.polymorphic_identity is None:
        return {}
    return {t.cast("sa.Column[t.Any]", column).key: mapper.polymorphic_identity}


def its_own(mapper: AnyMapper) -> tuple[t.Any, ...]:
    """The criterion that a row is of the model, where its table has those of others too."""
    if not mapper.single or mapper.polymorphic_on is None:
        return ()
    known = [one.polymorphic_identity for one in mapper.self_and_descendants]
    return (t.cast("sa.Column[t.Any]", mapper.polymorphic_on).in_(known),)


def arguments(model: type[t.Any]) -> list[str]:
    """The arguments that a model's ``__init__`` requires."""
    _, *given = inspect.signature(model.__init__).parameters.values()
    return [
        one.name
        for one in given
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]


def _check_table(mapper: AnyMapper) -> None:
    name = mapper.class_.__name__
    if not isinstance(mapper.persist_selectable, sa.Table):
        raise TypeError(
            f"the rows of {name} are not in one table of its own, where runs are written: instead"
            " of a class that is joined to the table of another, pass a model with all its columns"
            " in one table"
        )
    if mapper.version_id_col is not None:
        raise TypeError(
            f"{name} must not have a version_id_col: runs are written in bulk, which counts no"
            " versions. Remove it from its __mapper_args__; the attempt is counted anyway"
        )
    require_polymorphic(mapper)


def require_polymorphic(mapper: AnyMapper) -> None:
    """Refuse a class whose rows can't be told from those of others in its table.

    :raises TypeError: naming the model and the cure.
    """
    name = mapper.class_.__name__
    if mapper.polymorphic_on is None:
        return
    if not isinstance(mapper.polymorphic_on, sa.Column):
        raise TypeError(f"polymorphic_on of {name} must be a column of its table")
    if mapper.single and mapper.polymorphic_identity is None:
        raise TypeError(
            f"{name} shares the table of another class: give it a polymorphic_identity in its"
            " __mapper_args__"
        )


def _check_name(mapper: AnyMapper, what: str, column: sa.Column[t.Any] | None) -> None:
    """Refuse a column whose values a URL can't name."""
    if column is None:
        return
    try:
        kind = column.type.python_type
    except NotImplementedError:
        # A type of the host's own.
        return
    if issubclass(kind, _NO_NAMES):
        raise TypeError(
            f"the {what} of {mapper.class_.__name__} must be an integer, a UUID or text, not"
            f" {column.type!r}"
        )


def check_types(
    mapper: AnyMapper, mapped: Mapping[str, sa.Column[t.Any]], backfills: AnyMapper
) -> None:
    """Refuse columns of runs that don't hold what the same of a backfill holds."""
    kept = {"backfill_id": columns.key_column(backfills)}
    if (pipeline := columns.column_of(backfills, "pipeline_uuid")) is not None:
        kept["pipeline_uuid"] = pipeline
    for attribute, column in kept.items():
        mine = mapped.get(attribute)
        if mine is None or (attribute == "pipeline_uuid" and _kind(mine) == (str, False)):
            # Any name of a pipeline can be written as text.
            continue
        kinds = _kind(mine), _kind(column)
        if None not in kinds and kinds[0] != kinds[1]:
            raise TypeError(
                f"{mapper.class_.__name__}.{attribute} must have the type of"
                f" {backfills.class_.__name__}.{column.key}, which is {column.type!r}: declare"
                " it so"
            )


def _kind(column: sa.Column[t.Any]) -> tuple[type[t.Any], bool] | None:
    """What decides whether a database compares a column; ``None`` if that is not known."""
    if isinstance(column.type, (TypeDecorator, NullType)):
        return None
    return columns.python_type(column), isinstance(column.type, sa.Uuid)


def is_never_filled(column: sa.Column[t.Any]) -> bool:
    """Whether a column needs a value that neither a default nor the database makes."""
    if column.nullable or column.default is not None or column.server_default is not None:
        return False
    return column is not column.table.autoincrement_column
