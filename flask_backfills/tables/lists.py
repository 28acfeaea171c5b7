"""Lists of backfills: of which pipelines, in which order, and a page of them."""

from __future__ import annotations

import typing as t
from collections.abc import Collection

import sqlalchemy as sa

from . import columns
from .backfill_table import BackfillTable


def page(
    table: BackfillTable, criteria: list[t.Any], offset: int, limit: int
) -> tuple[list[t.Any], int]:
    """A page of the visible backfills that meet some criteria, newest first, and how many do."""
    query = table.select(*criteria)
    counted = query.with_only_columns(sa.func.count(table.key))
    total = table.database.execute(counted).scalar()
    page = query.order_by(*newest_first(table)).offset(offset).limit(limit)
    return list(table.session.scalars(page).unique()), total or 0


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
    column = table.pipeline_column
    if column is None or not isinstance(column.type, sa.String) or isinstance(column.type, sa.Enum):
        return None
    return columns.exact(table.model.pipeline_uuid, table.database.dialect)
