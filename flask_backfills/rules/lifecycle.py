"""Statuses, transitions and timestamps: rules, no I/O."""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from collections.abc import Mapping
from datetime import datetime

#: The statuses of a backfill, in Mage's words.
STATUSES = ("initial", "running", "completed", "failed", "cancelled")

#: While it has one of these, a backfill runs; a run that has one of them has not ended.
ACTIVE = ("initial", "running")

#: A status (``None``: never started) and those that may follow it.
Transitions = Mapping[t.Optional[str], Collection[str]]

TRANSITIONS: Transitions = {
    None: STATUSES,
    "initial": ("running", "completed", "failed", "cancelled"),
    "running": ("completed", "failed", "cancelled"),
    "completed": ("initial",),
    "failed": ("initial", "running", "cancelled"),
    "cancelled": ("initial",),
}


def refusal(transitions: Transitions, old: str | None, new: str) -> str | None:
    """Why ``new`` can't follow ``old``, naming what can; ``None`` if it can.

    >>> refusal(TRANSITIONS, "completed", "running")
    "A backfill that is completed can't become running; allowed: initial."
    >>> refusal(TRANSITIONS, "failed", "running")
    """
    allowed = transitions.get(old, ())
    if new in allowed:
        return None
    return (
        f"A backfill that is {old or 'not started'} can't become {new};"
        f" allowed: {', '.join(allowed) or 'none'}."
    )


def stamps(status: str, now: datetime, started_at: datetime | None) -> dict[str, datetime | None]:
    """The timestamps that entering a status sets or clears.

    >>> now = datetime(2023, 7, 18)
    >>> stamps("completed", now, None)
    {'completed_at': datetime.datetime(2023, 7, 18, 0, 0)}
    """
    by_status: dict[str, dict[str, datetime | None]] = {
        "initial": {"started_at": now, "completed_at": None, "failed_at": None},
        "running": {"started_at": started_at or now},
        "completed": {"completed_at": now},
        "failed": {"failed_at": now},
    }
    return by_status.get(status, {})


def starts(old: str | None, new: str) -> bool:
    """Whether the runs of a backfill are planned when it goes from one status to another.

    >>> starts("failed", "running"), starts("initial", "running")
    (True, False)
    """
    return new in ACTIVE and old not in ACTIVE


def outcome(statuses: Mapping[str, int], max_failures: int | None = None) -> str | None:
    """How a backfill has ended whose runs have these statuses; ``None`` if it goes on.

    >>> outcome({"completed": 3, "failed": 1}), outcome({"completed": 3, "initial": 1})
    ('failed', None)

    :param statuses: how many runs have each.
    :param max_failures: at that many failed runs, those that wait don't count.
    """
    failed = statuses.get("failed", 0)
    if statuses.get("running"):
        return None
    if max_failures is not None and failed >= max_failures:
        return "failed"
    if statuses.get("initial"):
        return None
    return "failed" if failed else "completed"
