"""What a test runs as a process of its own: python tests/processes.py DATABASE_URL ROLE URL."""

import json
import subprocess
import sys
import time

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin


def begin(role, database_url, url):
    """Run a role as a process."""
    command = [sys.executable, __file__, database_url, role, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def create_app(url):
    app = Flask("processes")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app)

    class Backfill(BackfillMixin, db.Model):
        __tablename__ = "backfill"

    class BackfillRun(BackfillRunMixin, db.Model):
        __tablename__ = "backfill_run"

    blueprint = BackfillBlueprint(
        Backfill, db.session, authorize=allow_anyone, run_model=BackfillRun
    )
    app.register_blueprint(blueprint)
    return app, blueprint.runs


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
            if not found and client.get(url).json["backfill"]["status"] == "completed":
                break
            if not found:
                time.sleep(0.01)
    print(json.dumps(claimed))


def edit(app, runs, url):
    """Move the end there and back, pause and resume, until it has ended."""
    client = app.test_client()
    edits = [
        {"settings": {"paused": True}},
        {"end_datetime": "2023-03-02T08:00:00"},
        {"settings": {"paused": False, "pipeline_run_limit": 7}},
        {"variables": {"edit": 1}},
        {"end_datetime": "2023-03-02T09:19:00", "settings": {"order": "backwards"}},
        {"settings": {}},
    ]
    made = 0
    for _ in range(4):
        for change in edits:
            response = client.put(url, json={"backfill": change})
            assert response.status_code == 200, response.text
            made += response.json["backfill"]["status"] == "running"
            time.sleep(0.05)
    print(json.dumps(made))


def die(app, runs, url):
    """Claim a run and never finish it."""
    with app.app_context():
        [run] = runs.claim()
    print(json.dumps(run.key), flush=True)
    time.sleep(60)


def start(app, runs, url):
    """Start a backfill of 100,000 runs, and say when it has begun to write them."""

    def tell(connection, cursor, statement, *rest):
        if statement.startswith("INSERT INTO backfill_run"):
            print(json.dumps("writing"), flush=True)

    with app.app_context():
        event.listen(app.extensions["sqlalchemy"].engine, "before_cursor_execute", tell)
    change = {"end_datetime": "2023-05-09", "interval_units": 1, "status": "initial"}
    app.test_client().put(url, json={"backfill": change})


if __name__ == "__main__":
    _, database_url, role, url = sys.argv
    {"work": work, "edit": edit, "die": die, "start": start}[role](*create_app(database_url), url)
