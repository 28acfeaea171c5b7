"""Models and schemas."""

from __future__ import annotations

import enum
import typing as t
import uuid
from datetime import datetime

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.model import Model as FlaskModel
from marshmallow import fields
from marshmallow import Schema
from marshmallow import validate
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import MappedAsDataclass
from sqlalchemy.orm import synonym

from flask_backfills import BackfillEventMixin
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills import BackfillSchema


class Status(enum.Enum):
    INITIAL = "initial"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


# A plain declarative base, with the suggested columns.


class Base(DeclarativeBase):
    pass


class Backfill(BackfillMixin, Base):
    __tablename__ = "backfill"
    team: Mapped[str | None] = mapped_column(sa.String(20))


class BackfillRun(BackfillRunMixin, Base):
    __tablename__ = "backfill_run"
    backfill_id: Mapped[int] = mapped_column(sa.ForeignKey("backfill.id"))
    source: Mapped[str | None]


# Flask-SQLAlchemy, with columns of other types and stricter ones.

db = SQLAlchemy(model_class=Base)

if t.TYPE_CHECKING:

    class Model(Base, FlaskModel):
        """What ``db.Model`` is, which mypy can't read."""

else:
    Model = db.Model


class Pipeline(Model):
    __tablename__ = "pipeline"
    id: Mapped[int] = mapped_column(primary_key=True)


class Rerun(BackfillMixin, Model):
    __tablename__ = "rerun"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    pipeline_uuid: Mapped[int] = mapped_column(sa.ForeignKey("pipeline.id"))
    name: Mapped[str] = mapped_column(sa.String(80))
    block_uuid: Mapped[uuid.UUID | None]
    pipeline_schedule_id: Mapped[uuid.UUID | None]
    start_datetime: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    end_datetime = mapped_column(sa.DateTime(timezone=True))
    interval_type: Mapped[Status | None] = mapped_column(sa.Enum(Status))
    interval_units: Mapped[int] = mapped_column(default=1)
    status: Mapped[Status] = mapped_column(sa.Enum(Status))
    variables: Mapped[dict[str, str]] = mapped_column(sa.JSON, default=dict)
    settings: Mapped[dict[str, int] | None] = mapped_column(sa.JSON)
    since: Mapped[datetime | None]
    started_at: Mapped[datetime | None] = synonym("since")
    completed_at = synonym("since")
    updated_at: Mapped[datetime | None]


class RerunRun(BackfillRunMixin, Model):
    __tablename__ = "rerun_run"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    backfill_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("rerun.id"))
    pipeline_uuid: Mapped[int | None]
    execution_date: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    status: Mapped[Status] = mapped_column(sa.Enum(Status), default=Status.INITIAL)
    attempt: Mapped[int | None]
    variables: Mapped[dict[str, str] | None] = mapped_column(sa.JSON)


class RerunEvent(BackfillEventMixin, Model):
    __tablename__ = "rerun_event"
    backfill_id: Mapped[uuid.UUID] = mapped_column(sa.Uuid)
    actor: Mapped[str | None] = mapped_column(sa.String(80))


# Dataclasses.


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class DataBackfill(BackfillMixin, DataBase):
    __tablename__ = "data_backfill"
    name: Mapped[str] = mapped_column(sa.String(80))
    status: Mapped[Status | None] = mapped_column(sa.Enum(Status), default=None)


class DataRun(BackfillRunMixin, DataBase):
    __tablename__ = "data_run"
    backfill_id: Mapped[int] = mapped_column(sa.ForeignKey("data_backfill.id"))


# Schemas.


class Added(BackfillSchema):
    team = fields.String(validate=validate.OneOf(["ocean", "land"]))
    pipeline_schedule_id = fields.Integer(dump_only=True)


class Limits(Schema):
    pipeline_run_limit = fields.Integer()


class Replaced(BackfillSchema):
    class Meta:
        exclude = ("metrics",)

    id = fields.UUID(dump_only=True)
    name = fields.String(required=True, validate=validate.Length(max=40))
    interval_type = fields.Enum(Status, by_value=True)
    interval_units = fields.Constant(1)
    start_datetime = fields.AwareDateTime()
    variables = fields.Dict(keys=fields.String(), values=fields.String())
    settings = fields.Nested(Limits)
    updated_at = fields.Method("show_update")

    def show_update(self, rerun: Rerun) -> str:
        return str(rerun.updated_at)


class Wrong(BackfillSchema):
    status = fields.String()  # type: ignore[assignment]
