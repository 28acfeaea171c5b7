"""The commands that read and change backfills, as the routes do."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from functools import partial

import click

from .. import errors
from ..changes import actions
from ..changes.backfills import Saved
from ..changes.backfills import Sent
from ..changes.replan import Preview
from ..host import Host
from ..parsing import parse
from ..rules.forecast import sentence
from ..rules.lifecycle import ACTIVE
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
from .printing import print_table
from .printing import status_of
from .printing import tell_more
from .printing import window_of
from .text import printable
from .text import tell


@command(
    click.option("--pipeline", metavar="UUID", help="Only backfills of this pipeline."),
    with_status("backfills"),
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
    shown = [host.local_window.show(one) for one in host.backfills.show_counted(found)]
    if as_json:
        print_json({"backfills": shown, "metadata": {"count": total}})
        return
    named = [host.backfills.by_attribute(one) for one in shown]
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
            for one in named
        ],
    )
    tell_more(total, offset, len(found))


@command(ID, JSON)
def show(host: Host, backfill_id: str, as_json: bool) -> None:
    """Show a backfill, how many runs have each status, and how long they take."""
    shown, forecast = read_ahead(host, backfill_id)
    if as_json:
        shown["forecast"] = forecast
    print_backfill(shown, as_json)
    if not as_json and (line := sentence(forecast)):
        tell(line)
    if not as_json and (zone := host.local_window.zone):
        tell(f"The window is in the time zone {zone}. Other times are in UTC.")


@command(
    click.argument("pipeline_uuid"),
    click.option(
        "--gaps-of",
        "span",
        nargs=2,
        metavar="START END",
        help="The window. What another backfill has completed of it is skipped (skip_covered).",
    ),
    CHANGES,
    JSON,
)
def create(
    host: Host,
    pipeline_uuid: str,
    span: tuple[str, str] | None,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Create a backfill. Example: create daily start_datetime=2023-07-10 ...

    VALUE is read as JSON if it is null or starts with {, [ or a double quote. Any other
    VALUE is text. How runs are handed out: settings='{"pipeline_run_limit": 3}', with
    canary, max_attempts, max_failures, only_ended, order, paused, pipeline_run_limit,
    priority, reprocess, retry_delay, run_timeout and skip_covered.
    """
    sent = _parse(changes)
    if span is not None:
        sent = _filling(host, sent, *span)
    saved = host.backfills.create(pipeline_uuid, host.local_window.read(sent))
    print_backfill(host.local_window.show(saved.shown), as_json, saved.metadata)


