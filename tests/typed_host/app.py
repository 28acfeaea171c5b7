"""An app that uses all of the package."""

# Celery has no types.
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import threading
import typing as t
import uuid
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta

import sqlalchemy as sa
from celery import Celery
from flask import abort
from flask import current_app
from flask import Flask
from flask import g
from flask_sqlalchemy_lite import SQLAlchemy as LiteSQLAlchemy
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker

from flask_backfills import all_of
from flask_backfills import allow_anyone
from flask_backfills import any_of
from flask_backfills import api_key
from flask_backfills import backfill_cancelled
from flask_backfills import backfill_finished
from flask_backfills import backfill_started
from flask_backfills import backfill_updated
from flask_backfills import BackfillBlueprint
from flask_backfills import current_run
from flask_backfills import oauth_token
from flask_backfills.celery import CeleryDispatcher
from flask_backfills.console import ConsoleBlueprint
from flask_backfills.errors import NotFound
from flask_backfills.testing import Kit
from flask_backfills.worker import perform
from flask_backfills.worker import work

from .models import Added
from .models import Backfill
from .models import BackfillRun
from .models import DataBackfill
from .models import DataRun
from .models import db
from .models import Replaced
from .models import Rerun
from .models import RerunEvent
from .models import RerunRun
from .models import Status

# The blueprint, with every option.


def verify(token: str, action: str, pipeline_uuid: str) -> bool:
    return token == f"{action} {pipeline_uuid}"


def logged_in(action: str, pipeline_uuid: str) -> bool:
    if "user" not in g:
        abort(401)
    return action in ("list", "detail") or pipeline_uuid == "weather"


def of_the_tenant(query: sa.Select[tuple[Rerun]]) -> sa.Select[tuple[Rerun]]:
    return query.where(Rerun.name == g.get("tenant"), Rerun.status.in_([Status.RUNNING]))


def pipelines() -> list[str]:
    return ["weather"]


def who() -> str | None:
    return str(g.user) if "user" in g else None


only_on = {"initial": ["running"], "running": ["completed"]}

blueprint = BackfillBlueprint(
    Rerun,
    db.session,
    authorize=all_of(api_key(sources=("header", "query", "body")), oauth_token(verify)),
    scope=of_the_tenant,
    schema=Replaced,
    transitions=only_on,
    run_model=RerunRun,
    timezone="Europe/Berlin",
    local_datetimes=True,
    end="exclusive",
    pipelines=pipelines,
    openapi={"security": [], "public": True},
    mage_routes=True,
    event_model=RerunEvent,
    actor=who,
    name="reruns",
    url_prefix="/reruns",
    static_folder="static",
)

# Each kind of session, and each kind of check.

session = scoped_session(sessionmaker(sa.create_engine("sqlite://")))
lite = LiteSQLAlchemy()

BackfillBlueprint(Backfill, lambda: db.session, authorize=any_of(api_key(), logged_in))
BackfillBlueprint(Backfill, session, authorize=lambda action, pipeline_uuid: action == "list")
BackfillBlueprint(
    DataBackfill,
    lambda: lite.session,
    authorize=allow_anyone,
    schema=Added,
    transitions=None,
    openapi=True,
)
BackfillBlueprint(
    DataBackfill,
    lambda: session,
    authorize=api_key("THE_KEYS"),
    transitions={None: {"running"}, "running": ("completed",)},
    run_model=DataRun,
)

# Runs.


@blueprint.runner
def load_a_day(run: RerunRun) -> dict[str, int] | None:
    if current_run.stop_requested:
        raise RuntimeError("stopped")
    return {"rows": len((run.variables or {})["ds"])}


@blueprint.runner
def load_nothing(run: BackfillRun) -> None:
    run.source = f"{(run.variables or {})['ds']}.csv"


@blueprint.generator("by_region")
def by_region(backfill: Rerun) -> Iterator[dict[str, str]]:
    for region in ("north", "south"):
        yield {"key": region, "region": region, "depth": backfill.variables["depth"]}


@blueprint.generator("by_day")
def by_day(backfill: Rerun) -> list[dict[str, t.Any]]:
    return [{"key": "first", "execution_date": backfill.start_datetime}]


def history(backfill: Rerun) -> list[tuple[datetime, str, str]]:
    return [(backfill.created_at, "Ann", backfill.name)]


app = Flask(__name__)
app.register_blueprint(blueprint)
app.register_blueprint(ConsoleBlueprint(blueprint, history=history))


