"""One update of one backfill: merge, check, set timestamps, write."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from .. import errors
from ..rules import lifecycle
from ..tables import columns
from ..tables.assign import assign
from ..tables.assign import Changes
from ..tables.assign import stamps
from ..tables.schema import BackfillSchema


def update(
    backfill: t.Any,
    sent: dict[str, t.Any],
    schema: BackfillSchema,
    transitions: lifecycle.Transitions | None,
    wrong: errors.Errors,
    again: bool = False,
) -> Changes:
    """Set what was sent on a backfill that is locked; the caller flushes and commits.

    :param wrong: what the caller has found already, to be told with the rest.
    :param again: whether a status that starts a backfill starts it again. Otherwise ``running``
        goes on with what was started before.
    :raises flask_backfills.errors.Refused: with everything that is wrong; what was set
        until then is for the caller to roll back.
    :raises flask_backfills.errors.TransitionRefused: for a status that can't follow.
    """
    shown = schema.show_only(sent, backfill)
    nulls = _nulls(backfill, schema, sent, shown)
    shown = {key: value for key, value in shown.items() if key not in nulls}
    values, found = schema.read(sent, shown)
    wrong = {**found, **wrong}
    _check_window(backfill, schema, sent, values, wrong)
    values = {
        attribute: value
        for attribute, value in values.items()
        if (key := schema.key_of(attribute)) in nulls
        or not schema.shows(attribute, value, shown.get(key))
    }
    refusal = None
    if "status" in values:
        status = t.cast(str, schema.word("status", values["status"]))
        old = schema.word("status", backfill.status)
        stamped = stamps(backfill, status, schema, again and lifecycle.starts(old, status))
        stamped = {a: moment for a, moment in stamped.items() if schema.key_of(a) not in sent}
        values = {**stamped, **values}
        if transitions is not None:
            refusal = lifecycle.refusal(transitions, old, status)
    changes = assign(backfill, values, schema, wrong)
    if refusal and not wrong:
        raise errors.TransitionRefused(refusal)
    if refusal:
        wrong[schema.key_of("status")] = [refusal]
    if wrong:
        raise errors.Refused(wrong)
    return changes


def _nulls(
    backfill: t.Any, schema: BackfillSchema, sent: dict[str, t.Any], shown: dict[str, t.Any]
) -> set[str]:
    """The keys of a new backfill that are null, and that a default would fill otherwise."""
    if sa.inspect(backfill).key is not None:
        return set()
    keys = schema.defaulted.values()
    return {key for key in keys if key in sent and sent[key] is None is shown.get(key)}


def _check_window(
    backfill: t.Any,
    schema: BackfillSchema,
    sent: dict[str, t.Any],
    values: dict[str, t.Any],
    wrong: errors.Errors,
) -> None:
    """Start and end on the merged state: what is stored, then what is sent."""
    ends = ("start_datetime", "end_datetime")
    first, last = map(schema.key_of, ends)
    if not sent.keys() & {first, last} or wrong.keys() & {first, last}:
        return
    start, end = (
        values[attribute] if attribute in values else getattr(backfill, attribute, None)
        for attribute in ends
    )
    if start is None or end is None:
        return
    if columns.in_utc(start, False) > columns.in_utc(end, False):
        if last in sent:
            wrong[last] = [f"Must be on or after {first}."]
        else:
            wrong[first] = [f"Must be on or before {last}."]
