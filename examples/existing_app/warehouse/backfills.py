"""The backfill API and its console over the legacy table, for those whom their grants allow."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

from flask import abort
from flask import Flask
from flask_login import current_user

from flask_backfills import backfill_updated
from flask_backfills import BackfillBlueprint
from flask_backfills.console import Change
from flask_backfills.console import ConsoleBlueprint

from .models import AuditEntry
from .models import db
from .models import Rerun


def authorize(action: str, pipeline_uuid: str) -> bool:
    if not current_user.is_authenticated:
        abort(401, "Log in first.")
    allowed: bool = current_user.may(action, pipeline_uuid)
    return allowed


def audit(sender: Flask, backfill: Rerun, changes: dict[str, tuple[t.Any, t.Any]]) -> None:
    # Nobody is logged in where `flask backfills` made the change.
    login = current_user.login if current_user else "flask"
    told = {attribute: [str(old), str(new)] for attribute, (old, new) in changes.items()}
    db.session.add(AuditEntry(rerun_key=backfill.rerun_key, login=login, changes=told))
    db.session.commit()


def history(backfill: Rerun) -> Iterator[Change]:
    entries = db.select(AuditEntry).filter_by(rerun_key=backfill.rerun_key)
    for entry in db.session.scalars(entries.order_by(AuditEntry.id.desc()).limit(50)):
        changes = [f"{key}: {old} to {new}" for key, (old, new) in entry.changes.items()]
        yield entry.at, entry.login, "; ".join(changes)


def init_app(app: Flask) -> None:
    blueprint = BackfillBlueprint(Rerun, db.session, authorize=authorize)
    app.register_blueprint(blueprint)
    app.register_blueprint(ConsoleBlueprint(blueprint, history=history))
    backfill_updated.connect(audit, app)
