"""The host's table of runs, by column: its words, its moments, its rows.

Which runs there should be is for a plan, and which is next for the queue.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from datetime import datetime
from datetime import timezone

import sqlalchemy as sa
from sqlalchemy.orm.attributes import instance_dict

from ..rules.lifecycle import STATUSES
from . import columns
from . import models
from .backfill_table import BackfillTable
from .database import Database
from .fields import held
from .prepared import holds
from .prepared import Prepared
from .schema import BackfillSchema
from .schema import RunSchema

#: The columns that are not shown, and may be missing as most of the others.
_MORE = """wanted queued_at metrics heartbeat_at available_at worker tries losses
own_variables""".split()

#: Before any moment that a column holds, so that an index serves for those that have one.
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

#: How many rows one statement writes.
CHUNK = 1_000

#: What keeps MySQL from looking at every row, and waiting for each that somebody has locked.
BY_KEY = "FORCE INDEX (PRIMARY)"

#: Characters of an error that are kept, where its column has no length.
MAX_ERROR = 10_000

_REQUIRED = ("backfill_id", "key", "status", "execution_date")


class RunTable:
    """A host's run model, as far as it maps what a run may have.

    :param backfills: the table that the runs are of.
    :raises TypeError: if either model lacks what runs can't do without.
    """

    def __init__(
        self, backfills: BackfillTable, schema: BackfillSchema, model: type[t.Any]
    ) -> None:
        columns.require(backfills.model, "status")
        columns.require(model, *_REQUIRED)
        self.backfills = backfills
        #: Of its own, since a session may be bound to several databases.
        self.database = Database(backfills.opener, columns.mapper_of(model))
        self.database.clock = backfills.database.clock
        self.model = model
        self.schema = RunSchema(model)
        self.mapper = columns.mapper_of(model)
        self.key = getattr(model, columns.key_attribute(self.mapper))
        models.check_statuses(backfills.model, schema)
        models.check_statuses(model, self.schema)
        self._of_backfills = schema
        self._words = {self.member(word): word for word in STATUSES}
        self.columns = {
            name: column
            for name in [*RunSchema._declared_fields, *_MORE]
            if (column := columns.column_of(self.mapper, name)) is not None
        }
        self.columns["id"] = columns.key_column(self.mapper)
        models.check_runs(self.mapper, self.columns, backfills.mapper)
        #: What a new row has beside what a run has, by column.
        self.discriminator = models.discriminator(self.mapper)
        self._its_own = models.its_own(self.mapper)
        self.prepared = Prepared(self.database, self.table)

    @property
    def table(self) -> sa.Table:
        return self.columns["id"].table

    @property
    def date(self) -> sa.Column[t.Any]:
        return self.columns["execution_date"]

    @property
    def knows_history(self) -> bool:
        """Whether the run model tells wanted runs from history."""
        return "wanted" in self.columns

    @property
    def keeps_ends(self) -> bool:
        """Whether what follows from an end is known from rows, so that it can be done later."""
        return {"heartbeat_at", "metrics"} <= self.columns.keys()

    def key_of(self, run: t.Any) -> t.Any:
        return getattr(run, self.key.key)

    def known(self, run_id: t.Any) -> t.Any:
        """What the key holds for what a caller names; ``None`` if it can't hold that."""
        return held(self.columns["id"], run_id, lambda: self.database.dialect)

    # Statuses

    def member(self, word: str) -> t.Any:
        """What the column holds for a status."""
        return self.schema.member("status", word)

    def status_of_backfills(self, word: str) -> t.Any:
        """What the backfills' column holds for a status."""
        return self._of_backfills.member("status", word)

    def word(self, status: t.Any) -> str:
        return self._words.get(status) or str(status)

    # Criteria

    def of(self, backfill: t.Any) -> t.Any:
        """The criterion that a run is of a backfill."""
        key = self.backfills.key_of(backfill)
        of_it = sa.false() if key is None else self.columns["backfill_id"] == key
        return sa.and_(of_it, *self._its_own)

    def has(self, *words: str) -> t.Any:
        """The criterion that a run has one of some statuses."""
        status = self.columns["status"]
        members = [self.member(word) for word in words]
        found = status == members[0] if len(members) == 1 else status.in_(members)
        return sa.and_(found, *self._its_own)

    def wanted_only(self) -> tuple[t.Any, ...]:
        """The criterion that a run is no history, where the model knows."""
        return (self.columns["wanted"].is_(True),) if self.knows_history else ()

    def between(self, first: datetime, last: datetime) -> t.Any:
        """The criterion that a run's date is one of these or between them."""
        return self.date.between(moment(self.date, first), moment(self.date, last))

    def is_in_flight(self) -> t.Any:
        """The criterion of the few runs that workers have, or that are not rolled up yet.

        A model without ``heartbeat_at`` knows only those that are running.
        """
        beat = self.columns.get("heartbeat_at")
        if beat is None:
            return self.has("running")
        return sa.and_(beat >= moment(beat, _EPOCH), *self._its_own)

    def free_only(self) -> tuple[t.Any, ...]:
        """The criterion that no worker has a run that waits."""
        beat = self.columns.get("heartbeat_at")
        return () if beat is None else (beat.is_(None),)

    @property
    def leased(self) -> sa.Column[t.Any] | None:
        """The column that says since when a worker did not renew its lease."""
        return self.columns.get("heartbeat_at", self.columns.get("started_at"))

    def now(self) -> datetime:
        """The current moment by the database's clock."""
        return self.database.clock.now()

    def is_older(self, at: datetime | None, seconds: float) -> bool:
        """Whether a moment that a column holds is more than some seconds ago."""
        if at is None:
            return False
        # Without a fraction, it is a column that cuts it off.
        least = seconds if at.microsecond else seconds + 1
        return (self.now() - columns.in_utc(at, True)).total_seconds() > least

    def count_by(self, *groups: t.Any) -> t.Any:
        return sa.select(*groups, sa.func.count()).group_by(*groups)

    # Rows

    def row(self, **values: t.Any) -> dict[str, t.Any]:
        """Values by column, less those that the host's model does not map."""
        row = {}
        for name, value in values.items():
            column = self.columns.get(name)
            if column is not None:
                row[column.key] = _value(self.schema, name, column, value)
        return row

    def assign(self, run: t.Any, **values: t.Any) -> None:
        """Set on a run what the host's model maps."""
        for name, value in values.items():
            column = self.columns.get(name)
            if column is not None:
                setattr(run, name, _value(self.schema, name, column, value))

    def note(self, run: t.Any, **values: t.Any) -> None:
        """Let a detached run know what has become of it. That writes nothing."""
        known = instance_dict(run)
        for name, value in values.items():
            if (column := self.columns.get(name)) is not None:
                attribute = self.mapper.get_property_by_column(column).key
                known[attribute] = _value(self.schema, name, column, value)

    def update(self, values: Mapping[str, t.Any], *criteria: t.Any) -> int:
        """Write a row's values to every run that meets some criteria.

        :returns: how many there were, be it that the model maps nothing to write.
        """
        if not values:
            count = sa.select(sa.func.count()).select_from(self.table).where(*criteria)
            return t.cast(int, self.database.execute(count).scalar())
        query = sa.update(self.table).where(*criteria).values(values)
        return t.cast(int, self.database.execute(query).rowcount)

    def completed(
        self, at: datetime, metrics: Mapping[str, t.Any], error: str | None
    ) -> dict[str, t.Any]:
        """What a run has that was completed at a moment."""
        return self.row(status="completed", completed_at=at, error=error, metrics=dict(metrics))

    def requeued(self) -> dict[str, t.Any]:
        """What a run has that waits for another attempt."""
        blank = self.row(
            status="initial",
            started_at=None,
            completed_at=None,
            queued_at=None,
            available_at=None,
            error=None,
            metrics=None,
            tries=0,
            losses=0,
        )
        beat, at = (self.columns.get(name) for name in ("heartbeat_at", "available_at"))
        if beat is not None and at is not None:
            # Of one that took too long, it says so until its worker lets go of it.
            blank[at.key] = sa.case((beat.is_(None), sa.null()), else_=at)
        attempt = self.columns.get("attempt")
        return blank if attempt is None else {**blank, attempt.key: attempt + 1}


