"""Compares the runs that a backfill needs with those that exist: keep, add, drop, redo, skip. No I/O.

A start is a plan without existing runs. Starting again is a plan with ``reprocess``. An edit
of an active backfill is a plan with the new window. A preview is a plan that is not applied.
"""

from __future__ import annotations

import hashlib
import typing as t
from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from datetime import datetime

from .canonical import canonical

#: The statuses that a start runs again, by ``settings.reprocess``. Missing runs are added.
REPROCESS = {
    "failed": ("failed", "cancelled"),
    "all": ("failed", "cancelled", "completed"),
    "none": (),
}

#: What a start runs again if nobody says otherwise.
USUALLY = "failed"

#: What a plan can do with a run.
ACTIONS = ("keep", "add", "drop", "redo", "skip")


class Wanted(t.NamedTuple):
    """A run that there should be."""

    key: str
    date: datetime | None
    end: datetime | None
    #: The variables that a generator gives it. Those of a date follow from the date.
    variables: dict[str, t.Any] | None = None


class Run(t.NamedTuple):
    """A run that exists."""

    id: t.Any
    key: str
    date: datetime | None
    end: datetime | None
    status: str
    #: Whether the previous plan needed the run; if not, it is history.
    wanted: bool = True


class Entry(t.NamedTuple):
    """What the plan does with one run, and why."""

    action: str
    reason: str
    run: Run | None
    wanted: Wanted | None
    #: What has to be written for it: ``add``, ``drop`` or ``redo``; ``renew`` for one that
    #: waits, ``retire`` or ``revive`` for one that becomes or was history; ``None`` if all
    #: stays as it is.
    write: str | None

    @property
    def id(self) -> t.Any:
        """The primary key of the run; ``None`` for one that is added."""
        return self.run and self.run.id

    @property
    def key(self) -> str:
        return t.cast("Wanted | Run", self.wanted or self.run).key

    @property
    def date(self) -> datetime | None:
        return t.cast("Wanted | Run", self.wanted or self.run).date


class RunningConflict(Exception):
    """The interval of running runs would change. ``args`` are the keys of these runs."""


def plan(
    wanted: Iterable[Wanted],
    runs: Iterable[Run],
    reprocess: str | None = None,
    renew: bool = False,
    elsewhere: Mapping[str, t.Any] | None = None,
) -> Iterator[Entry]:
    """What becomes of each run, those wanted first, in their order.

    A run is known by its key, which ``wanted`` has once. It is read as the entries are, so
    that a plan from no runs takes no memory.

    >>> first, second = Wanted("1st", None, None), Wanted("2nd", None, None)
    >>> for entry in plan([first, second], [Run(7, "1st", None, None, "completed")]):
    ...     print(entry.key, entry.action, entry.reason)
    1st keep Completed.
    2nd add Not planned before.

    :param reprocess: one of :data:`REPROCESS` at a start; ``None`` when a backfill that
        is active is edited, which runs nothing again whose interval is the same.
    :param renew: whether runs that wait get their variables anew.
    :param elsewhere: by key, which other backfill has completed what a run would do. Such a run
        is left out.
    :raises RunningConflict: at the end, for all runs that run while their interval would
        become another.
    """
    there = {run.key: run for run in runs}
    again = REPROCESS[reprocess] if reprocess else ()
    running = []
    for one in wanted:
        run = there.pop(one.key, None)
        if elsewhere and one.key in elsewhere:
            skipped = _skip(one, run, f"Completed in backfill {elsewhere[one.key]}.")
            if skipped is not None:
                yield skipped
                continue
        if run is None:
            yield Entry("add", "Not planned before.", None, one, "add")
            continue
        same, status = run.end == one.end, run.status.capitalize()
        if run.status == "initial":
            reason = "Waiting." if same else "Waiting. Its end changes."
            yield Entry("keep", reason, run, one, None if same and not renew else "renew")
        elif run.status == "running" and not same:
            running.append(run.key)
        elif not same:
            yield Entry(
                "redo", f"{status}, but the interval changes. Runs again.", run, one, "redo"
            )
        elif run.status in again or (run.status == "cancelled" and not run.wanted):
            # One that was cancelled when it was not needed has never been done.
            yield Entry("redo", f"{status}. Runs again.", run, one, "redo")
        else:
            yield Entry("keep", f"{status}.", run, one, None if run.wanted else "revive")
    for run in there.values():
        if run.status == "initial":
            yield Entry("drop", "No longer needed, and not started.", run, None, "drop")
        else:
            reason = f"No longer needed, but {run.status}: kept as history, and not counted."
            yield Entry("keep", reason, run, None, "retire" if run.wanted else None)
    if running:
        raise RunningConflict(*running)


def _skip(one: Wanted, run: Run | None, reason: str) -> Entry | None:
    """What becomes of a run that another backfill has done; ``None`` to let it go on."""
    if run is None:
        return Entry("skip", reason, None, one, None)
    if run.status == "initial":
        return Entry("drop", reason, run, None, "drop")
    if run.end == one.end and run.status == "running":
        return None
    if run.end == one.end and run.status == "completed":
        # It has done it, too: both count.
        return Entry("keep", "Completed.", run, one, None if run.wanted else "revive")
    # One that has failed would let the backfill fail, for what is done.
    return Entry("skip", reason, run, one, "retire" if run.wanted else None)


class Tally:
    """What a plan comes to, while its entries are read.

    :param about: what else decides what happens: the window, which says where runs end, and
        the variables that they get. A change of it is a change of :meth:`hash`.
    """

    def __init__(self, about: t.Any) -> None:
        self.counts = dict.fromkeys(ACTIONS, 0)
        #: How many of the wanted runs have each status once the plan is applied.
        self.statuses: Counter[str] = Counter()
        #: For a start, which runs it runs again; one of :data:`REPROCESS`.
        self.reprocess: str | None = None
        self._digest = hashlib.sha256(canonical(about).encode())

    def read(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The entries as they are, counted on their way."""
        for entry in entries:
            action, _, run, wanted, write = entry
            if action in ("drop", "skip"):
                self.counts[action] += 1
            elif wanted is not None:
                self.statuses["initial" if run is None or action == "redo" else run.status] += 1
                self.counts[action] += 1
            if action == "skip" or (write is not None and write != "renew"):
                # What waits is renewed, as far as it still waits, by what the plan is about.
                self._digest.update(f"{action}\0{entry.key}\0".encode())
            yield entry

    def add(self, keys: t.Sequence[str]) -> None:
        """Count runs that are added where there are none, without an entry for each.

        It comes to what :meth:`read` comes to with a :func:`plan` from no runs.
        """
        self.statuses["initial"] += len(keys)
        self.counts["add"] += len(keys)
        self._digest.update("".join([f"add\0{key}\0" for key in keys]).encode())

    def keep(self, statuses: t.Mapping[str, int]) -> None:
        """Count runs that stay as they are, without reading them."""
        self.statuses.update(statuses)
        self.counts["keep"] += sum(statuses.values())

    def hash(self) -> str:
        """The name of this plan: another one where anything else would happen."""
        digest = self._digest.copy()
        digest.update(canonical(self.counts).encode())
        return digest.hexdigest()[:40]
