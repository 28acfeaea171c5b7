"""SQLite whose transactions the host begins by itself, as SQLAlchemy's documentation shows."""

import threading

import pytest
import sqlalchemy as sa
from conftest import Host
from conftest import takes_seconds

from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin

pytestmark = takes_seconds

START = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-03", "interval_type": "day"}
START |= {"interval_units": 1, "status": "initial"}


@pytest.fixture(params=["BEGIN", "BEGIN IMMEDIATE"])
def begun(request, sqlite_url):
    """A host in WAL mode, each of whose transactions begins with a statement."""
    host = Host(sqlite_url)
    host.begin = request.param
    begin_by(host, request.param)
    host.serve(run_model=host.run_model())
    yield host
    host.close()


def begin_by(host, statement):
    with host.app.app_context():
        engine = host.db.engine

    @sa.event.listens_for(engine, "connect")
    def connect(connection, record):
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA busy_timeout = 1000")

    @sa.event.listens_for(engine, "begin")
    def begin(connection):
        connection.exec_driver_sql(statement)

    return engine


@pytest.mark.parametrize("also", ["reads", "writes"])
def test_a_runner_that_has_read_what_others_have_written_since_ends_its_run(begun, also):
    calls = []

    @begun.blueprint.runner
    def run(run):
        calls.append(run.key)
        begun.db.session.scalars(sa.select(begun.model)).all()
        if begun.begin == "BEGIN":
            # With the other, who reads has the lock.
            put = threading.Thread(target=lambda: begun.put({"name": run.key}))
            put.start()
            put.join()
        if also == "writes":
            begun.db.session.add(begun.model(pipeline_uuid="mine", name=run.key))
        return {"rows": 1}

    begun.put(START)
    begun.work()
    assert len(calls) == 3 and begun.stored("status") == ["completed"] * 3
    assert begun.get()["metrics"] == {"rows": 3}
    assert begun.get()["name"] == (calls[-1] if begun.begin == "BEGIN" else "old_name")
    mine = begun.read("/api/pipelines/mine/backfills")["backfills"]
    assert len(mine) == (3 if also == "writes" else 0)


def test_workers_and_requests_that_begin_so_lose_nothing(begun):
    begun.blueprint.runner(lambda run: {"rows": 1})
    begun.put({**START, "interval_type": "hour"})
    stop, refused = threading.Event(), []

    def edit():
        while not stop.is_set():
            response = begun.app.test_client().put(
                "/api/pipelines/arwen_starlight/backfills/6", json={"backfill": {"name": "new"}}
            )
            refused.append(response.status_code)

    editing = threading.Thread(target=edit)
    editing.start()
    begun.work(concurrency=3)
    stop.set()
    editing.join()
    assert begun.stored("status") == ["completed"] * 49
    assert begun.get()["metrics"] == {"rows": 49}
    assert set(refused) <= {200, 503} and 200 in refused


def test_what_a_runner_has_written_is_kept_where_a_schema_has_another_name(begun):
    host = Host(begun.app.config["SQLALCHEMY_DATABASE_URI"] + ".other")

    class Backfill(BackfillMixin, host.db.Model):
        __tablename__ = "backfill"
        __table_args__ = {"schema": "mage"}

    class Run(BackfillRunMixin, host.db.Model):
        __tablename__ = "run"
        __table_args__ = {"schema": "mage"}

    engine = begin_by(host, begun.begin)
    engine.update_execution_options(schema_translate_map={"mage": None})
    host.serve(Backfill, run_model=Run)

    @host.blueprint.runner
    def run(run):
        host.db.session.add(Backfill(pipeline_uuid="mine"))
        host.db.session.flush()

    host.put(START)
    host.work()
    assert host.stored("status") == ["completed"] * 3
    assert len(host.read("/api/pipelines/mine/backfills")["backfills"]) == 3
    host.close()
