"""A host that was there before: an app factory with users, migrations and a legacy table."""

from __future__ import annotations

import typing as t

from flask import Flask
from flask_migrate import Migrate

from . import accounts
from . import backfills
from . import cli
from .models import db


def create_app(config: dict[str, t.Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY="change me",
        SQLALCHEMY_DATABASE_URI="sqlite:///warehouse.db",
        # For programs. Users log in.
        BACKFILLS_API_KEYS=["change me too"],
    )
    app.config.from_prefixed_env("WAREHOUSE")
    app.config.from_mapping(config or {})

    db.init_app(app)
    Migrate(app, db)
    accounts.init_app(app)
    backfills.init_app(app)
    app.cli.add_command(cli.seed)

    @app.get("/")
    def index() -> str:
        return "The warehouse."

    @app.errorhandler(404)
    def missing(error: Exception) -> tuple[str, int]:
        return "The warehouse has no such page.", 404

    return app
