"""The command that creates a backfill, from KEY=VALUE and from options in people's words."""

from __future__ import annotations

import typing as t

import click
from marshmallow import ValidationError

from ..changes import actions
from ..host import Host
from ..rules import spoken
from ..rules.window_words import say_step
from ..tables.zoned import moment_field
from . import completing
from .changing import parsed
from .changing import tell_what_follows
from .following import follow
from .lookup import said
from .options import CHANGES
from .options import command
from .options import JSON
from .options import WATCH
from .printing import print_backfill
from .printing import window_of
from .text import printable
from .text import tell


@command(
    click.argument("pipeline_uuid", shell_complete=completing.pipelines),
    click.option("--every", metavar="STEP", help='One run for each, such as day or "2 weeks".'),
    click.option(
        "--from",
        "first",
        metavar="WHEN",
        help='The start: a date, yesterday, or such as "2 weeks ago".',
    ),
    click.option(
        "--to",
        "last",
        metavar="WHEN",
        help="The end, in the same words. Included, unless the app leaves it out.",
    ),
    click.option("--start", "starting", is_flag=True, help="Start it, so that workers run it."),
    WATCH,
    click.option(
        "--gaps-of",
        "span",
        nargs=2,
        metavar="START END",
        help="The window. What another backfill has completed of it is skipped (skip_covered).",
    ),
    CHANGES,
    JSON,
    example='create weather --every day --from "2 weeks ago" --to yesterday --start',
)
def create(
    host: Host,
    pipeline_uuid: str,
    every: str | None,
    first: str | None,
    last: str | None,
    starting: bool,
    watching: bool,
    span: tuple[str, str] | None,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Create a backfill.

    KEY is an attribute, such as name, variables or settings. VALUE is read as JSON if it is null
    or starts with {, [ or a double quote. Any other VALUE is text. How runs are handed out:
    settings='{"pipeline_run_limit": 3}', with canary, max_attempts, max_failures, only_ended,
    order, paused, pipeline_run_limit, priority, reprocess, retry_delay, run_timeout and
    skip_covered.

    Dates without an offset, and words such as yesterday, are in the time zone of the app's
    backfills. "2 weeks ago" is the beginning of that day.
    """
    if watching and not starting:
        raise click.UsageError("--watch follows what was started: add --start")
    sent = parsed(changes)
    if every is not None:
        _add(host, sent, "--every", _step(every))
    for option, attribute, text in (
        ("--from", "start_datetime", first),
        ("--to", "end_datetime", last),
    ):
        if text is not None:
            _add(host, sent, option, {attribute: _moment(host, option, text)})
    if span is not None:
        _fill(host, sent, *span)
    if starting:
        _add(host, sent, "--start", {"status": actions.STATUS["start"]})
    saved = host.backfills.create(pipeline_uuid, host.local_window.read(sent))
    shown = host.local_window.show(saved.shown)
    if not as_json and any(one is not None for one in (every, first, last, span)):
        tell(_read(host.backfills.by_attribute(shown)))
    print_backfill(shown, as_json, saved.metadata)
    if watching:
        follow(host, str(host.table.key_of(saved.backfill)), as_json)
    elif not as_json:
        tell_what_follows(host, saved)


def _add(host: Host, sent: dict[str, t.Any], option: str, values: dict[str, t.Any]) -> None:
    """Send what an option means, too."""
    for attribute, value in values.items():
        key = host.schema.key_of(attribute)
        if key in sent:
            raise click.UsageError(f"{key} is given twice: {option} has it too.")
        sent[key] = value


def _step(text: str) -> dict[str, t.Any]:
    found = spoken.interval(text)
    if found is None:
        units = 'minute, hour, day, week, month or year, or a number of them, such as "2 days"'
        raise click.UsageError(f"--every {printable(text)}: write {units}.")
    return dict(zip(("interval_type", "interval_units"), found, strict=True))


def _moment(host: Host, option: str, text: str) -> str:
    found = said(host, text)
    try:
        moment_field(host.local_window.zone).deserialize(found)
    except ValidationError:
        words = 'a date such as 2023-07-18 or 2023-07-18T23:30, yesterday, or such as "2 weeks ago"'
        raise click.UsageError(f"{option} {printable(text)}: write {words}.") from None
    return found


def _fill(host: Host, sent: dict[str, t.Any], start: str, end: str) -> None:
    """Send what makes a backfill fill the gaps of a window, too."""
    window = {"start_datetime": said(host, start), "end_datetime": said(host, end)}
    _add(host, sent, "--gaps-of", window)
    key = host.schema.key_of("settings")
    settings = sent.get(key)
    if settings is None:
        settings = {}
    if not isinstance(settings, dict) or "skip_covered" in settings:
        raise click.UsageError("With --gaps-of, settings are an object without skip_covered.")
    sent[key] = {**settings, "skip_covered": True}


def _read(shown: dict[str, t.Any]) -> str:
    """How the options were understood, as it is stored."""
    steps = say_step(shown["interval_type"], shown["interval_units"])
    window = window_of(shown)
    told = ", ".join(filter(None, (window and f"from {window}", steps)))
    return f"{told[:1].upper()}{told[1:]}."
