"""A backfill written to the database, which MySQL may cut to whole seconds."""

from __future__ import annotations

import typing as t

from sqlalchemy import Dialect

from .. import errors
from ..tables import columns
from ..tables.backfill_table import BackfillTable
from ..tables.schema import BackfillSchema


def flush(
    table: BackfillTable, schema: BackfillSchema, backfill: t.Any, sent: dict[str, t.Any]
) -> None:
    """Write a backfill within the caller's transaction.

    :raises flask_backfills.errors.Refused: for what was sent and a column would cut.
    """
    if schema.moments and (dialect := table.database.mysql):
        _flush_whole_seconds(table, schema, dialect, backfill, sent)
    table.session.flush()


def _flush_whole_seconds(
    table: BackfillTable,
    schema: BackfillSchema,
    dialect: Dialect,
    backfill: t.Any,
    sent: dict[str, t.Any],
) -> None:
    """Refuse sent values that a column would truncate; reload other truncated values."""
    cut = schema.cut_by(dialect, backfill)
    message = "Must be a whole second: the column does not store fractions of a second."
    if wrong := {key: [message] for key in cut.values() if key in sent}:
        raise errors.Refused(wrong)
    table.session.flush()
    if cut := schema.cut_by(dialect, backfill):
        mapper = schema.mapper
        stale = [columns.mapped_as(mapper, attribute) or attribute for attribute in cut]
        table.session.refresh(backfill, stale)
