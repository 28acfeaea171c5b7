"""What breaks in the middle: databases and workers that die."""

import sqlite3
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
import sqlalchemy as sa
from conftest import LIST
from conftest import takes_seconds
from conftest import URL
from conftest import wait_for
from processes import begin

from flask_backfills.console import ConsoleBlueprint
from flask_backfills.tables import clock

DAY = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-03"}
DAY |= {"interval_type": "day", "interval_units": 1}
START = {**DAY, "end_datetime": "2023-03-07", "status": "initial"}
KILL = {
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
    "mariadb": ("SELECT connection_id()", "KILL {}"),
}


def line(process):
    """The next line that a process prints."""
    return process.stdout.readline().strip()


@pytest.mark.parametrize("database_url", list(KILL), indirect=True)
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_what_a_dying_connection_has_interrupted_is_done_again(runner, method, request):
    ask, kill = KILL[request.node.callspec.params["database_url"]]
    killed = []

    def cut(connection, cursor, statement, *rest):
        writes = ("UPDATE backfill ", "INSERT INTO backfill ", "DELETE FROM backfill ")
        if not killed and statement.startswith(writes):
            cursor.execute(ask)
            killed.append(cursor.fetchone()[0])
            with runner.db.engine.connect() as other:
                other.execute(sa.text(kill.format(killed[0])))

    with runner.app.app_context():
        sa.event.listen(runner.db.engine, "before_cursor_execute", cut)
    before = runner.get()
    url = URL.removesuffix("/6") if method == "POST" else URL
    response = runner.client.open(url, method=method, json={"backfill": {"name": "new"}})
    assert killed
    assert response.status_code in (200, 201)
    backfills = [one["name"] for one in runner.read(LIST)["backfills"]]
    expected = {"PUT": ["new"], "POST": ["new", before["name"]], "DELETE": []}
    assert sorted(backfills) == sorted(expected[method])


#: What only reads, and a change for which the pipeline is looked up first.
READS = [
    URL,
    "/api/backfills/6",
    LIST,
    "/api/backfills?pipeline_uuid=arwen_starlight",
    f"{URL}/runs",
    f"{URL}/explain",
    LIST.replace("/backfills", "/coverage?start_datetime=2023-01-01&end_datetime=2023-02-01"),
    "/backfills/",
    "/backfills/6",
    "/backfills/6/edit",
    "/backfills/6/live",
    "/backfills/6/live/runs",
]


def cut_reads(host, request, what="FROM backfill"):
    """A list of how often a connection that is about to read backfills is cut from now on."""
    ask, kill = KILL[request.node.callspec.params["database_url"]]
    left = []

    def cut(connection, cursor, statement, *rest):
        if left and statement.startswith("SELECT") and what in statement:
            cursor.execute(ask)
            with host.db.engine.connect() as other:
                other.execute(sa.text(kill.format(cursor.fetchone()[0])))
            left.pop()

    with host.app.app_context():
        sa.event.listen(host.db.engine, "before_cursor_execute", cut)
    return left


@pytest.mark.parametrize("database_url", list(KILL), indirect=True)
@pytest.mark.parametrize("path", READS)
def test_what_is_read_is_read_again_when_its_connection_dies(runner, request, path):
    expected = runner.client.get(path)
    left = cut_reads(runner, request)
    left += [1, 2]
    answer = runner.client.get(path)
    assert (answer.status_code, left) == (200, [])
    if answer.is_json:
        assert answer.json == expected.json


@pytest.mark.parametrize("database_url", list(KILL), indirect=True)
@pytest.mark.parametrize("path", [URL, f"{URL}/explain", f"{URL}/runs/1"])
def test_what_asks_for_the_time_asks_again_when_its_connection_dies(
    runner, request, path, monkeypatch
):
    runner.put(START)
    runner.put({"status": "cancelled"})
    # Each request asks for it.
    monkeypatch.setattr(clock, "KEPT", -1)
    left = cut_reads(runner, request, "timestamp(")
    left.append(1)
    if path == URL:
        answer = runner.client.delete(path)
    elif path.endswith("explain"):
        answer = runner.client.get(path)
    else:
        answer = runner.client.put(path, json={"run": {"status": "completed"}})
    assert (answer.status_code, left) == (200, [])


@pytest.mark.parametrize("database_url", list(KILL), indirect=True)
def test_a_pipeline_is_looked_up_again_when_its_connection_dies(runner, request):
    left = cut_reads(runner, request)
    left.append(1)
    answer = runner.client.put("/api/backfills/6", json={"backfill": {"name": "new"}})
    assert (answer.status_code, left, runner.get()["name"]) == (200, [], "new")


