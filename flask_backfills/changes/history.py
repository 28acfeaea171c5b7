"""What a change by people writes into the history of a backfill, in its transaction.

Without an event model, each of these does nothing.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..rules.history import differences
from ..rules.plan import Tally
from ..rules.plan import USUALLY
from ..tables.assign import Changes
from ..tables.event_table import acting
from ..tables.event_table import EventTable
from ..tables.schema import BackfillSchema

#: The attributes of a backfill, as they are shown.
Shown = Mapping[str, t.Any]


def created(events: EventTable | None, backfill: t.Any, shown: Shown) -> None:
    if events is not None:
        events.add(backfill, "create", differences({}, shown), by=acting.get())


def deleted(events: EventTable | None, backfill: t.Any, shown: Shown) -> None:
    if events is not None:
        events.add(backfill, "delete", differences(shown, {}), by=acting.get())


def edited(
    events: EventTable | None,
    schema: BackfillSchema,
    backfill: t.Any,
    before: Shown,
    after: Shown,
    changes: Changes,
    plan: Tally | None,
) -> None:
    """Write an edit, if it has changed anything.

    :param changes: what was asked for, and what follows of it.
    :param plan: what became of the runs.
    """
    if events is None:
        return
    # What workers have reported meanwhile is no part of the edit.
    others = {schema.key_of("updated_at")}
    others |= {schema.key_of("metrics")} if "metrics" not in changes else set()
    told = differences(before, after, others)
    status = schema.key_of("status")
    if status in told and (which := _again(plan)) is not None:
        # Otherwise, a start that runs everything again looks like any other.
        told[status]["reprocess"] = which
    hidden = [
        attribute
        for attribute, (old, new) in changes.items()
        if schema.key_of(attribute) not in after and old != new
    ]
    if told or hidden:
        events.add(backfill, "update", told, by=acting.get())


def _again(plan: Tally | None) -> str | None:
    """Which of its runs a start runs again, if there were any and it is not as usual."""
    if plan is None or plan.reprocess in (None, USUALLY):
        return None
    return plan.reprocess if plan.counts["keep"] or plan.counts["redo"] else None


def changed_runs(
    events: EventTable | None,
    backfill: t.Any,
    old: str,
    new: str,
    *,
    key: str | None = None,
    count: int | None = None,
) -> None:
    """Write that one run, or all that had a status, were changed by people.

    :param key: the key of the one run.
    :param count: how many they were, of several.
    """
    if events is not None:
        events.add(
            backfill,
            "update_run" if count is None else "update_runs",
            {"status": {"from": old, "to": new}},
            by=acting.get(),
            run_key=key,
            run_count=1 if count is None else count,
        )
