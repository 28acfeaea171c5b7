"""The commands that read and change backfills, as the routes do."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from functools import partial

import click

from .. import errors
from ..api import body
from ..changes import actions
from ..changes.backfills import Saved
from ..changes.backfills import Sent
from ..changes.replan import Preview
from ..host import Host
from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import STATUSES
from .lookup import find
from .lookup import read
from .options import CHANGES
from .options import command
from .options import ID
from .options import JSON
from .options import LIMIT
from .options import OFFSET
from .options import YES
from .printing import done_of
from .printing import plan_line
from .printing import print_backfill
from .printing import print_json
from .printing import print_table
from .printing import status_of
from .printing import window_of


@command(
    click.option("--pipeline", metavar="UUID", help="Only of this pipeline."),
    click.option("--status", type=click.Choice(STATUSES), help="Only with this status."),
    LIMIT,
    OFFSET,
    JSON,
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
    shown = host.backfills.show_counted(found)
    if as_json:
        print_json({"backfills": shown, "metadata": {"count": total}})
        return
    print_table(
        ("ID", "PIPELINE", "NAME", "STATUS", "RUNS", "WINDOW"),
        [
            (
                one["id"],
                one["pipeline_uuid"],
                one["name"],
                status_of(one),
                done_of(one),
                window_of(one),
            )
            for one in shown
        ],
    )
    if total > offset + len(found):
        click.echo(f"{total - offset - len(found):,} more: --offset {offset + len(found)}")


@command(ID, JSON)
def show(host: Host, backfill_id: str, as_json: bool) -> None:
    """Show a backfill with its counts."""
    print_backfill(read(host, backfill_id), as_json)


@command(click.argument("pipeline_uuid"), CHANGES, JSON)
def create(host: Host, pipeline_uuid: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Create a backfill, such as: create daily start_datetime=2023-07-10 ...

    A VALUE that is a JSON object, a JSON array, a JSON string or null is read as that, and
    anything else as text.
    """
    saved = host.backfills.create(pipeline_uuid, _parse(changes))
    print_backfill(saved.shown, as_json, saved.metadata)


@command(ID, CHANGES, YES, JSON)
def update(
    host: Host,
    backfill_id: str,
    changes: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Change attributes of a backfill, and plan its runs anew.

    A VALUE that is a JSON object, a JSON array, a JSON string or null is read as that, and
    anything else as text. Before runs are dropped, cancelled or run again there is a question.
    """
    _change(host, backfill_id, _parse(changes), yes, as_json)


@command(
    ID,
    CHANGES,
    LIMIT,
    OFFSET,
    JSON,
)
def preview(
    host: Host,
    backfill_id: str,
    changes: tuple[str, ...],
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """Show what an update would do to the runs; without changes, what a start would do."""
    page = Preview(offset, limit)
    sent = _parse(changes) or actions.sent(host.backfills, "start")
    backfill = find(host, backfill_id)
    saved = host.backfills.update(
        str(backfill.pipeline_uuid), host.table.key_of(backfill), sent, preview=page
    )
    if as_json:
        print_json({"backfill": saved.shown, "metadata": saved.metadata})
        return
    click.echo(plan_line(saved.metadata) or "Nothing happens to any run.")
    entries = (saved.metadata or {"plan": {"entries": []}})["plan"]["entries"]
    if entries:
        print_table(
            ("KEY", "DATE", "ACTION", "REASON"),
            [(e["key"], e["execution_date"], e["action"], e["reason"]) for e in entries],
        )
    if page.count > offset + len(entries):
        click.echo(f"{page.count - offset - len(entries):,} more: --offset {offset + len(entries)}")


def _action(name: str, doc: str, *params: Callable[..., t.Any]) -> None:
    def function(host: Host, backfill_id: str, as_json: bool, yes: bool = True) -> None:
        _change(host, backfill_id, actions.sent(host.backfills, name), yes, as_json)

    function.__name__, function.__doc__ = name, doc
    command(ID, *params, JSON)(function)


_action("start", "Plan the runs of a backfill; they wait for workers.")
_action("pause", "Hand out no more runs until the backfill is resumed.")
_action("resume", "Hand out runs again.")
_action("cancel", "Cancel a backfill and every run that has not ended.", YES)
_action("retry", "Run again what failed.")


@command(ID, YES, JSON)
def delete(host: Host, backfill_id: str, yes: bool, as_json: bool) -> None:
    """Delete a backfill that is not active, and its runs."""
    backfill = find(host, backfill_id)
    pipeline_uuid, key = str(backfill.pipeline_uuid), host.table.key_of(backfill)
    if not yes:
        _ask(f"This deletes backfill {key}, {_named(backfill)}, and its runs.")
    print_backfill(host.backfills.delete(pipeline_uuid, key), as_json)


def _parse(changes: tuple[str, ...]) -> dict[str, t.Any]:
    sent: dict[str, t.Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{change!r} is not KEY=VALUE.")
        if key in sent:
            raise click.UsageError(f"{key} is given twice.")
        sent[key] = value
        if value == "null" or value.startswith(("{", "[", '"')):
            # Bytes that are not of the terminal's encoding stand in an argument as surrogates.
            try:
                sent[key] = body.parse(value.encode("utf-8", "surrogateescape"), key)
            except errors.Malformed as error:
                raise click.UsageError(str(error.description)) from None
    return sent


def _change(host: Host, backfill_id: str, sent: Sent, yes: bool, as_json: bool) -> None:
    """Change a backfill, after a question if something would be lost by it."""
    backfill = find(host, backfill_id)
    pipeline_uuid, key = str(backfill.pipeline_uuid), host.table.key_of(backfill)
    update = partial(host.backfills.update, pipeline_uuid, key, sent)
    plan_hash = None
    if not yes:
        active = host.schema.word("status", getattr(backfill, "status", None)) in ACTIVE
        would = update(preview=Preview(0, 0))
        lost = _lost(would, active)
        if lost:
            _ask(f"Backfill {key}, {_named(would.backfill)}: {lost}")
        plan_hash = would.plan.hash() if would.plan else None
    saved = update(if_plan_match=plan_hash)
    print_backfill(saved.shown, as_json, saved.metadata)


def _lost(would: Saved, active: bool) -> str | None:
    """What a change takes away, to be asked about."""
    if active and would.shown["status"] not in ACTIVE:
        return "every run that has not ended is cancelled."
    if would.plan is not None and (would.plan.counts["drop"] or would.plan.counts["redo"]):
        return str(plan_line(would.metadata))
    return None


def _ask(question: str) -> None:
    # At the error output, so that what is piped on is the answer alone.
    click.confirm(f"{question} Go on?", abort=True, err=True)


def _named(backfill: t.Any) -> str:
    return str(getattr(backfill, "name", None) or "without a name")
