"""The queue that workers use: runs are claimed, ended, given back and taken back.

Each is a transaction of its own. Which runs there are is for the plan. Which may be handed out
now is in :mod:`.next`, and what becomes of those that failed is in :mod:`.attempts`.
"""

from __future__ import annotations

import random
import time
import typing as t
from collections.abc import Collection
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from sqlalchemy.orm import object_session

from .. import dbapi
from .. import signals
from ..tables.assign import Changes
from ..tables.backfill_table import BackfillTable
from ..tables.backfill_table import MOMENTS
from ..tables.logs import warn
from ..tables.session import has_changes
from ..tables.session import has_work
from ..tables.session import undo
from ..tables.snapshots import end_read_only
from .at_once import complete_at_once
from .ending import Discarded
from .ending import Ending
from .ending import Mine
from .hand_out import HandOut
from .hand_out import Variables
from .lease import lease
from .progress import Progress
from .rollup import Blocked
from .rollup import Rollup
from .upkeep import Upkeep

#: Seconds between two tries of a claim where somebody else has the backfill locked.
BRIEFLY = (0.005, 0.01, 0.02, 0.02)


class Queue:
    """The runs of one blueprint's backfills, for workers: ``blueprint.runs``.

    :meth:`claim` and :meth:`finish` are the low-level API for workers of your own. Both use
    the session of the blueprint and commit it.
    """

    def __init__(
        self, table: BackfillTable, rollup: Rollup, progress: Progress, variables: Variables
    ) -> None:
        self.table = table
        self.schema = rollup.schema
        self.runs = rollup.runs
        self.rollup = rollup
        self.progress = progress
        self.hand_out = HandOut(table, rollup, variables)
        self.ending = Ending(table, self.runs)
        self.upkeep = Upkeep(table, self.hand_out, progress)

    def claim(self, backfill_id: t.Any = None, limit: int = 1, *, ahead: int = 0) -> list[t.Any]:
        """Claim the next runs to work on. Their status becomes ``running``.

        The backfill with the highest ``settings.priority`` comes first, then the one with the
        fewest running runs, then the oldest. Its runs come by ``execution_date``, then key; in
        reverse where ``settings.order`` is ``backwards``. No run is claimed twice, and none
        while ``settings.paused``, beyond ``settings.pipeline_run_limit``, or after
        ``settings.max_failures``. A backfill that is locked is skipped, and looked at again for
        some hundredths of a second if there is nothing else to claim. One that can't be handed
        out for any reason is skipped too, and that is logged.

        The runs are detached from the session, with the values of the moment of the claim. If
        the process dies here, its runs are taken back when their lease is over.

        :param backfill_id: claim runs of this backfill only; ``None`` for all backfills.
        :param limit: the number of runs, at most.
        :param ahead: how many more, which are not begun at once. Not of backfills with
            ``settings.run_timeout`` or ``settings.max_failures``, nor runs that were begun before.
        """
        self.table.database.synchronize()
        alone = backfill_id is not None
        keys = [backfill_id] if alone else self.active_backfills()
        claimed, locked = _claim(self, keys, limit, ahead, alone)
        for pause in BRIEFLY:
            if claimed or not locked:
                break
            # Mostly by somebody else's claim, which takes a moment: there may be more to do.
            time.sleep(pause * random.uniform(0.5, 1))
            claimed, locked = _claim(self, locked[:1], limit, ahead, alone)
        return claimed

    def finish(
        self,
        run: t.Any,
        status: str,
        metrics: Mapping[str, t.Any] | None = None,
        error: str | None = None,
        attempt: int | None = None,
        *,
        later: bool = False,
    ) -> bool:
        """End a claimed run. The last run of a backfill ends the backfill too.

        The run's end touches its own row alone, and is committed with what is uncommitted in
        the session. What follows for the backfill is a transaction of its own: if the process
        dies between the two, the next end, claim or :meth:`recover` does it.

        :param run: the run as it was claimed, or its id.
        :param status: ``completed`` or ``failed``. What has failed is tried again, where
            ``settings.max_attempts`` says so.
        :param metrics: the numbers in it are added to those of the backfill.
        :param error: the reason of the failure, stored if the run model maps ``error``.
        :param attempt: the attempt of the run as it was claimed. A result of an earlier attempt
            is refused.
        :param later: leave what follows for the backfill to its next claim.
        :returns: ``False``, and nothing is changed, if the run was cancelled, has ended, or was
            handed out again.
        """
        if status not in ("completed", "failed"):
            raise ValueError(f"a run ends as 'completed' or 'failed', not as {status!r}")
        mine = Mine(self.runs, run, attempt)
        end = partial(self.ending.end, mine, status, metrics or {}, error)
        end_read_only(self.table.database)
        try:
            if has_work(self.table.session):
                # With the runner's own work, which can't be done again from here.
                with self.table.database.transaction():
                    end()
            elif status == "failed" or not complete_at_once(self.runs, mine, metrics or {}, error):
                self.table.database.again(end, seconds=lease(self.runs).total_seconds())
            recorded = True
        except Discarded:
            self.table.database.again(lambda: self.ending.discard(mine))
            recorded = False
        if recorded:
            ended = {"metrics": dict(metrics or {}), "error": error}
            self._note(run, status=status, completed_at=mine.at, **ended)
        if not later:
            # Be it that the answer to its commit was lost, and it was discarded the second time.
            key = getattr(run, "backfill_id", None)
            if key is None:
                key = self.progress.backfill_of(run)
            self.upkeep.roll_up(key, metrics if recorded and not self.runs.keeps_ends else None)
        return recorded

    def interrupted(self, run: t.Any, error: str) -> None:
        """Let a run wait again whose own work the database has undone."""
        mine = Mine(self.runs, run)
        again = partial(self.table.database.again, seconds=lease(self.runs).total_seconds())
        try:
            again(lambda: self.ending.interrupted(mine, error))
            self.upkeep.roll_up(run.backfill_id, wait=False)
        except Discarded:
            again(lambda: self.ending.let_go(mine))

    def give_back(self, runs: Collection[t.Any], leaving: float = 0) -> int:
        """Let claimed runs wait again that were not done; the attempt does not count.

        :param leaving: seconds for which you may still be at them. Until then they count for
            the limit, and nobody gets them, where ``heartbeat_at`` is mapped.
        :returns: how many were given back: not those that a runner's own rows have locked.
        """
        given, left = 0, [Mine(self.runs, run) for run in runs]
        again = partial(self.table.database.again, seconds=lease(self.runs).total_seconds())
        for pause in MOMENTS if left else ():
            count, left = again(partial(self.ending.give_back_free, left, leaving))
            given += count
            if not left:
                break
            time.sleep(pause)
        for backfill_id in {run.backfill_id for run in runs}:
            # One that was no longer wanted may have been the last.
            self.upkeep.roll_up(backfill_id, wait=False)
        return given

    def renew(self, runs: Collection[t.Any]) -> set[t.Any]:
        """Renew the lease of claimed runs.

        :returns: the ids of those that no transaction has locked.
        """
        if not runs:
            return set()
        self.table.database.synchronize()
        mine = [Mine(self.runs, run) for run in runs]
        return self.table.database.again(lambda: self.ending.renew(mine))

    def begin_late(self, run: t.Any) -> bool:
        """Let the lease and the time of a claimed run start now. If it is not yours: ``False``."""
        self.table.database.synchronize()
        mine = Mine(self.runs, run)
        begun = self.table.database.again(lambda: self.ending.begin_late(mine))
        if begun:
            self._note(run, started_at=mine.at, heartbeat_at=mine.at)
        return begun

    def still_ours(self, runs: Collection[t.Any]) -> set[t.Any]:
        """The ids of those claimed runs whose results will be used.

        A run that takes longer than ``settings.run_timeout`` fails here.
        """
        ours, late = self.look(runs)
        for backfill_id in late:
            self.upkeep.roll_up(backfill_id, wait=False)
        return ours

    def look(self, runs: Collection[t.Any]) -> tuple[set[t.Any], set[t.Any]]:
        """The same, and the keys of the backfills of those that take longer, which is no end yet."""
        return self.table.database.again(lambda: self.ending.look(runs), keep=False)

    def recover(self, older_than: timedelta | None = None) -> int:
        """Take back the runs of workers that died, and roll up what was not.

        These runs wait again as a new attempt. Runs that are no longer wanted are cancelled.

        :param older_than: take back runs whose worker has not renewed its lease for this time;
            for a lease if ``None``. Should the worker still live, its result is refused.
        :returns: the number of runs taken back.
        """
        return self.upkeep.recover(older_than)

    def _note(self, run: t.Any, **values: t.Any) -> None:
        """Let a claimed run know what its row holds by now."""
        if isinstance(run, self.runs.model) and object_session(run) is None:
            self.runs.note(run, **values)

    def active_backfills(self) -> list[t.Any]:
        """Return the keys of the backfills that may have runs to hand out, the next one first."""
        self.table.database.synchronize()
        with self.table.database.transaction(keep=False):
            return self.hand_out.next.backfills()


