"""What tables need beside their columns: unique constraints, and the indexes of runs."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.orm import ColumnProperty
from sqlalchemy.orm import Mapper
from sqlalchemy.orm import SynonymProperty


class Needed(t.NamedTuple):
    """What a table needs, by the attributes of its model."""

    #: The attributes of the unique constraint.
    unique: tuple[str, ...]
    #: The attributes of each index, by the end of its name.
    indexes: Mapping[str, tuple[str, ...]]


#: Two requests at once with one Idempotency-Key make one backfill.
BACKFILLS = Needed(("pipeline_uuid", "idempotency_key"), {})

#: The key tells the runs of one backfill apart.
RUNS = Needed(
    ("backfill_id", "key"),
    {
        # Used to find the next run, and to count runs by status.
        "next": ("backfill_id", "status", "execution_date", "id"),
        # For the few that workers have, among many.
        "held": ("backfill_id", "heartbeat_at"),
    },
)

#: Used to find the newest events of a backfill.
EVENTS = Needed((), {"history": ("backfill_id", "id")})

Column = sa.Column[t.Any]


def complete_backfills(mapper: Mapper[t.Any], model: type[t.Any]) -> None:
    """Add what the table of backfills lacks, of a model that has just been mapped.

    In the ``__table_args__`` of a mixin, those of the host's model would replace it.
    """
    _complete(BACKFILLS, mapper)


def complete_runs(mapper: Mapper[t.Any], model: type[t.Any]) -> None:
    """The same for the table of runs."""
    _complete(RUNS, mapper)


def complete_events(mapper: Mapper[t.Any], model: type[t.Any]) -> None:
    """The same for the table of events."""
    _complete(EVENTS, mapper)


def _complete(needed: Needed, mapper: Mapper[t.Any]) -> None:
    table = mapper.local_table
    if not isinstance(table, sa.Table):
        return
    taken = {index.name for index in table.indexes}
    for name, columns in lacking(needed, table, _mapped(needed, mapper)):
        if name is None:
            table.append_constraint(sa.UniqueConstraint(*columns))
        elif name not in taken:
            sa.Index(name, *columns)


def lacking(
    needed: Needed, table: sa.Table, mapped: Mapping[str, Column]
) -> Iterator[tuple[str | None, list[Column]]]:
    """What a table lacks: the name of an index, ``None`` for the constraint, and the columns.

    :param mapped: the columns by attribute. What the model does not map needs no index.
    """
    there = list(_there(table))
    columns = [mapped[name] for name in needed.unique if name in mapped]
    if (
        columns
        and len(columns) == len(needed.unique)
        and not any(unique and set(found) <= set(columns) for found, unique in there)
    ):
        yield None, columns
    for end, attributes in needed.indexes.items():
        columns = [mapped[name] for name in attributes if name in mapped]
        # More columns after them do no harm.
        begins = (found[: len(columns)] for found, _ in there)
        if len(columns) == len(attributes) and not any(_same(one, columns) for one in begins):
            yield f"ix_{table.name}_{end}", columns


def _there(table: sa.Table) -> Iterator[tuple[list[t.Any], bool]]:
    """The columns of each index and each constraint that has one, and whether it is unique."""
    for constraint in table.constraints:
        if isinstance(constraint, (sa.UniqueConstraint, sa.PrimaryKeyConstraint)):
            yield list(constraint.columns), True
    for index in table.indexes:
        if not any(option.endswith("_where") for option in index.dialect_kwargs):
            yield list(index.expressions), bool(index.unique)


def _same(some: list[t.Any], others: list[Column]) -> bool:
    # With ==, columns make an expression.
    return len(some) == len(others) and all(
        one is other for one, other in zip(some, others, strict=True)
    )


def _mapped(needed: Needed, mapper: Mapper[t.Any]) -> dict[str, Column]:
    """The columns by attribute, of a mapper that is not configured yet."""
    found = {"id": t.cast(Column, mapper.primary_key[0])}
    attributes = {*needed.unique, *(name for names in needed.indexes.values() for name in names)}
    for attribute in attributes - {"id"}:
        key = attribute
        while mapper.has_property(key):
            there = mapper.get_property(key)
            if isinstance(there, SynonymProperty):
                key = there.name
                continue
            if isinstance(there, ColumnProperty) and isinstance(there.columns[0], sa.Column):
                found[attribute] = there.columns[0]
            break
    return {name: column for name, column in found.items() if column.table is mapper.local_table}
