"""What the pages show of backfills and of plans, beside their attributes."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from datetime import datetime

from ..changes.backfills import Saved
from ..host import Host
from ..rules.forecast import sentence
from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import STATUSES
from ..rules.settings import is_paused
from ..rules.settings import to_do
from ..rules.shares import shares
from ..rules.sight import is_blank
from ..rules.sight import seen
from ..rules.spans import about
from ..rules.window_words import say_window
from ..tables import columns
from .wording import Translate

#: The attribute that says when a backfill has ended, by its status.
ENDED = {"completed": "completed_at", "failed": "failed_at"}

#: The order of a bar.
BAR = ("completed", "failed", "cancelled", "running")

#: The shortest part of a bar, in hundredths of its length.
LEAST_SEEN = 2.0


def summaries(
    host: Host, backfills: list[t.Any], forecasts: int | None = None
) -> list[dict[str, t.Any]]:
    """What is shown of backfills, with their counts and how long they will take.

    :param forecasts: of how many of them it is told how long they will take, which costs two
        statements each; ``None`` for all.
    """
    counts = host.backfills.count(backfills)
    found = [
        _summary(host, backfill, more) for backfill, more in zip(backfills, counts, strict=True)
    ]
    waiting = [pair for pair in zip(backfills, found, strict=True) if pair[1]["waits"]]
    # Of those that run first.
    waiting.sort(key=lambda pair: pair[1]["status"] != "running")
    for backfill, summary in waiting[:forecasts]:
        forecast = host.backfills.forecast(backfill)
        if forecast and forecast["seconds"]:
            summary["forecast"] = forecast
            summary["left"] = forecast["seconds"]["p50"]
    return found


def time_left(seconds: float, translate: Translate) -> str:
    """How long a backfill may still take."""
    return translate("about {span} left", span=about(seconds, translate))


def title_of(key: t.Any, name: t.Any) -> str:
    """What a backfill is called. One that can't be seen can't be clicked."""
    return seen(f"Unnamed #{key}" if name is None or is_blank(str(name)) else str(name))


def _summary(host: Host, backfill: t.Any, counts: dict[str, t.Any]) -> dict[str, t.Any]:
    attributes = host.local_window.show(host.backfills.show(backfill))
    shown = host.backfills.by_attribute(attributes)
    statuses = counts.get("run_status_counts", {})
    active = shown["status"] in ACTIVE
    paused = active and is_paused(shown.get("settings"))
    waiting = sum(statuses.get(word, 0) for word in ACTIVE)
    key = host.table.key_of(backfill)
    ended = sum(statuses.values()) - waiting
    total = to_do(shown.get("settings"), statuses, counts["total_run_count"]) or ended
    return {
        **{key: seen(value) if isinstance(value, str) else value for key, value in shown.items()},
        "attributes": attributes,
        "key": key,
        # As it is stored, for links.
        "pipeline": str(backfill.pipeline_uuid),
        "title": title_of(key, shown.get("name")),
        "active": active,
        "paused": paused,
        "statuses": [(word, statuses.get(word, 0)) for word in STATUSES],
        "total": total,
        "ended": ended,
        "bar": segments(statuses, total),
        "waits": bool(active and waiting and not paused),
        # In seconds.
        "left": None,
        "forecast": None,
    }


def window_of(host: Host, backfill: t.Any, shown: dict[str, t.Any], translate: Translate) -> str:
    """The window of a backfill as people say it; as it is shown where it is of another kind.

    :param shown: its summary, where what the host's schema hides is null.
    """
    if shown["start_datetime"] is None or shown["end_datetime"] is None:
        return ""
    ends = [getattr(backfill, name, None) for name in ("start_datetime", "end_datetime")]
    if not all(isinstance(one, datetime) for one in ends):
        return f"{shown['start_datetime']} - {shown['end_datetime']}"
    start, end = (columns.in_utc(t.cast("datetime", one), False) for one in ends)
    # A stored step may be none that is valid, and a host's schema may hide it.
    values = host.expansion.values(backfill)
    kind, units = (shown[name] and values[name] for name in ("interval_type", "interval_units"))
    return say_window(
        start,
        end,
        kind,
        units,
        zone=host.zone,
        inclusive=host.inclusive,
        translate=translate,
    )


class Segment(t.NamedTuple):
    """A part of a bar, in hundredths of its length."""

    status: str
    start: float
    width: float


def segments(statuses: Mapping[str, int], total: int) -> list[Segment]:
    """The bar of a backfill: what ended, then what runs, each as long as its share.

    >>> for part in segments({"completed": 3, "failed": 1, "initial": 4}, 8):
    ...     print(*part)
    completed 0.0 37.5
    failed 37.5 12.5

    One failed run of thousands is seen too:

    >>> segments({"completed": 9999, "failed": 1}, 10_000)[1].width
    2.0
    """
    if not total:
        return []
    found, start = [], 0.0
    amounts = {word: statuses.get(word, 0) for word in BAR}
    for word, share in shares(amounts, total, LEAST_SEEN).items():
        found.append(Segment(word, round(start, 3), round(share, 3)))
        start += share
    return found


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
