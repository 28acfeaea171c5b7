"""The embedded worker: claims runs, calls the host's function for each, says how they ended."""

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

#: Seconds that a run may take, unless the app's config says otherwise.
LEASE = 3600.0


def lease() -> timedelta:
    """How long a run may take, by ``BACKFILLS_LEASE``; after that its worker counts as dead."""
    return timedelta(seconds=float(current_app.config.get("BACKFILLS_LEASE", LEASE)))


def perform(blueprint: Served | Host, run: t.Any) -> str | None:
    """Call the host's function for a run that was claimed, and end the run as it went.

    What the function leaves uncommitted in the blueprint's session is committed together
    with the end of its run. It is rolled back if the function raised, or if the run was
    cancelled or handed out again meanwhile.

    :returns: ``completed`` or ``failed``; ``None`` if the run is another's to end.
    :raises RuntimeError: if no function is registered.
    """
    host = host_of(blueprint)
    if host.runner is None:
        raise RuntimeError("nothing to call: register a function with @blueprint.runner")
    status, metrics, error = "completed", None, None
    try:
        metrics = _metrics(host.runner(run))
        # What the database refuses of its work is its failure too.
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
    raise TypeError(f"the runner returned a {type(returned).__name__}, not a dict or None")


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
    """Claim and perform runs until told to stop; then let those that run end.

    Each run has an app context and a thread of its own. A worker that dies loses nothing:
    another one takes its runs back when they have been running for longer than
    ``BACKFILLS_LEASE`` seconds.

    :param concurrency: so many runs at a time.
    :param once: stop when nothing waits.
    :param stop: set it to stop.
    :param idle: seconds to wait when nothing waits.
    :param tell: called with each run and how it ended, as :func:`perform` returns it.
    """
    host = host_of(blueprint)
    stop = stop or threading.Event()
    busy: set[Future[None]] = set()
    # By when they began; a model that does not map it has its runs taken back by nobody.
    can_recover = "started_at" in host.run_table.columns
    recovered = -float("inf")

    def perform_in_context(run: t.Any) -> None:
        with app.app_context():
            try:
                status = perform(host, run)
            except SQLAlchemyError:
                # It stays running, and is taken back after the lease.
                app.logger.exception("How run %s ended could not be told", run.key)
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
                app.logger.warning("The database is away: %s", errors.words(error))
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
