"""Renews the leases of the runs that a process has, and tells those that should stop.

Its thread has a session of its own, so that a runner may take as long as it likes.
"""

from __future__ import annotations

import threading
import time
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from sqlalchemy.orm import Session

from . import dbapi
from .host import Host
from .runs.lease import lease
from .tables.session import has_begun

#: Seconds between two looks at whether runs should stop.
LOOK = 1.0


class _Kept(t.NamedTuple):
    run: t.Any
    current: t.Any
    session: Session


class Keeper:
    """For a ``with`` block in which runs are done."""

    def __init__(self, app: Flask, host: Host) -> None:
        self.app = app
        self.host = host
        #: In their order: a run that was taken back may come again while it is still done here.
        self._kept: list[_Kept] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="backfills-keeper", daemon=True)

    def __enter__(self) -> Keeper:
        # Threads that share a connection would meet in each other's transactions. Nobody else
        # can take a run from a database in this process's memory.
        with self.app.app_context():
            alone = self.host.table.database.shares_a_connection
        if not alone:
            self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def keep(self, run: t.Any, current: t.Any, session: Session) -> Iterator[None]:
        """Renew the lease of a run within the block.

        :param current: told when the run should stop.
        :param session: the runner's.
        """
        kept = _Kept(run, current, session)
        with self._lock:
            self._kept.append(kept)
        try:
            yield
        finally:
            with self._lock:
                self._kept = [one for one in self._kept if one is not kept]

    def stop(self) -> None:
        """Tell every run to stop."""
        for one in self._now():
            one.current.request_stop()

    def runs(self) -> list[t.Any]:
        """The runs that are not done yet."""
        return [one.run for one in self._now()]

    def _now(self) -> list[_Kept]:
        with self._lock:
            return list(self._kept)

    def _renew(self) -> None:
        renewed = time.monotonic()
        third = 0.0
        while not self._done.wait(min(LOOK, third)):
            try:
                # Its end is in the block too: what a host does at the end of a context may fail.
                with self.app.app_context():
                    third = lease(self.host.run_table).total_seconds() / 3
                    begun = time.monotonic()
                    if begun - renewed >= third:
                        self.host.runs.renew(self._renewable())
                        renewed = begun
                    self._look()
            except BaseException as error:
                # sys.exit() in a receiver of the host's, too: without a lease, runs are lost.
                self.app.logger.warning("No lease was renewed: %s", dbapi.told(error))

    def _renewable(self) -> list[t.Any]:
        """Not those whose own transaction could not write its end any more after that."""
        snapshots = self.host.table.database.snapshots
        return [one.run for one in self._now() if not (snapshots and has_begun(one.session))]

    def _look(self) -> None:
        kept = self._now()
        if not kept:
            return
        newest = {self.host.run_table.key_of(one.run): one for one in kept}
        ours = self.host.runs.still_ours([one.run for one in newest.values()])
        for one in kept:
            key = self.host.run_table.key_of(one.run)
            if key not in ours or newest[key] is not one:
                one.current.request_stop()
