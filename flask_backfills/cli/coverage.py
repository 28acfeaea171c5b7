"""The command that shows what all backfills of a pipeline cover of a span."""

from __future__ import annotations

import click

from .. import errors
from ..changes.reading import require_known
from ..host import Host
from ..rules.coverage import KINDS
from ..tables import lists
from ..tables.zoned import read_span
from . import completing
from .lookup import said
from .lookup import with_runs
from .options import command
from .options import JSON
from .options import LIMIT
from .options import OFFSET
from .printing import print_json
from .printing import tell_more
from .table import print_table
from .text import tell


@command(
    click.argument("pipeline_uuid", metavar="PIPELINE", shell_complete=completing.pipelines),
    click.argument("start"),
    click.argument("end"),
    LIMIT,
    OFFSET,
    JSON,
    example='coverage weather "4 weeks ago" today',
)
def coverage(
    host: Host, pipeline_uuid: str, start: str, end: str, limit: int, offset: int, as_json: bool
) -> None:
    """Show what a pipeline has completed.

    It is what all its backfills have completed from START up to END. Both are dates, or words
    such as yesterday or "2 weeks ago". Without an offset, they are in the time zone of the app's
    backfills.
    """
    _require_known(host, pipeline_uuid)
    zone = host.local_window.zone
    span = read_span(said(host, start), said(host, end), zone)
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


def _require_known(host: Host, pipeline_uuid: str) -> None:
    """Refuse a name that nobody knows. One that the app does not name any more has backfills."""
    if host.pipelines is None:
        return
    try:
        require_known(pipeline_uuid, host.pipelines())
    except errors.UnknownPipeline:
        if pipeline_uuid not in lists.pipelines(host.table):
            raise


def _listed(keys: list[object]) -> str:
    return ", ".join(map(str, keys))
