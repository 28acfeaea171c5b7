"""Why nothing moves, or what moves: of a backfill, and of one of its runs. Nothing is locked.

What decides is asked of the claim itself: its obstacles, its criteria, its order.
"""

from __future__ import annotations

import typing as t
from collections import Counter
from datetime import datetime

import sqlalchemy as sa

from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import SHOWN
from ..rules.lifecycle import STATUSES
from ..rules.reasons import Reason
from ..rules.reasons import reason
from ..tables import columns
from ..tables.run_table import moment
from . import canary
from .flight import Flight
from .lease import is_marked
from .lease import lease
from .next import is_backwards
from .next import Next
from .next import Obstacle
from .progress import Progress

#: By the code of a reason that a waiting run has of its own, the column that says until when.
_UNTIL = {"next_try": "available_at", "not_ended": "interval_end_datetime"}

#: Characters of an error that are told.
_SHORT = 200


class Why:
    """Explains what workers do and what they don't."""

    def __init__(self, next_: Next, progress: Progress) -> None:
        self.next = next_
        self.table = next_.table
        self.runs = next_.runs
        self.progress = progress

    def of_backfill(self, backfill: t.Any) -> list[Reason]:
        """The reasons of a backfill: what moves, then what the others wait for."""
        return _State(self, backfill).reasons()

    def of_run(self, backfill: t.Any, run: t.Any) -> list[Reason]:
        """The reasons of one of its runs."""
        return _State(self, backfill).reasons_of(run)

    def waiting(self, backfill: t.Any) -> tuple[int, list[Obstacle]]:
        """How many waiting runs have nothing to wait for but a worker, and what the others have."""
        past, now = self._past(backfill)
        late = {code: sa.not_(one) for code, one in past.items()}
        of_each = [
            part
            for code, one in late.items()
            for part in (_count(one), sa.func.min(sa.case((one, self._until(code)))))
        ]
        query = sa.select(_count(sa.and_(sa.true(), *past.values())), *of_each)
        query = query.where(self.runs.of(backfill), self.runs.has("initial"))
        [(due, *found)] = self.runs.database.execute(query, now)
        counts = zip(late, found[::2], found[1::2], strict=True)
        return due, [
            (code, {"count": count, "at": _utc(until)}) for code, count, until in counts if count
        ]

    def of_waiting(self, backfill: t.Any, run_id: t.Any) -> list[Obstacle]:
        """What a run that waits has to wait for, beside its turn."""
        past, now = self._past(backfill)
        if not past:
            return []
        parts = [part for code, one in past.items() for part in (one, self._until(code))]
        query = sa.select(*parts).where(self.runs.columns["id"] == run_id)
        found = self.runs.database.execute(query, now).one()
        each = zip(past, found[::2], found[1::2], strict=True)
        return [
            (code, {"count": 1, "at": _utc(until)}) for code, is_past, until in each if not is_past
        ]

    def before(self, backfill: t.Any, run_id: t.Any) -> int:
        """How many runs of its backfill are handed out before one that may be."""
        past, now = self._past(backfill)
        place = sa.func.row_number().over(order_by=self.next.order(is_backwards(backfill)))
        query = sa.select(self.runs.columns["id"].label("id"), place.label("place"))
        query = query.where(self.runs.of(backfill), self.runs.has("initial"), *past.values())
        placed = query.subquery().c
        found = self.runs.database.execute(
            sa.select(placed.place).where(placed.id == run_id), now
        ).scalar()
        return (found or 1) - 1

    def backfills_before(self, backfill: t.Any) -> int:
        """How many backfills that the caller may see get a worker before this one."""
        order = self.next.backfills()
        key = self.table.key_of(backfill)
        before = order[: order.index(key)] if key in order else []
        if self.table.scope is None or not before:
            return len(before)
        seen = self.table.select(self.table.key.in_(before)).with_only_columns(self.table.key)
        return len(set(self.runs.database.execute(seen).scalars()))

    def is_anybody_there(self, backfill: t.Any, since: datetime) -> bool:
        """Whether a worker has renewed a lease or taken a run since a moment, of any backfill."""
        leased = self.runs.leased
        if leased is None:
            return True
        lately = self.runs.is_in_flight(), leased >= moment(leased, since)
        active = [self.runs.status_of_backfills(word) for word in ACTIVE]
        held = sa.exists().where(self.runs.columns["backfill_id"] == self.table.key, *lately)
        queries = [sa.select(sa.literal(1)).where(self.table.model.status.in_(active), held)]
        if (begun := self.runs.columns.get("started_at")) is not None:
            mine = self.runs.of(backfill), begun >= moment(begun, since)
            queries.append(sa.select(sa.literal(1)).select_from(self.runs.table).where(*mine))
        return any(self.runs.database.execute(one.limit(1)).first() for one in queries)

    def _past(self, backfill: t.Any) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        past, now = self.next.past(backfill)
        free = self.runs.free_only()
        return {**past, **({"held": sa.and_(*free)} if free else {})}, now

    def _until(self, code: str) -> t.Any:
        """The column that says until when a run waits."""
        names = _UNTIL.get(code), "execution_date"
        known = [self.runs.columns[name] for name in names if name in self.runs.columns]
        return sa.func.coalesce(*known) if len(known) > 1 else known[0]


