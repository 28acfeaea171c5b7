"""The rows of a start, whatever the run model: as SQLAlchemy would store them one by one."""

import enum
import itertools
import uuid
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import sqlalchemy as sa
from conftest import about_sql
from conftest import LIST
from conftest import often
from conftest import takes_seconds
from conftest import URL
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import synonym

from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills.rules.window import INTERVAL_TYPES
from flask_backfills.rules.window import Window

pytestmark = about_sql

BEGIN = datetime(2023, 3, 1, 23, 30, 26, 7)
HOURS = {"start_datetime": BEGIN.isoformat(), "interval_type": "hour", "interval_units": 1}
COUNT = 1_234
HOURS |= {"end_datetime": (BEGIN + timedelta(hours=COUNT - 1)).isoformat()}
START = {**HOURS, "status": "initial"}

OWNER = uuid.UUID(int=7)


class Status(enum.Enum):
    WAITS = "initial"
    RUNS = "running"
    DONE = "completed"
    FAILED = "failed"
    GONE = "cancelled"


class Upper(sa.types.TypeDecorator):
    impl = sa.String(40)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value.replace("T", "/")

    def process_result_value(self, value, dialect):
        return value.replace("/", "T")


def moment(timezone=False):
    precise = mysql.DATETIME(fsp=6, timezone=timezone)
    return sa.DateTime(timezone=timezone).with_variant(precise, "mysql", "mariadb")


def few(db, **more):
    """A run model of the columns that it can't do without."""
    columns = {
        "__tablename__": "backfill_run",
        "id": sa.Column(sa.Integer, primary_key=True),
        "backfill_id": sa.Column(sa.Integer),
        "key": sa.Column(sa.String(40)),
        "execution_date": sa.Column(moment()),
        "status": sa.Column(sa.String(16)),
    }
    return type("Run", (db.Model,), columns | more)


def mixed(db, **more):
    return type("Run", (BackfillRunMixin, db.Model), {"__tablename__": "backfill_run", **more})


def renamed(db):
    """Columns in UTC, with other names than their attributes; constants of types of their own."""
    more = {
        "backfill_id": sa.Column("Owner id", sa.Uuid),
        "key": sa.Column("run.key", sa.String(40), key="run_key"),
        "execution_date": sa.Column("select", moment(timezone=True)),
        "interval_end_datetime": sa.Column("end%", moment(timezone=True)),
        "state": sa.Column("st", sa.Enum(Status), nullable=False),
        "status": synonym("state"),
        "note": sa.Column(sa.JSON),
        "variables": synonym("note"),
    }
    return few(db, **more)


def stuffed(db):
    """Columns that the package does not know, and that must not be null."""
    more = {
        "team": sa.Column(sa.String(20), nullable=False, default="a 'b'"),
        "labels": sa.Column(sa.JSON, nullable=False, default={"a": [1, None]}),
        "size": sa.Column(sa.Integer, nullable=False, server_default="7"),
        "length": sa.Column(sa.Integer, nullable=False, default=sa.func.length("abc")),
        "kind": sa.Column(sa.Enum(Status), nullable=False, default=Status.GONE),
    }
    return mixed(db, **more)


FORMAT = "%(day)02d.%(month)02d.%(year)04d %(hour)02d:%(minute)02d:%(second)02d"
PATTERN = r"(?P<day>\d+).(?P<month>\d+).(?P<year>\d+) (?P<hour>\d+):(?P<minute>\d+):(?P<second>\d+)"
GERMAN = sqlite.DATETIME(storage_format=FORMAT, regexp=PATTERN)

#: Run models whose rows are sent as one text.
SENT = {
    "mixin": mixed,
    "few": few,
    "renamed": renamed,
    "stuffed": stuffed,
    "seconds": lambda db: few(db, execution_date=sa.Column(sa.DateTime)),
    "format": lambda db: few(db, execution_date=sa.Column(moment().with_variant(GERMAN, "sqlite"))),
}

