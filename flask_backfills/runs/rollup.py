"""What follows for a backfill from its runs: its status and its metrics."""

from __future__ import annotations

import math
import typing as t
from collections import Counter
from collections.abc import Mapping

import sqlalchemy as sa

from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import outcome
from ..tables import columns
from ..tables.assign import Changes
from ..tables.assign import enter
from ..tables.run_table import RunTable
from ..tables.schema import BackfillSchema
from ..tables.settings import settings_of


class Rollup:
    """A backfill that is held, brought in line with its runs."""

    def __init__(self, runs: RunTable, schema: BackfillSchema) -> None:
        self.runs = runs
        self.schema = schema

    def status_of(self, backfill: t.Any) -> str | None:
        """The word for the status of a backfill."""
        return self.schema.word("status", backfill.status)

    def begin(self, backfill: t.Any) -> Changes:
        """Let a backfill be running whose first run is handed out."""
        if self.status_of(backfill) != "initial":
            return {}
        return enter(backfill, "running", self.schema)

    def settle(self, backfill: t.Any, statuses: Mapping[str, int] | None = None) -> Changes:
        """End an active backfill that leaves nothing to run.

        :param statuses: of its runs, where they are known already.
        """
        if self.status_of(backfill) not in ACTIVE:
            return {}
        most = settings_of(backfill).get("max_failures")
        if statuses is None:
            bounds = {"initial": 1, "running": 1, "failed": most or 1}
            statuses = Counter({word: self.some(backfill, word, n) for word, n in bounds.items()})
        ended = outcome(statuses, most)
        if ended is None:
            return {}
        if statuses.get("initial"):
            self.cancel(backfill)
        return enter(backfill, ended, self.schema)

    def are_active(self, backfill: t.Any) -> bool:
        """Whether a run is waiting or running."""
        return any(self.some(backfill, word, 1) for word in ACTIVE)

    def cancel(self, backfill: t.Any) -> None:
        """Cancel every run that has not ended: one statement."""
        self.runs.cancel(self.runs.of(backfill), self.runs.has(*ACTIVE))

    def some(self, backfill: t.Any, status: str, most: int) -> int:
        """How many runs have a status, counted up to a number; history only while it runs.

        Read by locking them, which shows the latest on every database; nobody waits for
        it, since who changes a run holds its backfill.
        """
        query = sa.select(self.runs.key).where(self.runs.of(backfill), self.runs.has(status))
        if status != "running":
            query = query.where(*self.runs.wanted_only())
        session = self.runs.database.session
        return len(session.scalars(query.limit(most).with_for_update()).all())

    def add_metrics(self, backfill: t.Any, metrics: Mapping[str, t.Any]) -> None:
        """Add the numbers among a run's metrics to those of its backfill."""
        numbers = {name: value for name, value in metrics.items() if _is_number(value)}
        if numbers and columns.column_of(self.schema.mapper, "metrics") is not None:
            there = backfill.metrics or {}
            sums = {name: value + _number(there.get(name)) for name, value in numbers.items()}
            backfill.metrics = {**there, **sums}


def _is_number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: t.Any) -> t.Any:
    return value if _is_number(value) else 0
