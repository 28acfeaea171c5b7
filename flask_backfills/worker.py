"""The embedded worker: claims runs, calls the host's function, and records the results."""

from __future__ import annotations

import threading
import time
import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait
from datetime import timedelta

from flask import current_app
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from . import errors
from .host import Host
from .host import host_of
from .host import Served

#: The default of ``BACKFILLS_LEASE``, in seconds.
LEASE = 3600.0


def lease() -> timedelta:
    """The value of ``BACKFILLS_LEASE``: after this time, the worker of a run counts as dead."""
    return timedelta(seconds=float(current_app.config.get("BACKFILLS_LEASE", LEASE)))


def perform(blueprint: Served | Host, run: t.Any) -> str | None:
    """Call the registered function for a claimed run, and record how the run ended.

    If the function leaves uncommitted changes in the blueprint's session, they are committed
    together with the end of the run. They are rolled back if the function raised an
    exception, or if the run was cancelled or handed out again meanwhile.

    :returns: ``completed`` or ``failed``; ``None`` if the result was discarded, because the
        run was cancelled or handed out again.
    :raises RuntimeError: if no function is registered.
    """
    host = host_of(blueprint)
    if host.runner is None:
        raise RuntimeError("there is no runner: register a function with @blueprint.runner")
    status, metrics, error = "completed", None, None
    try:
        metrics = _metrics(host.runner(run))
        # If the database refuses the work, the run has failed too.
        host.table.session.flush()
    except Exception as raised:
        host.table.session.rollback()
        current_app.logger.exception("Run %s of backfill %s failed", run.key, run.backfill_id)
        status, error = "failed", errors.words(raised)
    attempt = getattr(run, "attempt", None)
    key = host.run_table.key_of(run)
    return status if host.runs.finish(key, status, metrics, error, attempt) else None


def _metrics(returned: t.Any) -> Mapping[str, t.Any] | None:
    if isinstance(returned, (Mapping, type(None))):
        return returned
    raise TypeError(f"the runner must return a dict or None, not {type(returned).__name__}")


def work(
    app: Flask,
    blueprint: Served | Host,
    *,
    concurrency: int = 1,
    once: bool = False,
    stop: threading.Event | None = None,
    idle: float = 1.0,
    tell: Callable[[t.Any, str | None], None] | None = None,
) -> None:
    """Claim and execute runs until ``stop`` is set. Then finish the runs that were claimed.

    Each run has its own app context and is executed in a thread. If a worker dies, its runs
    are not lost: another worker takes them back after ``BACKFILLS_LEASE`` seconds.

    :param concurrency: how many runs to execute at a time.
    :param once: stop when no run can be claimed.
    :param stop: an event that you set to stop the worker.
    :param idle: seconds between two checks for runs when there is nothing to do.
    :param tell: called with each run that has ended and the result of :func:`perform`.
    """
    host = host_of(blueprint)
    stop = stop or threading.Event()
    busy: set[Future[None]] = set()
    # Without started_at, no worker can take runs back.
    can_recover = "started_at" in host.run_table.columns
    recovered = -float("inf")

    def perform_in_context(run: t.Any) -> None:
        with app.app_context():
            try:
                status = perform(host, run)
            except SQLAlchemyError:
                # The run stays running until it is taken back after the lease.
                app.logger.exception("Could not record how run %s ended", run.key)
            else:
                if tell is not None:
                    tell(run, status)

    with ThreadPoolExecutor(concurrency, "backfills") as pool:
        while not stop.is_set():
            found: list[t.Any] = []
            try:
                with app.app_context():
                    seconds = lease().total_seconds()
                    if can_recover and time.monotonic() - recovered > min(seconds / 4, 60):
                        host.runs.recover(older_than=timedelta(seconds=seconds))
                        recovered = time.monotonic()
                    if len(busy) < concurrency:
                        found = host.runs.claim(limit=concurrency - len(busy))
            except SQLAlchemyError as error:
                app.logger.warning("The database can't be reached: %s", errors.words(error))
                if once:
                    raise
            busy |= {pool.submit(perform_in_context, run) for run in found}
            if busy:
                done, busy = wait(busy, idle, FIRST_COMPLETED)
                for future in done:
                    future.result()
            elif once:
                return
            else:
                stop.wait(idle)
