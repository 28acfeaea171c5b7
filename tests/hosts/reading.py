"""A list of books to read: Flask-SQLAlchemy-Lite, typed dataclasses, a login in the session."""

import os

from flask import Flask
from flask import g
from flask import redirect
from flask import request
from flask import session
from flask import url_for
from flask_sqlalchemy_lite import SQLAlchemy
from jinja2 import StrictUndefined
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import MappedAsDataclass
from werkzeug.exceptions import abort

from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills.console import ConsoleBlueprint

db = SQLAlchemy()


class Base(MappedAsDataclass, DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(unique=True)


class Backfill(BackfillMixin, Base):
    __tablename__ = "backfill"
    pipeline_uuid: Mapped[str]
    #: Who asked for it; a keyword that requests do not have.
    reader: Mapped[str] = mapped_column(default="", kw_only=True)


class BackfillRun(BackfillRunMixin, Base):
    __tablename__ = "backfill_run"


def authorize(action, pipeline_uuid):
    return g.user is not None or abort(redirect(url_for("log_in", next=request.path)))


def look_up(run):
    return {"rows": 24}


def create_app(test_config=None):
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_mapping(
        SECRET_KEY="dev", SQLALCHEMY_ENGINES={"default": os.environ["DATABASE_URL"]}
    )
    app.config.from_mapping(test_config or {})
    app.jinja_env.undefined = StrictUndefined
    db.init_app(app)

    @app.before_request
    def load_user():
        g.user = db.session.get(User, session["user_id"]) if "user_id" in session else None

    @app.get("/")
    def index():
        return "Welcome"

    @app.route("/login", methods=["GET", "POST"])
    def log_in():
        if request.method == "GET":
            return "Who are you?"
        user = db.session.scalars(select(User).filter_by(name=request.form["name"])).one()
        session["user_id"] = user.id
        return redirect(url_for("index"))

    blueprint = BackfillBlueprint(
        Backfill, lambda: db.session, authorize=authorize, run_model=BackfillRun
    )
    blueprint.runner(look_up)
    app.register_blueprint(blueprint)
    app.register_blueprint(ConsoleBlueprint(blueprint))
    with app.app_context():
        Base.metadata.create_all(db.engine)
        db.session.add(User(name="ann"))
        db.session.commit()
    return app
