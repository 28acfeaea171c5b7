"""What the pages show of backfills and of plans, beside their attributes."""

from __future__ import annotations

import typing as t

from ..changes.backfills import Saved
from ..host import Host
from ..rules.forecast import sentence
from ..rules.forecast import spoken
from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import STATUSES
from ..rules.settings import is_paused
from ..rules.settings import to_do
from ..rules.sight import is_blank
from ..rules.sight import seen


def summaries(host: Host, backfills: list[t.Any]) -> list[dict[str, t.Any]]:
    """What is shown of backfills, with their counts and how long they will take."""
    counts = host.backfills.count(backfills)
    return [
        _summary(host, backfill, more) for backfill, more in zip(backfills, counts, strict=True)
    ]


def _summary(host: Host, backfill: t.Any, counts: dict[str, t.Any]) -> dict[str, t.Any]:
    attributes = host.local_window.show(host.backfills.show(backfill))
    shown = host.backfills.by_attribute(attributes)
    statuses = counts.get("run_status_counts", {})
    active = shown["status"] in ACTIVE
    paused = active and is_paused(shown.get("settings"))
    waiting = sum(statuses.get(word, 0) for word in ACTIVE)
    left = None
    if active and waiting and not paused:
        forecast = host.backfills.forecast(backfill)
        if forecast and forecast["seconds"]:
            left = f"about {spoken(forecast['seconds']['p50'])} left"
    key, name = host.table.key_of(backfill), shown.get("name")
    return {
        **{key: seen(value) if isinstance(value, str) else value for key, value in shown.items()},
        "attributes": attributes,
        "key": key,
        # One that can't be seen can't be clicked.
        "title": seen(f"Unnamed #{key}" if name is None or is_blank(str(name)) else str(name)),
        "active": active,
        "paused": paused,
        "statuses": [(word, statuses.get(word, 0)) for word in STATUSES],
        "total": to_do(shown.get("settings"), statuses, counts["total_run_count"]),
        "ended": sum(statuses.values()) - waiting,
        "left": left,
    }


def plan_of(saved: Saved | None) -> dict[str, t.Any] | None:
    """The counts of a plan that was previewed, and its hash, which is sent back to do it."""
    if saved is None:
        return None
    counts = saved.tally.counts
    return {
        "counts": counts,
        "hash": saved.tally.hash(),
        "any": any(counts.values()),
        "forecast": sentence((saved.metadata or {}).get("forecast")),
        "notes": [seen(note) for note in (saved.metadata or {}).get("notes", [])],
    }
