"""What a test runs as a process of its own: python tests/processes.py DATABASE_URL ROLE."""

import json
import sys
import time

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin


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


if __name__ == "__main__":
    _, database_url, role, url = sys.argv
    {"work": work, "edit": edit}[role](*create_app(database_url), url)
