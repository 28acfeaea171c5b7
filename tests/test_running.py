"""Workers in hosts as they are: with rows, transactions and clocks of their own."""

import asyncio
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

import pytest
import sqlalchemy as sa
from conftest import about_sql
from conftest import DATABASES
from conftest import few
from conftest import Host
from conftest import LIST
from conftest import server_url
from conftest import SERVERS
from conftest import takes_seconds
from conftest import URL
from conftest import wait_for
from werkzeug.exceptions import BadRequestKeyError

from flask_backfills import BackfillRunMixin

pytestmark = about_sql

WEEK = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-07"}
WEEK |= {"interval_type": "day", "interval_units": 1}
START = {**WEEK, "status": "initial"}
DONE = ["completed"] * 7

# The host's own rows and transactions

LEVELS = [
    ("sqlite", None),
    *(
        (server, level)
        for server in SERVERS
        for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
    ),
    ("mariadb", "SNAPSHOT"),
]


@pytest.fixture
def runner(own_runner):
    """A host of its own, since the threads of these tests may outlive them."""
    return own_runner


@pytest.fixture(
    params=[(name, level) for name, level in LEVELS if name in DATABASES],
    ids=lambda one: " ".join(map(str, one)),
)
def strict(request, sqlite_url):
    """A host at each isolation level, whose rows of effects refer to their backfill and run."""
    name, level = request.param
    snapshot = level == "SNAPSHOT"
    url = sqlite_url if name == "sqlite" else server_url(name)
    options = {"isolation_level": "REPEATABLE READ" if snapshot else level} if level else {}
    host = Host(url, **options)

    class Run(BackfillRunMixin, host.db.Model):
        __tablename__ = "backfill_run"
        backfill_id = sa.Column(sa.ForeignKey("backfill.id"))

    class Effect(host.db.Model):
        id = sa.Column(sa.Integer, primary_key=True)
        backfill_id = sa.Column(sa.ForeignKey("backfill.id"))
        run_id = sa.Column(sa.ForeignKey("backfill_run.id"))
        key = sa.Column(sa.String(40))

    def prepare(connection, record):
        if snapshot:
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION innodb_snapshot_isolation = ON")

    with host.app.app_context():
        sa.event.listen(host.db.engine, "connect", prepare)
    host.app.config["BACKFILLS_LEASE"] = 1.5
    host.effect = Effect
    host.serve(run_model=Run)
    yield host
    host.close()


def effects(host):
    with host.app.app_context():
        found = host.db.session.scalars(sa.select(host.effect.key)).all()
        host.db.session.remove()
    return sorted(found)


def test_a_runner_may_leave_rows_that_refer_to_its_backfill_for_longer_than_a_renewal(strict):
    db = strict.db
    # On SQLite, who has flushed keeps everybody else from writing.
    seconds = 0.05 if strict.app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite") else 0.9

    @strict.blueprint.runner
    def run(run):
        # A snapshot from before what the others write meanwhile.
        assert db.session.get(strict.model, run.backfill_id).status == "running"
        row = strict.effect(backfill_id=run.backfill_id, run_id=run.id, key=run.key)
        db.session.add(row)
        db.session.flush()
        time.sleep(seconds)
        return {"rows": 1}

    strict.put(START)
    strict.work(concurrency=3)
    rows = strict.rows()
    assert [(row["status"], row["attempt"], row["error"]) for row in rows] == [
        ("completed", 1, None)
    ] * 7
    assert effects(strict) == [row["key"] for row in rows]
    shown = strict.get()
    assert (shown["status"], shown["metrics"]) == ("completed", {"rows": 7})


@takes_seconds
def test_a_runner_may_read_first_and_work_for_longer_than_its_lease(strict):
    taken = []

    @strict.blueprint.runner
    def run(run):
        # A snapshot from before its lease is renewed, and no row that would lock the run.
        assert strict.db.session.get(strict.model, run.backfill_id).status == "running"
        time.sleep(2.2)
        with ThreadPoolExecutor() as pool:
            taken.append(pool.submit(strict.recover, None).result())
        # The host's row, too, refers to a run that nobody has written since the snapshot.
        strict.db.session.add(strict.effect(run_id=run.id, key=run.key))
        return {"rows": 1}

    strict.put({**START, "end_datetime": "2023-03-01"})
    strict.work()
    [row] = strict.rows()
    assert (row["status"], row["attempt"], row["error"], taken) == ("completed", 1, None, [0])
    assert strict.get()["metrics"] == {"rows": 1}
    assert effects(strict) == [row["key"]]