def _claim(
    queue: Queue, keys: Collection[t.Any], limit: int, ahead: int, alone: bool
) -> tuple[list[t.Any], list[t.Any]]:
    """Claim runs of some backfills, and name those that somebody else has locked.

    :param alone: whether what is wrong with a backfill is for the caller to know.
    """
    claimed: list[t.Any] = []
    locked: list[t.Any] = []
    interrupted: Exception | None = None
    for key in keys:
        if len(claimed) >= limit + ahead:
            break
        theirs = has_changes(queue.table.session)
        found: list[t.Any] = []
        most = limit - len(claimed)

        def hand_out(
            key: t.Any = key, most: int = most, found: list[t.Any] = found
        ) -> tuple[t.Any, Changes]:
            backfill, found[:], changes = queue.hand_out.next_of(key, most, ahead)
            return backfill, changes

        try:
            # One that is interrupted is skipped, and not waited for.
            backfill, changes = queue.table.database.again(hand_out, ranges=True, seconds=0)
            claimed += found
            locked += [key] if backfill is None else []
            found = []
            signals.tell(queue.table.session, queue.schema, backfill, changes)
        except Blocked:
            locked.append(key)
        except Exception as error:
            leave(queue, found)
            if theirs and not claimed:
                # What the host had in its session is undone too, which it has to know.
                raise
            if dbapi.passes(error) or alone:
                interrupted = error
            warn("Backfill %s is skipped: %s", key, dbapi.told(error))
        except BaseException:
            # Such as sys.exit() in a receiver of the host's: nobody would do them.
            leave(queue, [*claimed, *found])
            raise
    if interrupted is not None and not claimed:
        # Not the same as nothing to do.
        raise interrupted
    return claimed, locked


def leave(queue: Queue, runs: list[t.Any]) -> None:
    """Give back runs of a claim that has failed, be it after its commit: nobody else has them."""
    undo(queue.table.session)
    try:
        if runs:
            queue.give_back(runs)
    except Exception as error:
        warn("Runs were not given back: %s", dbapi.told(error))
