"""The grids of runs, and of what a plan does with them."""

from __future__ import annotations

import typing as t
from collections import Counter
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Sequence
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from datetime import tzinfo

from ..host import Host
from ..rules import grid as rules
from ..rules.grid import Layout
from ..rules.lifecycle import SHOWN
from ..rules.lifecycle import STATUSES
from ..rules.plan import ACTIONS
from ..rules.plan import Entry
from ..rules.sight import seen
from ..runs import cells
from ..runs.cells import One
from ..runs.cells import Several
from . import grid
from .grid import Cell
from .grid import Grid
from .links import link
from .wording import Translate

#: The words for a run by its status, and for what a plan does with one.
RUNS = {word: SHOWN[word] for word in STATUSES}
PLANNED = {word: f"to {word}" for word in ACTIONS}

#: The order in which a plan is listed: first what is taken away or done again.
LISTED = ("drop", "redo", "skip", "add", "keep")

#: How many entries of a plan a page lists.
PAGE = 50

#: What an action does, in a sentence.
DOES = {
    "start": "This creates the runs. A worker then executes them.",
    "pause": "No more runs start until you resume the backfill. Running runs continue.",
    "resume": "Waiting runs can start again.",
    "retry": "Failed and cancelled runs run again.",
    "cancel": "All waiting and running runs are cancelled.",
    "delete": "This deletes the backfill and its runs. You can't undo it.",
}


def of_runs(host: Host, backfill: t.Any, translate: Translate) -> list[Grid]:
    """The grids of the runs of a backfill: those with dates, then those without.

    One statement where there are few runs, at most four for any number.
    """
    found = cells.few(host.run_table, backfill, rules.MOST)
    shown = _Shown(host, backfill, translate)
    return shown.few(found) if found is not None else shown.many()


class _Shown:
    """Makes the cells of one backfill's runs."""

    def __init__(self, host: Host, backfill: t.Any, translate: Translate) -> None:
        self.host = host
        self.backfill = backfill
        self.key = host.table.key_of(backfill)
        self.translate = translate

    def few(self, found: Iterable[One]) -> list[Grid]:
        """Each run as itself, though some may share a cell."""
        dated: defaultdict[datetime, list[One]] = defaultdict(list)
        undated = []
        for one in found:
            if one.date is None:
                undated.append(self.of_one(one))
            else:
                dated[one.date].append(one)
        grids = []
        if dated:
            laid = self.laid_out(min(dated), max(dated), dated)
            placed: defaultdict[int, list[One]] = defaultdict(list)
            for date, some in dated.items():
                placed[laid.place(date)] += some
            shown = {place: self.of_some(laid, place, some) for place, some in placed.items()}
            several = any(len(some) > 1 for some in placed.values())
            grids.append(grid.drawn(laid, shown, self.translate, several))
        return [*grids, *grid.in_order(undated)]

    def many(self) -> list[Grid]:
        """Runs that the database has counted."""
        table, grids = self.host.run_table, []
        extent = cells.extent(table, self.backfill)
        if extent.dated:
            apart = (extent.last - extent.first) / max(extent.dated - 1, 1)
            dates = extent.first, extent.first + apart
            laid = self.laid_out(extent.first, extent.last, dates)
            counted = cells.by_date(table, self.backfill, laid.edges)
            shown = {place: self.at(laid, place, some) for place, some in counted.items()}
            grids.append(grid.drawn(laid, shown, self.translate, True))
        if extent.undated:
            counted = cells.without_date(table, self.backfill, rules.MOST)
            url = link("runs", backfill_id=self.key)
            undated = []
            for some in counted.values():
                name = grid.spanned((min(some.keys), max(some.keys)), self.translate)
                undated.append(self.of_several(some, name, url))
            each = self.translate(grid.EACH["runs"]) if extent.undated > rules.MOST else None
            grids += grid.in_order(undated, each)
        return grids

    def laid_out(self, first: datetime, last: datetime, dates: Iterable[datetime]) -> Layout:
        """The calendar, by the step of the window; for a generator by the dates themselves."""
        values = self.host.expansion.values(self.backfill)
        kind, units = values["interval_type"], values["interval_units"]
        if values["block_uuid"] is not None or None in (kind, units):
            kind, units = rules.step_of(dates)
        return rules.layout(first, last, kind, units, self.host.zone)

    def of_some(self, laid: Layout, place: int, found: list[One]) -> Cell:
        if len(found) == 1:
            return self.of_one(found[0])
        several = Several()
        for one in found:
            several.add(one.status, 1, one.error)
        return self.at(laid, place, several)

    def at(self, laid: Layout, place: int, several: Several) -> Cell:
        """The cell of several runs in a calendar, which leads to their list."""
        since, end = laid.span(place)
        # The list has both ends in.
        url = link("runs", backfill_id=self.key, since=since, until=end - timedelta(seconds=1))
        return self.of_several(several, grid.spanned(laid.name(place), self.translate), url)

    def of_one(self, one: One) -> Cell:
        name = one.key if one.date is None else grid.named(one.date, self.host.zone)
        # A host may have statuses of its own.
        told = self.translate(RUNS.get(one.status, one.status))
        url = link("run", backfill_id=self.key, run_id=one.id)
        return Cell(one.status, grid.labelled(self.translate, name, told, one.error), url)

    def of_several(self, several: Several, name: str, url: str | None) -> Cell:
        return grid.of_counts(several.counts, RUNS, name, self.translate, several.error, url)


