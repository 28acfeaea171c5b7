"""What an update means for the runs: start, plan anew, cancel, close."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field
from datetime import tzinfo
from itertools import chain

from .. import errors
from ..rules import notes
from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import outcome
from ..rules.lifecycle import starts
from ..rules.plan import Entry
from ..rules.plan import plan
from ..rules.plan import RunningConflict
from ..rules.plan import Tally
from ..rules.plan import Wanted
from ..rules.settings import canary_of
from ..rules.settings import reprocess_of
from ..rules.settings import skips_covered
from ..rules.window import Window
from ..runs import canary
from ..runs.addition import Addition
from ..runs.flight import Flight
from ..runs.planned import Planned
from ..tables.assign import Changes
from ..tables.run_table import CHUNK
from ..tables.settings import settings_of
from .expansion import DECISIVE
from .expansion import Expansion
from .expansion import show
from .skipping import completed_elsewhere


@dataclass
class Preview:
    """A page of the entries of a plan that is not applied."""

    offset: int
    limit: int
    #: How many runs are supposed to run at once, for the forecast.
    at_once: int | None = None
    #: Whether other backfills of the pipeline may be named.
    others: bool = True
    #: The zone in which notes have moments; ``None`` for UTC, without an offset.
    zone: tzinfo | None = None
    entries: list[Entry] = field(default_factory=list)
    #: How many entries the whole plan has.
    count: int = 0
    #: The window that was planned; ``None`` if no window was.
    window: Window | None = None
    notes: list[str] = field(default_factory=list)
    #: What is told of how long the runs take: nothing where nothing is planned.
    forecast: dict[str, t.Any] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget what a transaction has put here that is done again."""
        self.entries.clear()
        self.notes.clear()
        self.forecast.clear()
        self.count = 0
        self.window = None


def follow(
    runs: Planned,
    expansion: Expansion,
    backfill: t.Any,
    before: dict[str, t.Any],
    changes: Changes,
    preview: Preview | None = None,
    reprocess: str | None = None,
) -> Tally | None:
    """Let the runs follow what was changed of a backfill, in its transaction.

    :param before: :meth:`Expansion.values` from before the change.
    :param changes: what was changed; what follows of it is added.
    :param reprocess: for a start, what counts instead of ``settings.reprocess``.
    :param preview: filled instead of applying anything to the runs.
    :returns: the plan that was made; ``None`` if the change asks for none.
    :raises flask_backfills.errors.Refused: for what can't be planned.
    :raises flask_backfills.errors.NothingToRun: for a start that would run nothing.
    :raises flask_backfills.errors.RunsRefused: for runs that run and can't be changed.
    """
    rollup = runs.rollup
    status = rollup.status_of(backfill)
    old = rollup.schema.word("status", changes["status"][0]) if "status" in changes else status
    if status is not None and starts(old, status):
        reprocess = reprocess or reprocess_of(settings_of(backfill))
        canary.lift(runs.table.backfills, backfill)
        tally = _replan(runs, expansion, backfill, before, reprocess, preview)
        if rollup.settle(backfill, tally.statuses):
            raise errors.NothingToRun(tally.statuses, tally.counts["skip"])
        _choose_canary(runs, backfill, tally, preview)
        return tally
    if status not in ACTIVE:
        cancelled = 0
        if "status" in changes and preview is None:
            cancelled = rollup.cancel(backfill)
            canary.lift(runs.table.backfills, backfill)
        # Asked last: the end of a run may have been waited for.
        late = status == "cancelled" and old in ACTIVE and not cancelled
        if late and rollup.is_done(backfill):
            # Its end is rolled up in a moment. It would be a cancelled one that can't be started.
            raise errors.TransitionRefused("All runs are completed: nothing is left to cancel.")
        return None
    if changes.keys() & {*DECISIVE, "variables"} or _skips_otherwise(changes):
        tally = _replan(runs, expansion, backfill, before, None, preview)
        if changes.keys() & {*DECISIVE} or before["block_uuid"] is not None:
            # What was chosen may be gone, or tell less than what has come.
            _choose_canary(runs, backfill, tally, preview)
        elif preview is None and "settings" in changes:
            canary.follow(runs.table, backfill, *changes["settings"])
        ends = outcome(tally.statuses, settings_of(backfill).get("max_failures")) is not None
        # What is counted was read while runs may have ended.
        if preview is not None or not ends or rollup.is_in_line(backfill):
            _merge(changes, rollup.settle(backfill, tally.statuses))
        return tally
    if "settings" in changes:
        if preview is None:
            canary.follow(runs.table, backfill, *changes["settings"])
        _merge(changes, rollup.settle(backfill))
    return None


def _choose_canary(runs: Planned, backfill: t.Any, tally: Tally, preview: Preview | None) -> None:
    """Choose the canary anew, or note that it would be."""
    if preview is None:
        canary.choose(runs.table, backfill)
    elif (count := canary_of(getattr(backfill, "settings", None))) is not None:
        preview.notes += notes.canary(count, tally.statuses["initial"])


