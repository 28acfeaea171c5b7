"""The runs of a backfill in the host's run model: planned, counted, handed out, ended."""

from __future__ import annotations

import math
import typing as t
from collections import Counter
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from functools import partial

import sqlalchemy as sa

from . import columns
from . import signals
from .lifecycle import ACTIVE
from .lifecycle import outcome
from .lifecycle import STATUSES
from .plan import Entry
from .plan import Run
from .plan import Wanted
from .schema import BackfillSchema
from .schema import Choice
from .schema import RunSchema
from .schema import SettingsSchema
from .table import Table
from .update import Changes
from .update import enter

#: Rows that are written by one statement.
CHUNK = 1_000

#: Characters of an error that are kept, where its column has no length.
MAX_ERROR = 10_000

#: By column, from a wanted run to its value.
Own = list[tuple[str, Callable[[Wanted], t.Any]]]

_RUN = "of_run"
_SETTINGS = SettingsSchema()
_REQUIRED = ("backfill_id", "key", "status", "execution_date")


class Queued(t.NamedTuple):
    """A run in a queue of the host's: its key, and when it was put there."""

    run_id: t.Any
    at: datetime


class Runs:
    """The runs of the backfills of one blueprint.

    :meth:`claim` and :meth:`finish` are for the host's workers; each is a transaction of
    its own in the session that the blueprint was given.
    """

    def __init__(self, table: Table, schema: BackfillSchema, model: type[t.Any]) -> None:
        columns.require(table.model, "status")
        columns.require(model, *_REQUIRED)
        self.table = table
        self.schema = schema
        self.model = model
        self.run_schema = RunSchema(model)
        self.mapper = columns.mapper_of(model)
        self.key = getattr(model, columns.key_attribute(self.mapper))
        for of, known in ((table.model, schema), (model, self.run_schema)):
            lacking = set(STATUSES) - t.cast(Choice, known.fields["status"]).members.keys()
            if lacking:
                raise TypeError(f"the status of {of.__name__} lacks {', '.join(sorted(lacking))}")
        self._words = {self._member(word): word for word in STATUSES}
        self._columns = {
            name: column
            for name in [*RunSchema._declared_fields, "wanted", "queued_at"]
            if (column := columns.column_of(self.mapper, name)) is not None
        }
        self._columns["id"] = columns.key_column(self.mapper)

    # For the host's workers

    def claim(self, backfill_id: t.Any = None, limit: int = 1) -> list[t.Any]:
        """The next runs to work on, which are ``running`` from now on.

        They come by ``execution_date``, then key, or the other way round where
        ``settings.order`` is ``backwards``. None comes twice, however many workers ask, nor
        while ``settings.paused``, beyond ``settings.pipeline_run_limit`` at a time, or after
        ``settings.max_failures``.

        They are detached from the session, with what they had when they were claimed.

        :param backfill_id: of this backfill; of any if ``None``, the oldest first.
        :param limit: at most this many.
        """
        claimed: list[t.Any] = []
        for key in [backfill_id] if backfill_id is not None else self.active_backfills():
            if len(claimed) >= limit:
                break
            with self.table.transaction():
                backfill = self.table.hold(key)
                found = self._next(backfill, limit - len(claimed))
                changes = self._hand_out(backfill, found)
            signals.tell(self.table.session, self.schema, backfill, changes)
            claimed += found
        return claimed

    def enqueue(self, backfill_id: t.Any, most: int) -> list[Queued]:
        """Mark the next runs as put into a queue, which the caller then does.

        They are those that :meth:`claim` would hand out, less those that are in the queue
        already. They wait until :meth:`begin` is asked for them.

        :param most: so many at a time wait in the queue, where ``settings.pipeline_run_limit``
            does not say fewer.
        """
        with self.table.transaction():
            found = self._next(self.table.hold(backfill_id), most)
            queued = [self._queue(run) for run in found if run.queued_at is None]
        return queued

    def unqueue(
        self, *, run_ids: Collection[t.Any] = (), older_than: timedelta | None = None
    ) -> int:
        """Mark runs as out of the queue, since their messages are lost.

        :param run_ids: these, which could not be sent.
        :param older_than: those that were put there longer ago than this.
        :returns: how many there were.
        """
        queued_at = self._columns["queued_at"]
        lost: t.Any = self._columns["id"].in_(run_ids)
        if older_than is not None:
            lost = lost | (queued_at < self._moment(queued_at, _now() - older_than))
        waiting = self._columns["status"] == self._member("initial")
        with self.table.transaction():
            self.table.begin_writing()
            return self._update_where(self._row(queued_at=None), waiting, lost)

    def withdraw(self, backfill_id: t.Any) -> list[Queued]:
        """The runs that were cancelled while they were in the queue, and out of it."""
        with self.table.transaction():
            backfill = self.table.hold(backfill_id)
            query = sa.select(self.model).where(*self._having(backfill, "cancelled"))
            found = self.table.session.scalars(query.where(self.model.queued_at.is_not(None)))
            queued = [Queued(self.key_of(run), run.queued_at) for run in found]
            if queued:
                of_them = self._columns["id"].in_([one.run_id for one in queued])
                self._update_where(self._row(queued_at=None), of_them)
        return queued

    def begin(self, run_id: t.Any) -> t.Any:
        """Claim one run that comes from a queue.

        If it is not its turn (:meth:`claim` says when), it waits to be queued again.

        :returns: the run, detached as those of :meth:`claim`; ``None`` if it does not wait
            any more or may not run now.
        """
        with self.table.transaction():
            backfill, run = self._hold_run(run_id)
            if run is None or self._word(run.status) != "initial":
                return None
            if self._room(backfill, 1) < 1:
                self._set(run, queued_at=None)
                return None
            changes = self._hand_out(backfill, [run])
        signals.tell(self.table.session, self.schema, backfill, changes)
        return run

    def finish(
        self,
        run_id: t.Any,
        status: str,
        metrics: Mapping[str, t.Any] | None = None,
        error: str | None = None,
        attempt: int | None = None,
    ) -> bool:
        """End a run that was claimed; its backfill ends with the last one.

        :param status: ``completed`` or ``failed``.
        :param metrics: those that are numbers are added to the backfill's.
        :param error: why it failed, kept where the run model maps ``error``.
        :param attempt: of the run as it was claimed; if it was handed out again since, the
            one who has it now is the one to end it.
        :returns: ``False`` if the run is not the caller's to end any more, because it was
            cancelled, ended or handed out again meanwhile: nothing was changed.
        """
        if status not in ("completed", "failed"):
            raise ValueError(f"a run ends as 'completed' or 'failed', not as {status!r}")
        with self.table.transaction():
            backfill, run = self._hold_run(run_id)
            ours = run is not None and self._word(run.status) == "running"
            if not ours or attempt not in (None, getattr(run, "attempt", None)):
                # With what the caller has left in the session, if anything.
                self.table.session.rollback()
                return False
            self._set(run, status=status, completed_at=_now(), error=self._told(error))
            changes: Changes = {}
            if backfill is not None:
                self._add_metrics(backfill, metrics or {})
                self.table.session.flush()
                changes = self.settle(backfill)
        signals.tell(self.table.session, self.schema, backfill, changes)
        return True

    def recover(self, older_than: timedelta) -> int:
        """Take back the runs of workers that died: those that run for longer than they may.

        They wait again, as another attempt; one that is no longer wanted is cancelled.

        :param older_than: a run that was claimed longer ago than this is taken back. Its
            worker, should it still live, is told so by :meth:`finish` if it says which
            attempt it had.
        :returns: how many runs were taken back.
        """
        started_at = self._columns.get("started_at")
        if started_at is None:
            raise TypeError(f"{self.model.__name__} has no started_at, which recover() goes by")
        before = started_at < self._moment(started_at, _now() - older_than)
        running = self._columns["status"] == self._member("running")
        of_backfill = self._columns["backfill_id"]
        with self.table.transaction():
            query = sa.select(of_backfill).where(running, before).distinct()
            keys = list(self._execute(query).scalars())
        taken = 0
        for key in keys:
            with self.table.transaction():
                backfill = self.table.hold(key)
                lost = (of_backfill == key, running, before)
                wanted = self._columns.get("wanted")
                if wanted is not None:
                    cancelled = self._row(status="cancelled", completed_at=_now())
                    taken += self._update_where(cancelled, *lost, wanted.is_(False))
                taken += self._update_where(self._requeued(), *lost)
                changes = {} if backfill is None else self.settle(backfill)
            signals.tell(self.table.session, self.schema, backfill, changes)
        return taken

    # What a request asks of them

    def key_of(self, run: t.Any) -> t.Any:
        return getattr(run, self.key.key)

    def count_active(self) -> int:
        """How many runs of all backfills wait or run."""
        active = self.model.status.in_([self._member(word) for word in ACTIVE])
        query = sa.select(sa.func.count()).select_from(self.model).where(active)
        return t.cast(int, self.table.session.scalar(query))

    def counts(self, backfill_ids: Collection[t.Any]) -> dict[t.Any, Counter[str]]:
        """How many of the wanted runs of each backfill have each status: one statement."""
        found: dict[t.Any, Counter[str]] = {key: Counter() for key in backfill_ids}
        if found:
            query = self._count_by(self.model.backfill_id, self.model.status)
            query = query.where(self.model.backfill_id.in_(found), *self._wanted_only())
            for key, status, count in self.table.session.execute(query):
                found[key][self._word(status)] = count
        return found

    def page(
        self, backfill: t.Any, status: str | None, offset: int, limit: int
    ) -> tuple[list[t.Any], int]:
        """A page of the runs of a backfill, history too, and how many there are."""
        criteria = [self.model.backfill_id == self.table.key_of(backfill)]
        if status is not None:
            criteria.append(self.model.status == self._member(status))
        session = self.table.session
        total = session.scalar(sa.select(sa.func.count()).select_from(self.model).where(*criteria))
        query = sa.select(self.model).where(*criteria)
        query = query.order_by(self.model.execution_date, self.key).offset(offset).limit(limit)
        return list(session.scalars(query)), total or 0

    def are_active(self, backfill: t.Any) -> bool:
        """Whether a run waits or runs."""
        statuses = self._bounded_statuses(backfill)
        return bool(statuses["initial"] or statuses["running"])

    def cancel(self, backfill: t.Any) -> None:
        """Cancel every run that has not ended: one statement."""
        self._update_where(
            self._row(status="cancelled", completed_at=_now()),
            self._columns["backfill_id"] == self.table.key_of(backfill),
            self._columns["status"].in_([self._member(word) for word in ACTIVE]),
        )

    def delete(self, backfill: t.Any) -> None:
        """Delete the runs of a backfill."""
        of_backfill = self._columns["backfill_id"] == self.table.key_of(backfill)
        self._execute(sa.delete(self._table).where(of_backfill))

    def settle(self, backfill: t.Any, statuses: Mapping[str, int] | None = None) -> Changes:
        """End an active backfill that leaves nothing to run.

        :param statuses: of its runs, where they are known already.
        """
        if self.status_of(backfill) not in ACTIVE:
            return {}
        if statuses is None:
            statuses = self._bounded_statuses(backfill)
        ended = outcome(statuses, self.settings_of(backfill).get("max_failures"))
        if ended is None:
            return {}
        if statuses.get("initial"):
            self.cancel(backfill)
        return enter(backfill, ended, self.schema)

    def status_of(self, backfill: t.Any) -> str | None:
        """The word for the status of a backfill."""
        return self.schema.word("status", backfill.status)

    @staticmethod
    def settings_of(backfill: t.Any) -> Mapping[str, t.Any]:
        """The settings that are read; what is stored may be older than their rules."""
        settings = getattr(backfill, "settings", None)
        if not isinstance(settings, dict):
            return {}
        wrong = _SETTINGS.validate(settings)
        return {k: v for k, v in settings.items() if k not in wrong and v is not None}

    # What a plan reads and writes

    def load(self, backfill: t.Any, *criteria: t.Any) -> Iterator[Run]:
        """The runs that there are, read as plain rows."""
        names = ("id", "key", "execution_date", "interval_end_datetime", "status", "wanted")
        unmapped = {"interval_end_datetime": sa.null(), "wanted": sa.true()}
        found: list[t.Any] = [self._columns.get(name, unmapped.get(name)) for name in names]
        of_backfill = self._columns["backfill_id"] == self.table.key_of(backfill)
        query = sa.select(*found).where(of_backfill, *criteria)
        for key, name, date, end, status, wanted in self._execute(self.table.latest(query)):
            date = date and columns.in_utc(date, False)
            end = end and columns.in_utc(end, False)
            yield Run(key, name, date, end, self._word(status), bool(wanted))

    @property
    def date(self) -> sa.Column[t.Any]:
        return self._columns["execution_date"]

    def between(self, first: datetime, last: datetime) -> t.Any:
        """The criterion that a run's date is one of these or between them."""
        return self.date.between(self._moment(self.date, first), self._moment(self.date, last))

    def summary(self, backfill: t.Any, *criteria: t.Any) -> tuple[Counter[str], t.Any, t.Any]:
        """How many wanted runs have each status, and the first and the last date of all."""
        query = self._count_by(self._columns["status"]).add_columns(
            sa.func.min(self.date), sa.func.max(self.date)
        )
        of_backfill = self._columns["backfill_id"] == self.table.key_of(backfill)
        query = query.where(of_backfill, *self._wanted_only(), *criteria)
        rows = self._execute(self.table.latest(query)).all()
        statuses = Counter({self._word(status): count for status, count, *_ in rows})
        firsts, lasts = [row[2] for row in rows], [row[3] for row in rows]
        if not rows or None in firsts:
            return statuses, None, None
        return statuses, columns.in_utc(min(firsts), False), columns.in_utc(max(lasts), False)

    @property
    def knows_history(self) -> bool:
        """Whether the run model tells wanted runs from history."""
        return "wanted" in self._columns

    @property
    def knows_ends(self) -> bool:
        return "interval_end_datetime" in self._columns

    def write(self, backfill: t.Any, entries: Iterable[Entry]) -> None:
        """Do what a plan says, as its entries come, a chunk of rows at a time."""
        new = self._row(
            backfill_id=self.table.key_of(backfill),
            pipeline_uuid=backfill.pipeline_uuid,
            status="initial",
            attempt=1,
            wanted=True,
        )
        again = self._row(wanted=True)
        own = self._own_values(backfill)
        # What is remembered of an entry, and the statement for a chunk of them.
        writes: dict[str, tuple[Callable[[Entry], t.Any], Callable[[list[t.Any]], t.Any]]] = {
            "add": (partial(_row_of, own, new), self._insert),
            "redo": (partial(_row_of, own, again), self._requeue),
            "renew": (partial(_row_of, own, {}), self._update),
            "drop": (_id_of, self._drop),
            "retire": (_id_of, partial(self._mark, wanted=False)),
            "revive": (_id_of, partial(self._mark, wanted=True)),
        }
        chunks: dict[str, list[t.Any]] = {what: [] for what in writes}
        for entry in entries:
            if entry.write is not None:
                row_of, flush = writes[entry.write]
                chunk = chunks[entry.write]
                chunk.append(row_of(entry))
                if len(chunk) == CHUNK:
                    flush(chunk)
                    chunks[entry.write] = []
        for what, chunk in chunks.items():
            if chunk:
                writes[what][1](chunk)

    def _own_values(self, backfill: t.Any) -> Own:
        """By column, what a run has of its own."""
        shared = getattr(backfill, "variables", None) or {}
        values: dict[str, Callable[[Wanted], t.Any]] = {
            "key": lambda wanted: wanted.key,
            "execution_date": lambda wanted: wanted.date,
            "interval_end_datetime": lambda wanted: wanted.end,
            "variables": lambda wanted: {**shared, **wanted.variables()},
        }
        for name in ("execution_date", "interval_end_datetime"):
            if name in self._columns and columns.is_aware(self._columns[name]):
                values[name] = partial(_aware, values[name])
        return [(self._columns[name].key, values[name]) for name in values if name in self._columns]

    def _insert(self, rows: list[t.Any]) -> None:
        self._execute(sa.insert(self._table), rows)

    def _requeue(self, rows: list[t.Any]) -> None:
        self._update(rows, self._requeued())

    def _requeued(self) -> dict[str, t.Any]:
        """What a run has that waits for another attempt."""
        blank = self._row(
            status="initial", started_at=None, completed_at=None, queued_at=None, error=None
        )
        attempt = self._columns.get("attempt")
        return blank if attempt is None else {**blank, attempt.key: attempt + 1}

    def _update(self, rows: list[t.Any], also: Mapping[str, t.Any] | None = None) -> None:
        query = sa.update(self._table).where(self._columns["id"] == sa.bindparam(_RUN))
        self._execute(query.values(also) if also else query, rows)

    def _update_where(self, values: Mapping[str, t.Any], *criteria: t.Any) -> int:
        found = self._execute(sa.update(self._table).where(*criteria).values(values))
        return t.cast(int, found.rowcount)

    def _drop(self, ids: list[t.Any]) -> None:
        self._execute(sa.delete(self._table).where(self._columns["id"].in_(ids)))

    def _mark(self, ids: list[t.Any], wanted: bool) -> None:
        if self.knows_history:
            query = sa.update(self._table).where(self._columns["id"].in_(ids))
            self._execute(query.values(self._row(wanted=wanted)))

    # The next runs, and how the others stand

    def active_backfills(self) -> list[t.Any]:
        """The keys of the backfills that may have runs to hand out, the oldest first."""
        model = self.table.model
        statuses = [self.schema.member("status", word) for word in ACTIVE]
        query = sa.select(self.table.key).where(model.status.in_(statuses)).order_by(self.table.key)
        with self.table.transaction():
            return list(self.table.session.scalars(query))

    def _room(self, backfill: t.Any, most: int) -> int:
        """How many runs of a backfill may be handed out now, up to a number."""
        if backfill is None or self.status_of(backfill) not in ACTIVE:
            return 0
        settings = self.settings_of(backfill)
        failures = settings.get("max_failures")
        if settings.get("paused"):
            return 0
        if failures and self.some(backfill, "failed", failures) >= failures:
            return 0
        at_once = settings.get("pipeline_run_limit")
        return min(most, at_once - self.some(backfill, "running", at_once)) if at_once else most

    def _next(self, backfill: t.Any, most: int) -> list[t.Any]:
        room = self._room(backfill, most)
        if room < 1:
            return []
        order: tuple[t.Any, ...] = (self.model.execution_date, self.key)
        if self.settings_of(backfill).get("order") == "backwards":
            order = tuple(sa.desc(one) for one in order)
        query = sa.select(self.model).where(*self._having(backfill, "initial")).order_by(*order)
        query = query.limit(room).with_for_update(skip_locked=True)
        # A session that keeps what it has read may know them from before.
        query = query.execution_options(populate_existing=True)
        return list(self.table.session.scalars(query))

    def _hand_out(self, backfill: t.Any, found: list[t.Any]) -> Changes:
        """Let runs and their backfill begin, and the runs out of the session."""
        for run in found:
            self._set(run, status="running", started_at=_now(), completed_at=None, queued_at=None)
        begins = found and self.status_of(backfill) == "initial"
        changes = enter(backfill, "running", self.schema) if begins else {}
        self.table.session.flush()
        for run in found:
            # Readable after the commit, in any context or thread of the worker.
            self.table.session.expunge(run)
        return changes

    def _hold_run(self, run_id: t.Any) -> tuple[t.Any, t.Any]:
        """A run and its backfill, both locked; ``None`` for what is gone."""
        self.table.begin_writing()
        of_run = sa.select(self.model.backfill_id).where(self.key == run_id)
        backfill = self.table.hold(self.table.session.scalar(of_run))
        query = sa.select(self.model).where(self.key == run_id).with_for_update()
        run = self.table.session.scalar(query.execution_options(populate_existing=True))
        return backfill, run

    def _queue(self, run: t.Any) -> Queued:
        self._set(run, queued_at=_now())
        return Queued(self.key_of(run), run.queued_at)

    def some(self, backfill: t.Any, status: str, most: int) -> int:
        """How many runs have a status, counted up to a number; history only while it runs.

        Read by locking them, which shows the latest on every database; nobody waits for
        it, since who changes a run holds its backfill.
        """
        query = sa.select(self.key).where(*self._having(backfill, status))
        if status != "running":
            query = query.where(*self._wanted_only())
        return len(self.table.session.scalars(query.limit(most).with_for_update()).all())

    def _bounded_statuses(self, backfill: t.Any) -> Counter[str]:
        most = self.settings_of(backfill).get("max_failures") or 1
        bounds = {"initial": 1, "running": 1, "failed": most}
        return Counter({word: self.some(backfill, word, n) for word, n in bounds.items()})

    def _having(self, backfill: t.Any, status: str) -> tuple[t.Any, t.Any]:
        key = self.table.key_of(backfill)
        return self.model.backfill_id == key, self.model.status == self._member(status)

    def _wanted_only(self) -> tuple[t.Any, ...]:
        return (self.model.wanted.is_(True),) if self.knows_history else ()

    def _count_by(self, *groups: t.Any) -> t.Any:
        return sa.select(*groups, sa.func.count()).group_by(*groups)

    def _add_metrics(self, backfill: t.Any, metrics: Mapping[str, t.Any]) -> None:
        numbers = {name: value for name, value in metrics.items() if _is_number(value)}
        if numbers and columns.column_of(self.schema.mapper, "metrics") is not None:
            there = backfill.metrics or {}
            sums = {name: value + _number(there.get(name)) for name, value in numbers.items()}
            backfill.metrics = {**there, **sums}

    def _told(self, error: str | None) -> str | None:
        """An error as its column takes it."""
        if error is None or "error" not in self._columns:
            return None
        most = getattr(self._columns["error"].type, "length", None) or MAX_ERROR
        return error.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[:most]

    # Rows of the host's columns

    @property
    def _table(self) -> sa.Table:
        return self._columns["id"].table

    def _execute(self, statement: t.Any, rows: list[dict[str, t.Any]] | None = None) -> t.Any:
        return self.table.session.execute(statement, rows, bind_arguments={"mapper": self.mapper})

    def _row(self, **values: t.Any) -> dict[str, t.Any]:
        """Values by column, less those that the host's model does not map."""
        row = {}
        for name, value in values.items():
            column = self._columns.get(name)
            if column is not None:
                row[column.key] = self._value(name, column, value)
        return row

    def _set(self, run: t.Any, **values: t.Any) -> None:
        for name, value in values.items():
            column = self._columns.get(name)
            if column is not None:
                setattr(run, name, self._value(name, column, value))

    def _value(self, name: str, column: sa.Column[t.Any], value: t.Any) -> t.Any:
        if name == "status":
            return self._member(value)
        return self._moment(column, value) if isinstance(value, datetime) else value

    @staticmethod
    def _moment(column: sa.Column[t.Any], moment: datetime) -> datetime:
        return columns.in_utc(moment, columns.is_aware(column))

    def _member(self, word: str) -> t.Any:
        return self.run_schema.member("status", word)

    def _word(self, status: t.Any) -> str:
        return self._words.get(status) or str(status)


def _row_of(own: Own, same: dict[str, t.Any], entry: Entry) -> dict[str, t.Any]:
    row = same.copy()
    if entry.run is not None:
        row[_RUN] = entry.run.id
    wanted = t.cast(Wanted, entry.wanted)
    for key, value in own:
        row[key] = value(wanted)
    return row


def _id_of(entry: Entry) -> t.Any:
    return entry.id


def _aware(value: Callable[[Wanted], datetime | None], wanted: Wanted) -> datetime | None:
    moment = value(wanted)
    return moment and columns.in_utc(moment, True)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _is_number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: t.Any) -> t.Any:
    return value if _is_number(value) else 0
