"""One attempt of a run, in the thread and the session of the test that asks for it.

The claim, the call and the end are those of every worker. What is added is what a test can't do
without: the objects that it has stay in its session, and what is meant for the test gets there.
"""

from __future__ import annotations

import asyncio
import threading
import typing as t

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from ..host import Host
from ..keeper import Keeper
from ..runner import current_run
from ..runner import perform
from .given import Failure

#: What is no :exc:`Exception`, and ends a run all the same, as in every worker.
_OF_RUNS = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)


class Stop(t.NamedTuple):
    """What stops an attempt early: its worker is told to stop."""

    #: How often its runner may ask before.
    after: int


class _Asked(threading.Event):
    """Is set once it was asked so often."""

    def __init__(self, often: int) -> None:
        super().__init__()
        self.left = often

    def is_set(self) -> bool:
        if self.left <= 0:
            self.set()
        self.left -= 1
        return super().is_set()


class Claimed(t.NamedTuple):
    """A run that was claimed."""

    #: In the session of the test.
    run: t.Any
    #: As it was claimed, and in no session: what a worker ends it with.
    record: t.Any


def claim(host: Host) -> Claimed | None:
    """Claim the next run of any backfill, as a worker does.

    Where a worker logs that a backfill is skipped, and why, this raises it.
    """
    for key in host.runs.active_backfills():
        for run in host.runs.claim(key):
            return joined(host, run)
    return None


def joined(host: Host, run: t.Any) -> Claimed:
    """A claimed run in the session again, from which the claim has taken it."""
    with Session() as nowhere:
        record = nowhere.merge(run, load=False)
        nowhere.expunge(record)
    session = host.table.session
    # The object that the test may have of it.
    if sa.inspect(run).key not in session.identity_map:
        session.add(run)
    return Claimed(run, record)


def attempt(
    app: Flask, host: Host, record: t.Any, planned: Failure | Stop | None
) -> list[BaseException]:
    """Let the runner do a claimed run, and record how it ended.

    :param planned: what is raised in its place, or when it is told to stop.
    :returns: what was raised.
    :raises BaseException: what is for the test and not for the run, such as Ctrl-C and
        ``pytest.fail()``, once the end is recorded.
    """
    runner, raised = host.runner, []

    def once(run: t.Any) -> t.Any:
        try:
            if isinstance(planned, Stop):
                current_run.stop = _Asked(planned.after)
            elif planned is not None:
                raise RuntimeError(planned) if isinstance(planned, str) else planned
            assert runner is not None
            return runner(run)
        except BaseException as error:
            raised.append(error)
            raise

    host.runner = once
    try:
        # One whose thread is not begun: the lease of a run can't end while time stands still.
        perform(host, record, Keeper(app, host))
    finally:
        host.runner = runner
    for error in raised:
        if not isinstance(error, _OF_RUNS):
            raise error
    return raised


def read(host: Host, one: t.Any) -> t.Any:
    """A row as it is now, all of it loaded; the very object where it is in the session.

    :raises LookupError: if it is gone.
    """
    # One of a context that has ended is not taken into this: its end would leave it unreadable.
    state = sa.inspect(one)
    found = host.table.session.get(type(one), state.identity, populate_existing=True)
    if found is None:
        raise LookupError(f"{type(one).__name__} {state.identity[0]!r} is not stored any more")
    return found