def _replan(
    runs: Planned,
    expansion: Expansion,
    backfill: t.Any,
    before: dict[str, t.Any],
    reprocess: str | None,
    preview: Preview | None,
) -> Tally:
    """Plan, and write or preview what becomes of each run."""
    flight = Flight(runs.table, backfill)
    if preview is None:
        runs.rollup.fold(backfill, flight)
    values = expansion.values(backfill)
    tally = Tally([values, getattr(backfill, "variables", None), reprocess])
    tally.reprocess = reprocess
    asked = expansion.of(backfill)
    criteria: tuple[t.Any, ...] = ()
    same = range(0)
    elsewhere: dict[str, t.Any] = {}
    wanted: t.Iterable[Wanted]
    if isinstance(asked, Window):
        if skips_covered(getattr(backfill, "settings", None)):
            elsewhere = completed_elsewhere(runs.table, expansion, backfill, asked)
        window = expansion.window(before) if before["block_uuid"] is None else None
        if reprocess is None and window is not None and not elsewhere:
            same = _settled(runs, backfill, asked, window, tally)
        if same:
            criteria = (~_dates(runs, asked, same) | runs.table.date.is_(None),)
        wanted = chain(expansion.wanted(asked, 0, same.start), expansion.wanted(asked, same.stop))
    else:
        wanted = asked
    if "interval_end_datetime" not in runs.table.columns:
        wanted = (one._replace(end=None) for one in wanted)
    # What a generator gives a run that waits may have changed; what a date gives can't.
    renew = not isinstance(asked, Window)
    there = list(runs.load(backfill, *criteria))
    entries = tally.read(plan(wanted, there, reprocess, renew, elsewhere))
    try:
        if preview is None and isinstance(asked, Window) and not (there or same or elsewhere):
            _add_all(runs, expansion, backfill, asked, tally)
        elif preview is None:
            runs.write(backfill, entries, flight)
        else:
            for position, entry in enumerate(entries):
                preview.count += 1
                position += len(same) if position >= same.start else 0
                if preview.offset <= position < preview.offset + preview.limit:
                    preview.entries.append(entry)
    except RunningConflict as conflict:
        raise errors.RunsRefused(list(conflict.args)) from None
    if preview is not None and isinstance(asked, Window):
        preview.window = asked
        _preview_same(runs, expansion, backfill, asked, same, preview)
    if not tally.statuses["running"]:
        # History that still runs is waited for.
        tally.statuses["running"] = flight.running
    return tally


def _skips_otherwise(changes: Changes) -> bool:
    """Whether runs are left out that were not before, or the other way round."""
    old, new = map(skips_covered, changes.get("settings", (None, None)))
    return old != new


def _add_all(
    runs: Planned, expansion: Expansion, backfill: t.Any, window: Window, tally: Tally
) -> None:
    """Do the plan of a window that has no runs yet, without an entry for each."""
    addition = Addition(runs.table, backfill)
    for keys, dates, ends in expansion.dated(window, CHUNK):
        tally.add(keys)
        addition.add_dated(keys, dates, ends)


def _settled(runs: Planned, backfill: t.Any, asked: Window, window: Window, tally: Tally) -> range:
    """The indexes of the dates whose runs stay as they are, which need not be read.

    They are those that both windows ask for, if the database has just the runs that the
    one before asks for.
    """
    same = asked.shared(window)
    if not same or not runs.table.knows_history:
        return range(0)
    statuses, first, last = runs.summary(backfill)
    ends = (window.start, window.date(window.count() - 1))
    if (first, last) != ends or statuses.total() != window.count():
        return range(0)
    statuses, *_ = runs.summary(backfill, _dates(runs, asked, same))
    if statuses.total() != len(same):
        return range(0)
    tally.keep(statuses)
    return same


def _dates(runs: Planned, window: Window, indexes: range) -> t.Any:
    return runs.table.between(window.date(indexes[0]), window.date(indexes[-1]))


def _preview_same(
    runs: Planned,
    expansion: Expansion,
    backfill: t.Any,
    window: Window,
    same: range,
    preview: Preview,
) -> None:
    """Put those of the page that were not read into it, at their place."""
    preview.count += len(same)
    page = range(max(same.start, preview.offset), min(same.stop, preview.offset + preview.limit))
    if page:
        wanted = expansion.wanted(window, page.start, len(page))
        there = runs.load(backfill, _dates(runs, window, page))
        kept = [entry for entry in plan(wanted, there) if entry.wanted is not None]
        place = max(same.start - preview.offset, 0)
        preview.entries[place:place] = kept


def _merge(changes: Changes, more: Changes) -> None:
    for attribute, (old, new) in more.items():
        changes[attribute] = (changes[attribute][0] if attribute in changes else old, new)


def tell_plan(plan: Tally, preview: Preview | None) -> dict[str, t.Any]:
    """What the answer says of the plan."""
    told: dict[str, t.Any] = {"plan": {**plan.counts, "hash": plan.hash()}}
    if preview is None:
        return told
    told["plan"]["entries"] = [_tell_entry(entry, preview.others) for entry in preview.entries]
    return {
        **told,
        "notes": preview.notes,
        **preview.forecast,
        "count": preview.count,
        "next": preview.offset + preview.limit < preview.count,
    }


def _tell_entry(entry: Entry, others: bool) -> dict[str, t.Any]:
    # The reason of what is skipped names the backfill that has completed it.
    hidden = entry.action == "skip" and not others
    return {
        "key": entry.key,
        "execution_date": entry.date and show(entry.date),
        "action": entry.action,
        "reason": "Completed in another backfill." if hidden else entry.reason,
    }
