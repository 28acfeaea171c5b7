"""The time by the database's clock, for machines whose own clocks differ."""

from __future__ import annotations

import time
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

#: Seconds after which the database is asked again.
KEPT = 60.0


#: Seconds by which the machine's clocks may drift apart before it is asked again: one of them
#: stands still while the machine is suspended.
JUMP = 1.0


class _Told(t.NamedTuple):
    """What the database told, and what the machine's clocks said then."""

    now: datetime | None
    ticks: float
    wall: float


class Clock:
    """Goes on from the last time that the database told; the machine's own until then."""

    def __init__(self) -> None:
        #: The machine's clocks: one that only goes on, and the one that people set.
        self.ticks = time.monotonic
        self.wall = time.time
        self._told: _Told | None = None

    def now(self) -> datetime:
        """The current moment, in UTC and aware."""
        told = self._told
        if told is None or told.now is None:
            return datetime.now(timezone.utc)
        return told.now + timedelta(seconds=self.ticks() - told.ticks)

    @property
    def is_known(self) -> bool:
        """Whether the database was ever asked."""
        return self._told is not None

    @property
    def is_old(self) -> bool:
        """Whether to ask the database again: a while has passed, or the machine was suspended."""
        if self._told is None:
            return True
        passed = self.ticks() - self._told.ticks
        return passed > KEPT or abs(self.wall() - self._told.wall - passed) > JUMP

    def set(self, told: datetime | None) -> None:
        """Take over the database's time; ``None`` from one that runs on this machine."""
        if told is not None and told.tzinfo is None:
            told = told.replace(tzinfo=timezone.utc)
        now = told and told.astimezone(timezone.utc)
        self._told = _Told(now, self.ticks(), self.wall())
