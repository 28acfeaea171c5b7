"""A backfill written to the database, which MySQL may cut to whole seconds."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm.exc import FlushError

from .. import dbapi
from .. import errors
from ..tables import columns
from ..tables import remarks
from ..tables.assign import REFUSALS
from ..tables.backfill_table import BackfillTable
from ..tables.schema import BackfillSchema


def flush(
    table: BackfillTable, schema: BackfillSchema, backfill: t.Any, sent: dict[str, t.Any]
) -> None:
    """Write a backfill within the caller's transaction.

    :raises flask_backfills.errors.Refused: for what was sent and a column would cut.
    :raises flask_backfills.errors.LeftEmpty: for what no caller can send and the app must fill.
    """
    is_new = sa.inspect(backfill).key is None
    try:
        if schema.moments and (dialect := table.database.mysql):
            _flush_whole_seconds(table, schema, dialect, backfill, sent)
        table.session.flush()
    except OverflowError:
        raise errors.ValueRefusedByDatabase() from None
    except (sa.exc.StatementError, FlushError) as error:
        is_bug = isinstance(error, sa.exc.ProgrammingError) and not dbapi.is_missing(error)
        if is_bug or isinstance(getattr(error, "orig", None), (*REFUSALS, LookupError)):
            current_app.logger.warning("ValueRefusedByDatabase: %s", dbapi.told(error))
            # A type of the host's own does not take it, or its field is of another kind.
            raise errors.ValueRefusedByDatabase() from None
        empty = remarks.left_empty(schema, backfill) if is_new else []
        if not empty:
            raise
        current_app.logger.warning(
            "%s.%s is empty in a new backfill, and must not be: let its model fill it",
            *(table.model.__name__, empty[0]),
        )
        raise errors.LeftEmpty() from None


def _flush_whole_seconds(
    table: BackfillTable,
    schema: BackfillSchema,
    dialect: sa.Dialect,
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