@command(ID, CHANGES, YES, JSON)
def update(
    host: Host,
    backfill_id: str,
    changes: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Change attributes of a backfill. If it is active, plan its runs again.

    VALUE is read as JSON if it is null or starts with {, [ or a double quote. Any other
    VALUE is text. Settings are replaced whole; create --help lists them. The command asks for
    confirmation before it removes runs, cancels runs or runs them again.
    """
    _change(host, backfill_id, host.local_window.read(_parse(changes)), yes, as_json)


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
    """Show what an update would do to the runs. Without changes, show what a start would do.

    A backfill that is waiting or running has been started: without changes, no run changes.
    """
    page = Preview(offset, limit, zone=host.local_window.zone)
    sent: Sent = host.local_window.read(_parse(changes)) or partial(_start_unless_active, host)
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
    tell(plan_line(saved.metadata) or f"{started}No run changes.")
    for note in page.notes:
        tell(printable(note))
    if line := sentence((saved.metadata or {}).get("forecast")):
        tell(line)
    entries = (saved.metadata or {"plan": {"entries": []}})["plan"]["entries"]
    if entries:
        print_table(
            ("KEY", "DATE" if page.zone is None else "DATE (UTC)", "ACTION", "REASON"),
            [(e["key"], e["execution_date"], e["action"], e["reason"]) for e in entries],
        )
    told = offset + len(entries)
    if page.count > told:
        tell(f"{page.count - told:,} more. To see them: --offset {told}")


def _action(name: str, doc: str, *params: Callable[..., t.Any]) -> None:
    def function(host: Host, backfill_id: str, as_json: bool, yes: bool = True) -> None:
        _change(host, backfill_id, actions.sent(host.backfills, name), yes, as_json)

    function.__name__, function.__doc__ = name, doc
    command(ID, *params, JSON)(function)


_action("start", "Start a backfill: create its runs. Workers execute them.")
_action("pause", "Start no more runs until the backfill is resumed.")
_action("resume", "Continue a paused backfill.")
_action("cancel", "Cancel a backfill and all its runs that have not ended.", YES)
_action("retry", "Run the failed and cancelled runs of a failed backfill again.")


@command(ID, YES, JSON)
def delete(host: Host, backfill_id: str, yes: bool, as_json: bool) -> None:
    """Delete a backfill and its runs. All its runs must have ended."""
    backfill = find(host, backfill_id)
    pipeline_uuid, key = str(backfill.pipeline_uuid), host.table.key_of(backfill)
    if not yes:
        ask(f"This deletes backfill {_named(backfill, key)} and its runs.")
    deleted = host.backfills.delete(pipeline_uuid, key)
    print_backfill(host.local_window.show(deleted), as_json)


def _filling(host: Host, sent: dict[str, t.Any], start: str, end: str) -> dict[str, t.Any]:
    """What to send for a backfill that fills the gaps of a window."""
    keys = [host.schema.key_of(name) for name in ("start_datetime", "end_datetime", "settings")]
    twice = [key for key in keys[:2] if key in sent]
    if twice:
        raise click.UsageError(f"{twice[0]} is given twice: --gaps-of has it too.")
    settings = sent.get(keys[2])
    if settings is None:
        settings = {}
    if not isinstance(settings, dict) or "skip_covered" in settings:
        raise click.UsageError("With --gaps-of, settings are an object without skip_covered.")
    settings = {**settings, "skip_covered": True}
    return {**sent, **dict(zip(keys, (start, end, settings), strict=True))}


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
            # Python turns argument bytes that it can't decode into surrogates.
            try:
                sent[key] = parse(value.encode("utf-8", "surrogateescape"), key)
            except errors.Malformed as error:
                raise click.UsageError(str(error.description)) from None
    return sent


def _change(host: Host, backfill_id: str, sent: Sent, yes: bool, as_json: bool) -> None:
    """Change a backfill. Ask for confirmation if the change would remove or repeat runs."""
    backfill = find(host, backfill_id)
    pipeline_uuid, key = str(backfill.pipeline_uuid), host.table.key_of(backfill)
    update = partial(host.backfills.update, pipeline_uuid, key, sent)
    plan_hash = None
    if not yes:
        active = _is_active(host, backfill)
        would = update(preview=Preview(0, 0))
        lost = _lost(host, would, active)
        if lost:
            ask(f"Backfill {_named(would.backfill, key)}: {lost}")
        plan_hash = would.plan.hash() if would.plan else None
    saved = update(if_plan_match=plan_hash)
    print_backfill(host.local_window.show(saved.shown), as_json, saved.metadata)


def _start_unless_active(host: Host, backfill: t.Any) -> dict[str, t.Any]:
    return {} if _is_active(host, backfill) else actions.sent(host.backfills, "start")(backfill)


def _is_active(host: Host, backfill: t.Any) -> bool:
    return host.schema.word("status", getattr(backfill, "status", None)) in ACTIVE


def _lost(host: Host, would: Saved, active: bool) -> str | None:
    """The sentence to confirm if a change loses something; else ``None``."""
    if active and host.backfills.by_attribute(would.shown)["status"] not in ACTIVE:
        return "all runs that have not ended will be cancelled."
    if would.plan is not None and (would.plan.counts["drop"] or would.plan.counts["redo"]):
        return str(plan_line(would.metadata))
    return None


def _named(backfill: t.Any, key: t.Any) -> str:
    name = getattr(backfill, "name", None)
    return f"{key} ({name or 'unnamed'})"
