"""Suggested columns: a convenience, never a requirement."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timezone

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import declared_attr
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column


def utcnow() -> datetime:
    """The current moment in UTC, naive as the columns of the mixin are."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


#: MySQL and MariaDB cut a plain ``DATETIME`` to whole seconds.
Moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


class BackfillMixin:
    """The columns of a backfill; datetimes are naive and in UTC.

    A model may redeclare any of them, or do without the mixin.
    """

    id: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    pipeline_uuid: Mapped[str] = mapped_column(sa.String(255), index=True)
    name: Mapped[t.Optional[str]] = mapped_column(sa.String(255))
    block_uuid: Mapped[t.Optional[str]] = mapped_column(sa.String(255))
    pipeline_schedule_id: Mapped[t.Optional[int]] = mapped_column(sa.Integer)
    start_datetime: Mapped[t.Optional[datetime]] = mapped_column(Moment)
    end_datetime: Mapped[t.Optional[datetime]] = mapped_column(Moment)
    interval_type: Mapped[t.Optional[str]] = mapped_column(sa.String(16))
    interval_units: Mapped[t.Optional[int]] = mapped_column(sa.Integer)
    status: Mapped[t.Optional[str]] = mapped_column(sa.String(16))
    variables: Mapped[t.Optional[dict[str, t.Any]]] = mapped_column(sa.JSON(none_as_null=True))
    metrics: Mapped[t.Optional[dict[str, t.Any]]] = mapped_column(sa.JSON(none_as_null=True))
    settings: Mapped[t.Optional[dict[str, t.Any]]] = mapped_column(sa.JSON(none_as_null=True))
    started_at: Mapped[t.Optional[datetime]] = mapped_column(Moment)
    completed_at: Mapped[t.Optional[datetime]] = mapped_column(Moment)
    failed_at: Mapped[t.Optional[datetime]] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(Moment, default=utcnow, onupdate=utcnow)


class BackfillRunMixin:
    """The columns of one run of a backfill; datetimes are naive and in UTC.

    A model may redeclare any of them: ``backfill_id`` with a foreign key, or of the type of
    a backfill's key that is no integer. One with ``__table_args__`` of its own adds the
    unique constraint and the index to them.
    """

    id: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    backfill_id: Mapped[int] = mapped_column(sa.Integer)
    pipeline_uuid: Mapped[t.Optional[str]] = mapped_column(sa.String(255))
    #: What the run is known by within its backfill: its date, or what a generator says.
    key: Mapped[str] = mapped_column(sa.String(255))
    execution_date: Mapped[t.Optional[datetime]] = mapped_column(Moment)
    interval_end_datetime: Mapped[t.Optional[datetime]] = mapped_column(Moment)
    status: Mapped[str] = mapped_column(sa.String(16), default="initial")
    attempt: Mapped[int] = mapped_column(sa.Integer, default=1)
    #: Whether the backfill still asks for it; if not, it is kept as history.
    wanted: Mapped[bool] = mapped_column(sa.Boolean, default=True)
    #: When it was put into a queue in which it still waits, for hosts that have one.
    queued_at: Mapped[t.Optional[datetime]] = mapped_column(Moment)
    started_at: Mapped[t.Optional[datetime]] = mapped_column(Moment)
    completed_at: Mapped[t.Optional[datetime]] = mapped_column(Moment)
    error: Mapped[t.Optional[str]] = mapped_column(sa.Text)
    variables: Mapped[t.Optional[dict[str, t.Any]]] = mapped_column(sa.JSON(none_as_null=True))

    @declared_attr.directive
    def __table_args__(cls: t.Any) -> tuple[t.Any, ...]:
        return (
            sa.UniqueConstraint("backfill_id", "key"),
            # For the next run to hand out, and for the counts by status.
            sa.Index(
                f"ix_{cls.__tablename__}_next", "backfill_id", "status", "execution_date", "id"
            ),
        )
