"""What the commands print: tables, backfills, plans, in text or JSON."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from collections.abc import Sequence

from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import SHOWN
from ..rules.lifecycle import STATUSES
from ..rules.plan import ACTIONS
from ..rules.settings import is_paused
from ..rules.settings import to_do
from .text import printable
from .text import printable_json
from .text import tell


def print_json(value: t.Any) -> None:
    tell(printable_json(value))


def print_backfill(
    shown: dict[str, t.Any], as_json: bool, metadata: dict[str, t.Any] | None = None
) -> None:
    if as_json:
        print_json({"backfill": shown, **({"metadata": metadata} if metadata else {})})
        return
    print_attributes(shown)
    if plan := plan_line(metadata):
        tell(plan)


def print_attributes(shown: dict[str, t.Any]) -> None:
    width = max(map(len, shown))
    for key, value in shown.items():
        if value is not None:
            text = printable_json(value) if isinstance(value, dict) else printable(value)
            if key == "status":
                text = SHOWN.get(value) or printable(value)
            elif key == "run_status_counts":
                text = counts_of(shown) or "no runs"
            tell(f"{key:<{width}}  {text}")


def print_table(head: tuple[str, ...], rows: Sequence[tuple[t.Any, ...]]) -> None:
    cells = [head, *(tuple(map(printable, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        tell(line.rstrip())


def tell_more(total: int, offset: int, shown: int) -> None:
    """Say how many of a list follow its page, if any do."""
    if total > offset + shown:
        tell(f"{total - offset - shown:,} more. To see them: --offset {offset + shown}")


def plan_line(metadata: dict[str, t.Any] | None) -> str | None:
    if not metadata:
        return None
    counts = {action: metadata["plan"][action] for action in ACTIONS}
    told = ", ".join(f"{count:,} to {action}" for action, count in counts.items() if count)
    return f"The plan: {told}." if told else None


def done_of(shown: dict[str, t.Any]) -> str:
    counts = shown.get("run_status_counts")
    total = to_do(shown.get("settings"), counts, shown["total_run_count"])
    ended = "" if counts is None else f"{ended_of(counts):,}/"
    return "" if total is None else f"{ended}{total:,}"


def ended_of(counts: Mapping[str, int]) -> int:
    return sum(count for status, count in counts.items() if status not in ACTIVE)


def status_of(shown: dict[str, t.Any]) -> str:
    paused = is_paused(shown.get("settings"))
    word = SHOWN.get(shown["status"] or None) or printable(shown["status"])
    return f"{word}{' (paused)' if paused else ''}"


def window_of(shown: dict[str, t.Any]) -> str:
    if shown["start_datetime"] is None or shown["end_datetime"] is None:
        return ""
    return f"{shown['start_datetime']} to {shown['end_datetime']}"


def counts_of(shown: dict[str, t.Any]) -> str:
    counts = shown.get("run_status_counts") or {}
    known = [word for word in STATUSES if counts.get(word)]
    # A host may have statuses of its own.
    words = [*known, *(word for word in counts if word not in STATUSES)]
    return ", ".join(f"{counts[word]:,} {SHOWN.get(word) or printable(word)}" for word in words)
