"""``flask backfills``: what the API does, for people at a terminal."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import time
import typing as t
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from functools import wraps

import click
from click.decorators import pass_meta_key
from flask import current_app
from flask.cli import AppGroup
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException

from . import actions
from . import body
from . import errors
from .backfills import Saved
from .backfills import Sent
from .lifecycle import ACTIVE
from .lifecycle import STATUSES
from .plan import ACTIONS
from .replan import Preview
from .worker import lease
from .worker import work as work_on

if t.TYPE_CHECKING:
    from .blueprint import BackfillBlueprint

#: Where the group leaves its blueprint in the context of a command.
BLUEPRINT = "flask_backfills.blueprint"

#: How a backfill ended, as the exit status of ``watch``.
EXIT = {"completed": 0, "failed": 1, "cancelled": 2}

group = AppGroup()
_blueprint = pass_meta_key(BLUEPRINT)
_json = click.option("--json", "as_json", is_flag=True, help="JSON instead of text for people.")
_yes = click.option("--yes", is_flag=True, help="Do it without a question.")
_id = click.argument("backfill_id", metavar="ID")
_limit = click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
_offset = click.option("--offset", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
_changes = click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")


def _command(*params: Callable[..., t.Any], exit_code: int = 1) -> Callable[..., t.Any]:
    """Register a command, whose refusals are told in the words of the API."""

    refusals: tuple[type[Exception], ...] = (HTTPException, *errors.DATABASE_REFUSALS)

    def register(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        def run(*args: t.Any, **kwargs: t.Any) -> None:
            try:
                function(*args, **kwargs)
            except refusals as error:
                refusal = errors.refusal(error)
                if kwargs.get("as_json"):
                    _print_json(errors.envelope(refusal))
                else:
                    click.echo(f"Error: {_told(refusal)}", err=True)
                raise click.exceptions.Exit(exit_code) from None

        command: t.Any = _blueprint(run)
        for param in reversed(params):
            command = param(command)
        return group.command(function.__name__.rstrip("_"))(command)

    return register


@_command(
    click.option("--pipeline", metavar="UUID", help="Only of this pipeline."),
    click.option("--status", type=click.Choice(STATUSES), help="Only with this status."),
    _limit,
    _offset,
    _json,
)
def list_(
    blueprint: BackfillBlueprint,
    pipeline: str | None,
    status: str | None,
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """List the backfills, newest first."""
    pipelines = None if pipeline is None else [pipeline]
    found, total = blueprint.backfills.page(pipelines, status, offset, limit)
    shown = blueprint.backfills.show_counted(found)
    if as_json:
        _print_json({"backfills": shown, "metadata": {"count": total}})
        return
    _print_table(
        ("ID", "PIPELINE", "NAME", "STATUS", "RUNS", "WINDOW"),
        [
            (one["id"], one["pipeline_uuid"], one["name"], _status(one), _done(one), _window(one))
            for one in shown
        ],
    )
    if total > offset + len(found):
        click.echo(f"{total - offset - len(found):,} more: --offset {offset + len(found)}")


@_command(_id, _json)
def show(blueprint: BackfillBlueprint, backfill_id: str, as_json: bool) -> None:
    """Show a backfill with its counts."""
    _print_backfill(_read(blueprint, backfill_id), as_json)


@_command(click.argument("pipeline_uuid"), _changes, _json)
def create(
    blueprint: BackfillBlueprint, pipeline_uuid: str, changes: tuple[str, ...], as_json: bool
) -> None:
    """Create a backfill, such as: create daily start_datetime=2023-07-10 ...

    A VALUE that is a JSON object, a JSON array, a JSON string or null is read as that, and
    anything else as text.
    """
    saved = blueprint.backfills.create(pipeline_uuid, _parse(changes))
    _print_backfill(saved.shown, as_json, saved.metadata)


@_command(_id, _changes, _yes, _json)
def update(
    blueprint: BackfillBlueprint,
    backfill_id: str,
    changes: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Change attributes of a backfill, and plan its runs anew.

    A VALUE that is a JSON object, a JSON array, a JSON string or null is read as that, and
    anything else as text. Before runs are dropped, cancelled or run again there is a question.
    """
    _change(blueprint, backfill_id, _parse(changes), yes, as_json)


