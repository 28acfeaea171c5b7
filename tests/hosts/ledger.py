"""A ledger with tables from long ago: plain SQLAlchemy that reflects them, and a single sign-on."""

import os

from flask import abort
from flask import Flask
from flask import request
from sqlalchemy import create_engine
from sqlalchemy import Table
from sqlalchemy import text
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker
from sqlalchemy.orm import synonym

from flask_backfills import BackfillBlueprint
from flask_backfills.console import ConsoleBlueprint

engine = create_engine(os.environ["DATABASE_URL"])
session = scoped_session(sessionmaker(engine, autoflush=False))

with engine.begin() as connection:
    # Another program made them.
    connection.execute(
        text(
            "CREATE TABLE main.t_rerun (rerun_no INTEGER PRIMARY KEY, job VARCHAR(60) NOT NULL,"
            " label VARCHAR(200), since DATETIME, until DATETIME, step VARCHAR(16), steps INTEGER,"
            " state VARCHAR(16), totals JSON, changed_by VARCHAR(30) DEFAULT 'unknown' NOT NULL)"
        )
    )
    connection.execute(
        text(
            "CREATE TABLE main.t_rerun_day (day_no INTEGER PRIMARY KEY, rerun_no INTEGER NOT NULL"
            " REFERENCES t_rerun, day_key VARCHAR(60) NOT NULL, day DATETIME, state VARCHAR(16)"
            " NOT NULL, told TEXT, since DATETIME, UNIQUE (rerun_no, day_key))"
        )
    )
    connection.execute(text("CREATE INDEX next_day ON t_rerun_day (rerun_no, state, day, day_no)"))


class Base(DeclarativeBase):
    pass


class Rerun(Base):
    __table__ = Table("t_rerun", Base.metadata, schema="main", autoload_with=engine)
    pipeline_uuid = synonym("job")
    name = synonym("label")
    start_datetime = synonym("since")
    end_datetime = synonym("until")
    interval_type = synonym("step")
    interval_units = synonym("steps")
    status = synonym("state")
    metrics = synonym("totals")


class Day(Base):
    __table__ = Table("t_rerun_day", Base.metadata, schema="main", autoload_with=engine)
    id = __table__.c.day_no
    backfill_id = __table__.c.rerun_no
    key = __table__.c.day_key
    execution_date = __table__.c.day
    status = __table__.c.state
    error = __table__.c.told
    started_at = __table__.c.since


def authorize(action, pipeline_uuid):
    # The web server sets it, once the user has logged in there.
    user = request.remote_user or abort(401)
    return action in ("list", "detail") or user == "ann"


app = Flask(__name__)
app.config["SECRET_KEY"] = os.urandom(16)
reruns = BackfillBlueprint(Rerun, session, authorize=authorize, run_model=Day, end="exclusive")
app.register_blueprint(reruns)
app.register_blueprint(ConsoleBlueprint(reruns, url_prefix="/reruns"))


@reruns.runner
def book(run):
    return {"rows": 24}


@app.teardown_appcontext
def end_session(error):
    session.remove()


@app.get("/")
def home():
    return f"The ledger of {request.remote_user}"
