"""Runs whose rows their runners have locked, and machines that were asleep."""

import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from conftest import Host
from conftest import takes_seconds
from conftest import URL
from flask_sqlalchemy import SQLAlchemy

pytestmark = takes_seconds

START = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-02", "interval_type": "day"}
START |= {"interval_units": 1, "status": "initial"}


def apart(do):
    """What something returns in a thread of its own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(do()))
    thread.start()
    thread.join(20)
    assert found, "it has waited for somebody else's lock, or has raised"
    return found[0]


@pytest.mark.parametrize("level", [None, "REPEATABLE READ"])
@pytest.mark.parametrize("how", ["its own row", "a row of the host's"])
def test_a_run_that_was_locked_for_a_lease_is_not_taken_back_once_it_is_free(
    database_url, level, how
):
    if level and database_url.startswith("sqlite"):
        pytest.skip("it has one level")
    host = Host(database_url, **({"isolation_level": level} if level else {}))
    host.app.config["BACKFILLS_LEASE"] = 2.4
    host.serve(run_model=host.run_model())
    taken, attempts = [], []

    @host.blueprint.runner
    def run(run):
        attempts.append(run.attempt)
        if len(attempts) > 1:
            return
        if how == "its own row":
            run.error = "mine"
        else:
            host.db.session.add(host.model(pipeline_uuid="mine"))
        host.db.session.flush()
        # Meanwhile nobody can renew its lease, or it is not renewed at this level.
        time.sleep(2.8)
        host.db.session.commit()
        # As another worker does, at once.
        taken.append(apart(lambda: host.recover(None)))

    host.put({**START, "end_datetime": "2023-03-01"})
    host.work()
    found = host.stored("status", "attempt")
    host.close()
    assert (taken, attempts, found) == ([0], [1], [("completed", 1)])


@pytest.fixture
def postgresql(database_url):
    if not database_url.startswith("postgresql"):
        pytest.skip("the others can write what others have written since")
    return database_url


@pytest.mark.parametrize("how", ["another database", "a level of its own", "another session"])
def test_what_a_runner_has_open_for_long_at_a_strict_level_is_stored(postgresql, sqlite_url, how):
    strict = {"isolation_level": "REPEATABLE READ"}
    host = Host(postgresql, **({} if how == "a level of its own" else strict))
    host.app.config["BACKFILLS_LEASE"] = 1.5
    with host.app.app_context():
        host.db.engines["other"] = sa.create_engine(sqlite_url)

    class Note(host.db.Model):
        __tablename__ = "note"
        __bind_key__ = "other" if how == "another database" else None
        id = sa.Column(sa.Integer, primary_key=True)

    host.serve(run_model=host.run_model())
    attempts, session = [], host.db.session

    @host.blueprint.runner
    def run(run):
        attempts.append(run.attempt)
        if how == "another session":
            session.remove()
        if how == "a level of its own":
            session.connection(execution_options=strict)
        session.add(Note())
        session.flush()
        # Meanwhile its lease would be renewed, several times.
        time.sleep(2)

    host.put({**START, "end_datetime": "2023-03-01"})
    host.work()
    with host.app.app_context():
        notes = session.query(Note).count()
    found = host.stored("status", "attempt", "losses")
    host.close()
    assert (attempts, notes, found) == ([1], 1, [("completed", 1, None)])


@pytest.fixture
def locking(own_runner):
    if own_runner.app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        pytest.skip("there is one lock for all")
    return own_runner


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/runs/1", {"run": {"status": "cancelled"}}),
        ("", {"backfill": {"start_datetime": "2023-03-02"}}),
    ],
)
def test_a_change_of_a_run_that_its_runner_has_locked_is_refused_soon(locking, path, sent):
    locking.put(START)
    [run] = locking.claim()
    with locking.app.app_context():
        mine = locking.db.session.get(locking.blueprint.host.run_model, run.id)
        mine.error = "mine"
        locking.db.session.flush()
        refused = apart(lambda: locking.app.test_client().put(f"{URL}{path}", json=sent))
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        locking.db.session.rollback()
    assert locking.client.put(f"{URL}{path}", json=sent).status_code == 200


@pytest.mark.parametrize(
    ("before", "sent"),
    [
        ({}, {"status": "initial"}),
        ({"status": "initial"}, {"start_datetime": "2023-03-02"}),
        ({"block_uuid": "sources", "status": "initial"}, {"variables": {"n": 1}}),
    ],
    ids=["started again", "dropped", "renewed"],
)
def test_a_plan_of_a_run_that_was_cancelled_and_its_runner_has_locked_is_refused_soon(
    locking, before, sent
):
    key = START["start_datetime"] + "T00:00:00"
    locking.blueprint.generator("sources")(lambda backfill: [{"key": key}])
    locking.put(START)
    [run] = locking.claim()
    assert locking.put({"status": "cancelled"}).status_code == 200
    assert locking.put(before).status_code == 200
    with locking.app.app_context():
        locking.db.session.get(locking.blueprint.host.run_model, run.id).error = "mine"
        locking.db.session.flush()
        refused = apart(lambda: locking.app.test_client().put(URL, json={"backfill": sent}))
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        locking.db.session.rollback()
    assert locking.put(sent).status_code == 200


@pytest.mark.parametrize("status", ["initial", "completed"])
def test_of_many_runs_those_that_are_locked_are_left_as_they_are(locking, status):
    locking.put(START)
    [run] = locking.claim()
    assert locking.put({"status": "cancelled"}).status_code == 200
    with locking.app.app_context():
        locking.db.session.get(locking.blueprint.host.run_model, run.id).error = "mine"
        locking.db.session.flush()
        sent = {"runs": {"status": status}}
        url = f"{URL}/runs?status=cancelled"
        changed = apart(lambda: locking.app.test_client().put(url, json=sent))
        assert (changed.status_code, changed.json["metadata"]["count"]) == (200, 1)
        locking.db.session.rollback()
    assert locking.stored("status") == ["cancelled", status]


def test_messages_of_a_locked_backfill_hold_up_nobody(locking):
    locking.put(START)
    runs = locking.blueprint.runs

    def within(do):
        with locking.app.app_context():
            return do()

    queued = within(lambda: runs.enqueue(6, 1))
    with locking.app.app_context():
        locking.db.session.get(locking.model, 6, with_for_update=True)
        # Nobody may have died here, and nothing is there to be withdrawn: both only look.
        assert apart(lambda: within(lambda: [runs.begin(queued[0].run_id)])) == [None]
        assert apart(lambda: within(lambda: [runs.enqueue(6, 1)])) == [[]]
        assert apart(lambda: within(lambda: [runs.died_here(queued[0].run_id)])) == [False]
        assert apart(lambda: within(lambda: [runs.withdraw(6)])) == [[]]
    # The message is used up: it is sent again.
    assert locking.stored("queued_at") == [None] * 2
    again = within(lambda: runs.enqueue(6, 1))
    assert within(lambda: runs.begin(again[0].run_id)).key == "2023-03-01T00:00:00"


def test_a_run_that_takes_too_long_and_is_locked_keeps_no_place(locking):
    second = threading.Event()

    @locking.blueprint.runner
    def run(run):
        if run.key.startswith("2023-03-02"):
            second.set()
            return
        run.error = "mine"
        locking.db.session.flush()
        assert second.wait(60)

    locking.put({**START, "settings": {"run_timeout": 1, "pipeline_run_limit": 1}})
    locking.work(concurrency=2)
    assert second.is_set() and locking.stored("status") == ["failed", "completed"]
    assert locking.stored("error")[0].startswith("Took longer than settings.run_timeout allows")


def test_a_machine_that_was_asleep_asks_for_the_time_and_loses_what_was_taken(own_runner):
    own_runner.put(START)
    own_runner.claim()
    clock = own_runner.blueprint.host.table.database.clock
    told, ticks = clock.now(), clock.ticks
    # What it was told before it slept for 100 seconds, in which its other clock stood still.
    clock.wall = lambda: time.time() - 100
    clock.set(told - timedelta(seconds=100))
    clock.wall = time.time
    assert clock.is_old and ticks is clock.ticks
    [run] = own_runner.claim()
    model = own_runner.blueprint.host.run_model
    with own_runner.app.app_context():
        beat = own_runner.db.session.scalars(sa.select(sa.func.max(model.heartbeat_at))).one()
    # SQLite's time is the machine's own.
    assert (beat.replace(tzinfo=told.tzinfo) - told).total_seconds() > -1
    assert own_runner.recover() == 2
    again = own_runner.claim(limit=2)
    assert not own_runner.end(run, "completed", {"rows": 1})
    assert [own_runner.end(one, "completed", {"rows": 1}) for one in again] == [True, True]
    assert own_runner.get()["metrics"] == {"rows": 2}


@pytest.fixture
def mariadb(database_url):
    if not database_url.startswith("mysql"):
        pytest.skip("of MariaDB")
    return database_url


def test_a_connection_that_is_lost_while_an_end_waits_is_nobodys_failure(mariadb):
    host = Host(mariadb, connect_args={"read_timeout": 1})
    other = sa.create_engine(mariadb)
    with host.app.app_context():

        @sa.event.listens_for(host.db.engine, "connect")
        def connect(connection, record):
            connection.cursor().execute("SET SESSION innodb_snapshot_isolation = ON")

    host.serve(run_model=host.run_model())
    attempts, locks = [], other.connect()

    @host.blueprint.runner
    def run(run):
        attempts.append(run.attempt)
        host.db.session.scalar(sa.text("SELECT 1"))
        if len(attempts) == 1:
            locks.execute(sa.text("SELECT id FROM backfill_run FOR UPDATE"))
            threading.Timer(1.5, locks.rollback).start()

    host.put({**START, "end_datetime": "2023-03-01"})
    host.work()
    found = host.stored("status", "attempt")
    locks.close()
    other.dispose()
    host.close()
    assert (attempts, found) == ([1, 1], [("completed", 1)])


def test_a_session_of_two_phases_is_worked_on(mariadb):
    host = Host(mariadb, SQLAlchemy(session_options={"twophase": True}))
    host.serve(run_model=host.run_model())
    host.blueprint.runner(lambda run: {"rows": 1})
    host.put(START)
    host.work()
    found = host.stored("status"), host.get()["metrics"]
    host.close()
    assert found == (["completed"] * 2, {"rows": 2})


@contextmanager
def held(host, run_id):
    """Within the block, the host's session has the row of a run locked."""
    model = host.blueprint.host.run_model
    with host.app.app_context():
        host.db.session.execute(sa.select(model.id).where(model.id == run_id).with_for_update())
        yield
        host.db.session.rollback()


