"""What the shell completes: ids, keys of runs, pipelines, and KEY=VALUE.

Nothing here may fail: whoever presses the tab key is told nothing if there is nothing to offer.
"""

from __future__ import annotations

import io
import re
import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from contextlib import redirect_stderr
from contextlib import redirect_stdout

import click
from click.shell_completion import CompletionItem
from flask import current_app
from flask.cli import ScriptInfo

from ..host import Host
from ..rules.lifecycle import STATUSES
from ..rules.window import INTERVAL_TYPES
from ..tables import lists
from ..tables.fields import Choice
from .lookup import find
from .printing import status_of
from .printing import word_of
from .text import printable

#: Where the group leaves its host in the context of a command.
HOST = "flask_backfills.host"

#: A shell puts what is offered into the line as it is: callers write names, and no commands.
_SAFE = re.compile(r"[A-Za-z0-9_.:+@%/][A-Za-z0-9_.:+@%/=-]*")

#: Rows that are looked through.
_MOST = 500

_WORDS = {"status": STATUSES, "interval_type": tuple(INTERVAL_TYPES)}

#: What is offered, each with a few words about it.
Offer = Iterable[tuple[t.Any, str]]

_Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]


def _completer(offer: Callable[[Host, click.Context, str], Offer]) -> _Completer:
    """A function for ``shell_complete``, of one that reads in an app context."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                app: t.Any = current_app or ctx.ensure_object(ScriptInfo).load_app()
                with app.app_context():
                    found = list(offer(ctx.meta[HOST], ctx, incomplete))
        # A database that is away, an argument that names nothing: it is not the time to say so.
        except (Exception, KeyboardInterrupt):
            return []
        return [
            CompletionItem(str(value), help=printable(about) or None)
            for value, about in found
            if _SAFE.fullmatch(str(value)) and str(value).startswith(incomplete)
        ]

    return complete


@_completer
def ids(host: Host, ctx: click.Context, incomplete: str) -> Offer:
    found, _ = host.backfills.page(None, None, 0, _MOST)
    for backfill in found:
        shown = host.backfills.by_attribute(host.backfills.show(backfill))
        about = f"{shown['pipeline_uuid']}: {shown['name'] or 'unnamed'}, {status_of(shown)}"
        yield host.table.key_of(backfill), about


@_completer
def pipelines(host: Host, ctx: click.Context, incomplete: str) -> Offer:
    known = lists.pipelines(host.table) if host.pipelines is None else host.pipelines()
    return [(one, "") for one in known]


def _id_in(ctx: click.Context) -> str:
    """The id in a line whose end may be missing, so that click has not placed its arguments."""
    given = ctx.params.get("backfill_id") or ctx.args[0]
    return t.cast(str, given)


@_completer
def run_keys(host: Host, ctx: click.Context, incomplete: str) -> Offer:
    backfill = find(host, _id_in(ctx))
    found, _ = host.progress.page(backfill, None, 0, _MOST)
    return [(run.key, word_of(host.run_table.word(run.status))) for run in found]


@_completer
def failed_keys(host: Host, ctx: click.Context, incomplete: str) -> Offer:
    backfill = find(host, _id_in(ctx))
    for status in ("failed", "cancelled"):
        found, _ = host.progress.page(backfill, status, 0, _MOST)
        yield from ((run.key, status) for run in found)


@_completer
def changes(host: Host, ctx: click.Context, incomplete: str) -> Offer:
    """Names of attributes, and the words of those that take one of some words."""
    schema = host.schema
    by_key = {field.data_key or name: name for name, field in schema.load_fields.items()}
    before = [*(ctx.params.get("changes") or ())]
    # Bash takes the = for a word of its own; other shells hand over what stands before it too.
    key, equals, _ = incomplete.partition("=")
    if not equals and before[-1:] == ["="]:
        key, prefix = (before[-2:-1] or [""])[0], ""
    elif equals:
        prefix = f"{key}=" if key else "="
        key = key or (before[-1:] or [""])[0]
    else:
        given = {one.partition("=")[0] for one in before}
        return [(f"{name}=", "") for name in by_key if name not in given]
    field = schema.fields[by_key[key]]
    words = field.members if isinstance(field, Choice) else _WORDS.get(by_key[key], ())
    return [(f"{prefix}{word}", "") for word in words]
