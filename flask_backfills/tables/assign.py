"""Values set on a row of the host's, with the timestamps that a status brings along.

Which values, and whether they may be set, has been decided before.
"""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timezone

from marshmallow import ValidationError
from sqlalchemy.orm.attributes import flag_modified

from .. import errors
from ..rules import lifecycle
from . import columns
from .schema import BackfillSchema

#: What was changed of a row: attribute to its old and its new value.
Changes = dict[str, tuple[t.Any, t.Any]]

#: How a model refuses a value, such as by its own @validates.
REFUSALS = (ValueError, AssertionError, ValidationError)


def enter(backfill: t.Any, status: str, schema: BackfillSchema) -> Changes:
    """Set a status that follows from the runs, with its timestamps."""
    values = {"status": schema.member("status", status), **stamps(backfill, status, schema)}
    return assign(backfill, values, schema, {})


def stamps(
    backfill: t.Any, status: str, schema: BackfillSchema, again: bool = False
) -> lifecycle.Stamps:
    """The timestamps that entering a status sets or clears.

    :param again: whether this starts a backfill again that has ended.
    """
    stamped: lifecycle.Stamps = {}
    now = datetime.now(timezone.utc)
    started_at = getattr(backfill, "started_at", None)
    for attribute, moment in lifecycle.stamps(status, now, started_at, again).items():
        column = columns.column_of(schema.mapper, attribute)
        if column is None or columns.is_generated(column) or moment is started_at is not None:
            continue
        stamped[attribute] = moment and columns.in_utc(moment, columns.is_aware(column))
    return stamped


def assign(
    backfill: t.Any, values: dict[str, t.Any], schema: BackfillSchema, wrong: errors.Errors
) -> Changes:
    changes: Changes = {}
    for attribute, value in values.items():
        old = getattr(backfill, attribute, None)
        try:
            setattr(backfill, attribute, value)
        except REFUSALS as error:
            wrong.setdefault(schema.key_of(attribute), []).append(
                str(error) or "Refused by the model."
            )
            continue
        if old is None and value is None:
            continue
        changes[attribute] = (old, getattr(backfill, attribute))
        if old == value and type(old) in (dict, list):
            # {"a": 1} and {"a": true} are equal to Python, and not the same JSON.
            flag_modified(backfill, columns.mapped_as(schema.mapper, attribute) or attribute)
    return changes