#: Those whose values go through Python one by one.
BOUND = {
    "keys": lambda db: mixed(db, id=sa.Column(sa.Uuid, primary_key=True, default=uuid.uuid4)),
    "numbers": lambda db: few(
        db, number=sa.Column(sa.String(80), unique=True, default=lambda context: numbered(context))
    ),
    "decorator": lambda db: few(db, key=sa.Column(Upper)),
    "texts": lambda db: few(db, key=sa.Column(sa.Enum(*keys(), name="key_of_run"))),
}


def numbered(context):
    return f"no. {context.get_current_parameters()['key']}"


def keys():
    return [(BEGIN + timedelta(hours=n)).isoformat() for n in range(30)]


def serve(host, kind):
    run_model = {**SENT, **BOUND}[kind](host.db)
    if kind == "renamed":
        columns = {
            "__tablename__": "backfill",
            "id": sa.Column(sa.Uuid, primary_key=True, default=lambda: OWNER),
        }
        model = type("Backfill", (BackfillMixin, host.db.Model), columns)
        host.serve(
            model, seed={"id": OWNER, "pipeline_uuid": "arwen_starlight"}, run_model=run_model
        )
        return f"{LIST}/{OWNER}", OWNER
    host.serve(run_model=run_model)
    return URL, 6


def insertions(host):
    return [s for s in host.statements if s.startswith("INSERT INTO backfill_run ")]


def raw(host):
    """All columns as they are stored, and on SQLite what they are stored as; less serial keys."""
    table = host.blueprint.host.run_table.table
    found = [
        column
        for column in table.c
        if not isinstance(column.type, sa.Integer) or not column.primary_key
    ]
    asked = [sa.type_coerce(column, sa.types.NullType()) for column in found]
    with host.app.app_context(), host.db.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            asked += [sa.func.typeof(column) for column in found]
        query = sa.select(*asked).order_by(*table.primary_key)
        return [tuple(row) for row in connection.execute(query)]


def hourly(count):
    dates = [BEGIN + timedelta(hours=n) for n in range(count + 1)]
    return list(itertools.pairwise(dates))


def one_by_one(host, intervals, owner=6):
    """Let SQLAlchemy store each run by itself, in place of those that are there."""
    runs = host.blueprint.host.run_table
    zone = timezone.utc if getattr(runs.date.type, "timezone", False) else None
    is_enum = isinstance(runs.columns["status"].type, sa.Enum)
    same = {"backfill_id": owner, "pipeline_uuid": "arwen_starlight", "attempt": 1}
    same |= {"wanted": True, "status": Status.WAITS if is_enum else "initial"}
    with host.app.app_context():
        host.db.session.execute(sa.delete(runs.table))
        for start, end in intervals:
            row = {**same, "variables": sa.null(), "key": start.isoformat()}
            row["execution_date"] = start.replace(tzinfo=zone)
            row["interval_end_datetime"] = end.replace(tzinfo=zone)
            row = {runs.columns[name].key: row[name] for name in row if name in runs.columns}
            host.db.session.execute(sa.insert(runs.table).values(row))
        host.db.session.commit()


@takes_seconds
@pytest.mark.parametrize("kind", SENT)
def test_a_start_sends_a_thousand_rows_as_one_text(bare, kind):
    url, owner = serve(bare, kind)
    previewed = bare.put(START, f"{url}?dry_run=true").json["metadata"]["plan"]
    bare.statements.clear()
    response = bare.put(START, url)
    assert response.status_code == 200, response.text
    told = response.json["metadata"]["plan"]
    assert (told["add"], told["hash"]) == (COUNT, previewed["hash"])
    assert len(insertions(bare)) == 2
    assert all(" SELECT " in one for one in insertions(bare))
    stored = raw(bare)
    one_by_one(bare, hourly(COUNT), owner)
    assert stored == raw(bare)


