"""What a test runs as a process of its own: python tests/processes.py DATABASE_URL ROLE URL."""

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from datetime import timedelta

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from marshmallow import fields
from sqlalchemy import Column
from sqlalchemy import event
from sqlalchemy import Integer
from sqlalchemy import text

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills import BackfillSchema
from flask_backfills import worker


def begin(role, database_url, url):
    """Run a role as a process."""
    command = [sys.executable, __file__, database_url, role, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def create_app(url, mixin=BackfillMixin, **options):
    """A host whose backfills have runs, unless the blueprint's options say otherwise."""
    app = Flask("processes")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    if url.startswith("sqlite"):
        # It has no queue for its lock: among many who ask all the time, one may wait long.
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": {"timeout": 60}}
    db = SQLAlchemy(app)

    class Backfill(mixin, db.Model):
        __tablename__ = "backfill"

    class BackfillRun(BackfillRunMixin, db.Model):
        __tablename__ = "backfill_run"

    options = {"run_model": BackfillRun, **options}
    blueprint = BackfillBlueprint(Backfill, db.session, authorize=allow_anyone, **options)
    app.register_blueprint(blueprint)
    return app, blueprint


class VersionedMixin(BackfillMixin):
    version = Column(Integer, nullable=False, default=1)


class VersionedSchema(BackfillSchema):
    version = fields.Integer(dump_only=True)


# Nothing that guards: two writers who read the same row would both write its next version.
@event.listens_for(VersionedMixin, "before_update", propagate=True)
def count(mapper, connection, backfill):
    backfill.version += 1


def wsgi(url):
    """An app whose backfills count their versions, which tells the order of the commits."""
    app, _ = create_app(url, VersionedMixin, run_model=None, schema=VersionedSchema)
    return app


def work(app, runs, url):
    """Claim and finish until the backfill has ended, and print what was claimed."""
    claimed = []
    client = app.test_client()
    with app.app_context():
        while True:
            found = runs.claim(limit=5)
            claimed += [run.key for run in found]
            for run in found:
                assert runs.finish(run.id, "completed", {"runs": 1}, attempt=run.attempt)
                # SQLite's lock has no queue: whoever edits would not get it before the end.
                time.sleep(0.005)
            if not found and client.get(url).json["backfill"]["status"] == "completed":
                break
            if not found:
                time.sleep(0.01)
    print(json.dumps(claimed))


def edit(app, runs, url):
    """Move the end there and back, pause and resume, while enough is left to do.

    The workers must not come to the earlier end meanwhile: there the backfill would be completed.
    """
    client = app.test_client()
    shown = client.get(f"{url}?include_run_count=true").json["backfill"]
    total, end = shown["total_run_count"], datetime.fromisoformat(shown["end_datetime"])
    edits = [
        {"settings": {"paused": True}},
        {"end_datetime": (end - timedelta(minutes=total // 20)).isoformat()},
        {"settings": {"paused": False, "pipeline_run_limit": 7}},
        {"variables": {"edit": 1}},
        {"end_datetime": end.isoformat(), "settings": {"order": "backwards"}},
        {"settings": {}},
    ]
    made = 0
    counts = {"initial": total}
    while counts["initial"] > total / 2:
        for change in edits:
            response = client.put(url, json={"backfill": change})
            assert response.status_code == 200, response.text
            made += response.json["backfill"]["status"] in ("initial", "running")
            time.sleep(0.05)
        shown = client.get(f"{url}?include_run_count=true").json["backfill"]
        counts = {"initial": 0, **shown["run_status_counts"]}
    print(json.dumps(made))


def die(app, runs, url):
    """Claim a run and never finish it."""
    with app.app_context():
        [run] = runs.claim()
    print(json.dumps(run.key), flush=True)
    time.sleep(60)


def stand(app, runs, url):
    """Do a run in one transaction, in which nobody else may write it, and never end it."""
    app.config["BACKFILLS_LEASE"] = 2.4
    [blueprint] = app.blueprints.values()
    session = app.extensions["sqlalchemy"].session

    def refuse(connection, *rest):
        connection.cursor().execute("SET SESSION innodb_snapshot_isolation = ON")

    with app.app_context():
        engine = app.extensions["sqlalchemy"].engine
        if engine.dialect.name != "postgresql":
            event.listen(engine, "connect", refuse)

    @blueprint.runner
    def run(run):
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        session.execute(text("SELECT count(*) FROM backfill"))
        print(json.dumps(run.key), flush=True)
        time.sleep(60)

    worker.work(app, blueprint)


def start(app, runs, url):
    """Start a backfill of 100,000 runs, and say when it has begun to write them."""

    def tell(connection, cursor, statement, *rest):
        if statement.startswith("INSERT INTO backfill_run"):
            print(json.dumps("writing"), flush=True)

    with app.app_context():
        event.listen(app.extensions["sqlalchemy"].engine, "before_cursor_execute", tell)
    change = {"end_datetime": "2023-05-09", "interval_units": 1, "status": "initial"}
    app.test_client().put(url, json={"backfill": change})


def working():
    """For the flask command: a host whose runs take a while, and are lost after two seconds."""
    app, blueprint = create_app(os.environ["DATABASE_URL"])
    app.config["BACKFILLS_LEASE"] = 2

    @blueprint.runner
    def run(run):
        time.sleep(float(os.environ.get("SECONDS", 0.5)))

    return app


if __name__ == "__main__":
    _, database_url, role, url = sys.argv
    roles = {"work": work, "edit": edit, "die": die, "stand": stand, "start": start}
    app, blueprint = create_app(database_url)
    roles[role](app, blueprint.runs, url)
