"""What a runner or a receiver of the host's own does, and what it must not do to the others."""

import asyncio
import sqlite3
import sys
import threading
from collections import Counter
from contextlib import closing

import pytest
import sqlalchemy as sa
from conftest import takes_seconds
from flask import has_request_context

from flask_backfills import backfill_updated

pytestmark = takes_seconds

START = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-03", "interval_type": "day"}
START |= {"interval_units": 1, "status": "initial"}
KILL = {
    "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
    "mysql": "KILL connection_id()",
}


def interrupt(engine, connection):
    """Let a connection's statement be interrupted: cut off, or kept from SQLite's lock."""
    if engine.dialect.name in KILL:
        connection.execute(sa.text(KILL[engine.dialect.name]))
    else:
        with closing(sqlite3.connect(engine.url.database)) as other:
            other.execute("BEGIN IMMEDIATE")
            connection.execute(sa.text("UPDATE backfill SET name = 'mine'"))


@pytest.mark.parametrize("whose", ["ours", "another"])
def test_an_interruption_is_nobodys_failure_in_the_blueprints_database_alone(own_runner, whose):
    own_runner.put({**START, "end_datetime": "2023-03-01"})
    calls = []
    with own_runner.app.app_context():
        engine = own_runner.db.engine
    if engine.dialect.name == "sqlite":
        own_runner.wait_less_for_a_lock()
    another = sa.create_engine(engine.url)

    @own_runner.blueprint.runner
    def run(run):
        calls.append(run.attempt)
        if len(calls) == 1 and whose == "ours":
            interrupt(engine, own_runner.db.session)
        elif len(calls) == 1:
            with another.connect() as connection:
                if engine.dialect.name == "sqlite":
                    connection.execute(sa.text("PRAGMA busy_timeout = 100"))
                interrupt(engine, connection)

    own_runner.work()
    another.dispose()
    assert calls == ([1, 1] if whose == "ours" else [1])
    assert own_runner.stored("status") == ["completed" if whose == "ours" else "failed"]


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_an_app_context_that_a_runner_leaves_pushed_ends_with_it(own_runner, how):
    host = own_runner
    torn, pending = [], []
    host.app.teardown_appcontext(lambda error: torn.append(threading.current_thread().name))

    @host.blueprint.runner
    def run(run):
        pending.append(bool(host.db.session.new))
        host.db.session.add(host.model(pipeline_uuid="mine", name=run.key))
        host.app.app_context().push()
        # Left there, as the context is.
        host.db.session.add(host.model(pipeline_uuid="left", name=run.key))
        if how == "raises":
            raise ValueError("no")

    host.put(START)
    host.work()
    assert set(host.stored("status")) == {"completed" if how == "returns" else "failed"}
    mine = [one["name"] for one in host.read("/api/pipelines/mine/backfills")["backfills"]]
    assert len(mine) == (3 if how == "returns" else 0)
    assert host.read("/api/pipelines/left/backfills")["backfills"] == []
    assert pending == [False] * 3
    # The worker's own, and the one that was left in each.
    assert torn.count("backfills-0") == 6


def test_a_request_context_that_a_runner_leaves_pushed_is_not_the_next_runs(own_runner):
    found = []

    @own_runner.blueprint.runner
    def run(run):
        found.append(has_request_context())
        own_runner.app.test_request_context().push()

    own_runner.put(START)
    own_runner.work()
    assert found == [False] * 3 and set(own_runner.stored("status")) == {"completed"}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_runner_that_sets_another_schema_on_its_connection_ends_no_worker(own_runner):
    own_runner.put(START)
    session = own_runner.db.session
    with own_runner.app.app_context():
        session.execute(sa.text("CREATE SCHEMA IF NOT EXISTS tenant"))
        session.commit()

    @own_runner.blueprint.runner
    def run(run):
        if run.key.startswith(START["start_datetime"]):
            session.execute(sa.text("SET search_path TO tenant"))
            session.commit()

    own_runner.work()
    first, *others = own_runner.stored("status", "attempt", "error")
    assert first[:2] == ("failed", 1) and "does not exist" in first[2]
    assert set(others) == {("completed", 1, None)}


def test_a_receiver_that_raises_what_is_no_exception_ends_no_worker(own_runner):
    own_runner.put(START)
    own_runner.blueprint.runner(lambda run: None)
    asked = []

    def fail(sender, backfill, changes):
        asked.append(backfill.id)
        raise asyncio.CancelledError

    with backfill_updated.connected_to(fail):
        own_runner.work()
    assert asked and set(own_runner.stored("status", "attempt")) == {("completed", 1)}


