"""Records how runs went that have left nothing in their session: those of all threads at once.

A commit costs more than the end of a run does. What a function has left in its session is
committed together with the end of its run, in :mod:`.runner`.
"""

from __future__ import annotations

import logging
import queue
import threading
import typing as t
from collections.abc import Callable
from contextlib import suppress

from flask import Flask

from .host import Host
from .keeper import Keeper
from .runner import log_end
from .runner import record
from .runner import Went
from .tables.logs import log

#: How many runs may wait to be recorded, for each thread. No more are begun then: a database
#: that does not answer leaves few runs that are done and not recorded.
MOST_WAITING = 8

#: Seconds between two looks at runs that somebody else has locked.
LOCKED = 0.05

#: Called with a run and the result of :func:`.runner.perform`.
Tell = Callable[[t.Any, t.Optional[str]], None]


class Recorder:
    """A thread that records how runs went, until it is told to end."""

    def __init__(
        self,
        app: Flask,
        host: Host,
        keeper: Keeper,
        threads: int,
        tell: Tell,
        done: Callable[[t.Any, float], None],
    ) -> None:
        self.app = app
        self.host = host
        self.keeper = keeper
        self.tell = tell
        #: Called in any case, with the run and the seconds that it took.
        self.done = done
        self._went: queue.Queue[Went | None] = queue.Queue(threads * MOST_WAITING)
        self._ends = threading.Event()
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._record, name="backfills-recorder", daemon=True)
        self._thread.start()

    def take(self, went: Went) -> None:
        """Record how a run went: soon, or at once if it is too late for that."""
        self._went.put(went)
        if self._has_ended.is_set():
            self._record_each()

    def end(self, seconds: float) -> None:
        """Record what was taken, and end; or leave it after some seconds."""
        self._ends.set()
        with suppress(queue.Full):
            # If it is full, there is no need to wake it.
            self._went.put_nowait(None)
        self._thread.join(seconds)

    def _record(self) -> None:
        locked: list[Went] = []
        while True:
            left = [*locked, *self._new(LOCKED if locked else None)]
            locked = self._write(left) if left else []
            if self._ends.is_set() and self._went.empty():
                break
        self._has_ended.set()
        # What came before that.
        self._record_each()

    def _record_each(self) -> None:
        for one in self._new(0):
            self._end(one, False)

    def _new(self, seconds: float | None) -> list[Went]:
        """What was taken since, once there is something or some seconds have passed."""
        new = []
        with suppress(queue.Empty):
            new.append(self._went.get(timeout=seconds))
            while True:
                new.append(self._went.get_nowait())
        return [one for one in new if one is not None]

    def _write(self, all_: list[Went]) -> list[Went]:
        """Record how runs went, but for those that somebody else has locked.

        :returns: those.
        """
        done: list[bool | None] = [False] * len(all_)
        with suppress(BaseException):
            # Not even sys.exit() in a receiver of the host's ends it.
            with self.app.app_context():
                done = self.host.runs.finish_free([(one.run, *one.outcome) for one in all_])
        for one, is_done in zip(all_, done, strict=True):
            if is_done is not None:
                self._end(one, bool(is_done))
        return [one for one, is_done in zip(all_, done, strict=True) if is_done is None]

    def _end(self, one: Went, is_done: bool) -> None:
        """Tell how a run went, once it is recorded: alone if it is not its worker's any more."""
        try:
            with self.app.app_context():
                status = one.outcome[0] if is_done else record(self.host, one.run, one.outcome)
                log_end(one.run, one.began, status)
                self.tell(one.run, status)
        except BaseException:
            # The run stays running until it is taken back after the lease.
            text = "Could not record how run %s ended"
            log(logging.ERROR, text, one.run.key, app=self.app, exc_info=True)
        finally:
            self.keeper.leave(one.kept)
            self.done(one.run, one.seconds)
