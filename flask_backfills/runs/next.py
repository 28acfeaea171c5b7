"""Which runs may be handed out now, and in which order."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.orm import lazyload

from .. import dbapi
from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import STATUSES
from ..rules.settings import is_paused
from ..tables import columns
from ..tables.backfill_table import BackfillTable
from ..tables.logs import Seldom
from ..tables.prepared import holds
from ..tables.settings import readable
from ..tables.settings import settings_of
from ..tables.settings import Unreadable
from . import canary
from . import waiting
from .flight import Flight
from .rollup import Rollup

#: So many failures are not counted before a backfill is locked.
MANY = 1000

#: Why nothing is handed out: the code of a reason, and the figures that its sentence names.
Obstacle = tuple[str, dict[str, t.Any]]


class Next:
    """The next runs, as the settings of their backfills allow."""

    def __init__(self, table: BackfillTable, rollup: Rollup) -> None:
        self.table = table
        self.runs = rollup.runs
        self.rollup = rollup
        self._seldom = Seldom()

    def backfills(self) -> list[t.Any]:
        """The keys of the backfills that may have runs to hand out: one SELECT.

        And one for each setting that asks more of their runs, if any of them has it.

        The highest priority comes first, then the fewest running runs, then the oldest. One
        whose settings can't be read is left out, since nobody knows what they allow.
        """
        query = self.runs.prepared.once(("backfills",), self._backfills)
        rows = self.runs.database.execute(query, self._now).all()
        found = [
            (-settings_of(row).get("priority", 0), row[2], place, row[0], settings_of(row), row)
            for place, row in enumerate(rows)
            if self._is_readable(row)
            and not is_paused(row.settings)
            and self._has_room(settings_of(row), row[2])
        ]
        settings = {key: settings for *_, key, settings, _ in found}
        chosen = {key: keys for *_, key, _, row in found if (keys := canary.keys_of(row))}
        past = sa.and_(*waiting.between_tries(self.runs).values(), sa.true())
        idle = self._failing(settings) | self._early(settings)
        idle |= canary.idle(self.runs, chosen, past, self._now)
        ordered = sorted(found, key=lambda one: one[:3])
        return [key for *_, key, _, _ in ordered if key not in idle]

    def _is_readable(self, row: t.Any) -> bool:
        key, settings = row[0], row.settings
        if not isinstance(settings, Unreadable):
            return True
        text = "Backfill %s is skipped: its settings can't be read: %s"
        self._seldom.warn(key, text, key, dbapi.told(settings.error))
        return False

    def _failing(self, found: dict[t.Any, t.Mapping[str, t.Any]]) -> set[t.Any]:
        """Those that have reached ``settings.max_failures``, as far as that is told cheaply.

        No more runs have failed than the setting allows; where it allows many, they are counted
        once a backfill is locked.
        """
        most = {key: settings.get("max_failures", MANY) for key, settings in found.items()}
        few = [key for key, count in most.items() if count < MANY]
        if not few:
            return set()
        of_it = self.runs.columns["backfill_id"]
        query = self.runs.count_by(of_it).where(of_it.in_(few), self.runs.has("failed"))
        counts = self.runs.database.execute(query.where(*self.runs.wanted_only()))
        return {key for key, count in counts if count >= most[key]}

    def _early(self, found: dict[t.Any, t.Mapping[str, t.Any]]) -> set[t.Any]:
        """Those with ``settings.only_ended`` that have no run whose interval has ended."""
        asked = {key for key, settings in found.items() if settings.get("only_ended")}
        if not asked:
            return set()
        of_it = self.runs.columns["backfill_id"]
        past = waiting.criteria(self.runs, {"only_ended": True}).values()
        query = sa.select(of_it).distinct().where(self.runs.has("initial"), of_it.in_(asked), *past)
        due = self.runs.database.execute(query, self._now).scalars()
        return asked.difference(due)

    def _backfills(self) -> t.Any:
        model = self.table.model
        runs = self.runs
        of_it = runs.columns["backfill_id"] == self.table.key
        # Not EXISTS: PostgreSQL would look at every run that there is.
        past = waiting.between_tries(runs).values()
        first = sa.select(sa.literal(1)).where(of_it, runs.has("initial"), *past)
        waits = first.limit(1).scalar_subquery().is_not(None)
        count = sa.select(sa.func.count())
        running = count.where(of_it, runs.has("running")).scalar_subquery()
        schema = self.rollup.schema
        active = model.status.in_([schema.member("status", word) for word in ACTIVE])
        keys = getattr(model, canary.ATTRIBUTE) if canary.is_mapped(self.table) else sa.null()
        query = sa.select(self.table.key, readable(model).label("settings"), running)
        query = query.add_columns(keys.label(canary.ATTRIBUTE))
        return query.where(active, self._not_paused(), waits).order_by(self.table.key)

    @property
    def _now(self) -> dict[str, t.Any]:
        return waiting.parameters(self.runs)

    @staticmethod
    def _has_room(settings: t.Mapping[str, t.Any], running: int) -> bool:
        limit = settings.get("pipeline_run_limit")
        if settings.get("run_timeout") is not None:
            # One that takes too long may have to make room.
            return True
        return limit is None or running < limit

    def _not_paused(self) -> t.Any:
        """What the database can tell of it, so that thousands of paused ones cost little."""
        column = columns.column_of(self.table.mapper, "settings")
        if column is None or not isinstance(column.type, sa.JSON):
            return sa.true()
        # In SQLite, JSON's true is a 1.
        true = "1" if self.table.database.is_sqlite else "true"
        paused = sa.cast(column["paused"], sa.String) == true
        unread: list[t.Any] = []
        if self.table.database.is_sqlite:
            # Of what is no JSON, it would say so and stop.
            unread.append((sa.func.json_valid(column) == 0, 0))
        # An equality: PostgreSQL expects that it leaves few, and compiles no code for the rest.
        return sa.case(*unread, (paused, 1), else_=0) == 0

    def obstacles(self, backfill: t.Any, flight: Flight) -> Iterator[Obstacle]:
        """Why no run of a backfill may be handed out now, whichever it is; each reason in turn.

        The claim asks for the first. What explains it asks for all.
        """
        status = self.rollup.status_of(backfill)
        if status not in ACTIVE:
            known = status in STATUSES or status is None
            yield (status or "not_started") if known else "other_status", {"status": status}
            if status == "failed" and self.rollup.fails_too_often(backfill):
                yield "gave_up", {"most": settings_of(backfill)["max_failures"]}
            return
        settings = settings_of(backfill)
        if settings.get("paused"):
            yield "paused", {}
        if self.rollup.fails_too_often(backfill):
            yield "max_failures", {"most": settings["max_failures"]}
        limit: int | None = settings.get("pipeline_run_limit")
        if limit is not None and flight.at_once >= limit:
            yield "at_limit", {"at_once": flight.at_once, "limit": limit}

    def room(self, backfill: t.Any, flight: Flight, most: int) -> int:
        """How many runs of a locked backfill may be handed out now, up to a number."""
        if next(self.obstacles(backfill, flight), None) is not None:
            return 0
        limit: int | None = settings_of(backfill).get("pipeline_run_limit")
        return most if limit is None else min(most, limit - flight.at_once)

    def order(self, backwards: bool) -> list[t.Any]:
        """The order in which the runs of a backfill are handed out."""
        return [sa.desc(one) if backwards else one for one in (self.runs.date, self.runs.key)]

    def past(self, backfill: t.Any) -> tuple[waiting.Criteria, dict[str, t.Any]]:
        """What a run of a backfill that waits must be past, beside its turn; and parameters."""
        keys = canary.keys_of(backfill)
        past = waiting.criteria(self.runs, settings_of(backfill), canary=bool(keys))
        return past, {**self._now, **({"canary": keys} if keys else {})}

    def find(self, backfill: t.Any, flight: Flight, most: int) -> list[t.Any]:
        """The next runs of a locked backfill, locked."""
        room = self.room(backfill, flight, most)
        if room < 1:
            return []
        backwards = is_backwards(backfill)
        past, now = self.past(backfill)
        query = self.runs.prepared.once(
            ("next", backwards, *past), lambda: self._next(backwards, past)
        )
        sent = {**now, "backfill": self.table.key_of(backfill), "room": room}
        return list(self.runs.database.session.scalars(query, sent))

    def _next(self, backwards: bool, past: waiting.Criteria) -> t.Any:
        mine = holds(self.runs.columns["backfill_id"], "backfill"), self.runs.has("initial")
        query = sa.select(self.runs.model).where(*mine, *past.values(), *self.runs.free_only())
        # Of the run's own table alone: a joined relationship can't be locked. And a session
        # that keeps what it has read may know the runs from before.
        query = query.options(lazyload("*")).execution_options(populate_existing=True)
        query = query.order_by(*self.order(backwards)).limit(
            sa.bindparam("room", type_=sa.Integer())
        )
        return query.with_for_update(of=self.runs.model, key_share=True, skip_locked=True)


def is_backwards(backfill: t.Any) -> bool:
    """Whether the last run of a backfill is handed out first."""
    return settings_of(backfill).get("order") == "backwards"
