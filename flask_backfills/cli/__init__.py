"""The group ``flask backfills``. Its commands are imported when one is used."""

from __future__ import annotations

import typing as t

import click
from flask.cli import AppGroup

from ..host import Host
from .completing import HOST
from .options import group
from .text import printable_errors

#: The commands by what they are for, in the order in which one needs them.
NAMES = {
    "A backfill": "create start watch list show preview update pause resume cancel retry delete",
    "What happened": "runs run explain history coverage",
    "Workers": "work recover",
}

#: How a stranger begins.
BEGIN = ("create PIPELINE --every day --from yesterday --to today", "start ID", "work")


class Commands(AppGroup):
    """The commands over one host's backfills."""

    def __init__(self, host: Host) -> None:
        later: dict[str, t.Any] = dict.fromkeys(" ".join(NAMES.values()).split())
        super().__init__(commands=later, help="Manage and run the backfills of this app.")
        self.host = host

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from . import actions  # noqa: F401
        from . import commands  # noqa: F401
        from . import coverage  # noqa: F401
        from . import creating  # noqa: F401
        from . import history  # noqa: F401
        from . import runs  # noqa: F401
        from . import working  # noqa: F401

        ctx.meta[HOST] = self.host
        own = super().get_command(ctx, cmd_name)
        return own or group.get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        ours = " ".join(NAMES.values()).split()
        # A host may have commands of its own in the group.
        theirs = [name for name in self.list_commands(ctx) if name not in ours]
        sections = {title: names.split() for title, names in NAMES.items()} | {"More": theirs}
        room = formatter.width - 6 - max(map(len, [*ours, *theirs]))
        for title, names in sections.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            rows = [
                (name, one.get_short_help_str(room))
                for name, one in found
                if one and not one.hidden
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("To begin"):
            for line in BEGIN:
                # Not wrapped, so that it can be copied.
                formatter.write(f"{'':{formatter.current_indent}}{ctx.command_path} {line}\n")

    def make_context(self, *args: t.Any, **kwargs: t.Any) -> click.Context:
        with printable_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> t.Any:
        with printable_errors():
            return super().invoke(ctx)
