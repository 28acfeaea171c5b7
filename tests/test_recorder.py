"""Runs whose functions leave nothing in their session: how they went is recorded for several at once."""

import sys
import threading
import time

import pytest
import sqlalchemy as sa
from conftest import takes_seconds

START = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-08", "interval_type": "day"}
START |= {"interval_units": 1, "status": "initial"}

RECORDER = "backfills-recorder"


def is_recorder():
    return threading.current_thread().name == RECORDER


@pytest.fixture
def at_once(own_runner, listen):
    """Eight runs, four at a time, of which none is recorded by the recorder before some end."""
    commits, let = [], threading.Event()

    def wait(*args):
        if is_recorder():
            let.wait(20)

    def commit(connection):
        if is_recorder():
            commits.append(connection)

    with own_runner.app.app_context():
        # Before it has a lock of SQLite's.
        listen(own_runner.db.engine, "begin", wait)
        listen(own_runner.db.engine, "commit", commit)

    def work(function, **options):
        told, begun, ended, meets = [], [], [], threading.Barrier(2)

        @own_runner.blueprint.runner
        def run(run):
            begun.append(run.key)
            # The first two begin before one of them has ended: neither is alone.
            if len(begun) <= 2:
                meets.wait(20)
            try:
                return function(run)
            finally:
                ended.append(run.key)
                if len(ended) == 4:
                    threading.Timer(0.1, let.set).start()

        def tell(run, status):
            told.append((run.key[8:10], status))

        own_runner.put(START)
        own_runner.work(concurrency=4, tell=tell, **options)
        return sorted(told), len(commits)

    return work


def days(**others):
    """What is told of each day: ``completed`` but for some."""
    return [(f"{day:02}", others.get(f"on_{day}", "completed")) for day in range(1, 9)]


def test_several_ends_share_a_commit_and_each_is_told_once(own_runner, at_once):
    told, commits = at_once(lambda run: {"rows": 1})
    assert (told, 0 < commits < 7) == (days(), True), commits
    assert own_runner.get()["metrics"] == {"rows": 8}
    assert set(own_runner.stored("status", "attempt", "heartbeat_at")) == {("completed", 1, None)}


def test_what_is_no_longer_a_workers_to_end_does_not_spoil_the_others(own_runner, at_once):
    with own_runner.app.app_context():
        engine, table = own_runner.db.engine, own_runner.blueprint.host.run_model.__table__

    def change(run):
        of_it = table.c.id == run.id
        if run.key.startswith("2023-03-02"):
            with engine.begin() as connection:
                connection.execute(sa.delete(table).where(of_it))
        if run.key.startswith("2023-03-03"):
            with engine.begin() as connection:
                connection.execute(sa.update(table).where(of_it).values(worker="another"))
        if run.key.startswith("2023-03-04"):
            raise ValueError("no file")

    told, _ = at_once(change)
    assert told == days(on_2=None, on_3=None, on_4="failed")


@pytest.mark.parametrize("how", ["raises", "exits", "is cut"])
def test_where_one_transaction_fails_each_end_has_its_own(own_runner, at_once, listen, how):
    failed = []

    def fail(connection, cursor, statement, *rest):
        if is_recorder() and not failed and statement.startswith("UPDATE"):
            failed.append(statement)
            if how == "exits":
                sys.exit("the host's own")
            if how == "raises":
                raise RuntimeError("the host's own")
            connection.connection.dbapi_connection.close()

    with own_runner.app.app_context():
        listen(own_runner.db.engine, "before_cursor_execute", fail)
    told, _ = at_once(lambda run: {"rows": 1})
    assert (told, len(failed)) == (days(), 1)
    assert own_runner.get()["metrics"] == {"rows": 8}
    assert set(own_runner.stored("status", "attempt", "losses")) == {("completed", 1, None)}


def test_a_host_that_listens_for_commits_hears_that_of_each_run(own_runner, at_once, listen):
    heard = []
    listen(own_runner.db.session, "after_commit", lambda session: heard.extend(session.info["ran"]))
    listen(
        own_runner.db.session, "after_begin", lambda session, *_: session.info.setdefault("ran", [])
    )

    def run(run):
        own_runner.db.session.info["ran"] = [run.key[8:10]]

    told, commits = at_once(run)
    assert (told, sorted(heard), commits) == (days(), [day for day, _ in days()], 0)


@takes_seconds
def test_a_run_that_somebody_has_locked_keeps_no_other_from_its_end(own_runner, database_url):
    if database_url.startswith("sqlite"):
        pytest.skip("it locks no rows")
    with own_runner.app.app_context():
        engine, table = own_runner.db.engine, own_runner.blueprint.host.run_model.__table__
    told, holder, meets = [], engine.connect(), threading.Barrier(2)

    @own_runner.blueprint.runner
    def run(run):
        if run.key < "2023-03-03":
            meets.wait(20)
        if run.key.startswith("2023-03-01"):
            holder.execute(sa.select(table.c.id).where(table.c.id == run.id).with_for_update())

    def tell(run, status):
        told.append(run.key[8:10])
        if len(told) == 7:
            holder.close()

    own_runner.put(START)
    own_runner.work(concurrency=2, tell=tell)
    assert told[-1] == "01"
    assert set(own_runner.stored("status", "attempt")) == {("completed", 1)}


def test_what_has_ended_is_not_given_back_by_a_worker_that_has_to_leave(own_runner, listen):
    hurry, meets = threading.Event(), threading.Barrier(2)

    def wait(*args):
        if is_recorder():
            hurry.set()
            time.sleep(0.2)

    with own_runner.app.app_context():
        listen(own_runner.db.engine, "before_cursor_execute", wait)

    @own_runner.blueprint.runner
    def run(run):
        meets.wait(20)

    own_runner.put({**START, "end_datetime": "2023-03-02"})
    own_runner.work(concurrency=2, hurry=hurry)
    assert own_runner.stored("status", "attempt") == [("completed", 1)] * 2
