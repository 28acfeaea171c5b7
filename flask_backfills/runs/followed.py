"""What follows for a backfill from its runs, written into its history: one row a roll-up.

A roll-up that only adds metrics writes none. They are in the row of the one that ends the backfill.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from .. import dbapi
from ..rules.history import differences
from ..rules.history import FOLLOWS
from ..tables.event_table import worker_name
from ..tables.logs import warn
from .rollup import Rollup

#: The attributes that follow from runs.
REPORTED = ("status", "metrics", "started_at", "completed_at", "failed_at")

#: With the settings, where a canary that has ended sets ``paused``.
_FOLLOWING = (*REPORTED, "settings")


def noted(rollup: Rollup, backfill: t.Any) -> dict[str, t.Any]:
    """What is shown of a backfill that may follow from its runs; nothing without a history."""
    if rollup.events is None:
        return {}
    return rollup.schema.show_only(map(rollup.schema.key_of, _FOLLOWING), backfill)


def record(rollup: Rollup, backfill: t.Any, before: Mapping[str, t.Any], by: str | None) -> None:
    """Write what has followed for a backfill, in the transaction: another status, or a pause.

    :param before: what :func:`noted` has found.
    :param by: who it was, if the host does not say.
    """
    if rollup.events is None:
        return
    told = differences(before, rollup.schema.show_only(before, backfill))
    if (status := told.get(rollup.schema.key_of("status"))) is not None:
        rollup.events.add(backfill, FOLLOWS.get(status["to"], "finish"), told, by=by)
    elif rollup.schema.key_of("settings") in told:
        rollup.events.add(backfill, "pause", told, by=by)


def record_of_worker(rollup: Rollup, backfill: t.Any, before: Mapping[str, t.Any]) -> None:
    """The same of a worker. How runs ended must not wait for a history that can't be written."""
    if rollup.events is None:
        return
    key = rollup.runs.backfills.key_of(backfill)
    refused = rollup.told.write(key, lambda: record(rollup, backfill, before, worker_name()))
    if refused:
        warn(
            "The history of backfill %s lacks what its runs have changed, since it can't be"
            " stored: %s",
            *(key, dbapi.told(refused)),
        )
