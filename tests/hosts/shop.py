"""A shop made by a factory: configuration in a class, migrations, two databases, a visit counter."""

import os

from flask import Blueprint
from flask import Flask
from flask import request
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import func
from sqlalchemy import select
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column

from flask_backfills import api_key
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin

db = SQLAlchemy()
migrate = Migrate()
main = Blueprint("main", __name__)


class Config:
    BACKFILLS_API_KEYS = ["key of the shop"]
    SQLALCHEMY_DATABASE_URI = os.environ["DATABASE_URL"]
    SQLALCHEMY_BINDS = {"visits": f"{SQLALCHEMY_DATABASE_URI}.visits"}


class Visit(db.Model):
    __bind_key__ = "visits"
    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str]


class Backfill(BackfillMixin, db.Model):
    pass


class BackfillRun(BackfillRunMixin, db.Model):
    pass


backfills = BackfillBlueprint(
    Backfill, db.session, authorize=api_key(), run_model=BackfillRun, openapi=True
)


@backfills.runner
def load_orders(run):
    return {"rows": 24}


@main.get("/")
def index():
    return {"visits": db.session.scalar(select(func.count()).select_from(Visit))}


@main.after_app_request
def count_visit(response):
    db.session.add(Visit(path=request.path))
    db.session.commit()
    return response


def create_app(config=Config):
    app = Flask(__name__)
    app.config.from_object(config)
    db.init_app(app)
    migrate.init_app(app, db, directory=f"{os.environ['DATABASE_FOLDER']}/migrations")
    app.register_blueprint(main)
    app.register_blueprint(backfills)
    return app
