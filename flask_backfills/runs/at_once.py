"""The end of a short run in one statement, without a transaction around it."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..tables.autocommit import autocommit
from ..tables.run_table import RunTable
from .ending import Mine


def complete_at_once(
    runs: RunTable, mine: Mine, metrics: Mapping[str, t.Any], error: str | None
) -> bool:
    """Write that a run is completed whose function has left nothing to commit with it.

    :returns: ``False`` if that is to be done in a transaction: since there is more to ask, such
        as whether it has taken too long, or since it failed.
    """
    if not mine.is_young:
        return False
    try:
        with autocommit(runs.database) as connection:
            if connection is None:
                return False
            values = {**mine.begun, **runs.completed(mine.at, metrics, error)}
            return runs.prepared.update(values, mine.running, connection) == 1
    except Exception:
        # Whatever it was, be it a hook of the host's: a transaction may do it, or tell.
        return False
