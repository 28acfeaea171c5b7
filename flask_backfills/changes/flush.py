"""A backfill written to the database, which may cut fractions of a second."""

from __future__ import annotations

import typing as t
from functools import lru_cache

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm.attributes import set_committed_value
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
        shorter = _shorter(schema, table.database.dialect)
        _refuse_fractions(schema, shorter, backfill, sent)
        nulls = _nulls(schema, backfill, sent) if is_new else []
        for key in nulls:
            # SQLAlchemy lets a default fill what is None in a new row.
            set_committed_value(backfill, key, sa.null())
        table.session.flush()
        for key in nulls:
            set_committed_value(backfill, key, None)
        if stale := _cut(shorter, backfill):
            mapped = [columns.mapped_as(schema.mapper, one) or one for one in stale]
            table.session.refresh(backfill, mapped)
    except OverflowError:
        raise errors.ValueRefusedByDatabase() from None
    except (sa.exc.StatementError, FlushError) as error:
        is_other = dbapi.is_missing(error) or dbapi.is_a_triggers(error)
        is_bug = isinstance(error, sa.exc.ProgrammingError) and not is_other
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


def _nulls(schema: BackfillSchema, backfill: t.Any, sent: dict[str, t.Any]) -> list[str]:
    """The columns of a new backfill for which null was sent, and not what a default fills in."""
    return [
        columns.mapped_as(schema.mapper, attribute) or attribute
        for attribute, key in schema.defaulted.items()
        if key in sent and getattr(backfill, attribute) is None
    ]


@lru_cache(maxsize=1_000)
def _shorter(schema: BackfillSchema, dialect: sa.Dialect) -> dict[str, int]:
    """The attributes whose columns store fewer digits of a fraction than there are; how many."""
    stored = {one: columns.digits(column, dialect) for one, column in schema.moments.items()}
    return {attribute: digits for attribute, digits in stored.items() if digits < 6}


def _refuse_fractions(
    schema: BackfillSchema, shorter: dict[str, int], backfill: t.Any, sent: dict[str, t.Any]
) -> None:
    cut = _cut(shorter, backfill).items()
    told = {schema.key_of(attribute): [_uncut(digits)] for attribute, digits in cut}
    if wrong := {key: found for key, found in told.items() if key in sent}:
        raise errors.Refused(wrong)


def _cut(shorter: dict[str, int], backfill: t.Any) -> dict[str, int]:
    """Those of them whose value has more digits."""
    return {
        attribute: digits
        for attribute, digits in shorter.items()
        if getattr(getattr(backfill, attribute, None), "microsecond", 0) % 10 ** (6 - digits)
    }


def _uncut(digits: int) -> str:
    if not digits:
        return "Must be a whole second: the column does not store fractions of a second."
    named = "1 digit" if digits == 1 else f"{digits} digits"
    return f"Must have at most {named} of a fraction of a second: the column does not store more."
