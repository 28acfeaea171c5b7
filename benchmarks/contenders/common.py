"""What the contenders on SQLAlchemy share: the table, the merged checks, the answer."""

import hmac
from datetime import datetime
from datetime import timezone

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker

KEY = "benchmark-key"
PATH = "/api/pipelines/arwen_starlight/backfills/6"
INTERVALS = ("minute", "hour", "day", "week", "month", "year")
FOLLOWS = {
    None: ("initial", "running", "completed", "failed", "cancelled"),
    "initial": ("running", "completed", "failed", "cancelled"),
    "running": ("completed", "failed", "cancelled"),
    "completed": ("initial",),
    "failed": ("initial", "running", "cancelled"),
    "cancelled": ("initial",),
}
DATES = ("start_datetime", "end_datetime", "started_at", "completed_at", "failed_at")
ATTRIBUTES = """id block_uuid completed_at created_at end_datetime failed_at interval_type
interval_units metrics name pipeline_schedule_id pipeline_uuid settings start_datetime started_at
status updated_at variables""".split()


def utcnow():
    return datetime.now(timezone.utc).replace(tzinfo=None)


#: On PostgreSQL as Django has it, which reads no other.
Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Base(DeclarativeBase):
    pass


class Backfill(Base):
    __tablename__ = "backfill"
    id = sa.Column(sa.Integer, primary_key=True)
    pipeline_uuid = sa.Column(sa.String(255), nullable=False, index=True)
    name = sa.Column(sa.String(255))
    block_uuid = sa.Column(sa.String(255))
    pipeline_schedule_id = sa.Column(sa.Integer)
    start_datetime = sa.Column(sa.DateTime)
    end_datetime = sa.Column(sa.DateTime)
    interval_type = sa.Column(sa.String(16))
    interval_units = sa.Column(sa.Integer)
    status = sa.Column(sa.String(16))
    variables = sa.Column(Json)
    metrics = sa.Column(Json)
    settings = sa.Column(Json)
    started_at = sa.Column(sa.DateTime)
    completed_at = sa.Column(sa.DateTime)
    failed_at = sa.Column(sa.DateTime)
    created_at = sa.Column(sa.DateTime, default=utcnow)
    updated_at = sa.Column(sa.DateTime, default=utcnow, onupdate=utcnow)


class Refused(Exception):
    def __init__(self, status, errors):
        super().__init__(status, errors)
        self.status, self.errors = status, errors


def session_for(url):
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    with sessionmaker(engine)() as session:
        if session.get(Backfill, 6) is None:
            session.add(Backfill(id=6, pipeline_uuid="arwen_starlight", name="old"))
            session.commit()
    return scoped_session(sessionmaker(engine))


def may(key):
    return hmac.compare_digest((key or "").encode(), KEY.encode())


def find(session, pipeline_uuid, backfill_id):
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.connection.driver_connection.execute("BEGIN IMMEDIATE")
    query = sa.select(Backfill).where(
        Backfill.id == backfill_id, Backfill.pipeline_uuid == pipeline_uuid
    )
    backfill = session.scalars(query.with_for_update()).one_or_none()
    if backfill is None:
        raise Refused(404, {})
    return backfill


def write(session, pipeline_uuid, backfill_id, values):
    """Merge, check, write, and show."""
    backfill = find(session, pipeline_uuid, backfill_id)
    start = values.get("start_datetime", backfill.start_datetime)
    end = values.get("end_datetime", backfill.end_datetime)
    if start and end and start > end:
        raise Refused(422, {"end_datetime": ["Must be on or after start_datetime."]})
    status = values.get("status", backfill.status)
    if status != backfill.status:
        if status not in FOLLOWS[backfill.status]:
            raise Refused(409, {"status": ["Not allowed."]})
        stamp(backfill, status, values)
    for name, value in values.items():
        setattr(backfill, name, value)
    session.flush()
    shown = show(backfill)
    session.commit()
    return shown


def stamp(backfill, status, values):
    now = utcnow()
    if status == "initial":
        values.setdefault("started_at", now)
        values.setdefault("completed_at", None)
        values.setdefault("failed_at", None)
    elif status == "running" and backfill.started_at is None:
        values.setdefault("started_at", now)
    elif status in ("completed", "failed"):
        values.setdefault(f"{status}_at", now)


def show(backfill):
    shown = {name: getattr(backfill, name) for name in ATTRIBUTES}
    for name, value in shown.items():
        if isinstance(value, datetime):
            shown[name] = value.isoformat(sep=" ")
    return shown
