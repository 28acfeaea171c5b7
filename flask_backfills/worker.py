"""The built-in worker: it claims runs and lets threads do them, until it is told to stop.

What a thread does with one run is in :mod:`.runner`.
"""

from __future__ import annotations

import queue
import threading
import time
import typing as t
from collections.abc import Collection
from datetime import timedelta

from flask import Flask

from . import dbapi
from .host import Host
from .host import host_of
from .host import Served
from .keeper import Keeper
from .keeper import LOOK
from .rules.ahead import Ahead
from .runner import perform as perform
from .runs.lease import lease
from .tables.logs import Seldom
from .tables.logs import warn
from .tables.pool import lacks_connections
from .threads import Tell
from .threads import Threads

#: Looks in vain after which ``once`` believes that nothing waits: a backfill that somebody else
#: has locked for a moment is skipped.
LOOKS = 3

#: Seconds from the first look in vain to the next; doubled up to ``idle``.
PAUSE = 0.02

#: Seconds for which nobody gets a run that was given back while a thread does it, which ends
#: with the process.
LEAVING = 5.0

#: Seconds for which ``once`` waits for a run that is to be tried again.
SOON = 5.0

#: Seconds after a look in vain for runs to claim ahead.
VAIN = 0.05

#: Seconds that runs which were claimed ahead wait for a thread, before they are given back; and
#: after which it is asked whether one of them is still to be done.
STUCK = 1.0
LATE = timedelta(seconds=0.5)


class Stuck(RuntimeError):
    """The functions that a worker does were told to stop, and don't; and other runs wait."""


def work(
    app: Flask,
    blueprint: Served | Host,
    *,
    concurrency: int = 1,
    once: bool = False,
    stop: threading.Event | None = None,
    hurry: threading.Event | None = None,
    grace: float | None = None,
    idle: float = 1.0,
    tell: Tell | None = None,
) -> None:
    """Claim and execute runs until ``stop`` is set. Then let the runs end that were claimed.

    Each run has its own app context and is executed in a thread. If a worker dies, its runs
    are not lost: another worker takes them back after ``BACKFILLS_LEASE`` seconds.

    :param concurrency: how many runs to execute at a time.
    :param once: stop when no run can be claimed.
    :param stop: an event that you set to stop the worker.
    :param hurry: an event that you set to stop it at once: runs that have not ended are given
        back, and wait again.
    :param grace: seconds that runs may take to end after ``stop``, before they are given back;
        ``None`` for as long as it takes.
    :param idle: seconds between two checks for runs when there is nothing to do.
    :param tell: called with each run that has ended and the result of :func:`perform`.
    :raises ValueError: if the engine has too few connections for so many runs at a time.
    :raises Stuck: if other runs wait, and all functions that it does were told to stop a lease
        ago: nothing ends such a function but the end of the process.
    """
    host = host_of(blueprint)
    with app.app_context():
        if refusal := lacks_connections(host.table.database.engine, concurrency):
            raise ValueError(refusal)
    ended: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    with Keeper(app, host, ended.put) as keeper:
        _Worker(app, host, keeper, Threads(app, host, keeper, concurrency, tell, ended)).work(
            once, stop or threading.Event(), hurry or threading.Event(), grace, idle
        )


