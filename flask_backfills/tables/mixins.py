"""Mixins with suggested columns. You may use your own columns instead."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timezone

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column

from .indexes import complete_backfills
from .indexes import complete_events
from .indexes import complete_runs

M = t.TypeVar("M")
T = t.TypeVar("T")

#: The type of a column that a model may redeclare with another type. Where the model does not,
#: type checkers still know the suggested one: ``int | Any`` is no ``str``.
Suggested = Mapped[T | t.Any]


def utcnow() -> datetime:
    """The current time in UTC, as a naive datetime, like the columns of the mixin."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


#: MySQL and MariaDB truncate a plain ``DATETIME`` to whole seconds.
Moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def _columns_alone(mixin: type[M]) -> type[M]:
    """Take the annotations from a mixin, which are for readers and for type checkers.

    SQLAlchemy would make fields of them in a dataclass of the host's, and refuses those of a
    mixin that is none.
    """
    mixin.__annotations__ = {}
    return mixin


@_columns_alone
class BackfillMixin:
    """The columns of a backfill. Datetimes are naive and in UTC.

    Your model may redeclare any of these columns, with another type too. It may also omit the
    mixin. Whatever ``__table_args__`` your model has, its table also gets a unique constraint of
    ``pipeline_uuid`` and ``idempotency_key``.
    """

    id: Suggested[int] = mapped_column(sa.Integer, primary_key=True)
    pipeline_uuid: Suggested[str] = mapped_column(sa.String(255), nullable=False, index=True)
    name: Suggested[t.Optional[str]] = mapped_column(sa.String(255))
    block_uuid: Suggested[t.Optional[str]] = mapped_column(sa.String(255))
    pipeline_schedule_id: Suggested[t.Optional[int]] = mapped_column(sa.Integer)
    start_datetime: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    end_datetime: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    interval_type: Suggested[t.Optional[str]] = mapped_column(sa.String(16))
    interval_units: Suggested[t.Optional[int]] = mapped_column(sa.Integer)
    status: Suggested[t.Optional[str]] = mapped_column(sa.String(16))
    variables: Suggested[t.Optional[dict[str, t.Any]]] = mapped_column(sa.JSON(none_as_null=True))
    metrics: Suggested[t.Optional[dict[str, t.Any]]] = mapped_column(sa.JSON(none_as_null=True))
    settings: Suggested[t.Optional[dict[str, t.Any]]] = mapped_column(sa.JSON(none_as_null=True))
    started_at: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    completed_at: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    failed_at: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    #: The ``Idempotency-Key`` that made the backfill, with a digest of the body. Never shown.
    idempotency_key: Suggested[t.Optional[str]] = mapped_column(sa.String(255))
    #: The keys of the runs that ``settings.canary`` has chosen, while others wait for them. Never
    #: shown.
    canary_runs: Suggested[t.Optional[list[str]]] = mapped_column(sa.JSON(none_as_null=True))
    created_at: Suggested[datetime] = mapped_column(Moment, nullable=False, default=utcnow)
    updated_at: Suggested[datetime] = mapped_column(
        Moment, nullable=False, default=utcnow, onupdate=utcnow
    )


@_columns_alone
class BackfillRunMixin:
    """The columns of one run of a backfill. Datetimes are naive and in UTC.

    Your model may redeclare any of these columns. Redeclare ``backfill_id`` to add a foreign
    key, or if the primary key of a backfill is not an integer. Whatever ``__table_args__`` your
    model has, its table also gets the unique constraint and the indexes that runs need.
    """

    id: Suggested[int] = mapped_column(sa.Integer, primary_key=True)
    backfill_id: Suggested[int] = mapped_column(sa.Integer, nullable=False)
    pipeline_uuid: Suggested[t.Optional[str]] = mapped_column(sa.String(255))
    #: Identifies the run within its backfill: its date, or the key that a generator gives.
    key: Suggested[str] = mapped_column(sa.String(255), nullable=False)
    execution_date: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    interval_end_datetime: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    status: Suggested[str] = mapped_column(sa.String(16), nullable=False, default="initial")
    attempt: Suggested[int] = mapped_column(sa.Integer, nullable=False, default=1)
    #: Whether the backfill still needs the run; if not, the run is kept as history.
    wanted: Suggested[bool] = mapped_column(sa.Boolean, nullable=False, default=True)
    #: When the run was put into the queue (Celery); null if it is not in the queue.
    queued_at: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    started_at: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    completed_at: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    error: Suggested[t.Optional[str]] = mapped_column(sa.Text)
    metrics: Suggested[t.Optional[dict[str, t.Any]]] = mapped_column(sa.JSON(none_as_null=True))
    #: When the worker that has it last said so. Of a run that has ended: not rolled up yet.
    heartbeat_at: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    #: Before this moment it is not handed out.
    available_at: Suggested[t.Optional[datetime]] = mapped_column(Moment)
    #: Which worker has it, or had it last.
    worker: Suggested[t.Optional[str]] = mapped_column(sa.String(255))
    #: How often it was handed out since it was planned, and how many workers died with it.
    tries: Suggested[t.Optional[int]] = mapped_column(sa.Integer)
    losses: Suggested[t.Optional[int]] = mapped_column(sa.Integer)
    variables: Suggested[t.Optional[dict[str, t.Any]]] = mapped_column(sa.JSON(none_as_null=True))
    #: Those of them that a generator gave it, once it is handed out: then ``variables`` has the
    #: backfill's too, of which there may be newer ones at the next attempt.
    own_variables: Suggested[t.Optional[dict[str, t.Any]]] = mapped_column(
        sa.JSON(none_as_null=True)
    )


@_columns_alone
class BackfillEventMixin:
    """The columns of one event in the history of a backfill. Datetimes are naive and in UTC.

    Your model may redeclare any of these columns. Redeclare ``backfill_id`` if the primary key of
    a backfill is not an integer. It must not be a foreign key, since the events of a deleted
    backfill stay. Whatever ``__table_args__`` your model has, its table also gets the index that
    the history needs.
    """

    id: Suggested[int] = mapped_column(sa.Integer, primary_key=True)
    backfill_id: Suggested[int] = mapped_column(sa.Integer, nullable=False)
    pipeline_uuid: Suggested[t.Optional[str]] = mapped_column(sa.String(255))
    created_at: Suggested[datetime] = mapped_column(Moment, nullable=False, default=utcnow)
    #: Who it was, as ``actor=`` says; ``cli:<user>``, or ``worker:<host>:<process>``.
    actor: Suggested[t.Optional[str]] = mapped_column(sa.String(255))
    action: Suggested[str] = mapped_column(sa.String(32), nullable=False)
    #: By attribute, ``{"from": ..., "to": ...}`` as the API shows it.
    changes: Suggested[dict[str, t.Any]] = mapped_column(sa.JSON, nullable=False)
    #: Of a change of runs: the key of the run if it was one, and how many it were.
    run_key: Suggested[t.Optional[str]] = mapped_column(sa.String(255))
    run_count: Suggested[t.Optional[int]] = mapped_column(sa.Integer)


sa.event.listen(BackfillMixin, "after_mapper_constructed", complete_backfills, propagate=True)
sa.event.listen(BackfillRunMixin, "after_mapper_constructed", complete_runs, propagate=True)
sa.event.listen(BackfillEventMixin, "after_mapper_constructed", complete_events, propagate=True)
