"""What commands send for a backfill, and the question before anything is lost."""

from __future__ import annotations

import typing as t
from contextlib import suppress
from datetime import date
from datetime import timedelta
from functools import partial

import click

from .. import errors
from ..changes.backfills import Saved
from ..changes.backfills import Sent
from ..changes.expansion import DECISIVE
from ..changes.replan import Preview
from ..host import Host
from ..parsing import parse
from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import STATUSES
from .lookup import find
from .options import ask
from .printing import plan_line
from .printing import print_backfill
from .printing import tell_next

#: A window, where one is to be given.
EXAMPLE = {
    "start_datetime": "2023-07-01",
    "end_datetime": "2023-07-31",
    "interval_type": "day",
    "interval_units": "1",
}


def parsed(changes: tuple[str, ...]) -> dict[str, t.Any]:
    """The values of a line's ``KEY=VALUE``."""
    sent: dict[str, t.Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{change!r} is not KEY=VALUE.")
        if key in sent:
            raise click.UsageError(f"{key} is given twice.")
        sent[key] = value
        if value == "null" or value.startswith(("{", "[", '"')):
            # Python turns argument bytes that it can't decode into surrogates.
            try:
                sent[key] = parse(value.encode("utf-8", "surrogateescape"), key)
            except errors.Malformed as error:
                raise click.UsageError(str(error.description)) from None
    return sent


def change(
    host: Host, backfill_id: str, sent: Sent, yes: bool, as_json: bool, again: bool = False
) -> Saved:
    """Change a backfill. Ask for confirmation if the change would remove or repeat runs.

    :param again: whether a backfill that has ended has been started again then.
    """
    backfill = find(host, backfill_id)
    pipeline_uuid, key = str(backfill.pipeline_uuid), host.table.key_of(backfill)
    update = partial(host.backfills.update, pipeline_uuid, key, sent, again=again)
    plan_hash = None
    if not yes:
        active = is_active(host, backfill)
        would = update(preview=Preview(0, 0))
        lost = _lost(host, would, active)
        if lost:
            ask(f"Backfill {named(would.backfill, key)}: {lost}")
        plan_hash = would.plan.hash() if would.plan else None
    saved = update(if_plan_match=plan_hash)
    print_backfill(host.local_window.show(saved.shown), as_json, saved.metadata)
    return saved


def tell_what_follows(host: Host, saved: Saved) -> None:
    """Say how a backfill goes on that has just been created or started."""
    shown = host.backfills.by_attribute(saved.shown)
    if host.run_model is None:
        return
    shown_as = {name: host.schema.key_of(name) for name in EXAMPLE}
    if shown["status"] in ACTIVE:
        tell_next("To follow it", "watch", shown["id"])
    elif shown["status"] is None:
        given = _within(shown)
        missing = [f"{shown_as[name]}={value}" for name, value in given.items() if not shown[name]]
        if missing and not host.generators:
            tell_next("It has no window yet", "update", shown["id"], *missing)
        else:
            tell_next("To start it", "start", shown["id"])


def tell_if_not_planned(host: Host, saved: Saved, sent: t.Mapping[str, t.Any]) -> None:
    """Say that a backfill that has ended needs a start before its new window has runs."""
    shown = host.backfills.by_attribute(saved.shown)
    ended = shown["status"] in STATUSES and shown["status"] not in ACTIVE
    planned_by = {host.schema.key_of(name) for name in (*DECISIVE, "variables")}
    if host.run_model is not None and ended and sent.keys() & planned_by:
        tell_next("No run has changed. To plan the runs", "start", shown["id"])


def _within(shown: dict[str, t.Any]) -> dict[str, str]:
    """An example of a window, in which an end that there is stays an end."""
    example = {**EXAMPLE}
    for name, other, days in (
        ("start_datetime", "end_datetime", 7),
        ("end_datetime", "start_datetime", -7),
    ):
        if shown[name] and not shown[other]:
            with suppress(ValueError, OverflowError):
                there = date.fromisoformat(str(shown[name])[:10])
                example[other] = str(there + timedelta(days=days))
    return example


def is_active(host: Host, backfill: t.Any) -> bool:
    return host.schema.word("status", getattr(backfill, "status", None)) in ACTIVE


def named(backfill: t.Any, key: t.Any) -> str:
    name = getattr(backfill, "name", None)
    return f"{key} ({name or 'unnamed'})"


def _lost(host: Host, would: Saved, active: bool) -> str | None:
    """The sentence to confirm if a change loses something; else ``None``."""
    if active and host.backfills.by_attribute(would.shown)["status"] not in ACTIVE:
        return "all runs that have not ended will be cancelled."
    if would.plan is not None and (would.plan.counts["drop"] or would.plan.counts["redo"]):
        return str(plan_line(would.metadata))
    return None
