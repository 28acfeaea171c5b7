"""Lists of backfills: of which pipelines, in which order, and a page of them."""

from __future__ import annotations

import typing as t
from collections.abc import Collection

import sqlalchemy as sa

from ..rules.lifecycle import ACTIVE
from . import columns
from .backfill_table import BackfillTable
from .columns import storable
from .schema import BackfillSchema

#: Kinds of columns that every database can put in order.
_ORDERED = (sa.String, sa.Integer, sa.DateTime, sa.Date, sa.Uuid)

#: The longest text that is searched for. SQLite refuses a pattern that is much longer.
_LONGEST = 200


def page(
    table: BackfillTable,
    criteria: list[t.Any],
    offset: int,
    limit: int,
    order: Order | None = None,
) -> tuple[list[t.Any], int]:
    """A page of the visible backfills that meet some criteria, and how many do.

    :param order: ``None`` for the newest first.
    """
    query = table.select(*criteria)
    counted = query.with_only_columns(sa.func.count(table.key))
    total = table.database.execute(counted).scalar()
    page = query.order_by(*_order(table, order)).offset(offset).limit(limit)
    return list(table.session.scalars(page).unique()), total or 0


class Order(t.NamedTuple):
    """The order of a list: by an attribute that :func:`can_sort`, and then the newest first."""

    attribute: str
    descending: bool = False


def can_sort(table: BackfillTable, attribute: str) -> bool:
    """Whether a list can be in the order of an attribute."""
    column = columns.column_of(table.mapper, attribute)
    return column is not None and isinstance(columns.plain_type(column), _ORDERED)


def _order(table: BackfillTable, order: Order | None) -> list[t.Any]:
    newest = newest_first(table)
    if order is None or not can_sort(table, order.attribute):
        return newest
    wanted = getattr(table.model, order.attribute)
    # What has none comes last on every database.
    return [wanted.is_(None), wanted.desc() if order.descending else wanted.asc(), *newest]


def can_search(table: BackfillTable) -> bool:
    """Whether backfills can be found by a part of their name."""
    return _is_text(columns.column_of(table.mapper, "name"))


def has_in_name(table: BackfillTable, text: str) -> t.Any:
    """The criterion that the name of a backfill has a text in it, in capitals or not."""
    if not can_search(table) or not storable(text) or len(text) > _LONGEST:
        return sa.false()
    return table.model.name.icontains(text, autoescape=True)


def is_active(table: BackfillTable, schema: BackfillSchema) -> t.Any:
    """The criterion that a backfill is waiting or running."""
    return sa.or_(*(schema.is_word(table.model, "status", word) for word in ACTIVE))


def is_not_started(table: BackfillTable) -> t.Any:
    """The criterion that a backfill has no status."""
    if columns.column_of(table.mapper, "status") is None:
        return sa.true()
    return table.model.status.is_(None)


def newest_first(table: BackfillTable) -> list[t.Any]:
    """The order in which backfills are listed."""
    order = [table.key.desc()]
    if columns.column_of(table.mapper, "created_at") is not None:
        order.insert(0, table.model.created_at.desc())
    return order


def of_pipelines(table: BackfillTable, pipelines: Collection[str]) -> t.Any:
    """The criterion that a backfill is of one of some pipelines, whose names may be none."""
    known = [one for name in pipelines if (one := table.pipeline_of(name)) is not None]
    found = table.model.pipeline_uuid.in_(known)
    exact = _exact(table)
    if exact is None:
        return found
    # The first criterion has an index, the second no rows of others.
    in_bytes = table.database.mysql is not None
    return found & exact.in_([one.encode() if in_bytes else one for one in known])


def pipelines(table: BackfillTable) -> list[str]:
    """The pipelines that have visible backfills."""
    exact = _exact(table)
    apart = [] if exact is None else [exact.label("exact")]
    query = table.select().with_only_columns(table.model.pipeline_uuid, *apart).distinct()
    return sorted(str(pipeline_uuid) for pipeline_uuid, *_ in table.database.execute(query))


def _exact(table: BackfillTable) -> t.Any:
    """The pipeline as its column holds it; ``None`` for no plain text."""
    if not _is_text(table.pipeline_column):
        return None
    return columns.exact(table.model.pipeline_uuid, table.database.dialect)


def _is_text(column: sa.Column[t.Any] | None) -> bool:
    """Whether a column holds plain text, and not what a type of the host's makes of it."""
    if column is None or isinstance(column.type, sa.Enum):
        return False
    return isinstance(column.type, sa.String)
