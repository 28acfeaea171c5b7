"""The commands that stay: a worker, one who watches, and one who takes runs back."""

from __future__ import annotations

import os
import signal
import threading
import typing as t
from datetime import timedelta

import click
from flask import current_app

from ..host import Host
from ..runs.lease import lease
from ..tables.pool import lacks_connections
from ..worker import Stuck
from ..worker import work as work_on
from .following import follow
from .moving import telling_runs
from .options import command
from .options import ID
from .options import JSON
from .options import Seconds
from .options import UNREADABLE
from .printing import print_json
from .printing import tell_sentence
from .text import tell


@command(
    ID,
    click.option("--interval", type=Seconds(0.1), default=1.0, help="Seconds between two checks."),
    JSON,
    example="watch 6",
    exit_code=UNREADABLE,
)
def watch(host: Host, backfill_id: str, interval: float, as_json: bool) -> None:
    """Follow a backfill until it ends.

    The exit status is 0 if the backfill completed, 1 if it failed and 2 if it was
    cancelled. It is 3 if the backfill can't be read, and 130 after Ctrl-C, which ends the
    command and not the backfill. A backfill that was never started is waited for.
    """
    follow(host, backfill_id, as_json, interval)


@command(
    click.option(
        "--concurrency",
        type=click.IntRange(1),
        default=1,
        help="How many runs to execute at a time.",
    ),
    click.option("--once", is_flag=True, help="Stop when no run can be claimed."),
    click.option(
        "--grace",
        type=Seconds(0),
        metavar="SECONDS",
        help="How long runs may take to end once the worker is told to stop. Default: no limit.",
    ),
    JSON,
    example="work --concurrency 4",
)
def work(host: Host, concurrency: int, once: bool, grace: float | None, as_json: bool) -> None:
    """Execute runs, until it is stopped.

    It claims runs and calls the app's runner for each of them. At SIGTERM or Ctrl-C, the worker
    claims no more runs and lets the runs end that it has. At the second signal, or after --grace,
    it gives back those that have not ended: they wait again.
    """
    if host.run_model is None:
        raise click.ClickException(
            "The app has no run model: pass run_model= to BackfillBlueprint."
        )
    if host.runner is None:
        raise click.ClickException(
            "The app has no runner: register a function with @blueprint.runner."
        )
    if refusal := lacks_connections(host.table.database.engine, concurrency):
        raise click.ClickException(refusal)
    stop, hurry = threading.Event(), threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    process = os.getpid()

    def stop_soon(number: int, frame: t.Any) -> None:
        if os.getpid() != process:
            # A child that a runner has forked ends as it would without us.
            signal.signal(number, before[signal.Signals(number)] or signal.SIG_DFL)
            signal.raise_signal(number)
            return
        (hurry if stop.is_set() else stop).set()

    for number in before:
        signal.signal(number, stop_soon)
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    seconds = lease(host.run_table).total_seconds()
    # At the error output, so that what is piped on is the runs alone.
    tell_sentence(
        f"Working on {host.run_table.table.name}, {concurrency} at a time; a run whose worker"
        f" dies is taken back after {seconds:g} seconds.",
        err=True,
    )
    try:
        with telling_runs(host, as_json) as tell_run:
            work_on(
                app,
                host,
                concurrency=concurrency,
                once=once,
                stop=stop,
                hurry=hurry,
                grace=grace,
                tell=tell_run,
            )
    except Stuck as stuck:
        raise click.ClickException(str(stuck)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@command(
    click.option(
        "--older-than",
        type=Seconds(0, 10**9),
        metavar="SECONDS",
        help="Only runs whose worker has been silent for longer. Default: BACKFILLS_LEASE.",
    ),
    JSON,
    example="recover --older-than 60",
)
def recover(host: Host, older_than: float | None, as_json: bool) -> None:
    """Take back the runs of workers that died. Other workers can claim them."""
    if host.run_model is None:
        raise click.ClickException(
            "The app has no run model: pass run_model= to BackfillBlueprint."
        )
    age = None if older_than is None else timedelta(seconds=older_than)
    taken = host.runs.recover(older_than=age)
    if as_json:
        print_json({"recovered": taken})
    else:
        tell(f"Runs taken back: {taken:,}.")
