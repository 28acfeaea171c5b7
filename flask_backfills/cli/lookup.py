"""A backfill, a run and a moment as a command line names them."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timezone

import click
from marshmallow import ValidationError

from .. import errors
from ..host import Host
from ..rules import spoken
from ..rules import zones
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


def find_run(host: Host, backfill: t.Any, run: str) -> t.Any:
    """The run of a backfill that has an id, or else a key."""
    try:
        return host.progress.find(backfill, host.run_table.known(run))
    except errors.RunNotFound:
        pass
    try:
        return host.progress.find_by_key(backfill, run)
    except errors.RunNotFound as error:
        # A day is what people type for a key such as 2023-07-13T00:00:00.
        told = f'{error.description} The first two columns of "runs" are the ids and the keys.'
        raise errors.RunNotFound(told) from None


def said(host: Host, text: str) -> str:
    """The moment of words such as "2 weeks ago", in the blueprint's zone, with its offset.

    :returns: other text as it is: a date, or what is refused with whatever else is wrong.
    """
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    try:
        found = spoken.moment(text, now, host.zone)
    except OverflowError:
        return text
    return text if found is None else zones.show(found, host.zone)
