"""Machines that are slow, cut off, or wrong about the time."""

import threading
import time
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import sqlalchemy as sa
from conftest import takes_seconds
from conftest import URL
from conftest import wait_for
from processes import create_app

from flask_backfills.tables import clock

WEEK = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-07"}
WEEK |= {"interval_type": "day", "interval_units": 1}
START = {**WEEK, "status": "initial"}
DONE = ["completed"] * 7


CUT = {
    "postgresql": (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()",
        "SELECT pg_terminate_backend({})",
    ),
    "mariadb": (
        "SELECT id FROM information_schema.processlist WHERE db = database()"
        " AND id <> connection_id()",
        "KILL {}",
    ),
}


@pytest.fixture
def runner(own_runner):
    """A host of its own, since the threads of these tests may outlive them."""
    return own_runner


@pytest.mark.parametrize("database_url", list(CUT), indirect=True)
@pytest.mark.parametrize("flushed", [False, True])
def test_connections_that_are_cut_lose_no_end_and_double_no_work(
    runner, database_url, request, flushed
):
    ask, kill = CUT[request.node.callspec.params["database_url"]]
    db, model, called = runner.db, runner.model, []

    @runner.blueprint.runner
    def run(run):
        called.append(run.key)
        if flushed:
            db.session.add(model(pipeline_uuid="made", name=run.key))
            db.session.flush()
        if len(called) == 3:
            engine = sa.create_engine(database_url)
            with engine.connect() as connection:
                for key in connection.scalars(sa.text(ask)).all():
                    connection.execute(sa.text(kill.format(key)))
            engine.dispose()
        return {"rows": 1}

    stop, ends = threading.Event(), []

    def tell(run, status):
        ends.append(status)
        if ends.count("completed") == 7:
            stop.set()

    runner.put(START)
    runner.work(once=False, stop=stop, tell=tell)
    assert runner.stored("status") == DONE
    assert runner.stored("attempt") == [1] * 7
    assert len(called) == (8 if flushed else 7)
    made = runner.read("/api/backfills?pipeline_uuid=made")["metadata"]["count"]
    assert made == (7 if flushed else 0)
    assert wait_for(lambda: runner.get()["metrics"]) == {"rows": 7}


@takes_seconds
def test_a_run_that_takes_longer_than_the_lease_is_done_once(runner):
    runner.app.config["BACKFILLS_LEASE"] = 1.5
    called, taken = [], []

    @runner.blueprint.runner
    def run(run):
        called.append(run.key)
        time.sleep(4)

    runner.put({**START, "end_datetime": "2023-03-02"})
    workers = [threading.Thread(target=runner.work) for _ in range(2)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        taken.append(runner.recover(None))
        time.sleep(0.2)
    assert sum(taken) == 0 and len(called) == 2
    assert runner.stored("status", "attempt") == [("completed", 1)] * 2


class AnHourAhead(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(timezone.utc) + timedelta(hours=1)


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("how", ["recover", "claim", "claim of one", "finish", "begin", "delete"])
def test_a_machine_whose_clock_is_ahead_takes_no_run_from_anybody(
    runner, database_url, monkeypatch, how
):
    runner.put(START)
    mine, second = runner.claim(limit=2)
    monkeypatch.setattr(clock, "datetime", AnHourAhead)
    app, blueprint = create_app(database_url)
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"poolclass": sa.NullPool}
    with app.app_context():
        if how == "recover":
            blueprint.runs.recover()
        elif how == "claim":
            blueprint.runs.claim()
        elif how == "claim of one":
            blueprint.runs.claim(6)
        elif how == "finish":
            blueprint.runs.finish(second.id, "completed")
        elif how == "begin":
            blueprint.runs.begin(second.id + 1)
        else:
            assert app.test_client().delete(URL).status_code == 409
        app.extensions["sqlalchemy"].engine.dispose()
    assert runner.stored("status", "attempt")[0] == ("running", 1)
    assert runner.end(mine) is True


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_a_machine_whose_clock_is_ahead_marks_nothing_as_done_that_a_worker_is_at(
    runner, database_url, monkeypatch
):
    runner.put(START)
    mine, second = runner.claim(limit=2)
    runner.put({"status": "cancelled"})
    monkeypatch.setattr(clock, "datetime", AnHourAhead)
    app, _ = create_app(database_url)
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"poolclass": sa.NullPool}
    client, done = app.test_client(), {"status": "completed"}
    one = client.put(f"{URL}/runs/{mine.id}", json={"run": done})
    many = client.put(f"{URL}/runs?status=cancelled", json={"runs": done})
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()
    held, *others = runner.stored("id", "status")[1:]
    assert (one.status_code, held) == (409, (second.id, "cancelled"))
    assert many.json["metadata"]["count"] == len(others)
