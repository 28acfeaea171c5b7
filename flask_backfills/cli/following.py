"""A backfill that is followed until it ends: line by line, or in a bar."""

from __future__ import annotations

import sys
import threading
import time
import typing as t
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator

import click

from ..host import Host
from ..rules.lifecycle import ACTIVE
from ..rules.settings import to_do
from ..tables.session import undo
from .bar import Bar
from .lookup import find
from .lookup import read
from .moving import lines_above
from .printing import counts_of
from .printing import ended_of
from .printing import line_of
from .printing import status_of
from .printing import tell_next
from .terminal import can_be_drawn_on
from .terminal import of_status
from .text import printable
from .text import printable_json
from .text import tell

#: The exit status, by the final status of the backfill.
EXIT = {"completed": 0, "failed": 1, "cancelled": 2}

#: After so many looks, somebody is told that nobody works.
_PATIENCE = 5

#: Seconds for which a database that is away is waited for.
_AWAY = 60.0

R = t.TypeVar("R")


def follow(host: Host, backfill_id: str, as_json: bool, interval: float = 1.0) -> t.NoReturn:
    """Show a backfill whenever it has changed, until it ends. Exit with how it ended.

    :param interval: seconds between two looks at it.
    """
    states = _states(host, lambda: read(host, backfill_id), interval)
    seen = _say_what_is_missing(host, states, backfill_id)
    if as_json or not can_be_drawn_on():
        seen = _follow_in_lines(seen, _tell_json if as_json else _tell_line)
    else:
        seen = _follow_in_bar(seen)
    # One at a time: there may be a night of them.
    [last] = deque(seen, maxlen=1)
    if last["status"] == "failed" and host.run_model is not None and not as_json:
        tell_next("To see what went wrong", "runs", backfill_id, "--errors")
    raise click.exceptions.Exit(EXIT[last["status"]])


def _states(
    host: Host, read: Callable[[], dict[str, t.Any]], interval: float
) -> Iterator[dict[str, t.Any]]:
    """Yield a backfill again and again, until it has ended."""
    shown = read()
    while True:
        yield shown
        if shown["status"] in EXIT:
            return
        time.sleep(interval)
        shown = _patiently(host, read)


def _patiently(host: Host, read: Callable[[], R]) -> R:
    """Read what was there before, though the database may be away for a while."""
    return host.table.database.again(read, keep=False, seconds=_AWAY)


def _say_what_is_missing(
    host: Host, states: Iterator[dict[str, t.Any]], backfill_id: str
) -> Iterator[dict[str, t.Any]]:
    """Say once, at the error output, whom the backfill waits for: to start it, or to work on it."""
    told, looks = False, 0
    for shown in states:
        yield shown
        looks += 1
        if looks >= _PATIENCE and not told and shown["status"] in ACTIVE:
            why = _patiently(host, lambda: _no_worker(host, backfill_id))
            told = why is not None
            looks = 0
            if why is not None:
                tell(why, err=True)
        if shown["status"] is None and not told:
            told = True
            tell(
                f"Backfill {printable(backfill_id)} has not been started. Waiting for"
                f" `{line_of('start', backfill_id)}`.",
                err=True,
            )


def _no_worker(host: Host, backfill_id: str) -> str | None:
    """The sentence of a backfill that waits for a worker."""
    if host.run_model is None:
        return None
    why = host.explaining.explain(find(host, backfill_id))
    undo(host.table.session)
    told = (f"{printable(one.message)} {one.change}" for one in why if one.code == "no_worker")
    return next(told, None)


def _tell_json(shown: dict[str, t.Any]) -> str:
    return printable_json({"backfill": shown["attributes"]})


def _tell_line(shown: dict[str, t.Any]) -> str:
    return f"{status_of(shown)}: {counts_of(shown) or 'no runs'}"


def _follow_in_lines(
    states: Iterator[dict[str, t.Any]], told_by: Callable[[dict[str, t.Any]], str]
) -> Iterator[dict[str, t.Any]]:
    """Print a line each time that the state has changed."""
    told = None
    for shown in states:
        line = told_by(shown)
        if line != told:
            tell(line)
        told = line
        yield shown


def _follow_in_bar(states: Iterator[dict[str, t.Any]]) -> Iterator[dict[str, t.Any]]:
    lock = threading.RLock()
    bar = Bar(sys.stdout)
    with lines_above(lock), bar:
        for shown in states:
            counts, settings = shown.get("run_status_counts") or {}, shown.get("settings")
            total = to_do(settings, counts, shown["total_run_count"])
            with lock:
                bar.draw(of_status(status_of(shown)), ended_of(counts), total, counts_of(shown))
            yield shown
