"""What the commands print: tables, backfills, plans, in text or JSON."""

from __future__ import annotations

import re
import shlex
import typing as t
from collections.abc import Mapping

import click

from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import SHOWN
from ..rules.lifecycle import STATUSES
from ..rules.plan import ACTIONS
from ..rules.settings import is_paused
from ..rules.settings import to_do
from .terminal import Coloured
from .terminal import is_terminal
from .terminal import of_status
from .terminal import wrapped
from .text import printable
from .text import printable_json
from .text import tell


def print_json(value: t.Any) -> None:
    tell(printable_json(value))


def print_backfill(
    shown: dict[str, t.Any], as_json: bool, metadata: dict[str, t.Any] | None = None
) -> None:
    if as_json:
        print_json({"backfill": shown, **({"metadata": metadata} if metadata else {})})
        return
    print_attributes(shown)
    if plan := plan_line(metadata):
        tell(plan)


def print_attributes(shown: dict[str, t.Any]) -> None:
    width = max(map(len, shown))
    for key, value in shown.items():
        if value is not None:
            told = _told(key, value, shown)
            # Lines of a text stand below each other, so that none passes for an attribute.
            lines = wrapped(told.text, width + 2)
            text = f"\n{' ' * (width + 2)}".join(lines)
            tell(f"{key:<{width}}  ", Coloured(text, told.colour))


def _told(key: str, value: t.Any, shown: dict[str, t.Any]) -> Coloured:
    """The value of an attribute, for people."""
    if key == "status":
        return of_status(word_of(value))
    if key == "run_status_counts":
        return Coloured(counts_of(shown) or "no runs", None)
    if key == "error" and isinstance(value, str):
        return Coloured("\n".join(map(printable, value.splitlines())), None)
    return Coloured(printable_json(value) if isinstance(value, dict) else printable(value), None)


def tell_sentence(text: str, err: bool = False) -> None:
    """Print a sentence, on a terminal broken between its words."""
    for line in wrapped(printable(text), 0):
        tell(line, err=err)


def tell_none(what: str, total: int, offset: int) -> None:
    """Say that a list, or its page, is empty."""
    page = f" at --offset {offset}: there are {total:,}" if total else ""
    tell(f"No {what}{page}.")


def tell_more(total: int, offset: int, shown: int) -> None:
    """Say how many of a list follow its page, if any do."""
    if total > offset + shown:
        tell(f"{total - offset - shown:,} more. To see them: --offset {offset + shown}")


def group_path() -> str:
    """How the group of the command is called in this app."""
    return t.cast(click.Context, click.get_current_context().parent).command_path


def tell_next(why: str, command: str, backfill_id: t.Any, *more: str) -> None:
    """Say which command comes next, to somebody at a terminal.

    It goes to the error output, so that nothing is added to what a script reads.

    :param why: what the command is for, such as ``"To start it"``.
    :param more: what follows the id.
    """
    if is_terminal():
        tell(f"{why}: {line_of(command, backfill_id, *more)}", err=True)


def line_of(command: str, backfill_id: t.Any, *more: str) -> str:
    """The line of a command as a shell takes it: a key may have spaces, or begin as an option."""
    key = str(backfill_id)
    words = [command, key, *more]
    if key.startswith("-"):
        options = [one for one in more if one.startswith("-")]
        words = [command, *options, "--", key, *more[len(options) :]]
    return f"{group_path()} {printable(shlex.join(words))}"


def plan_line(metadata: dict[str, t.Any] | None) -> str | None:
    if not metadata:
        return None
    counts = {action: metadata["plan"][action] for action in ACTIONS}
    told = ", ".join(f"{count:,} to {action}" for action, count in counts.items() if count)
    return f"The plan: {told}." if told else None


def done_of(shown: dict[str, t.Any]) -> str:
    counts = shown.get("run_status_counts")
    total = to_do(shown.get("settings"), counts, shown["total_run_count"])
    ended = "" if counts is None else f"{ended_of(counts):,}/"
    return "" if total is None else f"{ended}{total:,}"


def ended_of(counts: Mapping[str, int]) -> int:
    return sum(count for status, count in counts.items() if status not in ACTIVE)


def status_of(shown: dict[str, t.Any]) -> str:
    paused = is_paused(shown.get("settings"))
    return f"{word_of(shown['status'])}{' (paused)' if paused else ''}"


def word_of(status: t.Any) -> str:
    """The word that people see for a status, which may be one of the host's own."""
    return SHOWN.get(status or None) or printable(status)


#: The beginning of a day, as windows are shown: in UTC, or in the zone with its offset.
_WHOLE_DAY = re.compile(r"([0-9-]+) 00:00:00([+-][0-9:]+)?")
_WHOLE_MINUTE = re.compile(r"( [0-9]+:[0-9]+):00([+-][0-9:]+)?$")


def window_of(shown: dict[str, t.Any]) -> str:
    """A window on one line; of whole days, where its steps are not shorter than a day."""
    start, end = shown["start_datetime"], shown["end_datetime"]
    if start is None or end is None:
        return ""
    first, last = (_WHOLE_DAY.fullmatch(str(one)) for one in (start, end))
    if first and last and shown["interval_type"] not in ("minute", "hour"):
        return f"{first[1]} to {last[1]}"
    start, end = (_WHOLE_MINUTE.sub(r"\1\2", str(one)) for one in (start, end))
    return f"{start} to {end}"


def counts_of(shown: dict[str, t.Any]) -> str:
    counts = shown.get("run_status_counts") or {}
    known = [word for word in STATUSES if counts.get(word)]
    # A host may have statuses of its own.
    words = [*known, *(word for word in counts if word not in STATUSES)]
    return ", ".join(f"{counts[word]:,} {SHOWN.get(word) or printable(word)}" for word in words)