def test_runs_that_read_do_not_undo_those_that_end_meanwhile(strict):
    if strict.app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        pytest.skip("who waits within a transaction keeps the others from writing there")
    begun = []

    def wait_for_the_others():
        while [row["status"] for row in strict.rows()].count("completed") < 6:
            time.sleep(0.02)

    @strict.blueprint.runner
    def run(run):
        begun.append(run.key)
        strict.db.session.scalars(sa.select(strict.effect.key)).all()
        if run.key.startswith("2023-03-01"):
            with ThreadPoolExecutor() as pool:
                pool.submit(wait_for_the_others).result()
        return {"rows": 1}

    strict.put(START)
    strict.work(concurrency=2)
    assert [row["status"] for row in strict.rows()] == DONE
    assert begun.count("2023-03-01T00:00:00") == 1


def test_a_backfill_is_edited_and_its_runs_end_while_a_runner_refers_to_it(strict):
    if strict.app.config["SQLALCHEMY_DATABASE_URI"].startswith(("sqlite", "mysql")):
        pytest.skip("a row that refers to another locks it there")
    answers = []

    @strict.blueprint.runner
    def run(run):
        strict.db.session.add(strict.effect(backfill_id=run.backfill_id))
        strict.db.session.flush()
        if run.key.startswith("2023-03-01"):
            sent = {"name": "new", "settings": {"pipeline_run_limit": 2}}
            with ThreadPoolExecutor() as pool:
                client = strict.app.test_client()
                put = pool.submit(client.put, URL, json={"backfill": sent})
                answers.append(put.result().status_code)

    strict.put(START)
    strict.work(concurrency=2)
    assert set(answers) == {200}
    assert (strict.get()["name"], strict.stored("status")) == ("new", DONE)


def test_backfills_that_start_at_the_same_time_all_start(runner):
    def start(number):
        client = runner.app.test_client()
        sent = {**START, "name": f"b{number}"}
        return client.post(LIST, json={"backfill": sent}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(start, range(24))) == {201}
    assert len(runner.stored("id")) == 24 * 7


# What a runner does and returns


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Leaving(Exception):
    def __str__(self):
        sys.exit("no text")


def raise_leaving(run):
    raise Leaving


def cancel(run):
    raise asyncio.CancelledError


def raise_mute(run):
    raise Mute


def interrupt(run):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "function",
    few(
        [
            lambda run: sys.exit(3),
            cancel,
            raise_mute,
            raise_leaving,
            interrupt,
            lambda run: {"n": 10**400},
            lambda run: {"n": float("nan")},
            lambda run: {"n": Decimal("Infinity")},
            lambda run: {("a", "b"): 1},
            lambda run: {"n": object()},
            lambda run: {"n": {"deep": [float("nan")]}},
            lambda run: {"n": {("a", "b"): 1}},
            lambda run: "done",
            lambda run: iter([]),
        ]
    ),
    ids=lambda function: None,
)
def test_nothing_that_a_runner_does_ends_its_worker(runner, function):
    bad = "2023-03-02T00:00:00"
    runner.blueprint.runner(lambda run: function(run) if run.key == bad else {"rows": 1})
    runner.put(START)
    runner.work()
    rows = runner.stored("status", "error")
    status, error = rows.pop(1)
    assert status == "failed" and error
    assert rows == [("completed", None)] * 6
    assert (runner.get()["status"], runner.get()["metrics"]) == ("failed", {"rows": 6})


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (KeyError("degrees"), "KeyError: 'degrees'"),
        (KeyError(), "KeyError"),
        (BadRequestKeyError("degrees"), "400 Bad Request"),
        (ValueError("no file"), "no file"),
    ],
    ids=repr,
)
def test_an_error_whose_text_is_a_key_alone_says_what_it_is(runner, raised, error):
    @runner.blueprint.runner
    def run(run):
        raise raised

    runner.put({**START, "end_datetime": "2023-03-01"})
    runner.work()
    [told] = runner.stored("error")
    assert told.startswith(error)


