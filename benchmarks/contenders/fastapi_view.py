"""FastAPI, with SQLAlchemy, in a plain function as its documentation has it."""

from datetime import datetime
from datetime import timezone
from typing import Annotated
from typing import Any
from typing import Literal

from fastapi import FastAPI
from fastapi import Header
from fastapi import HTTPException
from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import Field

from .common import may
from .common import Refused
from .common import session_for
from .common import write

Interval = Literal["minute", "hour", "day", "week", "month", "year"]
Status = Literal["initial", "running", "completed", "failed", "cancelled"]
Name = Annotated[str, Field(min_length=1, max_length=255)]


class Change(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Name = ""
    block_uuid: Name | None = None
    pipeline_schedule_id: int | None = None
    interval_type: Interval | None = None
    interval_units: Annotated[int, Field(ge=1)] | None = None
    status: Status | None = None
    variables: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None
    start_datetime: datetime | None = None
    end_datetime: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    failed_at: datetime | None = None


class Body(BaseModel):
    backfill: Change


def naive(value):
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(timezone.utc).replace(tzinfo=None)
    return value


def create(url):
    app = FastAPI()
    session = session_for(url)

    @app.put("/api/pipelines/{pipeline_uuid}/backfills/{backfill_id}")
    def update(
        pipeline_uuid: str, backfill_id: int, body: Body, x_api_key: Annotated[str, Header()] = ""
    ):
        if not may(x_api_key):
            raise HTTPException(401)
        sent = body.backfill.model_dump(exclude_unset=True)
        values = {key: naive(value) for key, value in sent.items()}
        try:
            return {"backfill": write(session, pipeline_uuid, backfill_id, values)}
        except Refused as refused:
            raise HTTPException(refused.status, refused.errors) from None
        finally:
            session.remove()

    return app
