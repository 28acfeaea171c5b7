"""How long a worker may be silent before its runs are taken back."""

from __future__ import annotations

from datetime import timedelta

from flask import current_app

from ..tables.run_table import RunTable

#: Seconds, unless the app's config says otherwise.
LEASE = 60.0

#: The same for a run model without ``heartbeat_at``, whose runs can't be renewed.
LEASE_OF_A_WHOLE_RUN = 3600.0


def lease(runs: RunTable) -> timedelta:
    """The lease of a run: ``BACKFILLS_LEASE``."""
    default = LEASE if "heartbeat_at" in runs.columns else LEASE_OF_A_WHOLE_RUN
    return timedelta(seconds=float(current_app.config.get("BACKFILLS_LEASE", default)))