@_command(
    _id,
    _changes,
    _limit,
    _offset,
    _json,
)
def preview(
    blueprint: BackfillBlueprint,
    backfill_id: str,
    changes: tuple[str, ...],
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """Show what an update would do to the runs; without changes, what a start would do."""
    page = Preview(offset, limit)
    sent = _parse(changes) or actions.sent(blueprint.backfills, "start")
    backfill = _find(blueprint, backfill_id)
    saved = blueprint.backfills.update(
        str(backfill.pipeline_uuid), blueprint.table.key_of(backfill), sent, preview=page
    )
    if as_json:
        _print_json({"backfill": saved.shown, "metadata": saved.metadata})
        return
    click.echo(_plan(saved.metadata) or "Nothing happens to any run.")
    entries = (saved.metadata or {"plan": {"entries": []}})["plan"]["entries"]
    if entries:
        _print_table(
            ("KEY", "DATE", "ACTION", "REASON"),
            [(e["key"], e["execution_date"], e["action"], e["reason"]) for e in entries],
        )
    if page.count > offset + len(entries):
        click.echo(f"{page.count - offset - len(entries):,} more: --offset {offset + len(entries)}")


def _action(name: str, doc: str, *params: Callable[..., t.Any]) -> None:
    def function(
        blueprint: BackfillBlueprint, backfill_id: str, as_json: bool, yes: bool = True
    ) -> None:
        _change(blueprint, backfill_id, actions.sent(blueprint.backfills, name), yes, as_json)

    function.__name__, function.__doc__ = name, doc
    _command(_id, *params, _json)(function)


_action("start", "Plan the runs of a backfill; they wait for workers.")
_action("pause", "Hand out no more runs until the backfill is resumed.")
_action("resume", "Hand out runs again.")
_action("cancel", "Cancel a backfill and every run that has not ended.", _yes)
_action("retry", "Run again what failed.")


@_command(_id, _yes, _json)
def delete(blueprint: BackfillBlueprint, backfill_id: str, yes: bool, as_json: bool) -> None:
    """Delete a backfill that is not active, and its runs."""
    backfill = _find(blueprint, backfill_id)
    pipeline_uuid, key = str(backfill.pipeline_uuid), blueprint.table.key_of(backfill)
    if not yes:
        _ask(f"This deletes backfill {key}, {_named(backfill)}, and its runs.")
    _print_backfill(blueprint.backfills.delete(pipeline_uuid, key), as_json)


@_command(
    _id,
    click.option("--interval", type=click.FloatRange(0.1), default=1.0, help="Seconds."),
    _json,
    exit_code=3,
)
def watch(blueprint: BackfillBlueprint, backfill_id: str, interval: float, as_json: bool) -> None:
    """Follow a backfill until it ends.

    The exit status is 0 if it completed, 1 if it failed, 2 if it was cancelled, and 3 if it
    can't be watched.
    """
    states = _states(lambda: _read(blueprint, backfill_id), interval)
    if as_json or not _is_terminal():
        states = _follow_in_lines(states, _tell_json if as_json else _tell_line)
    else:
        states = _follow_in_bar(states)
    *_, last = states
    raise click.exceptions.Exit(EXIT[last["status"]])


@_command(
    click.option("--concurrency", type=click.IntRange(1), default=1, help="Runs at a time."),
    click.option("--once", is_flag=True, help="Stop when nothing waits."),
    _json,
)
def work(blueprint: BackfillBlueprint, concurrency: int, once: bool, as_json: bool) -> None:
    """Claim runs and call the app's runner for each, until told to stop.

    SIGTERM or Ctrl-C lets those end that run, and claims no more; a second one ends at once.
    """
    if blueprint.run_model is None or blueprint.run_function is None:
        raise click.ClickException("Nothing to call: register a function with @blueprint.runner.")
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop_soon(number: int, frame: t.Any) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in before:
        signal.signal(number, stop_soon)
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    try:
        with _telling_runs(blueprint, as_json) as tell:
            work_on(app, blueprint, concurrency=concurrency, once=once, stop=stop, tell=tell)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@_command(
    click.option(
        "--older-than",
        type=click.FloatRange(0, 10**9),
        metavar="SECONDS",
        help="Those that run for longer than this; BACKFILLS_LEASE unless said otherwise.",
    ),
    _json,
)
def recover(blueprint: BackfillBlueprint, older_than: float | None, as_json: bool) -> None:
    """Take back the runs of workers that died: they wait again."""
    if blueprint.run_model is None:
        raise click.ClickException("There are no runs: the app has no run model.")
    age = lease() if older_than is None else timedelta(seconds=older_than)
    taken = blueprint.runs.recover(older_than=age)
    if as_json:
        _print_json({"recovered": taken})
    else:
        click.echo(f"{taken:,} taken back.")


# What the commands share


def _find(blueprint: BackfillBlueprint, backfill_id: str) -> t.Any:
    return blueprint.backfills.find(None, _key(blueprint, backfill_id))


def _key(blueprint: BackfillBlueprint, backfill_id: str) -> t.Any:
    try:
        return blueprint.schema.fields["id"].deserialize(backfill_id)
    except ValidationError:
        raise errors.NotFound() from None


def _read(blueprint: BackfillBlueprint, backfill_id: str) -> dict[str, t.Any]:
    """A backfill and its counts, as they are now."""
    [shown] = blueprint.backfills.show_counted([_find(blueprint, backfill_id)])
    # No transaction stays open until they are read again.
    blueprint.table.session.rollback()
    return shown


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


def _change(
    blueprint: BackfillBlueprint, backfill_id: str, sent: Sent, yes: bool, as_json: bool
) -> None:
    """Change a backfill, after a question if something would be lost by it."""
    backfill = _find(blueprint, backfill_id)
    pipeline_uuid, key = str(backfill.pipeline_uuid), blueprint.table.key_of(backfill)
    update = partial(blueprint.backfills.update, pipeline_uuid, key, sent)
    plan_hash = None
    if not yes:
        active = blueprint.schema.word("status", getattr(backfill, "status", None)) in ACTIVE
        would = update(preview=Preview(0, 0))
        lost = _lost(would, active)
        if lost:
            _ask(f"Backfill {key}, {_named(would.backfill)}: {lost}")
        plan_hash = would.plan.hash() if would.plan else None
    saved = update(if_plan_match=plan_hash)
    _print_backfill(saved.shown, as_json, saved.metadata)


def _lost(would: Saved, active: bool) -> str | None:
    """What a change takes away, to be asked about."""
    if active and would.shown["status"] not in ACTIVE:
        return "every run that has not ended is cancelled."
    if would.plan is not None and (would.plan.counts["drop"] or would.plan.counts["redo"]):
        return str(_plan(would.metadata))
    return None


def _ask(question: str) -> None:
    # At the error output, so that what is piped on is the answer alone.
    click.confirm(f"{question} Go on?", abort=True, err=True)


def _named(backfill: t.Any) -> str:
    return str(getattr(backfill, "name", None) or "without a name")


def _told(error: HTTPException) -> str:
    wrong = {key: _flat(found) for key, found in getattr(error, "errors", {}).items()}
    lines = [f"  {key}: {text}" for key, text in wrong.items() if text != error.description]
    return "\n".join([str(error.description), *lines])


def _flat(wrong: t.Any) -> str:
    if isinstance(wrong, dict):
        return "; ".join(f"{key}: {_flat(found)}" for key, found in wrong.items())
    return " ".join(map(str, wrong)) if isinstance(wrong, (list, tuple)) else str(wrong)


# What is printed


def _print_json(value: t.Any) -> None:
    click.echo(current_app.json.dumps(value))


def _print_backfill(
    shown: dict[str, t.Any], as_json: bool, metadata: dict[str, t.Any] | None = None
) -> None:
    if as_json:
        _print_json({"backfill": shown, **({"metadata": metadata} if metadata else {})})
        return
    width = max(map(len, shown))
    for key, value in shown.items():
        if value is not None:
            text = json.dumps(value) if isinstance(value, dict) else _printable(value)
            click.echo(f"{key:<{width}}  {text}")
    if plan := _plan(metadata):
        click.echo(plan)


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[t.Any, ...]]) -> None:
    cells = [head, *(tuple(map(_printable, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def _printable(value: t.Any) -> str:
    # A caller's own words must not move the cursor of who reads them.
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _plan(metadata: dict[str, t.Any] | None) -> str | None:
    if not metadata:
        return None
    counts = {action: metadata["plan"][action] for action in ACTIONS}
    told = ", ".join(f"{count:,} to {action}" for action, count in counts.items() if count)
    return f"The plan: {told}." if told else None


def _done(shown: dict[str, t.Any]) -> str:
    total = shown["total_run_count"]
    counts = shown.get("run_status_counts")
    ended = "" if counts is None else f"{_ended(counts):,}/"
    return "" if total is None else f"{ended}{total:,}"


def _ended(counts: Mapping[str, int]) -> int:
    return sum(count for status, count in counts.items() if status not in ACTIVE)


def _status(shown: dict[str, t.Any]) -> str:
    paused = (shown.get("settings") or {}).get("paused") is True
    return f"{shown['status'] or 'not started'}{' (paused)' if paused else ''}"


def _window(shown: dict[str, t.Any]) -> str:
    if shown["start_datetime"] is None or shown["end_datetime"] is None:
        return ""
    return f"{shown['start_datetime']} to {shown['end_datetime']}"


# What moves


def _counts(shown: dict[str, t.Any]) -> str:
    counts = shown.get("run_status_counts") or {}
    return ", ".join(f"{counts[word]:,} {word}" for word in STATUSES if counts.get(word))


def _states(read: Callable[[], dict[str, t.Any]], interval: float) -> Iterator[dict[str, t.Any]]:
    """A backfill as it is from time to time, the last time when it has ended."""
    while True:
        shown = read()
        yield shown
        if shown["status"] in EXIT:
            return
        time.sleep(interval)


def _tell_json(shown: dict[str, t.Any]) -> str:
    return current_app.json.dumps({"backfill": shown})


def _tell_line(shown: dict[str, t.Any]) -> str:
    return f"{_status(shown)}: {_counts(shown) or 'no runs'}"


def _follow_in_lines(
    states: Iterator[dict[str, t.Any]], tell: Callable[[dict[str, t.Any]], str]
) -> Iterator[dict[str, t.Any]]:
    """Print a line for each state that is told otherwise than the one before."""
    told = None
    for shown in states:
        line = tell(shown)
        if line != told:
            click.echo(line)
        told = line
        yield shown


def _follow_in_bar(states: Iterator[dict[str, t.Any]]) -> Iterator[dict[str, t.Any]]:
    bar: t.Any = click.progressbar(
        length=1, show_pos=True, item_show_func=lambda shown: shown and _counts(shown)
    )
    with bar:
        for shown in states:
            bar.label = _status(shown)
            bar.length = shown["total_run_count"] or 1
            bar.update(_ended(shown.get("run_status_counts") or {}) - bar.pos, shown)
            bar.render_progress()
            yield shown


def _is_terminal() -> bool:
    return sys.stdout.isatty()


@contextmanager
def _telling_runs(
    blueprint: BackfillBlueprint, as_json: bool
) -> Iterator[Callable[[t.Any, str | None], None]]:
    """Tell of each run that a worker has ended: by a bar on a terminal, else by a line."""
    if as_json:
        schema = blueprint.runs.run_schema
        yield lambda run, status: _print_json({"run": {**schema.dump(run), "status": status}})
        return
    if not _is_terminal():
        yield lambda run, status: click.echo(
            f"{status or 'no longer ours'}: run {run.key} of backfill {run.backfill_id}"
        )
        return
    ended: Counter[str] = Counter()
    lock = threading.Lock()
    counted = -math.inf
    bar: t.Any = click.progressbar(
        length=1,
        label="Runs",
        show_pos=True,
        item_show_func=lambda _: _counts({"run_status_counts": ended}),
    )
    with bar:

        def tell(run: t.Any, status: str | None) -> None:
            nonlocal counted
            with lock:
                ended[status or "cancelled"] += 1
                if time.monotonic() - counted > 1:
                    bar.length = ended.total() + blueprint.runs.count_active()
                    counted = time.monotonic()
                bar.length = max(bar.length or 0, ended.total())
                bar.update(1, run)

        yield tell