@pytest.mark.parametrize("database_url", list(KILL), indirect=True)
def test_who_asks_is_let_in_once_though_it_is_read_again(modelled, models, request):
    """Such as by a token that is used up."""
    asked = []

    def authorize(action, pipeline_uuid):
        asked.append(action)
        return True

    _, model, run_model = models
    modelled.serve(model, run_model=run_model, authorize=authorize)
    left = cut_reads(modelled, request)
    for path in (URL, LIST, f"{URL}/runs", f"{URL}/explain"):
        asked.clear()
        left += [1, 2]
        assert (modelled.client.get(path).status_code, left, len(asked)) == (200, [], 1), path


@pytest.mark.parametrize("database_url", list(KILL), indirect=True)
@pytest.mark.parametrize("path", [URL, "/backfills/6"])
def test_what_authorize_has_written_is_not_lost_by_reading_again(modelled, models, request, path):
    def authorize(action, pipeline_uuid):
        asked.append(action)
        change = sa.update(modelled.model).values(name="by the host")
        modelled.db.session.execute(change)
        # What is read next.
        left.extend(armed)
        return True

    asked, armed, left = [], [], []
    _, model, _ = models
    modelled.app.secret_key = "secret"
    modelled.serve(model, authorize=authorize)
    modelled.app.register_blueprint(ConsoleBlueprint(modelled.blueprint))
    left = cut_reads(modelled, request)
    armed.append(1)
    answer = modelled.client.get(path)
    assert (answer.status_code, len(asked), left) == (503, 1, [])


@pytest.mark.parametrize("database_url", list(KILL), indirect=True)
def test_what_is_read_is_not_read_again_where_the_host_has_changed_something(own_host, request):
    """It is undone with the connection, and a 200 would hide that."""
    visits = []

    @own_host.app.before_request
    def visit():
        visits.append(1)
        change = sa.update(own_host.model).values(name="by the host")
        own_host.db.session.execute(change)

    left = cut_reads(own_host, request)
    left.append(1)
    answer = own_host.client.get(URL)
    assert (answer.status_code, left, len(visits)) == (503, [], 1)


@pytest.mark.parametrize("database_url", list(KILL), indirect=True)
@pytest.mark.parametrize("how", ["raises", "returns"])
def test_a_run_whose_connection_is_cut_is_told_of_at_once(runner, request, how):
    ask, kill = KILL[request.node.callspec.params["database_url"]]
    session = runner.db.session

    @runner.blueprint.runner
    def run(run):
        if run.key.startswith("2023-03-01") and run.losses is None:
            connection = session.scalar(sa.text(ask))
            with runner.db.engine.connect() as other:
                other.execute(sa.text(kill.format(connection)))
            if how == "raises":
                # So that the end finds out that there is nothing to roll back any more.
                raise RuntimeError("of its own")
        return {"rows": 1}

    runner.put({**DAY, "status": "initial"})
    runner.work()
    first, *others = runner.rows()
    assert [row["status"] for row in others] == ["completed"] * 2
    if how == "raises":
        assert (first["status"], first["attempt"], first["error"]) == ("failed", 1, "of its own")
    else:
        assert (first["status"], first["attempt"]) == ("completed", 1)
        assert runner.get()["metrics"] == {"rows": 3}


@takes_seconds
def test_the_run_of_a_worker_that_was_killed_is_taken_back(runner, database_url):
    runner.put({**DAY, "status": "initial"})
    with begin("die", database_url, URL) as worker:
        assert line(worker) == '"2023-03-01T00:00:00"'
        worker.kill()
    assert runner.rows()[0]["status"] == "running"
    with runner.app.app_context():
        recover = runner.blueprint.runs.recover
        assert recover(older_than=timedelta(hours=1)) == 0
        assert recover(older_than=timedelta(0)) == 1
    row = runner.rows()[0]
    assert (row["status"], row["attempt"], row["started_at"]) == ("initial", 2, None)
    for run in runner.claim(limit=3):
        assert runner.finish(run, "completed", attempt=run.attempt)
    assert runner.get()["status"] == "completed"


def test_a_lost_run_that_is_no_longer_wanted_does_not_keep_the_backfill_open(runner):
    runner.put({**DAY, "status": "initial"})
    first, second, _ = runner.claim(limit=3)
    runner.finish(first, "completed")
    runner.finish(second, "completed")
    runner.put({"end_datetime": "2023-03-02"})
    assert runner.get()["status"] == "running"
    with runner.app.app_context():
        assert runner.blueprint.runs.recover(older_than=timedelta(0)) == 1
    assert runner.get()["status"] == "completed"
    assert runner.rows()[2]["status"] == "cancelled"


@takes_seconds
def test_a_start_that_was_killed_leaves_no_run(runner, database_url):
    runner.put({**DAY, "interval_type": "minute"})
    before = runner.get()
    with begin("start", database_url, URL) as process:
        for _ in range(20):
            assert line(process) == '"writing"'
        process.kill()
    # A server needs a moment to see that its client is gone.
    wait_for(lambda: runner.put({"name": "old_name"}).status_code == 200)
    assert runner.get() == before
    assert runner.read(f"{URL}/runs")["metadata"]["count"] == 0
    assert runner.put({"end_datetime": "2023-03-01T00:09", "status": "initial"}).status_code == 200
    assert runner.read(f"{URL}/runs")["metadata"]["count"] == 10