def end_alone(host, run, *end):
    """End a run, and leave what follows to the next claim, as a worker does."""
    with host.app.app_context():
        assert host.blueprint.runs.finish(run, *end, later=True)


def test_nobody_waits_for_a_run_that_has_ended_and_that_somebody_has_locked(locking):
    locking.put(START)
    [first] = locking.claim()
    end_alone(locking, first, "completed", {"rows": 1})
    with held(locking, first.id):
        [second] = apart(locking.claim)
        assert apart(lambda: locking.end(second, "completed", {"rows": 2}))
        backfill = apart(locking.get)
        # It does not end without all of its numbers.
        assert (backfill["status"], backfill["metrics"]) == ("running", {"rows": 2})
    locking.recover()
    backfill = locking.get()
    assert (backfill["status"], backfill["metrics"]) == ("completed", {"rows": 3})


def test_a_worker_ends_a_backfill_as_soon_as_its_last_run_is_free(locking):
    with locking.app.app_context():
        other, model = locking.db.engine.connect(), locking.blueprint.host.run_model

    @locking.blueprint.runner
    def run(run):
        return {"rows": 1}

    def tell(run, status):
        if run.key.startswith("2023-03-02"):
            # It is not rolled up before that is told.
            other.execute(sa.select(model.id).where(model.id == run.id).with_for_update())
            threading.Timer(1, other.close).start()

    locking.put(START)
    locking.work(tell=tell)
    backfill = locking.get()
    assert (backfill["status"], backfill["metrics"]) == ("completed", {"rows": 2})


