"""The command that shows what all backfills of a pipeline cover of a span."""

from __future__ import annotations

import click

from ..host import Host
from ..rules.coverage import KINDS
from ..tables.zoned import read_span
from .lookup import with_runs
from .options import command
from .options import JSON
from .options import LIMIT
from .options import OFFSET
from .printing import print_json
from .printing import print_table
from .printing import tell_more
from .text import tell


@command(
    click.argument("pipeline_uuid", metavar="PIPELINE"),
    click.argument("start"),
    click.argument("end"),
    LIMIT,
    OFFSET,
    JSON,
)
def coverage(
    host: Host, pipeline_uuid: str, start: str, end: str, limit: int, offset: int, as_json: bool
) -> None:
    """Show what all backfills of a pipeline have completed from START up to END.

    Example: coverage weather 2023-07-01 2023-08-01
    """
    zone = host.local_window.zone
    span = read_span(start, end, zone)
    backfills = with_runs(host).backfills
    shown, counts = backfills.coverage(pipeline_uuid, *span, offset, limit, zone)
    if as_json:
        print_json({"coverage": shown, "metadata": {"counts": counts}})
        return
    tell(f"Completed: {shown['share']:.2%}.")
    pieces = [(kind, piece) for kind in KINDS for piece in shown[kind]]
    if pieces:
        print_table(
            ("WHAT", "START", "END", "BACKFILLS"),
            [
                (kind, piece["start_datetime"], piece["end_datetime"], _listed(piece["backfills"]))
                for kind, piece in pieces
            ],
        )
    tell_more(max(counts.values()), offset, limit)


def _listed(keys: list[object]) -> str:
    return ", ".join(map(str, keys))
