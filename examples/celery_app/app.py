"""A host that has outgrown one machine: its runs are done by Celery's workers.

Both of its commands begin in the checkout; the README beside this file has them.
"""

import random
import time
from datetime import datetime
from pathlib import Path

from celery import Celery
from celery import Task
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills.celery import CeleryDispatcher
from flask_backfills.console import ConsoleBlueprint

DATABASE = f"sqlite:///{Path(__file__).with_name('celery_app.db').resolve()}"

db = SQLAlchemy()


class Backfill(BackfillMixin, db.Model):
    __tablename__ = "backfill"


class BackfillRun(BackfillRunMixin, db.Model):
    __tablename__ = "backfill_run"


def count(run: BackfillRun) -> dict:
    """The work of one run: a day's visitors, counted somewhere slow."""
    time.sleep(run.variables.get("seconds", 1))
    return {"visitors": random.Random(run.variables["ds"]).randint(800, 1200)}


def create_celery(app: Flask) -> Celery:
    """Celery with the app's config and, for each task, its context: as Flask's pages say."""

    class ContextTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=ContextTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


def create_app(config: dict | None = None) -> Flask:
    app = Flask("celery_app")
    app.config.update(
        SECRET_KEY="only for this demo",
        SQLALCHEMY_DATABASE_URI=DATABASE,
        BACKFILLS_LEASE=60,
        CELERY={
            "broker_url": "redis://127.0.0.1:6380",
            # A request that starts something does not wait for a Redis that is away, and waits
            # for a few seconds only for one that does not answer.
            "broker_transport_options": {
                "max_retries": 0,
                "socket_timeout": 5,
                "socket_connect_timeout": 5,
            },
        },
    )
    app.config.from_prefixed_env()
    app.config.update(config or {})
    db.init_app(app)
    # Anyone may call: this is a dev server on your own machine.
    blueprint = BackfillBlueprint(
        Backfill, db.session, authorize=allow_anyone, run_model=BackfillRun
    )
    blueprint.runner(count)
    app.register_blueprint(blueprint)
    app.register_blueprint(ConsoleBlueprint(blueprint))
    celery_app = create_celery(app)
    dispatcher = CeleryDispatcher(celery_app, blueprint)
    celery_app.conf.beat_schedule = {
        "recover": {"task": dispatcher.recover_task.name, "schedule": 10}
    }
    with app.app_context():
        db.create_all()
        if db.session.get(Backfill, 1) is None:
            window = {"start_datetime": datetime(2024, 1, 1), "end_datetime": datetime(2024, 4, 30)}
            every = {"interval_type": "day", "interval_units": 1}
            settings = {"pipeline_run_limit": 5}
            names = {"id": 1, "pipeline_uuid": "visitors", "name": "Visitors of spring"}
            db.session.add(Backfill(**names, **window, **every, settings=settings))
            db.session.commit()
    return app
