"""The commands for the runs of a backfill: list, show, change and explain them."""

from __future__ import annotations

import typing as t

import click
from marshmallow import ValidationError

from ..host import Host
from ..tables.zoned import moment_field
from . import completing
from .failures import print_errors
from .lookup import find
from .lookup import find_run
from .lookup import said
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
from .printing import tell_more
from .printing import tell_next
from .printing import tell_none
from .printing import tell_sentence
from .printing import word_of
from .table import print_table
from .terminal import of_status
from .terminal import wrapped
from .text import printable
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
    help="Try again, cancel, or mark as done.",
)


@command(
    ID,
    with_status("runs"),
    click.option(
        "--errors", "of_errors", is_flag=True, help="Only the errors, whole; each one once."
    ),
    _MAKE,
    YES,
    LIMIT,
    OFFSET,
    JSON,
    example="runs 6 --errors",
)
def runs(
    host: Host,
    backfill_id: str,
    status: str | None,
    of_errors: bool,
    make: str | None,
    yes: bool,
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """List the runs of a backfill by date.

    With --make, change all that have a status. To try the failed ones again:
    runs ID --status failed --make again
    """
    if of_errors and make is not None:
        raise click.UsageError("--errors shows errors: leave --make out, or --errors")
    backfill = find(with_runs(host), backfill_id)
    if make is not None:
        _change_all(host, backfill, status, make, yes, as_json)
        return
    if of_errors:
        print_errors(host, backfill, status, offset, limit, as_json)
        return
    found, total = host.progress.page(backfill, status, offset, limit)
    shown = host.backfills.show_runs(backfill, found)
    if as_json:
        print_json({"runs": shown, "metadata": {"count": total}})
        return
    if not shown:
        tell_none("runs", total, offset)
        return
    print_table(
        ("ID", "KEY", "STATUS", "ATTEMPT", "ERROR"),
        [
            (
                one["id"],
                one["key"],
                of_status(word_of(one["status"])),
                one["attempt"],
                _short(one["error"]),
            )
            for one in shown
        ],
    )
    tell_more(total, offset, len(found))


@command(
    ID,
    click.argument("run_id", metavar="RUN", shell_complete=completing.run_keys),
    _MAKE,
    JSON,
    example="run 6 2023-07-13T00:00:00",
)
def run_(host: Host, backfill_id: str, run_id: str, make: str | None, as_json: bool) -> None:
    """Show one run, with its whole error.

    With --make, change it. RUN is its id or its key, the first two columns of what "runs" prints.
    """
    if make is not None:
        make_of_run(host, backfill_id, run_id, make, as_json)
        return
    backfill = find(with_runs(host), backfill_id)
    _print_run(host.backfills.show_run(backfill, find_run(host, backfill, run_id)), as_json)


def make_of_run(host: Host, backfill_id: str, run_id: str, make: str, as_json: bool) -> None:
    """Try one run again, cancel it, or mark it as done."""
    backfill = find(with_runs(host), backfill_id)
    found = find_run(host, backfill, run_id)
    pipeline, key = str(backfill.pipeline_uuid), host.table.key_of(backfill)
    its_own = host.run_table.key == host.run_table.key_of(found)
    changed = host.changed_runs.set_status
    shown = changed(pipeline, key, its_own, MAKES[make], host.backfills.show_run)
    _print_run(shown, as_json)


def _print_run(shown: dict[str, t.Any], as_json: bool) -> None:
    if as_json:
        print_json({"run": shown})
    else:
        print_attributes(shown)


@command(
    ID,
    click.option(
        "--key", help="Explain the run with this key.", shell_complete=completing.run_keys
    ),
    click.option("--date", help="Explain the run of this date, or why there is none."),
    JSON,
    example="explain 6 --date 2023-07-13",
)
def explain(host: Host, backfill_id: str, key: str | None, date: str | None, as_json: bool) -> None:
    """Say why nothing moves, or what moves. Of the whole backfill, or of one run."""
    if key is not None and date is not None:
        raise click.UsageError("Give --key or --date, not both.")
    backfill, zone = find(with_runs(host), backfill_id), host.local_window.zone
    try:
        moment = None if date is None else moment_field(zone).deserialize(said(host, date))
    except ValidationError as error:
        raise click.UsageError(f"--date: {' '.join(error.messages)}") from None
    why = host.explaining.explain(backfill, key, moment)
    if as_json:
        print_json({"explain": {"why": [one._asdict() for one in why]}})
        return
    for one in why:
        tell_sentence(f"{one.code}: {one.message}")
        for line in wrapped(printable(one.change), 2):
            tell(f"  {line}")
        if one.code == "failed" and key is None and moment is None:
            tell_next("To see what went wrong", "runs", backfill_id, "--errors")
            tell_next("To try it again", "retry", backfill_id)


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
    return (error or "").partition("\n")[0]
