"""``flask seed``: a user and a rerun to try the API on."""

from __future__ import annotations

import uuid

import click
from flask.cli import with_appcontext
from werkzeug.security import generate_password_hash

from .models import db
from .models import Grant
from .models import Rerun
from .models import User

DEMO_KEY = uuid.UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")


@click.command()
@with_appcontext
def seed() -> None:
    """Add the user ada (password: lovelace), who may edit the pipeline orders."""
    user = User(login="ada", password_hash=generate_password_hash("lovelace"))
    user.grants.append(Grant(pipeline="orders", may_edit=True))
    user.grants.append(Grant(pipeline="stock"))
    db.session.add(user)
    db.session.add(Rerun(rerun_key=DEMO_KEY, flow="orders", label="March again"))
    db.session.commit()
    click.echo(f"/api/pipelines/orders/backfills/{DEMO_KEY}")
