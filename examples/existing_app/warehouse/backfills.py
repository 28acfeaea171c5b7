"""The backfill API and its console over the legacy table, for those whom their grants allow."""

from __future__ import annotations

from flask import abort
from flask import Flask
from flask_login import current_user

from flask_backfills import BackfillBlueprint
from flask_backfills.console import ConsoleBlueprint

from .models import db
from .models import Rerun
from .models import RerunEvent


def authorize(action: str, pipeline_uuid: str) -> bool:
    if not current_user.is_authenticated:
        abort(401, "Log in first.")
    allowed: bool = current_user.may(action, pipeline_uuid)
    return allowed


def actor() -> str | None:
    # Nobody is logged in where `flask backfills` makes a change.
    return current_user.login if current_user else None


def init_app(app: Flask) -> None:
    blueprint = BackfillBlueprint(
        Rerun, db.session, authorize=authorize, event_model=RerunEvent, actor=actor
    )
    app.register_blueprint(blueprint)
    app.register_blueprint(ConsoleBlueprint(blueprint))
