"""How long a worker may be silent before its runs are taken back."""

from __future__ import annotations

from datetime import timedelta

from .. import config
from ..tables.run_table import RunTable


def lease(runs: RunTable) -> timedelta:
    """The lease of a run: ``BACKFILLS_LEASE``."""
    default = None if "heartbeat_at" in runs.columns else config.LEASE_OF_A_WHOLE_RUN
    return timedelta(seconds=config.number("BACKFILLS_LEASE", default))