class Strip:
    """What a plan makes of runs: as grids, and as a list in pages."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries)

    def grids(self, zone: tzinfo | None, translate: Translate) -> list[Grid]:
        """The grids: those of dates, then those of entries without.

        :param zone: of the calendar; ``None`` for UTC.
        """
        zone = zone or timezone.utc
        placed: defaultdict[int, list[Entry]] = defaultdict(list)
        dates = {one.date for one in self.entries if one.date is not None}
        grids = []
        if dates:
            laid = rules.layout(min(dates), max(dates), *rules.step_of(dates), zone)
            for one in self.entries:
                if one.date is not None:
                    placed[laid.place(one.date)].append(one)
            shown = {
                place: _planned(some, grid.spanned(laid.name(place), translate), zone, translate)
                for place, some in placed.items()
            }
            several = any(len(some) > 1 for some in placed.values())
            grids.append(grid.drawn(laid, shown, translate, several))
        undated = sorted((one for one in self.entries if one.date is None), key=lambda one: one.key)
        size = -(-len(undated) // rules.MOST) or 1
        groups = [undated[place : place + size] for place in range(0, len(undated), size)]
        in_order = [
            _planned(some, grid.spanned((some[0].key, some[-1].key), translate), zone, translate)
            for some in groups
        ]
        return [
            *grids,
            *grid.in_order(in_order, translate(grid.EACH["runs"]) if size > 1 else None),
        ]

    @property
    def pages(self) -> int:
        return max(-(-len(self.entries) // PAGE), 1)

    def page(self, number: int, zone: tzinfo | None) -> list[dict[str, str]]:
        """A page of the entries: what is taken away or done again comes first."""

        def order(one: Entry) -> tuple[t.Any, ...]:
            return LISTED.index(one.action), one.date is None, one.date or datetime.min, one.key

        first = (min(max(number, 1), self.pages) - 1) * PAGE
        return [
            {"name": seen(_named(one, zone)), "action": one.action, "reason": one.reason}
            for one in sorted(self.entries, key=order)[first : first + PAGE]
        ]


def of_plan(entries: Sequence[Entry]) -> Strip:
    """What a plan makes of runs, for ``parts.plan`` of the templates."""
    return Strip(entries)


def _planned(found: list[Entry], name: str, zone: tzinfo, translate: Translate) -> Cell:
    if len(found) == 1:
        [one] = found
        told = translate(PLANNED[one.action])
        return Cell(one.action, grid.labelled(translate, _named(one, zone), told, one.reason))
    counts = Counter(one.action for one in found)
    return grid.of_counts(counts, PLANNED, name, translate)


def _named(entry: Entry, zone: tzinfo | None) -> str:
    return entry.key if entry.date is None else grid.named(entry.date, zone or timezone.utc)
