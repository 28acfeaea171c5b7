"""The backfill API over the legacy table, for those whom their grants allow."""

from __future__ import annotations

import typing as t

from flask import abort
from flask import Flask
from flask_login import current_user

from flask_backfills import backfill_updated
from flask_backfills import BackfillBlueprint

from .models import AuditEntry
from .models import db
from .models import Rerun


def authorize(action: str, pipeline_uuid: str) -> bool:
    if not current_user.is_authenticated:
        abort(401, "Log in first.")
    allowed: bool = current_user.may(action, pipeline_uuid)
    return allowed


def audit(sender: Flask, backfill: Rerun, changes: dict[str, tuple[t.Any, t.Any]]) -> None:
    told = {attribute: [str(old), str(new)] for attribute, (old, new) in changes.items()}
    entry = AuditEntry(rerun_key=backfill.rerun_key, login=current_user.login, changes=told)
    db.session.add(entry)
    db.session.commit()


def init_app(app: Flask) -> None:
    app.register_blueprint(BackfillBlueprint(Rerun, db.session, authorize=authorize))
    backfill_updated.connect(audit, app)
