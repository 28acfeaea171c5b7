"""The clocks of an app's blueprints, which stand still until a test moves them."""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from datetime import datetime
from datetime import timezone

from ..tables.clock import Clock


class Hours:
    """One time for all clocks, within a ``with`` block."""

    def __init__(self, clocks: Collection[Clock]) -> None:
        self.now = datetime.now(timezone.utc)
        self._clocks = clocks
        self._before: list[tuple[Clock, dict[str, t.Any]]] = []

    def begin(self) -> None:
        """Let time stand still.

        :raises RuntimeError: if it does already: the end of this block would not be its end.
        """
        if self._before:
            raise RuntimeError(
                "time stands still for these backfills already: the fixture `backfills`, or a"
                " `with` block around this one, sees to it. Leave this one out"
            )
        # All that a clock knows, since it goes on where it was.
        self._before = [(clock, dict(vars(clock))) for clock in self._clocks]
        self.move(self.now)

    def end(self) -> None:
        for clock, known in self._before:
            vars(clock).update(known)
        self._before = []

    def move(self, to: datetime) -> None:
        """Let it be another time. The database is not asked for its own.

        :raises RuntimeError: outside of the block, where nothing would follow.
        """
        if not self._before:
            raise RuntimeError(
                "time moves only where it stands still: use the fixture `backfills`, or"
                " `with Kit(app) as backfills:`"
            )
        self.now = to
        for clock, _ in self._before:
            clock.ticks = clock.wall = _still
            clock.set(to)


def _still() -> float:
    return 0.0
