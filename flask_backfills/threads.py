"""The threads of a worker: each does one run at a time, of those that the worker has claimed."""

from __future__ import annotations

import logging
import queue
import threading
import time
import typing as t
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from flask import Flask

from .host import Host
from .keeper import Keeper
from .runner import perform
from .tables.logs import log

#: Called with a run that has ended and the result of :func:`.runner.perform`, in an app context.
Tell = Callable[[t.Any, t.Optional[str]], None]


class Threads:
    """Threads that wait for runs. Their methods are for one other thread, that of the worker.

    :param ended: takes the keys of backfills of which runs have ended.
    """

    def __init__(
        self,
        app: Flask,
        host: Host,
        keeper: Keeper,
        count: int,
        tell: Tell | None,
        ended: queue.SimpleQueue[t.Any],
    ) -> None:
        self.app = app
        self.host = host
        self.keeper = keeper
        self.count = count
        self._tell = tell or (lambda run, status: None)
        #: How many runs they have been given that have not ended.
        self.busy = 0
        #: Seconds, by the run that was begun last.
        self.waited = 0.0
        self._given: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._ended = ended
        for number in range(count):
            # Daemons, since a runner that hangs must not keep the process.
            name = f"backfills-{number}"
            threading.Thread(target=self._perform, name=name, daemon=True).start()

    @property
    def free(self) -> int:
        """How many of them have nothing to do."""
        return max(self.count - self.busy, 0)

    @property
    def has_waiting(self) -> bool:
        """Whether there is a run that none of them has begun."""
        return not self._given.empty()

    def give(self, runs: list[t.Any], late: datetime) -> None:
        """Let them do runs that were claimed.

        :param late: when it is to be asked whether one that was not begun is still to be done.
        """
        if not self.busy:
            self.waited = 0.0
        self.busy += len(runs)
        for run in runs:
            self._given.put((run, late, time.monotonic()))

    def take_back(self) -> list[t.Any]:
        """The runs that none of them has begun, which none of them will."""
        left = [given[0] for given in _all_of(self._given)]
        self.busy -= len(left)
        for run in left:
            self._ended.put(run.backfill_id)
        self.waited = 0.0 if left else self.waited
        return left

    def wait(self, seconds: float) -> list[float]:
        """Wait until a run has ended, and count all that have: the seconds that each took."""
        with suppress(queue.Empty):
            ended = [self._done.get(timeout=seconds), *_all_of(self._done)]
            self.busy -= len(ended)
            return ended
        return []

    def ended(self) -> list[t.Any]:
        """The keys of backfills of which runs have ended, or were left, since this was asked."""
        return _all_of(self._ended)

    def end(self) -> None:
        """Let each end with the run that it does."""
        for _ in range(self.count):
            self._given.put(None)

    def _perform(self) -> None:
        while (given := self._given.get()) is not None:
            (run, late, given_at), begun = given, time.monotonic()
            self.waited = begun - given_at
            # Before a receiver of the host's has done something with the run.
            backfill_id = run.backfill_id
            try:
                with self.app.app_context():
                    if not self._has_lost(run, late):
                        # Not when it was claimed, be it a moment ago.
                        self.host.run_table.note(run, started_at=self.host.run_table.now())
                        status = perform(self.host, run, self.keeper, later=True)
                        self._tell(run, status)
            except BaseException:
                # The run stays running until it is taken back after the lease.
                text = "Could not record how run %s ended"
                log(logging.ERROR, text, run.key, app=self.app, exc_info=True)
            finally:
                self._ended.put(backfill_id)
                self._done.put(time.monotonic() - begun)

    def _has_lost(self, run: t.Any, late: datetime) -> bool:
        """Whether a run that has waited here for long is cancelled or another's by now."""
        self.host.table.database.synchronize()
        if self.host.run_table.now() < late or self.host.runs.begin_late(run):
            return False
        self.host.runs.give_back([run])
        return True


def _all_of(taken: queue.SimpleQueue[t.Any]) -> list[t.Any]:
    """What is in a queue now."""
    found = []
    with suppress(queue.Empty):
        while True:
            found.append(taken.get_nowait())
    return found
