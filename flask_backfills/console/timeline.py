"""A strip of cells that shows runs, or what a plan does with them."""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from datetime import datetime

from ..changes.expansion import show
from ..rules.lifecycle import SHOWN
from ..rules.lifecycle import STATUSES
from ..rules.plan import ACTIONS
from ..rules.plan import Entry
from ..rules.sight import seen
from ..runs.progress import Group

#: Cells of a strip; where there are more runs, a cell stands for several.
CELLS = 120

#: What stands for a cell of several, the first that any of them has.
LOUDEST = ("failed", "running", "redo", "drop", "add", "skip")

#: The words for a run by its status, and for what a plan does with one.
RUNS = {word: SHOWN[word] for word in STATUSES}
PLANNED = {word: f"to {word}" for word in ACTIONS}

#: What an action does, in a sentence.
DOES = {
    "start": "This creates the runs. A worker then executes them.",
    "pause": "No more runs start until you resume the backfill. Running runs continue.",
    "resume": "Waiting runs can start again.",
    "retry": "Failed and cancelled runs run again. Missing runs are added.",
    "cancel": "All waiting and running runs are cancelled.",
    "delete": "This deletes the backfill and its runs. You can't undo it.",
}


class Cell(t.NamedTuple):
    """A run or several: what it is coloured by, and what is told of it."""

    kind: str
    label: str


def of_runs(groups: Iterable[Group]) -> list[Cell]:
    """The cells of runs, from groups that follow each other."""
    return [_cell(group.counts, RUNS, _span(group), group.error) for group in groups]


def of_plan(entries: Sequence[Entry]) -> list[Cell]:
    """The cells of what a plan makes of runs, in the order of their dates."""
    ordered = sorted(entries, key=lambda one: (one.date is None, one.date or datetime.min, one.key))
    count = min(len(ordered), CELLS)
    cells = []
    for place in range(count):
        group = ordered[place * len(ordered) // count : (place + 1) * len(ordered) // count]
        counts = Counter(one.action for one in group)
        name = _name(_named(group[0]), _named(group[-1]))
        cells.append(_cell(counts, PLANNED, name, group[0].reason if len(group) == 1 else None))
    return cells


def _cell(counts: Counter[str], words: Mapping[str, str], name: str, reason: str | None) -> Cell:
    kinds = [word for word in words if counts[word]]
    kind = next((word for word in LOUDEST if counts[word]), kinds[0] if len(kinds) == 1 else "some")
    if counts.total() == 1:
        # A host may have statuses of its own.
        told = words.get(kind, next(iter(+counts)))
    else:
        told = f"{counts.total():,} runs, " + ", ".join(f"{counts[k]:,} {words[k]}" for k in kinds)
    return Cell(kind, seen(f"{name}: {told}" + (f". {reason}" if reason else "")))


def _name(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def _span(group: Group) -> str:
    if group.dates:
        return _name(show(min(group.dates)), show(max(group.dates)))
    return _name(min(group.keys), max(group.keys))


def _named(entry: Entry) -> str:
    return entry.key if entry.date is None else show(entry.date)
