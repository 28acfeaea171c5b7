"""The rules for statuses, transitions and timestamps. No I/O."""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from collections.abc import Mapping
from datetime import datetime

#: The statuses of a backfill, with Mage's names.
STATUSES = ("initial", "running", "completed", "failed", "cancelled")

#: The words that people see for a status; ``None`` is a backfill that was never started.
SHOWN: dict[str | None, str] = {word: word for word in STATUSES}
SHOWN |= {None: "not started", "initial": "waiting"}

#: A backfill with one of these statuses is active. A run with one of them has not ended.
ACTIVE = ("initial", "running")

#: The statuses that may follow each status. ``None`` means never started. ``Any``, since a table
#: without ``None`` is no mapping of strings and ``None`` to type checkers.
Transitions = Mapping[t.Any, Collection[str]]

TRANSITIONS: Transitions = {
    None: STATUSES,
    "initial": ("running", "completed", "failed", "cancelled"),
    "running": ("completed", "failed", "cancelled"),
    "completed": ("initial",),
    "failed": ("initial", "running", "cancelled"),
    "cancelled": ("initial",),
}


#: What people may make of one run: try it again, mark it as done, cancel it.
RUN_TRANSITIONS: Transitions = {
    "initial": ("completed", "cancelled"),
    "running": ("cancelled",),
    "completed": ("initial",),
    "failed": ("initial", "completed"),
    "cancelled": ("initial", "completed"),
}


#: The statuses that people may give to runs.
MADE_OF_RUNS = tuple(
    word for word in STATUSES if any(word in after for after in RUN_TRANSITIONS.values())
)


def refusal(
    transitions: Transitions, old: str | None, new: str, of: str = "backfill"
) -> str | None:
    """The reason why ``new`` can't follow ``old``, with the valid statuses; ``None`` if it can.

    >>> refusal(TRANSITIONS, "completed", "running")
    "A backfill that is completed can't become running; allowed: initial."
    >>> refusal(TRANSITIONS, "failed", "running")
    """
    allowed = transitions.get(old, ())
    if new in allowed:
        return None
    return (
        f"A {of} that is {old or 'not started'} can't become {new};"
        f" allowed: {', '.join(allowed) or 'none'}."
    )


#: The timestamps that a backfill has.
Stamps = dict[str, t.Optional[datetime]]


def stamps(status: str, now: datetime, started_at: datetime | None, again: bool = False) -> Stamps:
    """The timestamps that entering a status sets or clears.

    >>> now = datetime(2023, 7, 18)
    >>> stamps("completed", now, None)
    {'completed_at': datetime.datetime(2023, 7, 18, 0, 0)}
    >>> stamps("running", now, datetime(2023, 7, 1))
    {'started_at': datetime.datetime(2023, 7, 1, 0, 0)}

    :param again: whether this starts a backfill again that has ended. Then it has started now,
        and has not ended, whatever the status is.
    """
    started: Stamps = {"started_at": now, "completed_at": None, "failed_at": None}
    by_status: dict[str, Stamps] = {
        "initial": started,
        "running": started if again else {"started_at": started_at or now},
        "completed": {"completed_at": now},
        "failed": {"failed_at": now},
    }
    return by_status.get(status, {})


def starts(old: str | None, new: str) -> bool:
    """Whether this change of status starts a backfill, so that its runs are planned.

    >>> starts("failed", "running"), starts("initial", "running")
    (True, False)
    """
    return new in ACTIVE and old not in ACTIVE


def outcome(statuses: Mapping[str, int], max_failures: int | None = None) -> str | None:
    """The final status of a backfill whose runs have these statuses; ``None`` if it is active.

    >>> outcome({"completed": 3, "failed": 1}), outcome({"completed": 3, "initial": 1})
    ('failed', None)

    :param statuses: how many runs have each status.
    :param max_failures: once this many runs have failed, waiting runs are not counted.
    """
    failed = statuses.get("failed", 0)
    if statuses.get("running"):
        return None
    if max_failures is not None and failed >= max_failures:
        return "failed"
    if statuses.get("initial"):
        return None
    return "failed" if failed else "completed"
