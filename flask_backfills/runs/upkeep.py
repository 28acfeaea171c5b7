"""What is made up for later: backfills that were not rolled up, and runs of dead workers."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Mapping
from datetime import timedelta

from .. import dbapi
from .. import signals
from ..tables.assign import Changes
from ..tables.backfill_table import BackfillTable
from ..tables.backfill_table import MOMENTS
from ..tables.logs import Seldom
from ..tables.logs import warn
from ..tables.patience import PATIENCE
from .flight import Flight
from .followed import noted
from .followed import record_of_worker
from .hand_out import HandOut
from .lease import lease
from .progress import Progress
from .rollup import Blocked


class Upkeep:
    """Each of its methods is made of transactions of its own, one for each backfill."""

    def __init__(self, table: BackfillTable, hand_out: HandOut, progress: Progress) -> None:
        self.table = table
        self.runs = hand_out.runs
        self.rollup = hand_out.rollup
        self.schema = hand_out.rollup.schema
        self.hand_out = hand_out
        self.progress = progress
        self._seldom = Seldom()

    def roll_up(
        self, backfill_id: t.Any, metrics: Mapping[str, t.Any] | None = None, *, wait: bool = True
    ) -> bool:
        """Bring a backfill in line with its runs. If that fails, the next one does it.

        :param metrics: of a run whose model can't keep them until then.
        :param wait: for somebody else who has it locked.
        :returns: ``False`` if somebody has it or a run of it locked, or if it failed.
        """

        # A runner may have it locked for as long as it works, and a worker that waits for that
        # begins nothing of any other backfill. Metrics that no row keeps would be lost.
        patient = wait and bool(metrics)

        def roll() -> tuple[t.Any, Changes, bool]:
            backfill = self.table.hold(backfill_id, skip_locked=not patient)
            if backfill is None:
                return None, {}, False
            before = noted(self.rollup, backfill)
            if metrics:
                self.rollup.add_metrics(backfill, [metrics])
            flight = self.hand_out.flight(backfill)
            changes = self.rollup.settle(backfill, flight=flight)
            record_of_worker(self.rollup, backfill, before)
            return backfill, changes, not flight.ended

        try:
            seconds = lease(self.runs).total_seconds() if metrics else PATIENCE
            backfill, changes, done = self.table.database.again(roll, seconds=seconds)
            for pause in MOMENTS if wait and not patient and backfill is None else ():
                time.sleep(pause)
                backfill, changes, done = self.table.database.again(roll)
                if backfill is not None:
                    break
            done = done or (backfill is None and not self.table.is_there(backfill_id))
        except Blocked:
            return False
        except Exception as error:
            told = dbapi.told(error)
            text = "Backfill %s is rolled up later: %s"
            self._seldom.warn(backfill_id, text, backfill_id, told)
            return False
        signals.tell(self.table.session, self.schema, backfill, changes)
        return done

    def recover(self, older_than: timedelta | None = None) -> int:
        """Take back the runs of workers that died, and roll up what was not.

        If we die here, the next look does the rest.
        """
        leased = self.runs.leased
        if leased is None:
            raise TypeError(f"{self.runs.model.__name__} has no started_at, which recover() needs")
        age = lease(self.runs) if older_than is None else older_than
        self.table.database.synchronize()
        taken = 0
        for key in self.progress.silent_backfills(self.runs.now() - age):

            def take_back(key: t.Any = key) -> tuple[t.Any, int, Changes]:
                # One that somebody has locked is looked at the next time.
                backfill = self.table.hold(key, skip_locked=True)
                if backfill is None:
                    return None, 0, {}
                before = noted(self.rollup, backfill)
                flight = Flight(self.runs, backfill)
                self.rollup.fold(backfill, flight)
                count = self.hand_out.attempts.sweep(backfill, flight, age)
                changes = self.rollup.settle(backfill, flight=flight)
                record_of_worker(self.rollup, backfill, before)
                return backfill, count, changes

            try:
                backfill, count, changes = self.table.database.again(take_back)
            except Blocked:
                continue
            except Exception as error:
                # The host's own functions may refuse it; the others must not wait for that.
                warn("Backfill %s is skipped: %s", key, dbapi.told(error))
                continue
            taken += count
            signals.tell(self.table.session, self.schema, backfill, changes)
        return taken
