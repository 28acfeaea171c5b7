"""The commands for the runs of a backfill: list, show, change and explain them."""

from __future__ import annotations

import typing as t

import click
from marshmallow import ValidationError

from .. import errors
from ..host import Host
from ..rules.lifecycle import SHOWN
from ..tables.zoned import moment_field
from .lookup import find
from .lookup import with_runs
from .options import ask
from .options import command
from .options import ID
from .options import JSON
from .options import LIMIT
from .options import OFFSET
from .options import with_status
from .options import YES
from .printing import print_attributes
from .printing import print_json
from .printing import print_table
from .printing import tell_more
from .text import tell

#: What people make of runs, by the option that says so.
MAKES = {"again": "initial", "cancel": "cancelled", "done": "completed"}
_WORDS = {
    "again": "This tries {} again.",
    "cancel": "This cancels {}.",
    "done": "This marks {} as done.",
}

_MAKE = click.option(
    "--make",
    type=click.Choice(list(MAKES)),
    help="Try them again, cancel them, or mark them as done.",
)


@command(ID, with_status("runs"), _MAKE, YES, LIMIT, OFFSET, JSON)
def runs(
    host: Host,
    backfill_id: str,
    status: str | None,
    make: str | None,
    yes: bool,
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """List the runs of a backfill, or change all that have a status.

    Example: runs 6 --status failed --make again
    """
    backfill = find(with_runs(host), backfill_id)
    if make is not None:
        _change_all(host, backfill, status, make, yes, as_json)
        return
    found, total = host.progress.page(backfill, status, offset, limit)
    shown = host.backfills.show_runs(backfill, found)
    if as_json:
        print_json({"runs": shown, "metadata": {"count": total}})
        return
    print_table(
        ("ID", "KEY", "STATUS", "ATTEMPT", "ERROR"),
        [
            (one["id"], one["key"], SHOWN.get(one["status"]), one["attempt"], _short(one["error"]))
            for one in shown
        ],
    )
    tell_more(total, offset, len(found))


@command(ID, click.argument("run_id", metavar="RUN"), _MAKE, JSON)
def run_(host: Host, backfill_id: str, run_id: str, make: str | None, as_json: bool) -> None:
    """Show one run of a backfill, with its whole error, or change it.

    RUN is its id or its key, the first two columns of what "runs" prints.
    """
    backfill = find(with_runs(host), backfill_id)
    found = _named(host, backfill, run_id)
    if make is None:
        shown = host.backfills.show_run(backfill, found)
    else:
        pipeline, key = str(backfill.pipeline_uuid), host.table.key_of(backfill)
        its_own = host.run_table.key == host.run_table.key_of(found)
        shown = host.changed_runs.set_status(
            pipeline, key, its_own, MAKES[make], host.backfills.show_run
        )
    if as_json:
        print_json({"run": shown})
    else:
        print_attributes(shown)


@command(
    ID,
    click.option("--key", help="Explain the run with this key."),
    click.option("--date", help="Explain the run of this date, or why there is none."),
    JSON,
)
def explain(host: Host, backfill_id: str, key: str | None, date: str | None, as_json: bool) -> None:
    """Say why nothing moves, or what moves; of the whole backfill, or of one run."""
    if key is not None and date is not None:
        raise click.UsageError("Give --key or --date, not both.")
    backfill = find(with_runs(host), backfill_id)
    try:
        moment = None if date is None else moment_field(host.local_window.zone).deserialize(date)
    except ValidationError as error:
        raise click.UsageError(f"--date: {' '.join(error.messages)}") from None
    why = host.explaining.explain(backfill, key, moment)
    if as_json:
        print_json({"explain": {"why": [one._asdict() for one in why]}})
        return
    for one in why:
        tell(f"{one.code}: {one.message}\n  {one.change}")


def _named(host: Host, backfill: t.Any, run: str) -> t.Any:
    """The run of a backfill that has an id, or else a key."""
    try:
        return host.progress.find(backfill, host.run_table.known(run))
    except errors.RunNotFound:
        return host.progress.find_by_key(backfill, run)


def _change_all(
    host: Host, backfill: t.Any, status: str | None, make: str, yes: bool, as_json: bool
) -> None:
    if status is None:
        raise click.UsageError("--make changes all runs with a status: add --status")
    pipeline, key = str(backfill.pipeline_uuid), host.table.key_of(backfill)

    def change(keep: bool) -> int:
        return host.changed_runs.set_status_of_all(pipeline, key, status, MAKES[make], keep=keep)

    count = change(keep=False)
    if count and not yes:
        ask(_WORDS[make].format(f"{count:,} runs"))
    count = change(keep=True) if count else 0
    if as_json:
        print_json({"runs": {"status": MAKES[make]}, "metadata": {"count": count}})
    else:
        tell(f"Changed {count:,} runs.")


def _short(error: str | None) -> str:
    return (error or "").partition("\n")[0][:60]