def test_a_receiver_that_exits_ends_the_worker_and_loses_no_run(own_runner):
    own_runner.put(START)
    calls, asked = Counter(), []

    @own_runner.blueprint.runner
    def run(run):
        calls[run.key] += 1

    def leave(sender, backfill, changes):
        if not asked:
            asked.append(backfill.id)
            sys.exit("a receiver's own")

    with backfill_updated.connected_to(leave):
        with pytest.raises(SystemExit):
            own_runner.work()
        assert (asked, set(own_runner.stored("status", "attempt"))) == ([6], {("initial", 1)})
        own_runner.store(available_at=None)
        own_runner.work()
    assert set(own_runner.stored("status", "attempt")) == {("completed", 1)}
    assert set(calls.values()) == {1} and len(calls) == 3


def test_a_receiver_that_exits_while_a_run_works_lets_it_end(own_runner):
    own_runner.put(START)
    other = own_runner.post({**START, "name": "other", "settings": {"priority": -1}})
    calls, go = Counter(), threading.Event()

    @own_runner.blueprint.runner
    def run(run):
        calls[run.backfill_id, run.key] += 1
        assert not run.key.startswith("2023-03-03") or go.wait(60)

    def leave(sender, backfill, changes):
        # The other begins once two of the first have ended, and the third works still.
        if backfill.id != 6:
            threading.Timer(0.2, go.set).start()
            sys.exit("a receiver's own")

    with backfill_updated.connected_to(leave), pytest.raises(SystemExit):
        own_runner.work(concurrency=3)
    assert own_runner.statuses(other.headers["Location"])["initial"] == 3
    assert own_runner.stored("status").count("completed") == 3
    assert set(calls.values()) == {1}


@pytest.mark.parametrize("at", [(7, "running"), (6, "completed")])
def test_a_receiver_that_exits_leaves_no_backfill_behind_its_runs(own_runner, at):
    own_runner.put({**START, "end_datetime": "2023-03-01"})
    sent = {**START, "name": "other", "settings": {"priority": -1}}
    other = own_runner.post(sent).headers["Location"]
    own_runner.blueprint.runner(lambda run: {"rows": 1})

    def leave(sender, backfill, changes):
        # The other begins when the run of the first has ended, and before that is rolled up.
        if (backfill.id, backfill.status) == at:
            sys.exit("a receiver's own")

    with backfill_updated.connected_to(leave), pytest.raises(SystemExit):
        own_runner.work()
    assert own_runner.get()["status"] == "completed"
    assert "running" not in own_runner.statuses(other)


def test_an_event_of_the_hosts_that_exits_as_a_run_ends_fails_that_run(own_runner, listen):
    own_runner.put(START)

    @own_runner.blueprint.runner
    def run(run):
        own_runner.db.session.info["ends"] = run.key.startswith("2023-03-02")

    def leave(session):
        if session.info.pop("ends", False):
            sys.exit("the host's own")

    listen(own_runner.db.session, "before_commit", leave)
    own_runner.work()
    assert own_runner.stored("status", "error") == [
        ("completed", None),
        ("failed", "the host's own"),
        ("completed", None),
    ]


def test_a_database_that_is_away_when_a_function_asks_for_it_is_nobodys_failure(own_runner, listen):
    own_runner.put({**START, "end_datetime": "2023-03-01"})
    calls, away = [], []
    with own_runner.app.app_context():
        own_runner.db.engine.dispose()
        # With a dialect of its own, whose events it hears; each connection is a new one.
        engine = sa.create_engine(own_runner.db.engine.url, poolclass=sa.NullPool)
        own_runner.db.engines[None] = engine
    nowhere = {"postgresql": {"port": 1}, "mysql": {"port": 1}, "sqlite": {"database": "/no/where"}}

    def connect(dialect, record, args, kwargs):
        if away:
            # Back once the function has seen it, whoever else has seen it before.
            if away[0] == threading.get_ident():
                away.clear()
            url = engine.url.set(**nowhere[engine.url.get_backend_name()])
            args, kwargs = dialect.create_connect_args(url)
            return dialect.connect(*args, **kwargs)
        return None

    listen(engine, "do_connect", connect)

    @own_runner.blueprint.runner
    def run(run):
        calls.append(run.attempt)
        if len(calls) == 1:
            away.append(threading.get_ident())
            own_runner.db.session.scalar(sa.text("SELECT 1"))

    own_runner.work()
    assert (calls, own_runner.stored("status", "attempt")) == ([1, 1], [("completed", 1)])
