"""This package, with everything on: key, lock, ETag, merged checks, signals."""

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_backfills import api_key
from flask_backfills import backfill_updated
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin

from .common import KEY


def create(url):
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI=url, BACKFILLS_API_KEYS=[KEY])
    db = SQLAlchemy(app)

    class Backfill(BackfillMixin, db.Model):
        # The others share a table, which lacks what is optional.
        __tablename__ = "ours"

    app.register_blueprint(BackfillBlueprint(Backfill, db.session, authorize=api_key()))
    backfill_updated.connect(receive, app)
    with app.app_context():
        db.create_all()
        if db.session.get(Backfill, 6) is None:
            db.session.add(Backfill(id=6, pipeline_uuid="arwen_starlight", name="old"))
            db.session.commit()
    return app


def receive(sender, backfill, changes):
    """A receiver that only listens."""