class _Worker:
    """The loop that feeds the threads of one worker."""

    def __init__(self, app: Flask, host: Host, keeper: Keeper, threads: Threads) -> None:
        self.app = app
        self.host = host
        self.keeper = keeper
        self.threads = threads
        self.ahead = Ahead(threads.count)
        self.seldom = Seldom()
        self.ended_at = self.recovered = self.looked = self.ahead_at = float("-inf")
        #: Whether the tables are there, which a runner can't undo.
        self.has_looked = False
        #: The backfills that are not in line with how their runs have ended, since when.
        self.behind: dict[t.Any, float] = {}

    def work(
        self,
        once: bool,
        stop: threading.Event,
        hurry: threading.Event,
        grace: float | None,
        idle: float,
    ) -> None:
        exits, rolling = None, threading.Thread()
        try:
            try:
                self._feed(once, stop, hurry, idle)
            except SystemExit as asked:
                # By a receiver of the host's: no reason to cut off what runs.
                exits = asked
            self._give_back_ahead()
            self.keeper.stop()
            until = float("inf") if grace is None else time.monotonic() + grace
            while self.threads.busy and time.monotonic() < until and not hurry.is_set():
                self._wait(min(0.1, idle))
                if rolling.is_alive() or time.monotonic() - self.looked < LOOK:
                    continue
                self.looked = time.monotonic()
                # Apart: a receiver of the host's may take longer than the runs may.
                rolling = threading.Thread(target=self._roll_up_apart, args=[self._ended()])
                rolling.start()
        finally:
            self._give_back_ahead()
            self.threads.end()
            self._give_back()
            if rolling.is_alive():
                rolling.join()
            with self.app.app_context():
                until = time.monotonic() + LEAVING
                for key in self._ended():
                    self.host.runs.upkeep.roll_up(key, wait=time.monotonic() < until)
        if exits is not None:
            raise exits

    def _feed(self, once: bool, stop: threading.Event, hurry: threading.Event, idle: float) -> None:
        """Claim runs for the threads until there is a reason to stop."""
        looks = 0
        while not (stop.is_set() or hurry.is_set()):
            self._refuse_to_hang()
            # What the keeper has seen is for this loop.
            soon = min(idle, LOOK)
            if self._has_enough(soon):
                time.sleep(self.ahead.pause(self.threads.busy))
                self._wait(soon)
                continue
            looks = 0 if self._claim(once) else looks + 1
            if once and not self.threads.busy and looks >= LOOKS and not self._is_due_soon():
                return
            # After a night without work, two to that power is no float any more.
            pause = min(PAUSE * 2 ** min(looks, 20), idle)
            if self.threads.busy:
                self._wait(pause if self.threads.free else soon)
            else:
                stop.wait(pause)

    def _refuse_to_hang(self) -> None:
        """End where nothing else can be done, and is to be done."""
        if self.threads.free or not self.keeper.deaf(0):
            return
        try:
            with self.app.app_context():
                seconds = lease(self.host.run_table).total_seconds()
                deaf = self.keeper.deaf(seconds)
                others = len(deaf) == self.threads.count and self.host.runs.active_backfills()
        except Exception:
            # As long as the database is away, another worker could do no more.
            return
        if others:
            raise Stuck(
                f"The worker ends: each run that it does was told to stop {seconds:g} seconds ago"
                f" and goes on, such as {deaf[0].key} of backfill {deaf[0].backfill_id}, and"
                " others wait. Start it again."
            )

    def _has_enough(self, idle: float) -> bool:
        """Whether there is no need to look for runs yet; where they are short, for several."""
        since = max(self.threads.waited, time.monotonic() - self.ended_at)
        if self.threads.has_waiting and since > STUCK:
            self._give_back_ahead()
        return self.ahead.spare(self.threads.busy) >= 0 and time.monotonic() - self.looked < idle

    def _claim(self, once: bool) -> int:
        """Claim as many runs as there are threads free for them, or a little more."""
        self.looked = time.monotonic()
        free = self.threads.free
        most = self.ahead.most if free or self.looked >= self.ahead_at else 0
        ahead = max(most - self.threads.busy - free, 0)
        found: list[t.Any] = []
        try:
            with self.app.app_context():
                self._recover()
                ended = self._ended()
                late = self.host.run_table.now() + min(lease(self.host.run_table) / 3, LATE)
                if free or ahead:
                    found = self.host.runs.claim(limit=free, ahead=ahead)
                if found and not self.threads.busy:
                    self.ended_at = time.monotonic()
                # Theirs before what may raise.
                self.threads.give(found, late)
                # A claim brings a backfill in line. The next look does what is locked, or ends now.
                in_line = {run.backfill_id for run in found}
                for key in in_line.intersection(ended):
                    del self.behind[key]
                self._roll_up([key for key in ended if key not in in_line])
            self.has_looked = True
        except Exception as error:
            missing = dbapi.is_missing(error) and not self.has_looked
            if missing or (once and not self.threads.busy):
                raise
            told = dbapi.told(error)
            self.seldom.warn("claim", "No run was claimed: %s", told, app=self.app)
        if not found and not free:
            # Somebody else has the backfill locked, or none of its runs may be claimed ahead.
            self.ahead_at = self.looked + VAIN
        return len(found)

    def _roll_up(self, keys: Collection[t.Any]) -> None:
        """Bring backfills in line, without waiting for those that somebody else has locked."""
        for key in keys:
            if self.host.runs.upkeep.roll_up(key, wait=False):
                self.behind.pop(key, None)

    def _roll_up_apart(self, keys: Collection[t.Any]) -> None:
        try:
            with self.app.app_context():
                self._roll_up(keys)
        except BaseException as error:
            # The worker stops in any case.
            warn("Backfills are rolled up later: %s", dbapi.told(error), app=self.app)

    def _is_due_soon(self) -> bool:
        locked = any(time.monotonic() - since < SOON for since in self.behind.values())
        with self.app.app_context():
            return locked or self.host.progress.is_due_soon(SOON)

    def _recover(self) -> None:
        seconds = lease(self.host.run_table).total_seconds()
        if self.host.run_table.leased is None or self.host.table.database.shares_a_connection:
            # Nobody can tell which runs are lost; or there is no other worker to lose any.
            return
        if time.monotonic() - self.recovered > min(seconds / 3, 60):
            self.host.runs.recover()
            self.recovered = time.monotonic()

    def _wait(self, seconds: float) -> None:
        """Wait until a run has ended, and take note of all that have."""
        for took in self.threads.wait(seconds):
            self.ahead.took(took)
            self.ended_at = time.monotonic()

    def _ended(self) -> list[t.Any]:
        """The backfills that are not in line with how their runs have ended."""
        self.behind.update(dict.fromkeys(self.threads.ended(), time.monotonic()))
        return list(self.behind)

    def _give_back_ahead(self) -> None:
        """Give back the runs that no thread has begun."""
        if not (left := self.threads.take_back()):
            return
        self.ahead.forget()
        try:
            with self.app.app_context():
                self.host.runs.give_back(left)
        except Exception as error:
            # They are taken back after the lease.
            warn("Runs were not given back: %s", dbapi.told(error), app=self.app)

    def _give_back(self) -> None:
        """Give back the runs that are not done, so that others need not wait for the lease."""
        left = self.keeper.runs() if self.threads.busy else []
        if not left:
            return
        self.keeper.stop()
        self.behind.update({run.backfill_id: time.monotonic() for run in left})
        with self.app.app_context():
            if count := self.host.runs.give_back(left, leaving=LEAVING):
                warn("Runs that have not ended and were given back: %d", count)