# What a host's own code does around a run


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("the host's queue is away"),
        # As of another database of the host's, that is not to be done again here.
        sa.exc.OperationalError("SELECT 1", None, sqlite3.OperationalError("database is locked")),
    ],
    ids=["its own", "another database's"],
)
def test_what_after_commit_raises_undoes_and_repeats_nothing(own_runner, listen, error, caplog):
    calls = []
    own_runner.blueprint.runner(lambda run: calls.append(run.key))

    def announce(session):
        raise error

    listen(own_runner.db.session, "after_commit", announce)
    assert own_runner.put(START).status_code == 200
    assert own_runner.post({"name": "other"}).status_code == 201
    assert "after_commit has failed: what it follows is stored" in caplog.text
    assert own_runner.read(LIST)["metadata"]["count"] == 2
    own_runner.work()
    assert own_runner.get()["status"] == "completed"
    assert sorted(calls) == own_runner.stored("key")
    assert set(own_runner.stored("status", "attempt")) == {("completed", 1)}


def test_a_filter_of_the_hosts_that_raises_ends_no_run(own_runner):
    def ask(record):
        raise RuntimeError("Working outside of request context.")

    own_runner.put(START)
    own_runner.blueprint.runner(lambda run: 1 / 0 if run.key.endswith("01T00:00:00") else None)
    own_runner.app.logger.addFilter(ask)
    own_runner.work(concurrency=2)
    own_runner.app.logger.removeFilter(ask)
    assert Counter(own_runner.stored("status")) == {"failed": 1, "completed": 6}


@takes_seconds
def test_a_filter_of_the_hosts_that_raises_ends_no_worker_and_no_lease(own_runner):
    own_runner.app.config["BACKFILLS_LEASE"] = 1.2
    may_fail, taken = set(), []

    def ask(record):
        raise RuntimeError("Working outside of request context.")

    # In the thread that claims and in the one that renews leases, once each.
    @own_runner.app.teardown_appcontext
    def fail(error):
        thread = threading.current_thread().name
        if thread in may_fail:
            may_fail.remove(thread)
            raise ConnectionError("a cache of the host's")

    @own_runner.blueprint.runner
    def run(run):
        may_fail.update(["claims", "backfills-keeper"])
        wait_for(lambda: not may_fail)
        time.sleep(1.5)
        taken.append(own_runner.recover(None))

    own_runner.put({**START, "end_datetime": "2023-03-01"})
    own_runner.app.logger.addFilter(ask)
    working = threading.Thread(target=own_runner.work, name="claims")
    working.start()
    working.join()
    own_runner.app.logger.removeFilter(ask)
    assert (own_runner.stored("status", "attempt"), taken) == ([("completed", 1)], [0])


def test_what_a_runner_adds_after_remove_is_undone_if_it_raises(own_runner):
    own_runner.put(START)

    @own_runner.blueprint.runner
    def run(run):
        own_runner.db.session.remove()
        own_runner.db.session.add(own_runner.model(pipeline_uuid="left", name="left"))
        own_runner.db.session.flush()
        raise ValueError("no")

    own_runner.work()
    assert set(own_runner.stored("status")) == {"failed"}
    assert own_runner.read("/api/pipelines/left/backfills")["backfills"] == []


def test_a_locked_backfill_holds_up_no_other(own_runner):
    if own_runner.app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        pytest.skip("there is one lock for all")
    own_runner.put(START)
    other = own_runner.post({**START, "name": "other"}).headers["Location"]
    ended, go = [], threading.Event()

    @own_runner.blueprint.runner
    def run(run):
        if run.backfill_id == 6 and not ended:
            ended.append(run.key)
            # Of the host's own, for as long as the function works.
            backfill = own_runner.db.session.get(own_runner.model, 6)
            backfill.block_uuid = "mine"
            own_runner.db.session.flush()
            go.wait(60)

    def watch():
        wait_for(lambda: own_runner.statuses(other).get("completed") == 7)
        go.set()

    watching = threading.Thread(target=watch)
    watching.start()
    own_runner.work(concurrency=2)
    watching.join()
    assert go.is_set() and set(own_runner.stored("status")) == {"completed"}


@takes_seconds
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_that_is_away_is_told_of_once_in_a_while(own_runner, caplog):
    host, stop = own_runner, threading.Event()
    host.blueprint.runner(lambda run: None)
    with host.app.app_context():
        there = host.db.engines[None]
        # Nobody listens at this port.
        host.db.engines[None] = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:9/none")
    working = threading.Thread(target=lambda: host.work(stop=stop, once=False))
    working.start()
    time.sleep(3)
    stop.set()
    working.join(30)
    with host.app.app_context():
        host.db.engines[None].dispose()
        host.db.engines[None] = there
    [told] = caplog.messages
    assert told.startswith("No run was claimed: ")