def in_chunks(runs: RunTable, ids: Iterable[t.Any], most: int = CHUNK) -> Iterator[t.Any]:
    """Criteria of the runs with some ids, so many at a time as one statement takes."""
    known = list(ids)
    for start in range(0, len(known), most):
        yield runs.columns["id"].in_(known[start : start + most])


def update_by_key(runs: RunTable, values: Mapping[str, t.Any], ids: Iterable[t.Any]) -> int:
    """Write a row's values to the runs with some ids; how many there were."""
    count = 0
    for chunk in in_chunks(runs, ids):
        query = sa.update(runs.table).where(chunk).values(values)
        if runs.database.mysql:
            query = query.with_hint(BY_KEY)
        count += runs.database.execute(query).rowcount
    return count


def delete_by_key(runs: RunTable, ids: Iterable[t.Any], *criteria: t.Any) -> int:
    """Delete the runs with some ids that meet some criteria; how many it were."""
    key = runs.columns["id"]
    if runs.database.mysql:
        # A DELETE takes no such hint. For one id alone, it looks at no other rows.
        name = runs.prepared.name("id")
        query = sa.delete(runs.table).where(holds(key, name), *criteria)
        rows = [{name: one} for one in ids]
        return t.cast(int, runs.database.execute(query, rows).rowcount) if rows else 0
    queries = (sa.delete(runs.table).where(chunk, *criteria) for chunk in in_chunks(runs, ids))
    return sum(runs.database.execute(query).rowcount for query in queries)


def _value(schema: RunSchema, name: str, column: sa.Column[t.Any], value: t.Any) -> t.Any:
    """A value of an attribute as its column takes it."""
    if name == "status":
        return schema.member("status", value)
    if name == "pipeline_uuid" and value is not None and isinstance(column.type, sa.String):
        return str(value)
    if name == "error" and value is not None:
        return fitting(column, value)
    if value is None and isinstance(column.type, sa.JSON):
        # Not JSON's own null, which a column may prefer.
        return sa.null()
    return moment(column, value) if isinstance(value, datetime) else value


def fitting(column: sa.Column[t.Any], error: str) -> str:
    """The text of an error as its column takes it."""
    most = getattr(column.type, "length", None) or MAX_ERROR
    return error.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[:most]


def moment(column: sa.Column[t.Any], at: datetime) -> datetime:
    """A moment as a column holds it."""
    return columns.in_utc(at, columns.is_aware(column))
