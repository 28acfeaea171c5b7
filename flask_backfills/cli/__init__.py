"""The group ``flask backfills``. Its commands are imported when one is used."""

from __future__ import annotations

import typing as t

import click
from flask.cli import AppGroup

from ..host import Host
from .completing import HOST
from .options import group
from .text import printable_errors

NAMES = """list show create update preview start pause resume cancel retry delete runs
run explain coverage history watch work recover"""


class Commands(AppGroup):
    """The commands over one host's backfills."""

    def __init__(self, host: Host) -> None:
        later: dict[str, t.Any] = dict.fromkeys(NAMES.split())
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

    def make_context(self, *args: t.Any, **kwargs: t.Any) -> click.Context:
        with printable_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> t.Any:
        with printable_errors():
            return super().invoke(ctx)
