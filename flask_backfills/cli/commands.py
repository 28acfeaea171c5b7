"""The commands that read and change backfills, as the routes do."""

from __future__ import annotations

import typing as t
from functools import partial

import click

from ..changes import actions
from ..changes.backfills import Sent
from ..changes.replan import Preview
from ..host import Host
from ..rules.forecast import sentence
from . import completing
from .changing import change
from .changing import is_active
from .changing import named
from .changing import parsed
from .changing import tell_if_not_planned
from .lookup import find
from .lookup import read_ahead
from .options import ask
from .options import CHANGES
from .options import command
from .options import ID
from .options import JSON
from .options import LIMIT
from .options import OFFSET
from .options import with_status
from .options import YES
from .printing import done_of
from .printing import plan_line
from .printing import print_backfill
from .printing import print_json
from .printing import status_of
from .printing import tell_more
from .printing import tell_none
from .printing import tell_sentence
from .printing import window_of
from .table import print_table
from .terminal import of_status
from .text import tell


@command(
    click.option(
        "--pipeline",
        metavar="UUID",
        help="Only backfills of this pipeline.",
        shell_complete=completing.pipelines,
    ),
    with_status("backfills"),
    LIMIT,
    OFFSET,
    JSON,
    example="list --pipeline weather --status failed",
)
def list_(
    host: Host,
    pipeline: str | None,
    status: str | None,
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """List the backfills, newest first."""
    pipelines = None if pipeline is None else [pipeline]
    found, total = host.backfills.page(pipelines, status, offset, limit)
    shown = [host.local_window.show(one) for one in host.backfills.show_counted(found)]
    if as_json:
        print_json({"backfills": shown, "metadata": {"count": total}})
        return
    if not shown:
        tell_none("backfills", total, offset)
        return
    print_table(
        ("ID", "PIPELINE", "NAME", "STATUS", "RUNS", "WINDOW"),
        [
            (
                one["id"],
                one["pipeline_uuid"],
                one["name"],
                of_status(status_of(one)),
                done_of(one),
                window_of(one),
            )
            for one in map(host.backfills.by_attribute, shown)
        ],
    )
    tell_more(total, offset, len(found))


@command(ID, JSON, example="show 6")
def show(host: Host, backfill_id: str, as_json: bool) -> None:
    """Show a backfill and how far it is. Also how long its runs take, if that is known."""
    shown, forecast = read_ahead(host, backfill_id)
    if as_json:
        shown["forecast"] = forecast
    print_backfill(shown, as_json)
    if not as_json and (line := sentence(forecast)):
        tell_sentence(line)
    if not as_json and (zone := host.local_window.zone):
        tell_sentence(f"The window is in the time zone {zone}. Other times are in UTC.")


@command(ID, CHANGES, YES, JSON, example="update 6 name=July end_datetime=2023-07-31")
def update(
    host: Host,
    backfill_id: str,
    changes: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Change attributes of a backfill. If it is active, plan its runs again.

    KEY is an attribute, such as name, end_datetime or settings. VALUE is read as JSON if it is
    null or starts with {, [ or a double quote. Any other VALUE is text. Settings are replaced
    whole; create --help lists them. The command asks for confirmation before it removes runs,
    cancels runs or runs them again.
    """
    sent = host.local_window.read(parsed(changes))
    saved = change(host, backfill_id, sent, yes, as_json)
    if not as_json:
        tell_if_not_planned(host, saved, sent)


@command(
    ID,
    CHANGES,
    LIMIT,
    OFFSET,
    JSON,
    example="preview 6 interval_units=2",
)
def preview(
    host: Host,
    backfill_id: str,
    changes: tuple[str, ...],
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """Show what an update would do to the runs. Without changes, show what a start would do.

    A backfill that is waiting or running has been started: without changes, no run changes.
    """
    page = Preview(offset, limit, zone=host.local_window.zone)
    sent: Sent = host.local_window.read(parsed(changes)) or partial(_start_unless_active, host)
    backfill = find(host, backfill_id)
    saved = host.backfills.update(
        str(backfill.pipeline_uuid), host.table.key_of(backfill), sent, preview=page
    )
    if as_json:
        shown = host.local_window.show(saved.shown)
        print_json({"backfill": shown, "metadata": saved.metadata})
        return
    status = status_of(host.backfills.by_attribute(saved.shown))
    started = "" if changes or saved.changes else f"The backfill is {status}. "
    tell_sentence(plan_line(saved.metadata) or f"{started}No run changes.")
    for note in page.notes:
        tell_sentence(note)
    if line := sentence((saved.metadata or {}).get("forecast")):
        tell_sentence(line)
    entries = (saved.metadata or {"plan": {"entries": []}})["plan"]["entries"]
    if entries:
        print_table(
            ("KEY", "DATE" if page.zone is None else "DATE (UTC)", "ACTION", "REASON"),
            [(e["key"], e["execution_date"], e["action"], e["reason"]) for e in entries],
        )
    told = offset + len(entries)
    if page.count > told:
        tell(f"{page.count - told:,} more. To see them: --offset {told}")


@command(ID, YES, JSON, example="delete 6")
def delete(host: Host, backfill_id: str, yes: bool, as_json: bool) -> None:
    """Delete a backfill and its runs. All its runs must have ended."""
    backfill = find(host, backfill_id)
    pipeline_uuid, key = str(backfill.pipeline_uuid), host.table.key_of(backfill)
    if not yes:
        ask(f"This deletes backfill {named(backfill, key)} and its runs.")
    deleted = host.backfills.delete(pipeline_uuid, key)
    print_backfill(host.local_window.show(deleted), as_json)


def _start_unless_active(host: Host, backfill: t.Any) -> dict[str, t.Any]:
    return {} if is_active(host, backfill) else actions.sent(host.backfills, "start")(backfill)
