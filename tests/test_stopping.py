"""Workers and runners that are told to stop."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import takes_seconds
from conftest import URL
from conftest import wait_for

from flask_backfills import backfill_finished
from flask_backfills import BackfillRunMixin
from flask_backfills import current_run
from flask_backfills.tables import clock
from flask_backfills.worker import Stuck

PROCESSES = Path(__file__).with_name("processes.py")
DAYS = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-03"}
DAYS |= {"interval_type": "day", "interval_units": 1}
START = {**DAYS, "status": "initial"}


@pytest.fixture
def runner(own_runner):
    """A host of its own, since the threads of these tests may outlive them."""
    return own_runner


def start(host, **settings):
    assert host.put({**START, "settings": settings}).status_code == 200


@takes_seconds
def test_a_runner_is_told_that_its_run_was_cancelled(runner):
    seen = []

    @runner.blueprint.runner
    def run(run):
        assert not current_run.stop_requested
        runner.app.test_client().put(URL, json={"backfill": {"status": "cancelled"}})
        seen.append(wait_for(lambda: current_run.stop_requested, 30))

    start(runner)
    runner.work()
    assert seen == [True]
    rows = runner.rows()
    assert {row["status"] for row in rows} == {"cancelled"}
    assert all(row["completed_at"] for row in rows)


def test_outside_of_a_runner_there_is_no_current_run(runner):
    with pytest.raises(RuntimeError, match="current_run"):
        current_run.stop_requested  # noqa: B018


@takes_seconds
@pytest.mark.parametrize("how", ["grace", "hurry"])
def test_what_does_not_end_in_time_is_given_back_and_no_attempt_counts(runner, how):
    began, let_end = threading.Event(), threading.Event()

    @runner.blueprint.runner
    def run(run):
        began.set()
        let_end.wait(30)
        return {"rows": 1}

    start(runner, max_attempts=1)
    stop, hurry = threading.Event(), threading.Event()
    options = {"stop": stop, "hurry": hurry, "once": False}
    working = threading.Thread(
        target=runner.work, kwargs={**options, "grace": 0.2 if how == "grace" else None}
    )
    working.start()
    assert began.wait(30)
    stop.set()
    if how == "hurry":
        hurry.set()
    working.join(30)
    assert not working.is_alive()
    assert runner.stored("status", "attempt")[0] == ("initial", 1)
    # Not at once: the thread that does it ends with the process, which takes a moment.
    assert "01" not in [run.key[8:10] for run in runner.claim()]
    [again] = wait_for(lambda: [run for run in runner.claim() if run.key[8:10] == "01"])
    assert again.attempt == 1
    let_end.set()
    time.sleep(0.5)
    # The thread that was left alone has not ended it, though the attempt is the same.
    assert runner.stored("status")[0] == "running"
    assert runner.end(again, "completed", {"rows": 2})
    assert runner.get()["metrics"] == {"rows": 2}


def test_given_back_as_often_as_you_like_a_run_keeps_its_attempts(runner):
    start(runner, max_attempts=2, retry_delay=0)
    for _ in range(5):
        [run] = runner.claim()
        with runner.app.app_context():
            assert runner.blueprint.runs.give_back([run]) == 1
            assert runner.blueprint.runs.give_back([run]) == 0
    [run] = runner.claim()
    assert run.attempt == 1
    runner.end(run, "failed")
    assert runner.rows()[0]["status"] == "initial"


@takes_seconds
@pytest.mark.parametrize("how", ["cancelled", "unwanted", "late"])
def test_a_process_that_leaves_keeps_what_it_was_told_to_stop_for_a_moment(runner, how):
    start(runner, pipeline_run_limit=1, order="backwards", max_attempts=2)
    [run] = runner.claim()
    if how == "late":
        time.sleep(1.1)
        runner.put({"settings": {"run_timeout": 1, "max_attempts": 2, "order": "backwards"}})
        runner.claim()
    else:
        change = {"status": "cancelled"} if how == "cancelled" else {"end_datetime": "2023-03-02"}
        assert runner.put(change).status_code == 200
    with runner.app.app_context():
        runner.blueprint.runs.give_back([run], leaving=5)
    runner.put({"status": "cancelled"})
    assert runner.client.delete(URL).status_code == 409
    assert runner.end(run) is False
    for other in runner.claim(limit=9):
        runner.end(other)
    runner.recover()
    assert runner.client.delete(URL).status_code == 200


def test_a_process_that_leaves_shortens_no_lease_of_another_worker(bare):
    class Nameless(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        worker = None

    bare.serve(run_model=Nameless)
    start(bare, pipeline_run_limit=1)
    [first] = bare.claim()
    bare.recover()
    [second] = bare.claim()
    lease = bare.stored("heartbeat_at")
    with bare.app.app_context():
        assert bare.blueprint.runs.give_back([first], leaving=5) == 0
    assert (second.id, bare.stored("heartbeat_at")) == (first.id, lease)


@takes_seconds
def test_runners_are_told_that_their_worker_has_to_go(runner):
    stop, seen = threading.Event(), []

    @runner.blueprint.runner
    def run(run):
        stop.set()
        seen.append(wait_for(lambda: current_run.stop_requested, 30))
        return {"rows": 1}

    start(runner)
    runner.work(stop=stop, once=False)
    assert seen == [True] and runner.get()["metrics"] == {"rows": 1}


@pytest.fixture
def command(database_url):
    """Start ``flask backfills ...`` as a process, in a host whose runs take as they are told."""
    begun = []

    def begin(line, **options):
        environment = {**os.environ, "FLASK_APP": f"{PROCESSES}:working"}
        environment |= {"DATABASE_URL": database_url, "SECONDS": "60"}
        environment |= options.pop("env", {})
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        line = [sys.executable, "-m", "flask", "backfills", *line.split()]
        begun.append(subprocess.Popen(line, env=environment, **options))
        return begun[-1]

    yield begin
    for one in begun:
        one.kill()
        one.communicate()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_that_a_runner_has_forked_ends_when_it_is_told_to(runner):
    codes = []
    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def sleep():
        ready.set()
        time.sleep(10)

    @runner.blueprint.runner
    def run(run):
        # As a process of a multiprocessing.Pool does.
        child = context.Process(target=sleep)
        child.start()
        ready.wait(10)
        # Python may lose a signal that comes in the first moment after a fork.
        while child.is_alive():
            child.terminate()
            child.join(0.2)
        codes.append(child.exitcode)

    start(runner)
    runner.put({"end_datetime": "2023-03-01"})
    result = runner.app.test_cli_runner().invoke(args=["backfills", "work", "--once"])
    assert (result.exit_code, codes) == (0, [-signal.SIGTERM])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("raises", [False, True])
def test_a_child_that_comes_back_from_a_runner_is_no_second_worker(runner, raises):
    codes = []

    @runner.blueprint.runner
    def run(run):
        if (child := os.fork()) == 0:
            if raises:
                raise ValueError
            return {"rows": 1}
        try:
            _, code = wait_for(lambda: _ended(child), seconds=10)
            codes.append(os.waitstatus_to_exitcode(code))
        except AssertionError:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        return {"rows": 10}

    start(runner)
    runner.put({"end_datetime": "2023-03-01"})
    runner.work()
    assert codes == [int(raises)] and runner.get()["metrics"] == {"rows": 10}


def _ended(child):
    """The process and its status, once it has ended."""
    found = os.waitpid(child, os.WNOHANG)
    return found if found[0] else None


@takes_seconds
@pytest.mark.parametrize(("line", "signals"), [("work --grace 0.5", 1), ("work", 2)])
def test_a_process_that_has_to_go_gives_its_runs_back(runner, command, line, signals):
    start(runner)
    worker = command(f"{line} --concurrency 2")
    wait_for(lambda: runner.stored("status").count("running") == 2)
    for _ in range(signals):
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 0, err
    assert runner.stored("status", "attempt") == [("initial", 1)] * 3


@takes_seconds
def test_output_that_nobody_takes_ends_no_run(runner, command):
    start(runner)
    with open("/dev/full", "w") as full:
        worker = command("work --once", stdout=full, env={"SECONDS": "0"})
        worker.communicate(timeout=60)
    assert runner.stored("status", "attempt") == [("completed", 1)] * 3


@takes_seconds
def test_output_into_a_closed_pipe_ends_no_run(runner, command):
    start(runner)
    worker = command("work --once", env={"SECONDS": "0.5"})
    worker.stdout.readline()
    worker.stdout.close()
    worker.stdout = None
    worker.communicate(timeout=60)
    assert runner.stored("status", "attempt") == [("completed", 1)] * 3


@takes_seconds
def test_a_key_that_the_output_can_not_show_ends_no_run(runner, command):
    runner.blueprint.generator("sources")(lambda backfill: [{"key": "Zoë"}, {"key": "b"}])
    runner.put({"block_uuid": "sources", "status": "initial"})
    worker = command("work --once", env={"SECONDS": "0", "PYTHONIOENCODING": "ascii"})
    worker.communicate(timeout=60)
    assert runner.stored("status", "attempt") == [("completed", 1)] * 2


# Short runs, of which a worker claims some ahead


@pytest.fixture
def hours(runner):
    """A backfill of 145 runs."""
    assert runner.put({**START, "end_datetime": "2023-03-07", "interval_type": "hour"}).json
    return runner


def test_what_was_claimed_ahead_is_given_back_when_the_worker_stops(hours):
    stop, done = threading.Event(), []

    session, model = hours.db.session, hours.blueprint.run_model
    running = sa.select(sa.func.count()).where(model.status == "running")

    @hours.blueprint.runner
    def run(run):
        done.append(run.key)
        # How many it claims ahead depends on how fast the machine is; it need not be often.
        if (session.scalar(running) > 4 and len(done) > 10) or len(done) > 135:
            stop.set()
        if stop.is_set():
            # Its threads are not to be done with all of it before the worker looks.
            time.sleep(0.5)

    hours.work(stop=stop, once=False, concurrency=2)
    rows = hours.stored("status", "tries", "attempt")
    assert Counter(status for status, *_ in rows) == {
        "completed": len(done),
        "initial": 145 - len(done),
    }
    assert {attempt for *_, attempt in rows} == {1}
    # Some had been handed out; it does not count.
    assert ("initial", 0, 1) in rows


@takes_seconds
def test_what_was_claimed_ahead_does_not_wait_behind_a_long_run(hours):
    begun, go_on = [], threading.Event()

    @hours.blueprint.runner
    def run(run):
        begun.append(run.key)
        if len(begun) > 100:
            go_on.wait(60)

    working = threading.Thread(target=hours.work)
    working.start()
    try:
        taken = []

        def take():
            taken.extend(hours.claim(limit=145))
            return len(begun) + len(taken) == 145

        wait_for(lambda: len(begun) > 100)
        wait_for(take)
        assert not {run.key for run in taken} & set(begun)
    finally:
        go_on.set()
        working.join(60)
    for one in taken:
        assert hours.end(one)
    assert hours.get()["status"] == "completed"


@takes_seconds
def test_a_process_may_have_a_run_again_while_it_is_still_at_the_attempt_before(runner):
    runner.app.config["BACKFILLS_LEASE"] = 2
    attempts, second, stop = [], threading.Event(), threading.Event()

    @runner.blueprint.runner
    def run(run):
        attempts.append(run.attempt)
        if run.attempt == 1:
            assert second.wait(30)
            return
        second.set()
        time.sleep(4.5)
        stop.set()
        return {"rows": run.attempt}

    runner.put({**START, "end_datetime": "2023-03-01"})
    options = {"stop": stop, "once": False, "concurrency": 3, "idle": 0.1}
    working = threading.Thread(target=runner.work, kwargs=options)
    working.start()
    wait_for(lambda: attempts)
    runner.recover()
    working.join(60)
    assert attempts == [1, 2] and runner.get()["metrics"] == {"rows": 2}


@takes_seconds
def test_a_worker_that_finds_nothing_for_a_night_goes_on(runner):
    looks, stop, done = [], threading.Event(), []
    runner.blueprint.runner(lambda run: done.append(run.key))
    with runner.app.app_context():
        sa.event.listen(runner.db.engine, "commit", lambda connection: looks.append(1))
        sa.event.listen(runner.db.engine, "rollback", lambda connection: looks.append(1))
    options = {"stop": stop, "once": False, "idle": 0.0001}
    working = threading.Thread(target=runner.work, kwargs=options)
    working.start()
    wait_for(lambda: len(looks) > 1200)
    start(runner)
    wait_for(lambda: len(done) == 3)
    stop.set()
    working.join(60)
    assert not working.is_alive()


# What else a host does meanwhile


@takes_seconds
def test_leases_are_renewed_though_the_end_of_an_app_context_fails(runner):
    runner.app.config["BACKFILLS_LEASE"] = 1.2
    failed, taken = [], []

    @runner.app.teardown_appcontext
    def fail(error):
        if threading.current_thread().name == "backfills-keeper" and len(failed) < 2:
            failed.append(1)
            raise ConnectionError("a cache of the host's")

    @runner.blueprint.runner
    def run(run):
        wait_for(lambda: len(failed) == 2)
        time.sleep(1.5)
        taken.append(runner.recover(None))

    start(runner, pipeline_run_limit=1)
    runner.put({"end_datetime": "2023-03-01"})
    runner.work()
    assert (runner.stored("status", "attempt"), taken) == ([("completed", 1)], [0])


def test_nobody_waits_for_a_late_run_that_its_runner_has_locked(runner, database_url):
    if database_url.startswith("sqlite"):
        pytest.skip("there, who has flushed keeps everybody from writing")
    began, let_end = threading.Event(), threading.Event()
    model = runner.blueprint.host.run_model

    @runner.blueprint.runner
    def run(run):
        if run.key.startswith("2023-03-01"):
            row = runner.db.session.get(model, run.id)
            row.pipeline_uuid = "as the host likes"
            runner.db.session.flush()
            began.set()
            let_end.wait(60)

    start(runner, run_timeout=1, pipeline_run_limit=2)
    working = threading.Thread(target=runner.work)
    working.start()
    try:
        assert began.wait(30)
        time.sleep(1.5)
        with ThreadPoolExecutor(1) as pool:
            others = pool.submit(runner.claim, limit=5).result(20)
    finally:
        let_end.set()
        working.join(60)
    # It keeps no place under the limit either.
    assert [one.key[8:10] for one in others] == ["02", "03"]
    for one in others:
        runner.end(one)
    assert runner.stored("status") == ["failed", "completed", "completed"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("how", ["returns", "raises", "dies"])
def test_nobody_waits_to_cancel_a_run_that_its_runner_has_locked(runner, how):
    runner.app.config["BACKFILLS_LEASE"] = 1.5
    began, told = threading.Event(), []
    model = runner.blueprint.host.run_model

    @runner.blueprint.runner
    def run(run):
        row = runner.db.session.get(model, run.id)
        row.pipeline_uuid = "as the host likes"
        runner.db.session.flush()
        began.set()
        told.append(wait_for(lambda: current_run.stop_requested, 30))
        if how == "dies":
            runner.db.session.rollback()
            runner.store(worker="another", attempt=1)
        if how == "raises":
            raise RuntimeError("on purpose")
        return {"rows": 1}

    start(runner, max_attempts=2, retry_delay=0, pipeline_run_limit=1)
    working = threading.Thread(target=runner.work)
    working.start()
    try:
        assert began.wait(30)
        with ThreadPoolExecutor(1) as pool:
            response = pool.submit(runner.put, {"status": "cancelled"}).result(20)
        assert response.status_code == 200, response.text
    finally:
        working.join(60)
    assert told == [True] and runner.get()["status"] == "cancelled"
    if how == "dies":
        runner.recover()
    first = "completed" if how == "returns" else "cancelled"
    assert runner.stored("status") == [first, "cancelled", "cancelled"]
    assert runner.get()["metrics"] == ({"rows": 1} if how == "returns" else None)
    assert runner.client.delete(URL).status_code == 200


@takes_seconds
def test_a_slow_receiver_keeps_no_other_run_from_its_lease(runner):
    """It is told that a run took too long, which the thread that renews leases has seen."""
    runner.app.config["BACKFILLS_LEASE"] = 3
    begun, told, taken = threading.Barrier(2), threading.Event(), []

    @runner.blueprint.runner
    def run(run):
        begun.wait(30)
        if run.backfill_id == 6:
            told.wait(30)
        else:
            assert told.wait(30)
            time.sleep(0.2)

    def tell(sender, backfill, changes):
        if backfill.id == 6:
            # Two leases.
            for _ in range(12):
                time.sleep(0.5)
                taken.append(runner.recover(None))
            told.set()

    one = {**START, "end_datetime": START["start_datetime"]}
    runner.put({**one, "settings": {"run_timeout": 1}})
    runner.post(one)
    with backfill_finished.connected_to(tell):
        runner.work(concurrency=2)
    assert told.is_set() and sum(taken) == 0
    assert runner.stored("status", "attempt") == [("failed", 1), ("completed", 1)]


@takes_seconds
@pytest.mark.parametrize("seconds", [0, 4])
def test_what_is_told_while_a_worker_stops_cuts_off_no_run(runner, seconds):
    began, stop, done = threading.Event(), threading.Event(), []

    @runner.blueprint.runner
    def run(run):
        if run.backfill_id == 6:
            assert began.wait(30)
            time.sleep(1)
        else:
            began.set()
            # Longer than a look of the worker's that stops.
            time.sleep(3)
        done.append(run.backfill_id)

    def tell(sender, backfill, changes):
        if backfill.id == 6:
            time.sleep(seconds)
            sys.exit("a receiver's own")

    one = {**START, "end_datetime": START["start_datetime"]}
    runner.put(one)
    runner.post(one)
    working = threading.Thread(
        target=runner.work, kwargs={"stop": stop, "once": False, "concurrency": 2, "grace": 20}
    )
    with backfill_finished.connected_to(tell):
        working.start()
        assert began.wait(30)
        stop.set()
        working.join(30)
    assert sorted(done) == [6, 7] and set(runner.stored("status")) == {"completed"}


@takes_seconds
@pytest.mark.parametrize("told", ["it took too long", "it was cancelled"])
def test_a_worker_ends_whose_functions_hang_if_others_wait(runner, told):
    runner.app.config["BACKFILLS_LEASE"] = 1.5
    hangs, ends, done = threading.Event(), threading.Event(), []

    @runner.blueprint.runner
    def run(run):
        if run.backfill_id == 6:
            hangs.set()
            ends.wait(60)
        done.append((run.backfill_id, run.key))

    timeout = {"settings": {"run_timeout": 1}} if told == "it took too long" else {}
    runner.put({**START, "end_datetime": START["start_datetime"], **timeout})
    stuck = []

    def work():
        try:
            runner.work(once=False)
        except Stuck as error:
            stuck.append(str(error))

    working = threading.Thread(target=work)
    working.start()
    try:
        assert hangs.wait(30)
        if told == "it was cancelled":
            runner.put({"status": "cancelled"})
        # As long as nothing else is to be done, it stays.
        wait_for(lambda: runner.get()["status"] in ("failed", "cancelled"))
        time.sleep(2.5)
        assert working.is_alive()
        runner.post(START)
        working.join(30)
        assert len(stuck) == 1 and "of backfill 6" in stuck[0]
        assert not done
        # The next one does what waits, though the function still hangs.
        runner.work()
        assert len(done) == len(runner.stored("id")) - 1
    finally:
        ends.set()
        for thread in threading.enumerate():
            if thread is working or thread.name.startswith("backfills-"):
                thread.join(30)


@pytest.mark.parametrize("failing", [False, True])
def test_a_run_that_was_claimed_ahead_has_begun_when_its_thread_took_it(
    hours, failing, monkeypatch
):
    # Each time that the database is asked for its time, the answer takes a little.
    monkeypatch.setattr(clock, "KEPT", 3600)
    seen = []

    @hours.blueprint.runner
    def run(run):
        seen.append(run.started_at)
        time.sleep(0.005)
        assert not failing

    hours.work(concurrency=1)
    # One after the other, as there was one thread.
    times = sorted(hours.stored("started_at", "completed_at"))
    assert len(times) == 145 == len(set(seen))
    assert all(begun < ended for begun, ended in times)
    assert all(ended <= begun for (_, ended), (begun, _) in itertools.pairwise(times))
    # What the function sees is what is stored.
    assert sorted(seen) == [begun for begun, _ in times]


@takes_seconds
def test_a_pause_reaches_runs_that_were_claimed_ahead_and_turn_long(runner):
    """Though one of several threads is done each second, so that the worker never stands still."""
    begun, paused = [], []

    @runner.blueprint.runner
    def run(run):
        begun.append(time.monotonic())
        if len(begun) > 60:
            if not paused:
                paused.append(time.monotonic())
                runner.app.test_client().put(URL, json={"backfill": {"settings": {"paused": True}}})
            time.sleep(0.4)

    hours = {"interval_type": "hour", "end_datetime": "2023-03-20"}
    assert runner.put({**START, **hours}).status_code == 200
    runner.work(concurrency=4)
    # All that were claimed ahead would take more than ten seconds.
    [at] = paused
    assert max(begun) - at < 4
    assert Counter(runner.stored("status")).keys() == {"completed", "initial"}


@takes_seconds
@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("how", ["ends", "is cut"])
def test_a_backfill_that_was_locked_for_long_when_its_last_run_ended_ends_soon(runner, how):
    with runner.app.app_context():
        other = runner.db.engine.connect()
    cut = {
        "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
        "mysql": "KILL CONNECTION_ID()",
    }
    cut["mariadb"] = cut["mysql"]

    @runner.blueprint.runner
    def run(run):
        if run.key.startswith("2023-03-03") and not other.in_transaction():
            if how == "is cut":
                # So that it does not wait again.
                shorter = {"backfill": {"end_datetime": "2023-03-02"}}
                assert runner.app.test_client().put(URL, json=shorter).status_code == 200
            other.execute(sa.text("SELECT id FROM backfill WHERE id = 6 FOR UPDATE"))
            threading.Timer(1.5, other.close).start()
            if how == "is cut":
                runner.db.session.execute(sa.text(cut[other.dialect.name]))

    start(runner)
    runner.work()
    assert runner.get()["status"] == "completed"
