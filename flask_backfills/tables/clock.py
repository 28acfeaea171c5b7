"""The time by the database's clock, for machines whose own clocks differ."""

from __future__ import annotations

import time
from datetime import datetime
from datetime import timedelta
from datetime import timezone

#: Seconds after which the database is asked again.
KEPT = 60.0


class Clock:
    """Goes on from the last time that the database told; the machine's own until then."""

    def __init__(self) -> None:
        self._told: datetime | None = None
        self._at = float("-inf")

    def now(self) -> datetime:
        """The current moment, in UTC and aware."""
        if self._told is None:
            return datetime.now(timezone.utc)
        return self._told + timedelta(seconds=time.monotonic() - self._at)

    @property
    def is_known(self) -> bool:
        """Whether the database was ever asked."""
        return self._at > float("-inf")

    @property
    def is_old(self) -> bool:
        return time.monotonic() - self._at > KEPT

    def set(self, told: datetime | None) -> None:
        """Take over the database's time; ``None`` from one that runs on this machine."""
        self._at = time.monotonic()
        if told is not None and told.tzinfo is None:
            told = told.replace(tzinfo=timezone.utc)
        self._told = told and told.astimezone(timezone.utc)
