"""The whole of Flask-Backfills in one file, with the backfill of Mage's page in it.

python examples/quickstart/app.py [--port PORT]
"""

import argparse
import random
import socket
import sys
import time
from datetime import datetime
from pathlib import Path

from flask import Flask
from flask import redirect
from flask import request
from flask import url_for
from flask_sqlalchemy import SQLAlchemy
from werkzeug.serving import make_server

from flask_backfills import all_of
from flask_backfills import api_key
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillEventMixin
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills import oauth_token
from flask_backfills.console import ConsoleBlueprint

KEY = "demo-key"
TOKEN = "demo-token"
PORT = 6789  # the port of Mage, too
DATABASE = f"sqlite:///{Path(__file__).with_name('quickstart.db').resolve()}"

OPENAPI = {
    # For everybody, so that programs can make clients of it.
    "public": True,
    "security": [{"key": [], "token": []}],
    "components": {
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"},
            "token": {"type": "apiKey", "in": "cookie", "name": "oauth_token"},
        }
    },
}

db = SQLAlchemy()


class Backfill(BackfillMixin, db.Model):
    __tablename__ = "backfill"


class BackfillRun(BackfillRunMixin, db.Model):
    __tablename__ = "backfill_run"


class BackfillEvent(BackfillEventMixin, db.Model):
    __tablename__ = "backfill_event"


def verify(token: str, action: str, pipeline_uuid: str) -> bool:
    return token == TOKEN  # a real app asks its login service


programs = all_of(api_key(), oauth_token(verify))


def authorize(action: str, pipeline_uuid: str) -> bool:
    # The console is open to whoever reaches this dev server; a real app asks for its login.
    return request.blueprint == "console" or programs(action, pipeline_uuid)


def temperatures(ds: str) -> list[float | None]:
    """The 24 hourly readings of a station on a day; at noon of every 13th there is none."""
    day = random.Random(ds)
    readings = [15 + 8 * (1 - abs(hour - 14) / 14) + day.gauss(0, 1) for hour in range(24)]
    return [None if ds.endswith("-13") and h == 12 else value for h, value in enumerate(readings)]


def average(run: BackfillRun) -> dict:
    """The work of one run: a day's mean temperature, in which a gap may be skipped."""
    time.sleep(run.variables.get("seconds", 1))  # real work takes a while
    readings = temperatures(run.variables["ds"])
    if run.variables.get("skip_gaps"):
        readings = [value for value in readings if value is not None]
    if None in readings:
        raise ValueError(f"no reading at {readings.index(None)}:00")
    print(run.variables["ds"], f"{sum(readings) / len(readings):.1f} degrees", flush=True)
    return {"readings": len(readings)}


def seed() -> None:
    moment = datetime(2023, 7, 18, 23, 30, 26)
    page = {"id": 6, "pipeline_uuid": "arwen_starlight", "name": "old_name"}
    july = {"id": 7, "pipeline_uuid": "weather", "name": "Temperatures of July"}
    july |= {"start_datetime": datetime(2023, 7, 1), "end_datetime": datetime(2023, 7, 31)}
    july |= {"interval_type": "day", "interval_units": 1}
    for backfill in (page, july):
        db.session.add(Backfill(**backfill, created_at=moment, updated_at=moment))
    db.session.commit()


def create_app(config: dict | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="only for this demo",
        SQLALCHEMY_DATABASE_URI=DATABASE,
        BACKFILLS_API_KEYS=[KEY],
        BACKFILLS_LEASE=30,
    )
    app.config.update(config or {})
    db.init_app(app)
    blueprint = BackfillBlueprint(
        Backfill,
        db.session,
        authorize=authorize,
        run_model=BackfillRun,
        event_model=BackfillEvent,
        openapi=OPENAPI,
    )
    blueprint.runner(average)
    app.register_blueprint(blueprint)
    app.register_blueprint(ConsoleBlueprint(blueprint))
    app.add_url_rule("/", "home", lambda: redirect(url_for("console.list")))
    with app.app_context():
        db.create_all()
        if db.session.get(Backfill, 6) is None:
            seed()
    return app


def greeting(port: int) -> str:
    return f"""The console is at http://localhost:{port}/backfills/. To run what you start there, in another terminal:

    .venv/bin/flask --app examples/quickstart/app.py backfills work

The API takes requests such as this one:

curl -X PUT \\
  --url http://localhost:{port}/api/pipelines/arwen_starlight/backfills/6 \\
  -H 'Content-Type: application/json' \\
  -H 'Cookie: oauth_token={TOKEN}' \\
  -H 'X-API-KEY: {KEY}' \\
  -d '{{"backfill": {{"start_datetime": "2023-07-17 23:56:05", "end_datetime": "2023-07-18 23:56:05", "name": "new_name"}}}}'
"""


def listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except (OSError, OverflowError):
        other = PORT + 1 if port != PORT + 1 else PORT + 2
        sys.exit(f"Port {port} can't be used: another program may have it. Add --port {other}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The quickstart of Flask-Backfills.")
    parser.add_argument("--port", type=int, default=PORT, help="default: %(default)s")
    # The port is taken first, so that what is said of it is true.
    with listen(parser.parse_args().port) as listener:
        host, port = listener.getsockname()
        server = make_server(host, port, create_app(), threaded=True, fd=listener.fileno())
        print(greeting(port), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