def test_numbers_of_any_type_are_metrics(runner):
    @runner.blueprint.runner
    def run(run):
        found = {"sum": Decimal("2"), "mean": Decimal("0.5"), "share": Fraction(1, 4), "n": True}
        # More digits than Decimal divides.
        return {**found, "wei": Decimal("1E+28")}

    runner.put(START)
    runner.work()
    sums = {"sum": 14, "mean": 3.5, "share": 1.75, "wei": 7 * 10**28}
    assert runner.get()["metrics"] == sums
    stored = {"sum": 2, "mean": 0.5, "share": 0.25, "n": True, "wei": 10**28}
    assert runner.stored("metrics")[0] == stored


def test_sums_beyond_every_float_are_still_json(runner):
    runner.blueprint.runner(lambda run: {"high": 1.7e308, "low": -1.7e308, "whole": 10**300})
    runner.put(START)
    runner.work()
    text = runner.client.get(URL).text
    metrics = json.loads(text, parse_constant=pytest.fail)["backfill"]["metrics"]
    assert metrics["whole"] == 7 * 10**300 and metrics["high"] == -metrics["low"] > 1.7e308


@pytest.mark.parametrize("how", ["status", "attempt", "worker", "deleted", "flushed"])
def test_a_runner_that_changes_what_is_ours_of_its_run_has_failed(runner, how):
    called = []

    @runner.blueprint.runner
    def run(run):
        called.append(run.key)
        changes = {"status": "completed", "attempt": 7, "worker": "me"}
        if how == "deleted":
            runner.db.session.delete(run)
        else:
            setattr(run, "status" if how == "flushed" else how, changes.get(how, "failed"))
        if how == "flushed":
            runner.db.session.flush()

    runner.put({**START, "end_datetime": "2023-03-01"})
    runner.work()
    [row] = runner.rows()
    assert (len(called), row["status"], row["attempt"]) == (1, "failed", 1)
    assert "The runner deleted its run, or changed" in row["error"] and row["completed_at"]
    assert runner.get()["status"] == "failed"


def test_a_date_that_runs_again_replaces_its_numbers(runner):
    runner.blueprint.runner(lambda run: {"rows": 10})
    runner.put({**START, "settings": {"reprocess": "all"}})
    runner.work()
    runner.put({"status": "initial"})
    assert runner.get()["metrics"] in (None, {}, {"rows": 0})
    runner.work()
    assert runner.get()["metrics"] == {"rows": 70}


def test_numbers_that_came_since_the_host_has_read_something_are_replaced_too(runner):
    runner.blueprint.runner(lambda run: {"rows": 10})
    sent = {**START, "end_datetime": "2023-03-01", "settings": {"reprocess": "all"}}
    assert runner.put(sent).status_code == 200
    [run] = runner.claim()
    with runner.app.app_context(), ThreadPoolExecutor() as pool:
        # As Flask-Login does, which reads the user.
        assert runner.db.session.scalars(sa.select(runner.model.name)).one() == "old_name"
        assert pool.submit(runner.end, run, "completed", {"rows": 10}).result()
        runner.blueprint.backfills.update("arwen_starlight", 6, {"status": "initial"})
    runner.work()
    assert runner.get()["metrics"] == {"rows": 10}


@takes_seconds
def test_a_worker_that_hurries_does_not_wait_for_what_its_own_runner_has_locked(strict):
    began, let_end, stop, hurry = (threading.Event() for _ in range(4))

    @strict.blueprint.runner
    def run(run):
        if not strict.app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
            strict.db.session.add(strict.effect(backfill_id=run.backfill_id, run_id=run.id))
            strict.db.session.flush()
        began.set()
        let_end.wait(60)
        return {"rows": 1}

    strict.put({**START, "end_datetime": "2023-03-01"})
    options = {"stop": stop, "hurry": hurry, "once": False}
    working = threading.Thread(target=strict.work, kwargs=options)
    working.start()
    assert began.wait(30)
    stop.set()
    hurry.set()
    working.join(20)
    ended = not working.is_alive()
    let_end.set()
    working.join(60)
    assert ended
    # Given back, or taken back after its lease: the run is done.
    strict.blueprint.runner(lambda run: {"rows": 1})
    wait_for(lambda: strict.work() or strict.get()["status"] == "completed")
    assert strict.get()["metrics"] == {"rows": 1}