def test_an_edit_does_not_end_a_backfill_of_which_a_run_is_still_to_be_added_up(locking):
    locking.put(START)
    [first] = locking.claim()
    end_alone(locking, first, "completed", {"rows": 1})
    with held(locking, first.id):
        shorter = {"backfill": {"end_datetime": "2023-03-01"}}
        client = locking.app.test_client()
        changed = apart(lambda: client.put(URL, json=shorter))
        assert (changed.status_code, changed.json["backfill"]["status"]) == (200, "running")
    locking.recover()
    backfill = locking.get()
    assert (backfill["status"], backfill["metrics"]) == ("completed", {"rows": 1})


@pytest.mark.parametrize("which", ["waits", "has ended"])
def test_no_worker_waits_to_end_a_backfill_that_has_failed_too_often(locking, which):
    locking.put({**START, "end_datetime": "2023-03-03", "settings": {"max_failures": 1}})
    first, second = locking.claim(), locking.claim()
    locking.end(first[0])
    ids = locking.stored("id")
    end_alone(locking, second[0], "failed")
    with held(locking, ids[2] if which == "waits" else ids[0]):
        assert apart(locking.recover) == 0
        # One that has ended, and is added up, keeps nobody from anything.
        found = apart(lambda: locking.get()["status"])
        assert found == ("running" if which == "waits" else "failed")
    locking.recover()
    assert locking.get()["status"] == "failed"
    assert locking.stored("status") == ["completed", "failed", "cancelled"]


