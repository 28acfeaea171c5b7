"""Runs of several threads that end at the same moment: a commit costs more than an end does."""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from collections.abc import Mapping
from contextlib import suppress

from ..tables.unlocked import locked
from .ending import Discarded
from .ending import Ending
from .ending import Mine

#: A run as it was claimed, its status, its metrics, and its error.
End = tuple[t.Any, str, Mapping[str, t.Any], t.Optional[str]]


def end_free(ending: Ending, ends: Collection[End]) -> list[bool | None]:
    """Write how runs ended, within the caller's transaction.

    :returns: for each whether it was its worker's to end; ``None`` if somebody has it locked,
        since the others must not wait for that.
    """
    runs = ending.runs
    runs.database.begin_writing()
    theirs = locked(runs, {runs.key_of(run) for run, *_ in ends})

    def write(run: t.Any, *end: t.Any) -> bool | None:
        if runs.key_of(run) in theirs:
            return None
        with suppress(Discarded):
            ending.end(Mine(runs, run), *end)
            return True
        return False

    return [write(*one) for one in ends]
