"""Renews the leases of the runs that a process has, and tells those that should stop.

Its thread has a session of its own, so that a runner may take as long as it likes.
"""

from __future__ import annotations

import threading
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from datetime import timedelta
from functools import partial

import sqlalchemy as sa
from flask import Flask
from flask import has_app_context
from sqlalchemy.orm import Session
from sqlalchemy.orm import SessionTransaction

from . import dbapi
from .host import Host
from .runs.lease import lease
from .runs.lease import mark_of
from .tables import columns
from .tables.logs import Seldom
from .tables.marks import Marks
from .tables.session import followed
from .tables.session import Follower
from .tables.session import has_begun
from .tables.session import has_begun_in
from .tables.snapshots import is_snapshot

#: Seconds between two looks at whether runs should stop.
LOOK = 1.0


@dataclass(eq=False)
class _Kept:
    run: t.Any
    current: t.Any
    #: When its lease is to be renewed.
    due: datetime
    #: Its runner's transactions that can't write what others have written since they began.
    snapshots: list[tuple[Session, SessionTransaction | None]] = field(default_factory=list)
    #: Whether it is marked, until its lease is renewed.
    is_marked: bool = False

    @property
    def is_in_snapshot(self) -> bool:
        return any(_is_open(*one) for one in self.snapshots)


class Keeper:
    """For a ``with`` block in which runs are done.

    :param late: called in an app context with the key of a backfill, of which a run takes longer
        than ``settings.run_timeout``; rolls it up if ``None``. Receivers of the host's are called
        then, for which no lease should wait that is another run's.
    """

    def __init__(
        self, app: Flask, host: Host, late: Callable[[t.Any], object] | None = None
    ) -> None:
        self.app = app
        self.host = host
        self._late = late or partial(host.runs.upkeep.roll_up, wait=False)
        #: In their order: a run that was taken back may come again while it is still done here.
        self._kept: list[_Kept] = []
        self._lock = threading.Lock()
        #: Held while leases are renewed.
        self._renewing = threading.Lock()
        self._marks = Marks(host.table.database)
        #: A third of a lease.
        self._third = timedelta()
        self._seldom = Seldom()
        self._done = threading.Event()
        #: Set where a lease has to be renewed before the next look.
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="backfills-keeper", daemon=True)

    def __enter__(self) -> Keeper:
        # Threads that share a connection would meet in each other's transactions. Nobody else
        # can take a run from a database in this process's memory.
        with self.app.app_context():
            alone = self.host.table.database.shares_a_connection
            self._third = lease(self.host.run_table) / 3
        if not alone:
            self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._done.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._marks.end()

    @contextmanager
    def keep(self, run: t.Any, current: t.Any, session: Session) -> Iterator[None]:
        """Renew the lease of a run within the block.

        Where the runner's own transaction has the run locked, nobody else can renew it, nor take
        it back. The commit that ends the lock renews it, so that it is never free and silent.

        :param current: told when the run should stop.
        :param session: the runner's.
        """
        beat = getattr(run, "heartbeat_at", None)
        renewed = columns.in_utc(beat, True) if beat else self.host.run_table.now()
        kept = _Kept(run, current, renewed + self._third)
        database = self.host.table.database

        def is_ours(session: Session) -> bool:
            # Not where the runner has taken it to a thread or a context of its own.
            return has_app_context() and self.host.table.session is session

        def begun(session: Session, connection: sa.Connection) -> None:
            if is_ours(session) and is_snapshot(database, connection):
                still = [one for one in kept.snapshots if _is_open(*one)]
                kept.snapshots = [*still, (session, session.get_transaction())]
                # Before it reads anything, or it could not write its run. Not for ever: what the
                # keeper waits for may be the runner's.
                if self._renewing.acquire(timeout=LOOK):
                    self._renewing.release()

        def renew(session: Session) -> None:
            # Mostly it is not, which is known without asking anything.
            if not self._is_due(kept) or kept.is_in_snapshot or not is_ours(session):
                return
            if has_begun(session) and not session.in_nested_transaction():
                self.host.runs.ending.renew_own(run)

        def wake(session: Session) -> None:
            if has_app_context() and self._is_due(kept):
                self._wake.set()

        with self._lock:
            self._kept.append(kept)
        try:
            if has_begun_in(session, database.mapper):
                begun(session, database.connection())
            with followed(session, Follower(begun, renew, wake)):
                yield
        finally:
            with self._lock:
                self._kept = [one for one in self._kept if one is not kept]

    def stop(self) -> None:
        """Tell every run to stop."""
        for one in self._now():
            one.current.request_stop()

    def deaf(self, seconds: float) -> list[t.Any]:
        """The runs that were told to stop so long ago, and go on."""
        before = time.monotonic() - seconds
        return [one.run for one in self._now() if one.current.stopped_at < before]

    def runs(self) -> list[t.Any]:
        """The runs that are not done yet."""
        return [one.run for one in self._now()]

    def _now(self) -> list[_Kept]:
        with self._lock:
            return list(self._kept)

    def _renew(self) -> None:
        while True:
            self._wake.wait(min(LOOK, self._third.total_seconds()))
            self._wake.clear()
            if self._done.is_set():
                return
            for step in (self._renew_due, self._mark_due, self._look):
                try:
                    # Its end is in the block too: what a host does when a context ends may fail.
                    with self.app.app_context():
                        # The host may change it at any time.
                        self._third = lease(self.host.run_table) / 3
                        step()
                except BaseException as error:
                    # sys.exit() in a receiver of the host's, too: without a lease, runs are lost.
                    if self._now():
                        told = dbapi.told(error)
                        self._seldom.warn(step, "No lease was renewed: %s", told, app=self.app)

    def _renew_due(self) -> None:
        """Renew the leases that were not renewed for a third of a lease."""
        # The machine may have been suspended meanwhile.
        self.host.table.database.synchronize()
        with self._renewing:
            due = [one for one in self._now() if self._is_due(one) and not one.is_in_snapshot]
            now = self.host.run_table.now()
            renewed = self.host.runs.renew([one.run for one in due])
            for one in due:
                if self.host.run_table.key_of(one.run) in renewed:
                    one.due, one.is_marked = now + self._third, False

    def _mark_due(self) -> None:
        """Mark those instead whose open transaction could not write its end after a renewal."""
        kept = self._now()
        for one in kept:
            # It stays so if the transaction has ended since, and the lease was not renewed yet.
            one.is_marked |= self._is_due(one) and one.is_in_snapshot
        runs = self.host.run_table
        names = {mark_of(runs, runs.key_of(one.run), one.run) for one in kept if one.is_marked}
        self._marks.hold(names, lease(runs).total_seconds())

    def _is_due(self, one: _Kept) -> bool:
        return self.host.run_table.now() >= one.due

    def _look(self) -> None:
        kept = self._now()
        if not kept:
            return
        newest = {self.host.run_table.key_of(one.run): one for one in kept}
        ours, late = self.host.runs.look([one.run for one in newest.values()])
        for one in kept:
            key = self.host.run_table.key_of(one.run)
            if key not in ours or newest[key] is not one:
                one.current.request_stop()
        for backfill_id in late:
            self._late(backfill_id)


def _is_open(session: Session, transaction: SessionTransaction | None) -> bool:
    return session.get_transaction() is transaction
