"""The commands that are one word: start, pause, resume, cancel, retry."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

import click

from ..changes import actions
from ..host import Host
from . import completing
from .changing import change
from .changing import tell_what_follows
from .following import follow
from .options import command
from .options import ID
from .options import JSON
from .options import WATCH
from .options import YES
from .runs import make_of_run

_RUN = click.option(
    "--run",
    metavar="KEY",
    help="Only the run with this key or id.",
    shell_complete=completing.failed_keys,
)

#: After these, workers have something to do.
_THEN_RUNS = ("start", "resume", "retry")


def _action(name: str, doc: str, example: str, *params: Callable[..., t.Any]) -> None:
    def function(
        host: Host,
        backfill_id: str,
        as_json: bool,
        yes: bool = True,
        watching: bool = False,
        run: str | None = None,
    ) -> None:
        saved = None
        if run is not None:
            make_of_run(host, backfill_id, run, "again", as_json)
        else:
            sent = actions.sent(host.backfills, name)
            saved = change(host, backfill_id, sent, yes, as_json, again=True)
        if watching:
            follow(host, backfill_id, as_json)
        elif not as_json and saved is not None and name in _THEN_RUNS:
            tell_what_follows(host, saved)

    function.__name__, function.__doc__ = name, doc
    command(ID, *params, JSON, example=example)(function)


_action(
    "start", "Start a backfill: create its runs. Workers execute them.", "start 6 --watch", WATCH
)
_action("pause", "Pause a backfill: start no more runs. What is running goes on.", "pause 6")
_action("resume", "Continue a paused backfill.", "resume 6")
_action(
    "cancel", "Cancel a backfill. Its runs that have not ended are cancelled too.", "cancel 6", YES
)
_action(
    "retry",
    "Try failed and cancelled runs again. If settings.reprocess is set, it says which. The backfill"
    " must have failed; or one run, with --run.",
    "retry 6 --run 2023-07-13T00:00:00",
    _RUN,
    WATCH,
)
