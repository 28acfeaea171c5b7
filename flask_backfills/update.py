"""One update of one backfill: merge, check, stamp, write."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timezone

from marshmallow import ValidationError
from sqlalchemy.orm.attributes import flag_modified

from . import columns
from . import errors
from . import lifecycle
from .schema import BackfillSchema

#: What an update has changed: attribute to its old and its new value.
Changes = dict[str, tuple[t.Any, t.Any]]


def update(
    backfill: t.Any,
    sent: dict[str, t.Any],
    schema: BackfillSchema,
    transitions: lifecycle.Transitions | None,
    wrong: errors.Errors,
) -> Changes:
    """Set what was sent on a backfill that is locked; the caller flushes and commits.

    :param wrong: what the caller has found already, to be told with the rest.
    :raises flask_backfills.errors.Refused: with everything that is wrong; what was set
        until then is for the caller to roll back.
    :raises flask_backfills.errors.TransitionRefused: for a status that can't follow.
    """
    shown = schema.show_only(sent, backfill)
    values, found = schema.read(sent, shown)
    wrong = {**found, **wrong}
    _check_window(backfill, sent, values, wrong)
    values = {
        attribute: value
        for attribute, value in values.items()
        if not schema.shows(attribute, value, shown.get(schema.key_of(attribute)))
    }
    refusal = None
    if "status" in values:
        status = t.cast(str, schema.word("status", values["status"]))
        stamps = _stamps(backfill, status, schema)
        stamps = {a: moment for a, moment in stamps.items() if schema.key_of(a) not in sent}
        values = {**stamps, **values}
        if transitions is not None:
            old = schema.word("status", backfill.status)
            refusal = lifecycle.refusal(transitions, old, status)
    changes = _write(backfill, values, schema, wrong)
    if refusal and not wrong:
        raise errors.TransitionRefused(refusal)
    if refusal:
        wrong[schema.key_of("status")] = [refusal]
    if wrong:
        raise errors.Refused(wrong)
    return changes


def _check_window(
    backfill: t.Any, sent: dict[str, t.Any], values: dict[str, t.Any], wrong: errors.Errors
) -> None:
    """Start and end on the merged state: what is stored, then what is sent."""
    ends = ("start_datetime", "end_datetime")
    if not sent.keys() & set(ends) or wrong.keys() & set(ends):
        return
    start, end = (
        values[attribute] if attribute in values else getattr(backfill, attribute, None)
        for attribute in ends
    )
    if start is None or end is None:
        return
    if columns.in_utc(start, False) > columns.in_utc(end, False):
        late = "end_datetime" not in sent
        key = "start_datetime" if late else "end_datetime"
        wrong[key] = [f"Must be {'on or before end' if late else 'on or after start'}_datetime."]


def enter(backfill: t.Any, status: str, schema: BackfillSchema) -> Changes:
    """Set a status that follows from the runs, with its timestamps."""
    values = {"status": schema.member("status", status), **_stamps(backfill, status, schema)}
    return _write(backfill, values, schema, {})


def _stamps(backfill: t.Any, status: str, schema: BackfillSchema) -> dict[str, datetime | None]:
    """The timestamps that entering a status sets or clears."""
    stamped: dict[str, datetime | None] = {}
    now = datetime.now(timezone.utc)
    started_at = getattr(backfill, "started_at", None)
    for attribute, moment in lifecycle.stamps(status, now, started_at).items():
        column = columns.column_of(schema.mapper, attribute)
        if column is None or moment is started_at is not None:
            continue
        stamped[attribute] = moment and columns.in_utc(moment, columns.is_aware(column))
    return stamped


def _write(
    backfill: t.Any, values: dict[str, t.Any], schema: BackfillSchema, wrong: errors.Errors
) -> Changes:
    changes: Changes = {}
    for attribute, value in values.items():
        old = getattr(backfill, attribute, None)
        try:
            setattr(backfill, attribute, value)
        except (ValueError, AssertionError, ValidationError) as error:
            # The model's own @validates, in SQLAlchemy's way of refusing.
            wrong.setdefault(schema.key_of(attribute), []).append(str(error) or "Refused.")
            continue
        if old is None and value is None:
            continue
        changes[attribute] = (old, getattr(backfill, attribute))
        if old == value and type(old) in (dict, list):
            # {"a": 1} and {"a": true} are equal to Python, and not the same JSON.
            flag_modified(backfill, columns.mapped_as(schema.mapper, attribute) or attribute)
    return changes
