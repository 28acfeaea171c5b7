"""``flask seed``: two users of two companies, and a rerun of each to try the API on."""

from __future__ import annotations

import uuid
from datetime import datetime
from datetime import timezone

import click
from flask.cli import with_appcontext
from werkzeug.security import generate_password_hash

from .models import db
from .models import Grant
from .models import Rerun
from .models import User

ADAS = uuid.UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
BOBS = uuid.UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")


@click.command()
@with_appcontext
def seed() -> None:
    """Add ada (password: lovelace) of Acme and bob (builder) of Globex, who may rerun the orders."""
    ada = User(login="ada", password_hash=generate_password_hash("lovelace"), company="Acme")
    ada.grants.append(Grant(pipeline="orders", may_edit=True))
    ada.grants.append(Grant(pipeline="stock"))
    bob = User(login="bob", password_hash=generate_password_hash("builder"), company="Globex")
    bob.grants.append(Grant(pipeline="orders", may_edit=True))
    week = {
        "flow": "orders",
        "from_ts": datetime(2023, 3, 1, tzinfo=timezone.utc),
        "to_ts": datetime(2023, 3, 7, tzinfo=timezone.utc),
        "step": "day",
        "step_count": 1,
    }
    db.session.add_all([ada, bob])
    db.session.add(Rerun(rerun_key=ADAS, label="March again", company="Acme", **week))
    db.session.add(Rerun(rerun_key=BOBS, label="March, for Globex", company="Globex", **week))
    db.session.commit()
    click.echo(f"/api/pipelines/orders/backfills/{ADAS}")
