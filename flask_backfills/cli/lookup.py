"""A backfill as a command line names it."""

from __future__ import annotations

import typing as t

import click
from marshmallow import ValidationError

from .. import errors
from ..host import Host
from ..tables.session import undo


def find(host: Host, backfill_id: str) -> t.Any:
    return host.backfills.find(None, _key(host, backfill_id))


def _key(host: Host, backfill_id: str) -> t.Any:
    try:
        return host.schema.fields["id"].deserialize(backfill_id)
    except ValidationError:
        raise errors.NotFound() from None


def read(host: Host, backfill_id: str) -> dict[str, t.Any]:
    """Read a backfill and its run counts, with its window in the blueprint's zone.

    :returns: by the names that attributes have here; ``attributes`` has them as on the wire.
    """
    [shown] = host.backfills.show_counted([find(host, backfill_id)])
    # Leave no transaction open until the next read.
    undo(host.table.session)
    shown = host.local_window.show(shown)
    return {**host.backfills.by_attribute(shown), "attributes": shown}


def read_ahead(host: Host, backfill_id: str) -> tuple[dict[str, t.Any], dict[str, t.Any] | None]:
    """Read a backfill and its run counts, and how long its runs take."""
    backfill = find(host, backfill_id)
    [shown] = host.backfills.show_counted([backfill])
    return host.local_window.show(shown), host.backfills.forecast(backfill)


def with_runs(host: Host) -> Host:
    """The host, if its backfills have runs."""
    if host.run_model is None:
        raise click.ClickException("The blueprint has no run_model: its backfills have no runs.")
    return host
