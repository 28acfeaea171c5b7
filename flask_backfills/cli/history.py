"""The command that shows what was changed of a backfill."""

from __future__ import annotations

import click

from ..host import Host
from ..rules.history import told
from .lookup import find
from .options import command
from .options import ID
from .options import JSON
from .options import LIMIT
from .options import OFFSET
from .printing import print_json
from .printing import tell_more
from .printing import tell_none
from .table import print_table


@command(ID, LIMIT, OFFSET, JSON, example="history 6")
def history(host: Host, backfill_id: str, limit: int, offset: int, as_json: bool) -> None:
    """Show who changed a backfill, and what. The newest change comes first."""
    if host.events is None:
        raise click.ClickException("The blueprint has no event_model: it keeps no history.")
    found, total = host.backfills.history(find(host, backfill_id), offset, limit)
    if as_json:
        print_json({"history": found, "metadata": {"count": total}})
        return
    if not found:
        tell_none("changes", total, offset)
        return
    status = host.schema.key_of("status")
    print_table(
        ("TIME", "WHO", "ACTION", "CHANGES"),
        [
            (str(one["created_at"])[:19], one["actor"], one["action"], "; ".join(told(one, status)))
            for one in found
        ],
    )
    tell_more(total, offset, len(found))
