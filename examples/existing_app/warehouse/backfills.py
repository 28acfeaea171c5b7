"""The backfill API and its console over the legacy table: for users by their grants, and for programs."""

from __future__ import annotations

import random
import typing as t

import sqlalchemy as sa
from flask import abort
from flask import Flask
from flask import has_request_context
from flask_login import current_user

from flask_backfills import any_of
from flask_backfills import api_key
from flask_backfills import BackfillBlueprint
from flask_backfills.console import ConsoleBlueprint

from .accounts import is_logged_in
from .models import db
from .models import Rerun
from .models import RerunEvent
from .models import RerunRun


def granted(action: str, pipeline_uuid: str) -> bool:
    """Whether the user who is logged in may do something in a pipeline."""
    if not is_logged_in():
        abort(401, "Log in first.")
    allowed: bool = current_user.may(action, pipeline_uuid)
    return allowed


def of_the_company(query: sa.Select[t.Any]) -> sa.Select[t.Any]:
    """The reruns that a request can see: of a user, those of the own company."""
    if is_logged_in():
        return query.where(Rerun.company == current_user.company)
    # A program with a key, or somebody at the terminal, serves all companies. Nobody else gets
    # as far as this: `granted` wants a login.
    return query


def actor() -> str | None:
    if is_logged_in():
        login: str = current_user.login
        return login
    # None at the terminal and in a worker: the package knows who that is.
    return "a program" if has_request_context() else None


def count_orders(run: RerunRun) -> dict[str, int]:
    """The work of one run: the orders of a day or an hour, counted again."""
    return {"orders": random.Random(run.key).randint(80, 120)}


def init_app(app: Flask) -> None:
    blueprint = BackfillBlueprint(
        Rerun,
        db.session,
        authorize=any_of(api_key(), granted),
        scope=of_the_company,
        run_model=RerunRun,
        event_model=RerunEvent,
        actor=actor,
    )
    blueprint.runner(count_orders)
    app.register_blueprint(blueprint)
    app.register_blueprint(ConsoleBlueprint(blueprint))
