"""The actions of the console and the command line, as the values that a request sends."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from .. import errors
from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import refusal
from ..rules.lifecycle import SHOWN
from ..rules.settings import is_paused
from .backfills import Backfills
from .backfills import Saved

#: The status that each action sends.
STATUS = {"start": "initial", "retry": "running", "cancel": "cancelled"}

#: The value of ``settings.paused`` that each action sends.
PAUSED = {"pause": True, "resume": False}

ACTIONS = ("start", "pause", "resume", "retry", "cancel", "delete")


def sent(backfills: Backfills, action: str) -> Callable[[t.Any], dict[str, t.Any]]:
    """Return a function from a locked backfill to the values that an action sends."""
    schema = backfills.schema

    def send(backfill: t.Any) -> dict[str, t.Any]:
        if reason := refused(backfills, backfill, action):
            raise errors.TransitionRefused(reason)
        if action in PAUSED:
            there = getattr(backfill, "settings", None)
            settings = {**(there if isinstance(there, dict) else {}), "paused": PAUSED[action]}
            return {schema.key_of("settings"): settings}
        return {schema.key_of("status"): STATUS[action]}

    return send


def act(backfills: Backfills, of: tuple[str, t.Any], action: str, **options: t.Any) -> Saved:
    """Do an action. A backfill that has ended has been started again then, be it by a retry.

    :param of: the pipeline and the key of the backfill.
    :param options: those of :meth:`Backfills.update`.
    """
    return backfills.update(*of, sent(backfills, action), again=True, **options)


def possible(backfills: Backfills, backfill: t.Any) -> list[str]:
    """The actions that a backfill allows in its present state."""
    return [action for action in ACTIONS if refused(backfills, backfill, action) is None]


def refused(backfills: Backfills, backfill: t.Any, action: str) -> str | None:
    """Why a backfill does not allow an action in its present state; ``None`` if it does."""
    old = backfills.schema.word("status", getattr(backfill, "status", None))
    active, word = old in ACTIVE, SHOWN.get(old) or str(old)
    has_runs = backfills.planned is not None
    pausable = has_runs and hasattr(backfill, "settings")
    paused = is_paused(getattr(backfill, "settings", None))
    started = (active, f"The backfill is already {word}.")
    fixed = (not pausable, "Pausing needs a run model (run_model=) and a settings column.")
    idle = f"The backfill is {word}: only one that is waiting or running can be"
    unfailed = f"The backfill is {word}: only one that has failed can be retried."
    unstarted = "The backfill is not started, so nothing can be cancelled. Delete it instead."
    #: By action, what may stand in its way, and whether it does.
    obstacles: dict[str, list[tuple[bool, str | None]]] = {
        "start": [started],
        "pause": [
            fixed,
            (not active, f"{idle} paused."),
            (paused, "The backfill is already paused."),
        ],
        "resume": [
            fixed,
            (not active, f"{idle} resumed. Start it instead."),
            (not paused, "The backfill is not paused."),
        ],
        "retry": [started, (old != "failed", f"{unfailed} Start it instead.")],
        "cancel": [
            (old is None, unstarted),
            (old == "cancelled", "The backfill is already cancelled."),
        ],
        "delete": [(active and has_runs, errors.StillActive.description)],
    }
    for stands, reason in obstacles[action]:
        if stands:
            return reason
    if action in STATUS and backfills.transitions is not None:
        return refusal(backfills.transitions, old, STATUS[action])
    return None
