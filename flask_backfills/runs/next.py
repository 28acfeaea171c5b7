"""Which runs of a backfill may be handed out now, and in which order."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from ..rules.lifecycle import ACTIVE
from ..tables.settings import settings_of
from .rollup import Rollup


class Next:
    """The next runs of a backfill that is held, as its settings allow."""

    def __init__(self, rollup: Rollup) -> None:
        self.runs = rollup.runs
        self.rollup = rollup

    def room(self, backfill: t.Any, most: int) -> int:
        """How many runs of a backfill may be handed out now, up to a number."""
        if backfill is None or self.rollup.status_of(backfill) not in ACTIVE:
            return 0
        settings = settings_of(backfill)
        failures = settings.get("max_failures")
        if settings.get("paused"):
            return 0
        if failures and self.rollup.some(backfill, "failed", failures) >= failures:
            return 0
        at_once: int | None = settings.get("pipeline_run_limit")
        if at_once is None:
            return most
        return min(most, at_once - self.rollup.some(backfill, "running", at_once))

    def find(self, backfill: t.Any, most: int) -> list[t.Any]:
        """The next runs of a backfill, locked."""
        room = self.room(backfill, most)
        if room < 1:
            return []
        order: tuple[t.Any, ...] = (self.runs.date, self.runs.key)
        if settings_of(backfill).get("order") == "backwards":
            order = tuple(sa.desc(one) for one in order)
        waiting = self.runs.of(backfill), self.runs.has("initial")
        query = sa.select(self.runs.model).where(*waiting).order_by(*order).limit(room)
        # A session that keeps what it has read may know them from before.
        query = query.execution_options(populate_existing=True)
        session = self.runs.database.session
        return list(session.scalars(query.with_for_update(skip_locked=True)))
