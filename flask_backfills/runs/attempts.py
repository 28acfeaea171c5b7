"""What becomes of a run that raised, took too long, or whose worker died."""

from __future__ import annotations

import logging
import typing as t
from collections.abc import Mapping
from datetime import datetime
from datetime import timedelta

from ..rules.settings import delay
from ..rules.settings import LOST_ATTEMPTS
from ..rules.settings import MOST_ATTEMPTS
from ..tables.logs import log
from ..tables.run_table import moment
from ..tables.run_table import RunTable
from ..tables.settings import settings_of
from ..tables.unlocked import unlocked
from ..tables.unlocked import unlocked_of
from .flight import Flight
from .flight import Held
from .lease import is_marked


class Attempts:
    """Failed runs and lost runs of a table, as the settings of their backfill say."""

    def __init__(self, runs: RunTable) -> None:
        self.runs = runs

    def sweep(self, backfill: t.Any, flight: Flight, lease: timedelta) -> int:
        """Take back the runs of workers that died, and fail those that take too long.

        :returns: how many were taken back.
        """
        settings = settings_of(backfill)
        before = self.runs.now() - lease
        lost = self._dead(flight, before)
        taken = self.lose(backfill, lost)
        flight.without(lost)
        if (seconds := settings.get("run_timeout")) is not None:
            for one in self._late(flight, seconds):
                if self._time_out(one, settings):
                    flight.without([one])
                    if one.heartbeat_at is not None:
                        # Its worker is still at it.
                        flight.held.append(one._replace(status="failed", completed_at=None))
        return taken

    def lose(self, backfill: t.Any, dead: list[Held]) -> int:
        """Take runs back from workers that are known to be dead."""
        settings = settings_of(backfill)
        return sum(self._lose(one, settings) for one in dead)

    def raised(
        self,
        run: t.Any,
        settings: Mapping[str, t.Any],
        error: str | None,
        at: datetime | None = None,
    ) -> dict[str, t.Any]:
        """The values of a run that has raised: it waits for its next try, or has failed.

        :param run: a row with ``tries``, ``attempt`` and ``wanted``.
        :param at: when it raised; now if ``None``.
        """
        at = at or self.runs.now()
        tries = self._tries(run)
        unwanted = run.wanted is not None and not run.wanted
        if tries >= settings.get("max_attempts", 1) or unwanted:
            # Its lease stays until it is rolled up, so that a crash before that is made up for.
            return self.runs.row(status="failed", completed_at=at, error=error)
        due = at + timedelta(seconds=delay(settings, tries))
        again = self.runs.row(available_at=due, error=error, heartbeat_at=None, worker=None)
        return {**self._waits(), **again}

    def late(self, run: t.Any, settings: Mapping[str, t.Any]) -> dict[str, t.Any]:
        """The same of a run that takes longer than its settings allow."""
        error = f"Took longer than settings.run_timeout allows: {settings['run_timeout']} seconds."
        return self.raised(run, settings, error)

    def is_first(self, run: t.Any) -> bool:
        """Whether a run that waits was never handed out since it was planned, as far as we know."""
        if "tries" in self.runs.columns:
            return not run.tries
        return "attempt" in self.runs.columns and run.attempt == 1

    def _tries(self, run: t.Any) -> int:
        """How often a run was handed out; a model that can't tell has it tried once."""
        if not {"tries", "attempt"} & self.runs.columns.keys():
            return MOST_ATTEMPTS
        return run.tries or run.attempt or 1

    def _waits(self) -> dict[str, t.Any]:
        blank = self.runs.row(status="initial", started_at=None, completed_at=None, queued_at=None)
        attempt = self.runs.columns.get("attempt")
        return blank if attempt is None else {**blank, attempt.key: attempt + 1}

    def _lose(self, one: Held, settings: Mapping[str, t.Any]) -> bool:
        """Take a run from a worker that died.

        If we die before the commit, the next sweep does the same.
        """
        free = self.runs.row(heartbeat_at=None, worker=None)
        if one.status == "initial":
            return self._write(one, free)
        if one.status == "failed":
            return self._write(one, {**self.runs.row(completed_at=self.runs.now()), **free})
        if one.status == "cancelled" or not one.wanted:
            gone = self.runs.row(status="cancelled", completed_at=self.runs.now())
            return self._write(one, {**gone, **free})
        losses = (one.losses or 0) + 1
        # By whatever: the database interrupts runs, too.
        before = f" It was interrupted {losses} times so far." if losses > 1 else ""
        told = self.runs.row(losses=losses, error=f"A worker died while it ran.{before}")
        most = max(LOST_ATTEMPTS, settings.get("max_attempts", 1))
        if self._tries(one) >= most:
            failed = self.runs.row(status="failed", completed_at=self.runs.now(), heartbeat_at=None)
            return self._tell("failed, since its worker died", one, {**failed, **told})
        return self._tell(
            "was taken back, since its worker died", one, {**self._waits(), **free, **told}
        )

    def _late(self, flight: Flight, seconds: int) -> list[Held]:
        running = [one for one in flight.held if one.status == "running"]
        late = [one for one in running if self.runs.is_older(one.started_at, seconds)]
        if not late:
            return []
        # A runner may have its own run locked. Nobody waits for that: its end will be too late,
        # and until then it has lost its place.
        free = unlocked(self.runs, [one.id for one in late])
        flight.late = {one.id for one in late} - free
        return [one for one in late if one.id in free]

    def _time_out(self, one: Held, settings: Mapping[str, t.Any]) -> bool:
        """Fail a run that takes too long; its worker may still be at it, and is not heard."""
        values = self.late(one, settings)
        waits = values[self.runs.columns["status"].key] == self.runs.member("initial")
        if one.heartbeat_at is not None and (waits or "completed_at" in self.runs.columns):
            # Not handed out again before its worker lets go of it, be it by a retry by hand.
            values |= self.runs.row(completed_at=None)
            if not waits:
                # Says that it took too long, also when it waits to be tried again by hand.
                values |= self.runs.row(available_at=self.runs.now())
            kept = self.runs.row(heartbeat_at=None, worker=None)
            values = {key: value for key, value in values.items() if key not in kept}
        what = "waits again" if waits else "failed"
        return self._tell(f"{what}, since it took too long", one, values)

    def _dead(self, flight: Flight, before: datetime) -> list[Held]:
        """Of those that were silent since a moment, those that are no worker's.

        A worker whose transaction has the row locked, or that has it marked, is alive, and could
        not renew its lease.
        """
        silent = flight.silent_since(before)
        beat = self.runs.leased
        if not silent or beat is None:
            return []
        # It may have been renewed since it was read.
        still = self.runs.columns["id"].in_([one.id for one in silent]), beat < moment(beat, before)
        free = unlocked_of(self.runs, *still)
        return [one for one in silent if one.id in free and not is_marked(self.runs, one)]

    def _tell(self, what: str, one: Held, values: dict[str, t.Any]) -> bool:
        """Write and log what the run's own worker does not, which may be dead."""
        if not self._write(one, values):
            return False
        text = f"Run %s of backfill %s {what}: attempt %s, worker %s"
        # As in the lines of the runner.
        extra = {"backfill": one.backfill_id, "run": one.key, "attempt": one.attempt}
        log(logging.WARNING, text, one.key, one.backfill_id, one.attempt, one.worker, extra=extra)
        return True

    def _write(self, one: Held, values: dict[str, t.Any]) -> bool:
        # An end needs no lock of the backfill's, and may have come first.
        criteria = [self.runs.columns["id"] == one.id, self.runs.has(one.status)]
        if "attempt" in self.runs.columns:
            criteria.append(self.runs.columns["attempt"] == one.attempt)
        return self.runs.update(values, *criteria) == 1
