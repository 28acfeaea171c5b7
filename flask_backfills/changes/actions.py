"""The actions of the console and the command line, as the values that a request sends."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from .. import errors
from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import refusal
from ..rules.lifecycle import SHOWN
from ..rules.lifecycle import starts
from ..rules.settings import is_paused
from .backfills import Backfills

#: The status that each action sends.
STATUS = {"start": "initial", "retry": "running", "cancel": "cancelled"}

#: The value of ``settings.paused`` that each action sends.
PAUSED = {"pause": True, "resume": False}

ACTIONS = ("start", "pause", "resume", "retry", "cancel", "delete")


def sent(backfills: Backfills, action: str) -> Callable[[t.Any], dict[str, t.Any]]:
    """Return a function from a locked backfill to the values that an action sends."""
    schema = backfills.schema

    def send(backfill: t.Any) -> dict[str, t.Any]:
        if action in PAUSED:
            there = getattr(backfill, "settings", None)
            settings = {**(there if isinstance(there, dict) else {}), "paused": PAUSED[action]}
            return {schema.key_of("settings"): settings}
        status = STATUS[action]
        if schema.word("status", backfill.status) == status:
            raise errors.TransitionRefused(f"The backfill is already {SHOWN.get(status, status)}.")
        return {schema.key_of("status"): status}

    return send


def possible(backfills: Backfills, backfill: t.Any) -> list[str]:
    """The actions that a backfill allows in its present state."""
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
