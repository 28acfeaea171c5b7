"""What ``runs --errors`` prints: each error once and whole, and which runs have it.

A person who looks at failed runs asks "how many things went wrong, and where do I look?" Hundreds
of runs often have one cause, so that a list of all of them would hide the second.
"""

from __future__ import annotations

import typing as t

import click

from ..host import Host
from ..runs.failures import recorded
from .printing import print_json
from .printing import tell_more
from .printing import tell_none
from .printing import word_of
from .terminal import Coloured
from .terminal import COLOURS
from .terminal import wrapped
from .text import printable
from .text import tell


def print_errors(
    host: Host, backfill: t.Any, status: str | None, offset: int, limit: int, as_json: bool
) -> None:
    if "error" not in host.run_table.columns:
        raise click.ClickException("The run model has no error: nothing says why a run failed.")
    found, total = recorded(host.run_table, backfill, status, offset, limit)
    if as_json:
        errors = [one._asdict() for one in found]
        print_json({"errors": errors, "metadata": {"count": total}})
        return
    if not found:
        tell_none("errors", total, offset)
        return
    for one in found:
        keys = dict.fromkeys((one.first_key, one.last_key))
        word = word_of(one.status)
        head = Coloured(f"{one.run_count:,} {word}", COLOURS.get(word))
        tell(head, f", {' to '.join(map(printable, keys))}")
        text = one.error or "No error was recorded."
        for line in wrapped("\n".join(map(printable, text.splitlines())), 4):
            tell(f"    {line}")
    tell_more(total, offset, len(found))
