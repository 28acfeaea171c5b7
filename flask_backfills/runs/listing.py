"""Lists of the runs of a backfill for people: filtered, sorted, counted, a page at a time."""

from __future__ import annotations

import typing as t
from collections import Counter
from datetime import datetime

import sqlalchemy as sa

from ..rules.lifecycle import STATUSES
from ..tables.run_table import moment
from ..tables.run_table import RunTable
from .failures import has_one_of

#: What a run is that its backfill no longer needs, beside its status.
HISTORY = "history"

#: By what lists are sorted.
SORTS = ("date", "status", "duration", "ended")

#: Statuses in the order in which people look for them.
_LOUDEST = ("failed", "running", "initial", "cancelled", "completed")


class Asked(t.NamedTuple):
    """Which runs are asked for; all of them as it stands."""

    #: One of the statuses, of wanted runs alone; or :data:`HISTORY`.
    status: str | None = None
    #: Their first and last date, both in; naive and in UTC.
    since: datetime | None = None
    until: datetime | None = None
    #: What they have failed with, as far as errors are compared.
    errors: tuple[str | None, ...] | None = None


class Listing:
    """Reads lists of runs; nothing is changed, and nothing is locked."""

    def __init__(self, runs: RunTable) -> None:
        self.runs = runs

    @property
    def sorts(self) -> list[str]:
        """By what the host's model can be sorted."""
        needs = {"duration": {"started_at", "completed_at"}, "ended": {"completed_at"}}
        return [one for one in SORTS if needs.get(one, set()) <= self.runs.columns.keys()]

    def criteria(self, backfill: t.Any, asked: Asked) -> list[t.Any]:
        """The criteria of the runs that are asked for."""
        found = [self.runs.of(backfill), *self.dates(asked)]
        if asked.status == HISTORY:
            known = self.runs.knows_history
            found.append(self.runs.columns["wanted"].is_(False) if known else sa.false())
        elif asked.status is not None:
            found += [self.runs.has(asked.status), *self.runs.wanted_only()]
        if asked.errors is not None:
            found.append(has_one_of(self.runs, asked.errors))
        return found

    def dates(self, asked: Asked) -> list[t.Any]:
        """The criteria of the dates that are asked for."""
        date, found = self.runs.date, []
        if asked.since is not None:
            found.append(date >= moment(date, asked.since))
        if asked.until is not None:
            found.append(date <= moment(date, asked.until))
        return found

    def counts(self, backfill: t.Any, asked: Asked) -> Counter[str]:
        """How many wanted runs have each status, and how many are history: of the dates alone."""
        status = self.runs.columns["status"]
        wanted = self.runs.columns["wanted"] if self.runs.knows_history else sa.true()
        kinds = sa.select(status.label("status"), wanted.label("wanted"))
        one = kinds.where(self.runs.of(backfill), *self.dates(asked)).subquery().c
        query = sa.select(one.status, one.wanted, sa.func.count())
        found: Counter[str] = Counter()
        for word, is_wanted, count in self.runs.database.execute(
            query.group_by(one.status, one.wanted)
        ):
            found[self.runs.word(word) if is_wanted else HISTORY] += count
        return found

    def count(self, criteria: t.Iterable[t.Any]) -> int:
        query = sa.select(sa.func.count()).select_from(self.runs.model).where(*criteria)
        return self.runs.database.session.scalar(query) or 0

    def page(
        self, criteria: t.Iterable[t.Any], sort: str, descending: bool, offset: int, limit: int
    ) -> list[t.Any]:
        """A page of the runs that meet some criteria.

        :param sort: one of :attr:`sorts`. What has none, such as an end, comes last.
        """
        model = self.runs.model
        by = {"date": lambda: self.runs.date, "status": self._loudness}
        by |= {"duration": self._duration, "ended": lambda: self.runs.columns["completed_at"]}
        value = by[sort]()
        order = [value.is_(None), value.desc() if descending else value]
        if sort != "date":
            order.append(self.runs.date)
        # Runs of one date in the same order.
        order.append(self.runs.key.desc() if descending and sort == "date" else self.runs.key)
        query = sa.select(model).where(*criteria).order_by(*order).offset(offset).limit(limit)
        # A joined relationship repeats the row.
        return list(self.runs.database.session.scalars(query).unique())

    def beside(self, backfill: t.Any, run: t.Any) -> tuple[t.Any, t.Any]:
        """The ids of the runs before and after one, by their dates; ``None`` at an end."""
        key, date = self.runs.columns["id"], self.runs.date
        own, at = self.runs.key_of(run), run.execution_date
        if at is None:
            before, after = (date.is_(None) & (key < own)), (date.is_(None) & (key > own))
        else:
            before = (date < at) | ((date == at) & (key < own))
            after = (date > at) | ((date == at) & (key > own))
        query = sa.select(key).where(self.runs.of(backfill)).limit(1)
        asked = (
            query.where(before).order_by(date.desc(), key.desc()),
            query.where(after).order_by(date, key),
        )
        first, last = (self.runs.database.execute(one).scalar() for one in asked)
        return first, last

    def _loudness(self) -> t.Any:
        status = self.runs.columns["status"]
        places = [(self.runs.has(word), place) for place, word in enumerate(_LOUDEST)]
        return sa.case(*places, else_=len(STATUSES)) if places else status

    def _duration(self) -> t.Any:
        """How long runs took, in whatever the database counts time."""
        began, ended = (self.runs.columns[name] for name in ("started_at", "completed_at"))
        name = self.runs.database.dialect.name
        if name in ("mysql", "mariadb"):
            return sa.func.timestampdiff(sa.literal_column("MICROSECOND"), began, ended)
        if name == "postgresql":
            seconds = sa.func.date_part
            return seconds("epoch", ended) - seconds("epoch", began)
        return sa.func.julianday(ended) - sa.func.julianday(began)
