"""What of a host's models works badly: told in the log when the blueprint is registered."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from collections.abc import Mapping

import sqlalchemy as sa

from . import columns
from .indexes import BACKFILLS
from .indexes import EVENTS
from .indexes import lacking
from .indexes import Needed
from .indexes import RUNS
from .models import AnyMapper
from .models import is_never_filled
from .schema import BackfillSchema

#: What a window is made of.
WINDOW = ("start_datetime", "end_datetime", "interval_type", "interval_units")


def left_empty(schema: BackfillSchema, backfill: t.Any) -> list[str]:
    """The columns that the app has to fill in a new backfill, and did not."""
    return [
        column.name
        for attribute, column in _for_the_app(schema)
        if attribute is None or getattr(backfill, attribute) is None
    ]


def on_backfills(schema: BackfillSchema) -> Iterator[str]:
    """What a host may have overlooked in its model of backfills."""
    mapper = schema.mapper
    # What is left out needs no remark where a listener may fill it.
    for attribute, column in _for_the_app(schema):
        if attribute is None or not mapper.dispatch.before_insert:
            yield (
                f"The column {column.name} of {mapper.class_.__name__} must not be null, and"
                " neither requests nor a default fill it: each POST is refused unless your own"
                " code does. Give it a default, make it nullable, or add it to the schema."
            )
    found = {name: columns.column_of(mapper, name) for name in BACKFILLS.unique}
    mapped = {name: column for name, column in found.items() if column is not None}
    if "idempotency_key" in mapped:
        table = mapped["idempotency_key"].table
        twice = "two requests at once may make two backfills"
        yield from _lacking(BACKFILLS, mapper.class_.__name__, table, mapped, twice)


def on_windows(model: type[t.Any]) -> Iterator[str]:
    """What its model of backfills lacks to be started, where it has runs and no generator yet."""
    lacks = [attribute for attribute in WINDOW if getattr(model, attribute, None) is None]
    generated = "only backfills with a generator" if getattr(model, "block_uuid", None) else "none"
    if lacks:
        yield (
            f"{model.__name__} has no {', '.join(lacks)}, which a window needs: {generated} can be"
            " started. Add a column or a synonym of that name. See docs/columns.md."
        )


def on_runs(mapper: AnyMapper, mapped: Mapping[str, sa.Column[t.Any]]) -> Iterator[str]:
    """The same for its model of runs."""
    name = mapper.class_.__name__
    skipped = [f"@validates of {attribute}" for attribute in sorted(mapper.validators)]
    skipped += [f"{one} listeners" for one in _EVENTS if getattr(mapper.dispatch, one)]
    if skipped:
        yield (
            f"{name} has {', '.join(skipped)}: most writes of runs are made in bulk and skip them."
            " See docs/columns.md."
        )
    for column in _that_keep(mapped["id"]):
        yield (
            f"{column} refers to {name} by a foreign key without ondelete: a run that it refers to"
            " can't be deleted. So an edit that drops such a run is a 409, and so is a DELETE of"
            " its backfill. Declare it with ondelete='CASCADE' or 'SET NULL'."
        )
    yield from _lacking(RUNS, name, mapped["id"].table, mapped, "two runs may get the same key")


def _that_keep(key: sa.Column[t.Any]) -> Iterator[sa.Column[t.Any]]:
    """The columns of other tables that refer to a row, so that it can't be deleted."""
    name = f"{key.table.fullname}.{key.name}"
    for table in key.table.metadata.tables.values():
        for one in table.foreign_keys:
            # By name: what others refer to may not be there yet.
            if one.target_fullname == name and not one.ondelete:
                yield one.parent


def on_events(mapper: AnyMapper, mapped: Mapping[str, sa.Column[t.Any]]) -> Iterator[str]:
    """The same for its model of events."""
    name = mapper.class_.__name__
    skipped = [one for one in _EVENTS if getattr(mapper.dispatch, one)]
    if skipped:
        yield f"{name} has {', '.join(skipped)} listeners, which events skip. See docs/history.md."
    slow = "the history of a backfill is read slowly"
    yield from _lacking(EVENTS, name, mapped["id"].table, mapped, "", slow)


def _lacking(
    needed: Needed,
    name: str,
    table: sa.Table,
    mapped: Mapping[str, sa.Column[t.Any]],
    twice: str,
    slow: str = "work on its runs gets slow",
) -> Iterator[str]:
    """What to say of what a table lacks.

    :param twice: what may happen without its unique constraint.
    :param slow: what happens without one of its indexes.
    """
    for index, found in lacking(needed, table, mapped):
        arguments = ", ".join(repr(column.name) for column in found)
        what = "UniqueConstraint(" if index is None else f"Index({index!r}, "
        why = twice if index is None else slow
        yield (
            f"The table {table.name} of {name} has no {what}{arguments}): {why}. Add it to the"
            " model and to the database."
        )


_EVENTS = ("before_insert", "before_update")


def _for_the_app(schema: BackfillSchema) -> Iterator[tuple[str | None, sa.Column[t.Any]]]:
    """The columns that need a value, and that neither a request nor a default fills."""
    mapper = schema.mapper
    fields = schema.fields.items()
    written = [one.attribute or name for name, one in fields if not one.dump_only]
    known = {columns.mapped_as(mapper, one) for one in [*written, "pipeline_uuid"]}
    of_the_mapper = {mapper.polymorphic_on, mapper.version_id_col}
    for table in mapper.tables:
        for column in t.cast("sa.Table", table).columns:
            if not is_never_filled(column) or column in of_the_mapper:
                continue
            if not mapper.columns.contains_column(column):
                yield None, column
                continue
            found = mapper.get_property_by_column(column)
            others = (one for one in found.columns if one is not column)
            # A key that is that of the table it is joined to.
            if found.key not in known and all(map(is_never_filled, others)):
                yield found.key, column
