"""Why a backfill or one of its runs stands as it does, be it that there is no such run."""

from __future__ import annotations

import typing as t
from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime

from .. import errors
from ..rules.reasons import Reason
from ..rules.reasons import reason
from ..rules.settings import skips_covered
from ..rules.window import Window
from ..runs.why import Why
from ..tables import columns
from .expansion import Expansion
from .skipping import completed_elsewhere


class Explaining:
    """Explains backfills; the caller has asked ``authorize`` before.

    :param why: what the runs say themselves.
    """

    def __init__(self, why: Why, expansion: Expansion) -> None:
        self.why = why
        self.runs = why.runs
        self.expansion = expansion

    def explain(
        self,
        backfill: t.Any,
        key: str | None = None,
        date: datetime | None = None,
        *,
        others: Callable[[], bool] = lambda: True,
    ) -> list[Reason]:
        """Say why nothing moves, or what moves; or why one run stands as it does.

        :param key: the key of one run.
        :param date: its date instead, naive and in UTC. It need not have a run.
        :param others: says whether other backfills of the pipeline may be named. It is only asked
            where one would be.
        :returns: at least one reason, what decides first.
        :raises flask_backfills.errors.RunNotFound: if no run has the key.
        :raises flask_backfills.errors.QueryRefused: if several wanted runs have the date.
        """
        # Who is dead and what is due is told by the database's clock.
        self.runs.database.synchronize()
        if key is not None:
            return self._of_run(backfill, self.why.progress.find_by_key(backfill, key), others)
        if date is None:
            return self.why.of_backfill(backfill)
        found = self.why.progress.find_by_date(backfill, date)
        if len(found) > 1:
            raise errors.QueryRefused({"date": ["Several runs have this date. Ask with key."]})
        if found:
            return self._of_run(backfill, found[0], others)
        return self._absent(backfill, date, others)

    def _of_run(self, backfill: t.Any, run: t.Any, others: Callable[[], bool]) -> list[Reason]:
        found = self.why.of_run(backfill, run)
        if self.runs.knows_history and not run.wanted and run.execution_date is not None:
            # Why it is not needed is why it would not be planned.
            date = columns.in_utc(run.execution_date, False)
            return [*found, *self._unneeded(backfill, date, others)]
        return found

    def _absent(self, backfill: t.Any, date: datetime, others: Callable[[], bool]) -> list[Reason]:
        """Why there is no run of a date."""
        values = self.expansion.values(backfill)
        if values["block_uuid"] is not None:
            return [reason("not_given", name=errors.text(str(values["block_uuid"])))]
        return self._unneeded(backfill, date, others) or [reason("not_planned")]

    def _unneeded(
        self, backfill: t.Any, date: datetime, others: Callable[[], bool]
    ) -> list[Reason]:
        """Why a date needs no run of this backfill; nothing if it needs one."""
        return self._outside(backfill, date) or self._covered(backfill, date, others)

    def _outside(self, backfill: t.Any, date: datetime) -> list[Reason]:
        """Why a date is none of the window's; nothing if it is one."""
        values = self.expansion.values(backfill)
        if values["block_uuid"] is not None:
            return []
        window = self.expansion.window(values)
        count = window.count() if window is not None else 0
        if window is None or not count:
            return [reason("no_window")]
        return _place(window, count, date)

    def _covered(self, backfill: t.Any, date: datetime, others: Callable[[], bool]) -> list[Reason]:
        """That another backfill has completed the run of a date of the window."""
        values = self.expansion.values(backfill)
        window = None if values["block_uuid"] is not None else self.expansion.window(values)
        index = None if window is None else window.index(date)
        if (
            window is None
            or index is None
            or not skips_covered(getattr(backfill, "settings", None))
        ):
            return []
        only = range(index, index + 1)
        found = completed_elsewhere(self.runs, self.expansion, backfill, window, only)
        return [
            reason("covered", where=f"backfill {one}" if others() else "another backfill")
            for one in found.values()
        ]


def _place(window: Window, count: int, date: datetime) -> list[Reason]:
    if date < window.start:
        return [reason("before_start", at=window.start)]
    last = window.date(count - 1)
    [_, end] = window.edges(count - 1, 1)
    if date >= end:
        return [reason("after_end", at=last)]
    index = bisect_right(range(count), date, key=window.date) - 1
    covering = window.date(index)
    return [] if covering == date else [reason("off_grid", at=covering)]
