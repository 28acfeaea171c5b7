"""The progress of backfills: counts and pages of their runs."""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Collection
from datetime import datetime
from datetime import timedelta

import sqlalchemy as sa

from .. import errors
from ..rules.lifecycle import ACTIVE
from ..tables.fields import held
from ..tables.run_table import moment
from ..tables.run_table import RunTable


class Progress:
    """What is told of the runs of backfills; nothing is changed, and nothing is locked."""

    def __init__(self, runs: RunTable) -> None:
        self.runs = runs

    def counts(self, backfill_ids: Collection[t.Any]) -> dict[t.Any, Counter[str]]:
        """Count the runs of each backfill by status, without history. One statement."""
        found: dict[t.Any, Counter[str]] = {key: Counter() for key in backfill_ids}
        if found:
            query = self.runs.count_by(self.runs.model.backfill_id, self.runs.model.status)
            query = query.where(self.runs.model.backfill_id.in_(found), *self.runs.wanted_only())
            for key, status, count in self.runs.database.session.execute(query):
                found[key][self.runs.word(status)] = count
        return found

    def backfill_of(self, run_id: t.Any) -> t.Any:
        """The key of a run's backfill; ``None`` if there is no such run.

        In a transaction apart, since the lock of a backfill is the first statement of its own.
        """
        query = sa.select(self.runs.model.backfill_id).where(self.runs.key == run_id)
        with self.runs.database.transaction(keep=False):
            return self.runs.database.session.scalar(query)

    def find(self, backfill: t.Any, run_id: t.Any) -> t.Any:
        """Return one run of a backfill.

        :raises flask_backfills.errors.RunNotFound: if it has no such run.
        """
        query = sa.select(self.runs.model).where(self.runs.of(backfill), self.runs.key == run_id)
        # A joined relationship repeats the row.
        run = self.runs.database.session.scalars(query).unique().one_or_none()
        if run is None:
            raise errors.RunNotFound()
        return run

    def find_by_key(self, backfill: t.Any, key: str) -> t.Any:
        """Return the run of a backfill that has a key.

        :raises flask_backfills.errors.RunNotFound: if none has it.
        """
        column = self.runs.columns["key"]
        value = held(column, key, lambda: self.runs.database.dialect)
        query = sa.select(self.runs.model).where(self.runs.of(backfill), column == value)
        found: t.Iterable[t.Any] = ()
        if value is not None:
            found = self.runs.database.session.scalars(query).unique()
        # A collation may find others too.
        run = next((one for one in found if one.key == key), None)
        if run is None:
            raise errors.RunNotFound()
        return run

    def find_by_date(self, backfill: t.Any, date: datetime) -> list[t.Any]:
        """The runs of a backfill that have a date, naive and in UTC: history only if all are."""
        its_own = self.runs.date == moment(self.runs.date, date)
        query = sa.select(self.runs.model).where(self.runs.of(backfill), its_own)
        found = list(self.runs.database.session.scalars(query.limit(100)).unique())
        wanted = [one for one in found if not self.runs.knows_history or one.wanted]
        return wanted or found[:1]

    def is_due_soon(self, seconds: float) -> bool:
        """Whether a run waits for its next try, which comes within some seconds.

        Or has come since, and whoever looked for runs before did not see it.
        """
        at = self.runs.columns.get("available_at")
        if at is None:
            return False
        now = self.runs.now()
        apart = timedelta(seconds=seconds)
        soon = at.between(moment(at, now - apart), moment(at, now + apart))
        query = sa.select(self.runs.key).where(self.runs.has("initial"), soon).limit(1)
        with self.runs.database.transaction(keep=False):
            return self.runs.database.session.scalar(query) is not None

    def silent_backfills(self, before: datetime) -> list[t.Any]:
        """The keys of the backfills that have runs whose workers were silent since a moment."""
        leased = t.cast("sa.Column[t.Any]", self.runs.leased)
        table = self.runs.backfills
        silent = sa.exists().where(
            self.runs.columns["backfill_id"] == table.key,
            self.runs.is_in_flight(),
            leased < moment(leased, before),
        )
        if "heartbeat_at" not in self.runs.columns:
            # Whose end was not followed by anything can't be told from the runs.
            active = self.runs.columns["backfill_id"] == table.key, self.runs.has(*ACTIVE)
            members = [self.runs.status_of_backfills(word) for word in ACTIVE]
            silent |= table.model.status.in_(members) & ~sa.exists().where(*active)
        with self.runs.database.transaction(keep=False):
            return list(self.runs.database.session.scalars(sa.select(table.key).where(silent)))

    def count_ended(self, backfill: t.Any, since: datetime) -> int | None:
        """How many runs of a backfill have ended since a moment, naive and in UTC.

        :returns: ``None`` if the model does not map when runs end.
        """
        ended = self.runs.columns.get("completed_at")
        if ended is None:
            return None
        lately = self.runs.of(backfill), ended >= moment(ended, since)
        query = sa.select(sa.func.count()).select_from(self.runs.model).where(*lately)
        return t.cast(int, self.runs.database.session.scalar(query))

    def count_active(self) -> int:
        """How many runs of all backfills are waiting or running."""
        query = (
            sa.select(sa.func.count()).select_from(self.runs.model).where(self.runs.has(*ACTIVE))
        )
        return t.cast(int, self.runs.database.session.scalar(query))

    def page(
        self,
        backfill: t.Any,
        status: str | None,
        offset: int,
        limit: int,
        *,
        newest_first: bool = False,
    ) -> tuple[list[t.Any], int]:
        """Return a page of the runs of a backfill, including history, and the total count."""
        criteria = [self.runs.of(backfill)]
        if status is not None:
            criteria.append(self.runs.has(status))
        total = self.runs.database.session.scalar(
            sa.select(sa.func.count()).select_from(self.runs.model).where(*criteria)
        )
        order = [self.runs.model.execution_date, self.runs.key]
        if newest_first:
            order = [one.desc() for one in order]
        query = sa.select(self.runs.model).where(*criteria).order_by(*order)
        query = query.offset(offset).limit(limit)
        return list(self.runs.database.session.scalars(query)), total or 0
