"""What people do to a backfill, in terms of what a request sends."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from .. import errors
from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import refusal
from ..rules.lifecycle import starts
from ..rules.settings import is_paused
from .backfills import Backfills

#: The status that an action sends.
STATUS = {"start": "initial", "retry": "running", "cancel": "cancelled"}

#: What an action makes of ``settings.paused``.
PAUSED = {"pause": True, "resume": False}

ACTIONS = ("start", "pause", "resume", "retry", "cancel", "delete")


def sent(backfills: Backfills, action: str) -> Callable[[t.Any], dict[str, t.Any]]:
    """From a backfill that is held to what a request would send for an action."""
    schema = backfills.schema

    def send(backfill: t.Any) -> dict[str, t.Any]:
        if action in PAUSED:
            there = getattr(backfill, "settings", None)
            settings = {**(there if isinstance(there, dict) else {}), "paused": PAUSED[action]}
            return {schema.key_of("settings"): settings}
        status = STATUS[action]
        if schema.word("status", backfill.status) == status:
            raise errors.TransitionRefused(f"The backfill is {status} already.")
        return {schema.key_of("status"): status}

    return send


def possible(backfills: Backfills, backfill: t.Any) -> list[str]:
    """The actions that a backfill as it is allows."""
    old = backfills.schema.word("status", getattr(backfill, "status", None))
    active = old in ACTIVE
    paused = is_paused(getattr(backfill, "settings", None))
    has_settings = backfills.planned is not None and hasattr(backfill, "settings")
    fits = {
        "start": starts(old, "initial"),
        "pause": active and has_settings and not paused,
        "resume": active and has_settings and paused,
        "retry": old == "failed",
        "cancel": old is not None and old != "cancelled",
        "delete": not active or backfills.planned is None,
    }
    found = []
    for action in ACTIONS:
        status = STATUS.get(action)
        if fits[action] and not (status and _refused(backfills, old, status)):
            found.append(action)
    return found


def _refused(backfills: Backfills, old: str | None, new: str) -> bool:
    return backfills.transitions is not None and bool(refusal(backfills.transitions, old, new))