class _State:
    """A backfill as it stands at one moment."""

    def __init__(self, why: Why, backfill: t.Any) -> None:
        self.why = why
        self.backfill = backfill
        self.lease = lease(why.runs)
        self.since = why.runs.now() - self.lease
        self.flight = Flight(why.runs, backfill)
        found = self.flight.silent_since(self.since)
        # One that waits was given back: nobody is at it any more, or for some seconds only.
        begun = [one for one in found if one.status != "initial"]
        self.silent = [one for one in begun if not is_marked(why.runs, one)]
        self.has_marked = len(self.silent) < len(begun)
        self.obstacles = list(why.next.obstacles(backfill, self.flight))
        chosen = canary.figures(why.runs, backfill)
        if chosen and ("paused", {}) in self.obstacles:
            if chosen["chosen_ended"] == chosen["chosen"]:
                self.obstacles.insert(0, ("canary_ended", {}))
            else:
                # Resumed, it does what is left of the canary, and pauses again.
                self.obstacles.insert(1, ("canary", {}))
        key = why.table.key_of(backfill)
        counts: Counter[str] = why.progress.counts([key])[key]
        silent = sum(one.status == "running" for one in self.silent)
        waiting, running = counts["initial"], counts["running"]
        self.figures = {
            **chosen,
            **{word: counts[word] for word in ("completed", "failed", "cancelled")},
            "total": counts.total(),
            "waiting": waiting,
            "running": running,
            "ended": counts.total() - waiting - running,
            "moving": max(self.flight.running - silent, 0),
            "silent": len(self.silent),
            "seconds": round(self.lease.total_seconds()),
        }

    @property
    def is_active(self) -> bool:
        return self.why.next.rollup.status_of(self.backfill) in ACTIVE

    def tell(self, found: list[Obstacle]) -> list[Reason]:
        return [reason(code, **{**self.figures, **figures}) for code, figures in found]

    def reasons(self) -> list[Reason]:
        if not self.is_active:
            return self.tell(self.obstacles)
        found: list[Obstacle] = []
        if self.figures["moving"]:
            found.append(("moving", {}))
        if self.silent:
            found.append(("lease_over", {}))
        found += self.obstacles
        if not self.obstacles and self.figures["waiting"]:
            due, others = self.why.waiting(self.backfill)
            found += [self._worker(due)] if due else others
        return self.tell(found or [("ending", {})])

    def reasons_of(self, run: t.Any) -> list[Reason]:
        status = self.why.runs.word(run.status)
        if self.why.runs.knows_history and not run.wanted:
            return self.tell([("dropped", {"status": SHOWN.get(status, status)})])
        if status == "initial":
            return self.tell(self._of_waiting(run))
        return self.tell(self._of_begun(run, status))

    def _of_waiting(self, run: t.Any) -> list[Obstacle]:
        key = self.why.runs.key_of(run)
        own = self.why.of_waiting(self.backfill, key)
        found = [*self.obstacles, *own]
        if found:
            return found
        before = self.why.before(self.backfill, key)
        if before:
            found.append(("turn", {"before": before}))
        if queued := getattr(run, "queued_at", None):
            found.append(("queued", {"at": _utc(queued)}))
        return found if before and self.figures["moving"] else [*found, self._worker(before + 1)]

    def _of_begun(self, run: t.Any, status: str) -> list[Obstacle]:
        key = self.why.runs.key_of(run)
        held = any(one.id == key and one.has_worker for one in self.flight.held)
        error = (getattr(run, "error", None) or "no reason was recorded").partition("\n")[0]
        told = {
            "at": _utc(getattr(run, "completed_at", None)),
            "attempt": getattr(run, "attempt", None) or 1,
            "error": error[:_SHORT],
            "status": SHOWN.get(status, status),
        }
        if status == "running":
            told["at"] = _utc(getattr(run, "started_at", None))
        code = f"run_{status}" if status in STATUSES else "other_status"
        found: list[Obstacle] = [(code, told)]
        if held and status != "running":
            found = [("run_stopping", told)]
        if any(one.id == key for one in self.silent):
            found.append(("run_silent", {}))
        return found

    def _worker(self, due: int) -> Obstacle:
        """Why runs that may start have no worker yet."""
        figures = {"due": due}
        if not self.has_marked and not self.why.is_anybody_there(self.backfill, self.since):
            return "no_worker", figures
        others = self.why.backfills_before(self.backfill)
        return ("others_first", {**figures, "others": others}) if others else ("ready", figures)


def _count(criterion: t.Any) -> t.Any:
    return sa.func.count(sa.case((criterion, 1)))


def _utc(at: t.Any) -> datetime | None:
    return columns.in_utc(at, False) if isinstance(at, datetime) else None
