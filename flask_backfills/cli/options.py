"""What every command is made of: its group, its options, and its refusals in the API's words."""

from __future__ import annotations

import getpass
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps

import click
from click.decorators import pass_meta_key
from flask.cli import AppGroup
from werkzeug.exceptions import HTTPException

from .. import dbapi
from .. import errors
from ..rules.lifecycle import SHOWN
from ..rules.lifecycle import STATUSES
from ..tables.event_table import acting
from . import completing
from .completing import HOST
from .printing import print_json
from .terminal import Coloured
from .terminal import wrapped
from .text import printable
from .text import printable_logs
from .text import tell

#: The exit status of a command that Ctrl-C has ended, as shells have it.
INTERRUPTED = 130

#: The exit status of a command that was to follow a backfill, and can't.
UNREADABLE = 3

group = AppGroup()
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
YES = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
ID = click.argument("backfill_id", metavar="ID", shell_complete=completing.ids)
LIMIT = click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
OFFSET = click.option("--offset", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
#: A status by its own name, or by the word that people see.
_STATUSES = {SHOWN[status]: status for status in STATUSES} | {word: word for word in STATUSES}
CHANGES = click.argument(
    "changes", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=completing.changes
)
WATCH = click.option(
    "--watch", "watching", is_flag=True, help="Then follow it until it ends, as watch does."
)


class Seconds(click.FloatRange):
    """A number of seconds that can be waited for: not ``nan``, nor more than a lifetime."""

    def convert(
        self, value: t.Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> t.Any:
        found = super().convert(value, param, ctx)
        if not found <= 10**9:
            self.fail(f"{value} is not a number of seconds up to {10**9:,}.", param, ctx)
        return found


class Command(click.Command):
    """A command whose help ends with an example."""

    def __init__(self, *args: t.Any, example: str, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # A host may have given the group another name.
        path = ctx.parent.command_path if ctx.parent is not None else ""
        with formatter.section("Example"):
            # Not wrapped, so that it can be copied.
            formatter.write(f"{'':{formatter.current_indent}}{path} {self.example}\n")


def with_status(what: str) -> Callable[..., t.Any]:
    """An option that shows only backfills, or only runs, with one status."""
    return click.option(
        "--status",
        type=click.Choice([*_STATUSES]),
        callback=lambda context, param, given: _STATUSES.get(given),
        help=f"Only {what} with this status.",
    )


def command(
    *params: Callable[..., t.Any], example: str, exit_code: int = 1
) -> Callable[..., t.Any]:
    """Register a command. It prints refusals with the messages of the API.

    :param example: a line for the group, with which the help of the command ends.
    """

    refusals: tuple[type[Exception], ...] = (HTTPException, *errors.DATABASE_ERRORS)

    def register(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        def run(*args: t.Any, **kwargs: t.Any) -> None:
            with printable_logs(), _named():
                try:
                    function(*args, **kwargs)
                except refusals as error:
                    code = UNREADABLE if kwargs.get("watching") else exit_code
                    _refuse(error, kwargs, code)
                except KeyboardInterrupt:
                    # On a terminal, the line has a ^C now.
                    tell("", err=True)
                    raise click.exceptions.Exit(INTERRUPTED) from None

        made: t.Any = pass_meta_key(HOST)(run)
        for param in reversed(params):
            made = param(made)
        name = function.__name__.rstrip("_")
        return group.command(name, cls=Command, example=example)(made)

    return register


@contextmanager
def _named() -> Iterator[None]:
    """Let the history tell which user of the machine has made what is changed in the block."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # A container may have no name for its user.
        user = "unknown"
    before = acting.set(f"cli:{user}")
    try:
        yield
    finally:
        acting.reset(before)


def ask(question: str) -> None:
    """Go on only if the answer is yes."""
    # To stderr, so that a pipe gets only the answer.
    try:
        click.confirm(printable(f"{question} Continue?"), abort=True, err=True)
    except click.Abort as aborted:
        if isinstance(aborted.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def _refuse(error: Exception, given: dict[str, t.Any], code: int) -> t.NoReturn:
    if dbapi.is_missing(error):
        click.ClickException(dbapi.missing(error)).show()
        raise click.exceptions.Exit(code) from None
    refusal = errors.refusal(error)
    if isinstance(refusal, errors.NotFound) and "backfill_id" in given:
        # Nobody has named a pipeline.
        refusal = errors.NotFound(f"There is no backfill {printable(given['backfill_id'])}.")
    if given.get("as_json"):
        print_json(errors.envelope(refusal))
    else:
        first, *more = _told(refusal)
        tell(Coloured("Error:", "red"), first.removeprefix("Error:"), err=True)
        for line in more:
            tell(line, err=True)
    raise click.exceptions.Exit(code) from None


def _told(error: HTTPException) -> list[str]:
    """The lines of a refusal: what is the same of several attributes is said once."""
    by_text: dict[str, list[str]] = {}
    for key, found in getattr(error, "errors", {}).items():
        by_text.setdefault(" ".join(errors.flat(found)), []).append(key)
    by_text.pop(str(error.description), None)
    lines = [f"{', '.join(keys)}: {text}" for text, keys in by_text.items()]
    first = wrapped(printable(f"Error: {error.description}"), 0)
    return [*first, *(f"  {part}" for line in lines for part in wrapped(printable(line), 2))]
