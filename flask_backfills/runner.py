"""One run: the host's function is called, and how it went is recorded.

Nothing that the function does ends the worker.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import typing as t
from collections.abc import Callable
from contextvars import ContextVar
from contextvars import copy_context

from flask import current_app
from flask.globals import app_ctx
from werkzeug.local import LocalProxy

from . import dbapi
from .host import Host
from .host import host_of
from .host import Served
from .keeper import Keeper
from .runs import metrics as numbers
from .tables.logs import log
from .tables.session import is_pending
from .tables.session import undo

_current: ContextVar[CurrentRun] = ContextVar("flask_backfills.current_run")


class _Interrupted(Exception):
    """The database has undone the work of a run; it is nobody's failure."""


class CurrentRun:
    """What a runner can ask of its own run: :data:`flask_backfills.current_run`."""

    def __init__(self, run: t.Any) -> None:
        self.run = run
        self.stop = threading.Event()
        #: When it was told to stop, by the machine's clock.
        self.stopped_at = float("inf")

    @property
    def stop_requested(self) -> bool:
        """Whether to stop early, since the result will not be used or the worker has to go.

        It is true once the run was cancelled, has timed out or was taken back, or its worker
        is told to stop.
        """
        return self.stop.is_set()

    def request_stop(self) -> None:
        self.stopped_at = min(self.stopped_at, time.monotonic())
        self.stop.set()


#: The run that the calling thread does. Only while a runner is called.
current_run: CurrentRun = LocalProxy(  # type: ignore[assignment]
    _current, unbound_message="There is no current run: current_run is for runners."
)


def perform(
    blueprint: Served | Host,
    run: t.Any,
    keeper: Keeper | None = None,
    *,
    later: bool = False,
) -> str | None:
    """Call the runner for a claimed run, and record the result.

    Uncommitted work of the runner in the blueprint's session is committed together with the
    end of its run. It is rolled back if the runner raised, or if the run was cancelled or
    reassigned meanwhile.

    :param blueprint: a blueprint with a registered runner.
    :param run: a run of :meth:`claim <flask_backfills.runs.queue.Queue.claim>`.
    :param keeper: renews the lease of the run; one for this run alone if ``None``.
    :param later: leave what follows for the backfill to its next claim.
    :returns: ``completed`` or ``failed``; ``None`` if the result was discarded.
    :raises RuntimeError: if no function is registered.
    """
    host = host_of(blueprint)
    if host.runner is None:
        raise RuntimeError("no runner is registered: register a function with @blueprint.runner")
    if keeper is None:
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        with Keeper(app, host) as own:
            return perform(host, run, own, later=later)
    current = CurrentRun(run)
    began = time.monotonic()
    _log("began", run)
    with keeper.keep(run, current, host.table.session):
        token = _current.set(current)
        try:
            status = _end(host, run, later, *_call(host, run))
        except _Interrupted as interrupted:
            status = None
            words = dbapi.words(t.cast(BaseException, interrupted.__cause__))
            _say(logging.WARNING, "Run %s of backfill %s was interrupted: %s", run, words)
            host.runs.interrupted(run, f"The database interrupted it: {words}")
        finally:
            _current.reset(token)
    _log("ended", run, seconds=time.monotonic() - began, status=status)
    return status


def _call(host: Host, run: t.Any) -> tuple[str, dict[str, t.Any], str | None]:
    session = host.table.session
    process = os.getpid()
    try:
        assert host.runner is not None
        # One that belongs to the session: its relationships load, its columns are written.
        returned = _apart(host.runner, session.merge(run, load=False))
        if os.getpid() != process:
            # A child that the function has made is not the worker, and has no run to end.
            os._exit(0)
        metrics = numbers.read(returned)
        # What the database refuses of its work is its failure too.
        if is_pending(session):
            host.table.database.begin_writing()
            session.flush()
        return "completed", metrics, None
    except BaseException as raised:
        if os.getpid() != process:
            os._exit(1)
        # Not Exception alone: sys.exit() and a cancelled task end a run, and no worker.
        undo(session)
        if (now := host.table.session) is not session:
            # Since it has called remove() on the host's.
            undo(now)
        if dbapi.interrupts(raised):
            raise _Interrupted from raised
        _say(logging.ERROR, "Run %s of backfill %s failed", run, exc_info=_printable(raised))
        return "failed", {}, _words(raised)


def _apart(function: Callable[[t.Any], t.Any], run: t.Any) -> t.Any:
    """Call the host's function; contexts that it has pushed and left end with it.

    What comes after would use their session otherwise, or the next run would.
    """
    ours = app_ctx._get_current_object()  # type: ignore[attr-defined]

    def call() -> t.Any:
        try:
            return function(run)
        finally:
            while app_ctx._get_current_object() is not ours:  # type: ignore[attr-defined]
                app_ctx.pop()

    # Those of requests, too, which not every release of Flask tells from the app's.
    return copy_context().run(call)


def _end(
    host: Host,
    run: t.Any,
    later: bool,
    status: str,
    metrics: dict[str, t.Any],
    error: str | None,
) -> str | None:
    try:
        later = later and host.run_table.keeps_ends
        recorded = host.runs.finish(run, status, metrics, error, later=later)
        return status if recorded else None
    except BaseException as raised:
        undo(host.table.session)
        if dbapi.passes(raised) and dbapi.is_ours(raised):
            # What it left uncommitted is lost with the transaction: it has to run again.
            raise _Interrupted from raised
        _say(logging.ERROR, "Run %s of backfill %s failed", run, exc_info=True)
        return _fail(host, run, _words(raised))


def _fail(host: Host, run: t.Any, error: str) -> str | None:
    """Record that a run has failed, be it that the host's table refuses the reason."""
    try:
        recorded = host.runs.finish(run, "failed", {}, error)
    except Exception as raised:
        undo(host.table.session)
        if dbapi.passes(raised):
            raise
        recorded = host.runs.finish(run, "failed")
    return "failed" if recorded else None


def _words(raised: BaseException) -> str:
    """The text of what was raised, even if it can't tell its own."""
    try:
        told = dbapi.words(raised)
        if raised.args and type(raised).__str__ is KeyError.__str__:
            # Its text is the key alone, which says nothing of what is wrong with it.
            return f"{type(raised).__name__}: {told}"
        return told
    except BaseException:
        return type(raised).__name__


def _printable(raised: BaseException) -> t.Any:
    try:
        str(raised)
    except BaseException:
        return None
    return raised


def _log(what: str, run: t.Any, **more: t.Any) -> None:
    if current_app.logger.isEnabledFor(logging.INFO):
        _say(logging.INFO, f"Run %s of backfill %s {what}", run, more=more)


def _say(
    level: int, told: str, run: t.Any, *args: t.Any, more: t.Any = None, exc_info: t.Any = None
) -> None:
    extra = {**_fields(run), **(more or {})}
    log(level, told, run.key, run.backfill_id, *args, exc_info=exc_info, extra=extra)


def _fields(run: t.Any) -> dict[str, t.Any]:
    """What a log line has of a run, for those who ship them."""
    attempt = getattr(run, "attempt", None)
    return {"backfill": run.backfill_id, "run": run.key, "attempt": attempt}