@takes_seconds
@pytest.mark.parametrize("kind", ["mixin", "stuffed"])
def test_dates_that_an_edit_adds_are_sent_as_one_text(bare, kind):
    url, owner = serve(bare, kind)
    # Dates are added on both sides, so that not all of them follow one another.
    few_hours = {"start_datetime": (BEGIN + timedelta(hours=600)).isoformat()}
    few_hours["end_datetime"] = (BEGIN + timedelta(hours=603)).isoformat()
    assert bare.put({**START, **few_hours}, url).status_code == 200
    bare.statements.clear()
    assert bare.put(HOURS, url).json["metadata"]["plan"]["add"] == COUNT - 4
    assert len(insertions(bare)) == 2
    stored = raw(bare)
    one_by_one(bare, hourly(COUNT), owner)
    assert sorted(stored, key=repr) == sorted(raw(bare), key=repr)


@pytest.mark.parametrize("kind", BOUND)
def test_a_value_that_python_has_to_compute_for_each_row_is_computed(bare, kind):
    serve(bare, kind)
    last = BEGIN + timedelta(hours=29)
    bare.statements.clear()
    assert bare.put({**START, "end_datetime": last.isoformat()}).status_code == 200
    assert insertions(bare) and not any(" SELECT " in one for one in insertions(bare))
    if kind == "keys":
        assert len(set(bare.stored("id"))) == 30
        return
    stored = raw(bare)
    assert len(stored) == 30
    one_by_one(bare, hourly(30))
    assert stored == raw(bare)
    assert bare.stored("key") == keys()


def test_what_a_generator_gives_is_stored_with_its_own_variables(runner):
    odd = ["it's", 'a "b"', "c\\d", "e\nf", "{g}", "%(h)s", "ü", "null"]

    @runner.blueprint.generator("odd")
    def of(backfill):
        return [{"key": key, "n": n} for n, key in enumerate(odd)]

    assert runner.put({"block_uuid": "odd", "status": "initial"}).status_code == 200
    assert sorted(runner.stored("key")) == sorted(odd)
    found = dict(runner.stored("key", "variables"))
    assert [found[key] for key in odd] == [{"n": n} for n in range(len(odd))]


def test_a_run_that_is_there_already_refuses_the_whole_start(runner):
    with runner.app.app_context():
        model = runner.blueprint.host.run_model
        index = sa.Index("one_run_an_hour", model.__table__.c.key, unique=True)
        index.create(runner.db.engine)
        other = {"backfill_id": 5, "key": (BEGIN + timedelta(hours=1_200)).isoformat()}
        runner.db.session.execute(sa.insert(model.__table__).values(other))
        runner.db.session.commit()
    response = runner.put(START)
    assert (response.status_code, response.json["error"]["type"]) == (409, "conflict")
    assert len(runner.stored("key")) == 1
    assert runner.get()["status"] is None
    with runner.app.app_context():
        model.__table__.indexes.discard(index)


STARTS = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 1))
UNITS = st.sampled_from(sorted(INTERVAL_TYPES))


@settings(max_examples=often(40))
@given(start=STARTS, unit=UNITS, units=st.integers(1, 40), days=st.integers(0, 400))
def test_any_window_is_stored_as_sqlalchemy_stores_it(runner, start, unit, units, days):
    end = start + min(timedelta(days=days), datetime(9999, 12, 31) - start)
    if unit in ("minute", "hour"):
        end = start + (end - start) / 1_000
    sent = {"start_datetime": start.isoformat(), "end_datetime": end.isoformat()}
    sent |= {"interval_type": unit, "interval_units": units, "status": "initial"}
    with runner.app.app_context():
        runner.db.session.execute(sa.delete(runner.blueprint.host.run_model))
        runner.db.session.commit()
    response = runner.post(sent)
    assert response.status_code == 201, response.text
    stored = raw(runner)
    intervals = [one[:2] for one in Window(start, end, unit, units).intervals()]
    assert len(stored) == len(intervals)
    one_by_one(runner, intervals, response.json["backfill"]["id"])
    assert stored == raw(runner)