def put(change):
    return lambda host, url: host.client.put(url, json={"backfill": change})


def put_runs(old, new):
    runs = {"runs": {"status": new}}
    return lambda host, url: host.client.put(f"{url}/runs?status={old}", json=runs)


HOURS = {"end_datetime": "2023-04-10", "interval_type": "hour"}
AGAIN = {"status": "initial", "settings": {"reprocess": "all"}}

#: Each with what the runs of the backfill are before. A cancel waits, on MariaDB, if most of the
#: rows are of its backfill.
REQUESTS = {
    "start": ("completed", put(AGAIN)),
    "try again": ("completed", put_runs("completed", "initial")),
    "mark as done": ("failed", put_runs("failed", "completed")),
    "drop": ("initial", put({"end_datetime": "2023-03-03"})),
    "drop what is done": ("completed", put({"end_datetime": "2023-03-03"})),
    "revive": ("completed", put({"end_datetime": "2023-04-11"})),
    "another interval": ("completed", put({"interval_units": 2})),
    "give up": ("failed", put({"settings": {"max_failures": 1}})),
    "delete": ("completed", lambda host, url: host.client.delete(url)),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_locked_run_of_another_backfill_holds_up_no_request(runner, database_url, name):
    """Be it that the database would rather look at every row than use an index."""
    if database_url.startswith("sqlite"):
        pytest.skip("there is one lock for all")
    status, ask = REQUESTS[name]
    runner.put(START)
    url = runner.post({**START, **HOURS}).headers["Location"]
    ours = runner.blueprint.run_model.backfill_id == 6
    runner.claim(6)
    with runner.app.app_context():
        active = {"completed": "failed"}.get(status, "running")
        model, now = runner.blueprint.run_model, sa.func.now()
        change = sa.update(model).where(~ours).values(status=status)
        runner.db.session.execute(change.values(completed_at=now if status != "initial" else None))
        back = sa.update(runner.model).where(runner.model.id != 6).values(status=active)
        runner.db.session.execute(back)
        runner.db.session.commit()
        with runner.db.engine.connect() as other:
            # As a runner that has set a column of its own.
            other.execute(sa.update(model).where(ours).values(error="mine"))
            answer = apart(lambda: ask(runner, url))
            other.rollback()
    assert answer.status_code == 200, answer.text
