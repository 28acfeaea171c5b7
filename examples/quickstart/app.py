"""The whole of Flask-Backfills in one file, with the backfill of Mage's page in it.

python examples/quickstart/app.py
"""

from datetime import datetime
from pathlib import Path

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_backfills import all_of
from flask_backfills import api_key
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills import oauth_token

KEY = "demo-key"
TOKEN = "demo-token"
DATABASE = f"sqlite:///{Path(__file__).with_name('quickstart.db').resolve()}"

OPENAPI = {
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


def verify(token: str, action: str, pipeline_uuid: str) -> bool:
    return token == TOKEN  # a real app asks its login service


def create_app(config: dict | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI=DATABASE, BACKFILLS_API_KEYS=[KEY])
    app.config.update(config or {})
    db.init_app(app)
    app.register_blueprint(
        BackfillBlueprint(
            Backfill,
            db.session,
            authorize=all_of(api_key(), oauth_token(verify)),
            run_model=BackfillRun,
            openapi=OPENAPI,
        )
    )
    with app.app_context():
        db.create_all()
        if db.session.get(Backfill, 6) is None:
            moment = datetime(2023, 7, 18, 23, 30, 26)
            db.session.add(
                Backfill(
                    id=6,
                    pipeline_uuid="arwen_starlight",
                    name="old_name",
                    created_at=moment,
                    updated_at=moment,
                )
            )
            db.session.commit()
    return app


REQUEST = f"""curl -X PUT \\
  --url http://localhost:6789/api/pipelines/arwen_starlight/backfills/6 \\
  -H 'Content-Type: application/json' \\
  -H 'Cookie: oauth_token={TOKEN}' \\
  -H 'X-API-KEY: {KEY}' \\
  -d '{{"backfill": {{"start_datetime": "2023-07-17 23:56:05", "end_datetime": "2023-07-18 23:56:05", "name": "new_name"}}}}'
"""

if __name__ == "__main__":
    print("Paste this into another terminal:\n\n" + REQUEST, flush=True)
    create_app().run("127.0.0.1", 6789)