def ended(run: RerunRun, status: str | None) -> None:
    current_app.logger.info("%s: %s", run.key, status)


work(app, blueprint, once=True)
work(
    app,
    blueprint,
    concurrency=4,
    stop=threading.Event(),
    hurry=threading.Event(),
    grace=60,
    idle=0.5,
    tell=ended,
)

celery_app: t.Any = Celery(app.name)
dispatcher = CeleryDispatcher(celery_app, blueprint, most=3)
dispatcher.send(3)
celery_app.conf.beat_schedule = {"recover": {"task": dispatcher.recover_task.name, "schedule": 60}}


def work_a_little() -> int:
    for run in blueprint.runs.claim(limit=10):
        try:
            blueprint.runs.finish(run, "completed", {"rows": len(run.variables["ds"])})
        except Exception as error:
            blueprint.runs.finish(run.id, "failed", error=str(error), attempt=run.attempt)
    begun: RerunRun | None = blueprint.runs.begin(3)
    if begun is not None:
        perform(blueprint, begun)
        blueprint.runs.give_back([begun])
    queued = blueprint.runs.enqueue(3, 10)
    blueprint.runs.unqueue(run_ids=[one.run_id for one in queued])
    return blueprint.runs.recover(older_than=timedelta(minutes=1))


# Backfills.


@backfill_updated.connect_via(app)
def tell(sender: Flask, backfill: Rerun, changes: dict[str, tuple[t.Any, t.Any]]) -> None:
    sender.logger.info("%s was %s", backfill.id, changes["status"][0])


backfill_started.connect(tell)
backfill_cancelled.connect(tell, app)
backfill_finished.connect(tell, app)


def change() -> str:
    saved = blueprint.backfills.create("weather", {"name": "July"})
    saved = blueprint.backfills.update("weather", saved.backfill.id, {"status": "initial"})
    try:
        found: Rerun = blueprint.backfills.find("weather", 7)
    except NotFound:
        return "nothing"
    shown = blueprint.backfills.show(found)
    blueprint.backfills.count([found])
    events, total = blueprint.backfills.history(found, 0, 20)
    assert len(events) <= total
    blueprint.backfills.delete("weather", found.id)
    return f"{shown['name']}: {saved.changes}, {saved.metadata}"


# Tests.


def tested(backfills: Kit) -> timedelta:
    made: Rerun = backfills.create("weather", runs=7, settings={"max_attempts": 2})
    made = backfills.of("reruns").update(
        made, status="cancelled", end_datetime=datetime(2023, 7, 9)
    )
    run: RerunRun = backfills.run(made, "failed", error="502 upstream", attempt=3)
    backfills.fail_next(ConnectionError("no"), times=2)
    lost: list[RerunRun] = backfills.lose_worker(runs=2)
    backfills.recover()
    found: list[RerunRun] = [*backfills.run_all(limit=3, reraise=True), *backfills.runs(made)]
    before = backfills.travel_to(datetime(2023, 7, 2))
    assert backfills.refresh(run) in [*found, *lost] and backfills.blueprint is blueprint
    return backfills.advance(hours=1, seconds=0.5) - before


with Kit(app, "reruns") as kit:
    tested(kit)


def suggested(backfill: Backfill, run: BackfillRun) -> tuple[int, str | None, datetime | None, str]:
    backfill.name = "July"
    return backfill.id, backfill.name, run.started_at, run.key


def redeclared(rerun: Rerun, run: RerunRun) -> tuple[uuid.UUID, str, Status, datetime]:
    rerun.status = Status.RUNNING
    return run.backfill_id, rerun.name.upper(), rerun.status, run.execution_date


def made() -> list[t.Any]:
    DataBackfill(name="July", status=Status.INITIAL).pipeline_uuid = "weather"
    query = sa.select(Backfill.id, BackfillRun.key).join(
        BackfillRun, BackfillRun.backfill_id == Backfill.id
    )
    return [Backfill(name="July", team="land"), query.order_by(Backfill.start_datetime.desc())]


def mistakes(backfill: Backfill, rerun: Rerun) -> None:
    """Each line must be an error: a checker complains about an ``ignore`` that it does not need."""
    key: str = backfill.id  # type: ignore[assignment]
    name: str = backfill.name  # type: ignore[assignment]
    rerun.status = "running"  # type: ignore[assignment]
    backfill.colour = "red"  # type: ignore[attr-defined]
    BackfillBlueprint(Backfill, session, authorize=lambda action: True)  # type: ignore
    current_app.logger.info("%s %s", key, name)
