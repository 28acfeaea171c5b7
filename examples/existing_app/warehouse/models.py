"""The tables of the warehouse; ``rerun`` is older than anything that serves it."""

from __future__ import annotations

import typing as t
import uuid
from datetime import datetime

import sqlalchemy as sa
from flask_login import current_user
from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import relationship
from sqlalchemy.orm import synonym

from flask_backfills import BackfillEventMixin
from flask_backfills import BackfillRunMixin

db = SQLAlchemy()

#: Whose reruns are those that no user has made.
HOUSE = "warehouse"


def own_company() -> str:
    """The company of the user who is logged in."""
    # There is no user at the terminal, and an anonymous one where a program calls.
    return getattr(current_user, "company", HOUSE) if current_user else HOUSE


class User(UserMixin, db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    login: Mapped[str] = mapped_column(sa.String(50), unique=True)
    password_hash: Mapped[str] = mapped_column(sa.String(255))
    company: Mapped[str] = mapped_column(sa.String(40))
    grants: Mapped[list[Grant]] = relationship()

    def may(self, action: str, pipeline: str) -> bool:
        return any(grant.allows(action) for grant in self.grants if grant.pipeline == pipeline)


class Grant(db.Model):
    """What one user may do with the backfills of one pipeline."""

    user_id: Mapped[int] = mapped_column(sa.ForeignKey("user.id"), primary_key=True)
    pipeline: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    may_edit: Mapped[bool] = mapped_column(default=False)

    def allows(self, action: str) -> bool:
        return self.may_edit or action in ("list", "detail")


class Rerun(db.Model):
    """The legacy table of backfills: its own column names, and the wire's as synonyms."""

    rerun_key: Mapped[uuid.UUID] = mapped_column(sa.Uuid, primary_key=True, default=uuid.uuid4)
    flow: Mapped[str] = mapped_column(sa.String(100), index=True)
    label: Mapped[str] = mapped_column(sa.String(80))
    from_ts: Mapped[t.Optional[datetime]] = mapped_column(sa.DateTime(timezone=True))
    to_ts: Mapped[t.Optional[datetime]] = mapped_column(sa.DateTime(timezone=True))
    step: Mapped[t.Optional[str]] = mapped_column(sa.Enum("hour", "day", native_enum=False))
    step_count: Mapped[t.Optional[int]] = mapped_column(sa.SmallInteger)
    state: Mapped[t.Optional[str]] = mapped_column(sa.String(10))
    overrides: Mapped[t.Optional[dict[str, t.Any]]] = mapped_column(sa.JSON(none_as_null=True))
    #: The tenant. Requests can't write it, since the schema does not have it.
    company: Mapped[str] = mapped_column(sa.String(40), default=own_company, index=True)
    #: Not legacy: for the settings that workers read, such as skip_covered.
    settings: Mapped[t.Optional[dict[str, t.Any]]] = mapped_column(sa.JSON(none_as_null=True))

    pipeline_uuid = synonym("flow")
    name = synonym("label")
    start_datetime = synonym("from_ts")
    end_datetime = synonym("to_ts")
    interval_type = synonym("step")
    interval_units = synonym("step_count")
    status = synonym("state")
    variables = synonym("overrides")


class RerunRun(BackfillRunMixin, db.Model):
    """One day or hour of a rerun, which a worker counts again."""

    backfill_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("rerun.rerun_key"))


class RerunEvent(BackfillEventMixin, db.Model):
    """Who changed what of which rerun; written by the package, and never changed."""

    backfill_id: Mapped[uuid.UUID] = mapped_column(sa.Uuid)
