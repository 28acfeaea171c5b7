"""Runs that raise, take too long, lose their worker, or are cancelled."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import takes_seconds
from conftest import URL
from conftest import wait_for

from flask_backfills import current_run
from flask_backfills.tables.mixins import utcnow

pytestmark = takes_seconds

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


# Tried again


def test_what_raises_is_tried_again_as_often_as_the_settings_say(runner):
    called = []

    @runner.blueprint.runner
    def run(run):
        called.append((run.key[8:10], run.attempt))
        if run.key.startswith("2023-03-01") or (
            run.key.startswith("2023-03-02") and run.attempt < 3
        ):
            raise ValueError(f"attempt {run.attempt}")

    start(runner, max_attempts=3, retry_delay=0)
    runner.work()
    assert sorted(called) == [
        *[("01", 1), ("01", 2), ("01", 3)],
        *[("02", 1), ("02", 2), ("02", 3)],
        ("03", 1),
    ]
    assert runner.stored("status", "error") == [
        ("failed", "attempt 3"),
        ("completed", None),
        ("completed", None),
    ]
    assert runner.get()["status"] == "failed"


def test_without_a_setting_what_raises_has_failed(runner):
    start(runner)
    [run] = runner.claim()
    assert runner.end(run, "failed")
    assert [row["status"] for row in runner.rows()] == ["failed", "initial", "initial"]


def test_the_next_try_waits_for_a_delay_that_doubles(runner):
    start(runner, max_attempts=3, retry_delay=100, pipeline_run_limit=1)
    runner.put({"end_datetime": "2023-03-01"})
    for delay in (100, 200):
        [run] = runner.claim()
        began = run.started_at
        assert runner.end(run, "failed", None, "no")
        [(status, at, error)] = runner.stored("status", "available_at", "error")
        assert (status, error) == ("initial", "no")
        assert timedelta(seconds=delay) <= at - began < timedelta(seconds=delay + 60)
        # It waits, and its backfill with it.
        assert runner.claim() == [] and runner.get()["status"] == "running"
        runner.store(available_at=began - timedelta(seconds=1))
    [run] = runner.claim()
    assert runner.stored("available_at") == [None]
    assert runner.end(run, "failed")
    assert runner.get()["status"] == "failed"


def test_a_run_that_waits_for_its_next_try_does_not_hold_up_the_others(runner):
    start(runner, max_attempts=2, retry_delay=3600, pipeline_run_limit=1)
    [run] = runner.claim()
    assert runner.end(run, "failed")
    for _ in range(2):
        [run] = runner.claim()
        assert runner.end(run)
    assert runner.claim() == []
    assert [row["status"] for row in runner.rows()] == ["initial", "completed", "completed"]


def test_failures_that_are_tried_again_are_no_failures_yet(runner):
    start(runner, max_attempts=2, retry_delay=0, max_failures=1)
    [run] = runner.claim()
    runner.end(run, "failed")
    [again] = runner.claim()
    assert (again.id, again.attempt) == (run.id, 2)
    runner.end(again)
    assert runner.get()["status"] == "running"


def test_a_run_of_before_is_not_counted_after_a_start_again(runner):
    start(runner, max_attempts=2, retry_delay=0, pipeline_run_limit=1)
    for _ in range(2):
        [run] = runner.claim()
        runner.end(run, "failed")
    runner.put({"status": "cancelled"})
    runner.put({"status": "initial"})
    [run] = runner.claim()
    runner.end(run, "failed")
    assert runner.rows()[0]["status"] == "initial"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 101},
        {"retry_delay": -1},
        {"run_timeout": 0},
        {"priority": "high"},
        {"priority": 1.5},
        {"max_failures": 10**19},
        {"pipeline_run_limit": 10**19},
        {"priority": 10**19},
    ],
)
def test_a_setting_that_no_database_can_hold_is_named(runner, wrong):
    response = runner.put({"settings": wrong})
    assert response.status_code == 422
    assert response.json["error"]["errors"]["settings"].keys() == wrong.keys()


# Too long


@takes_seconds
def test_a_run_that_takes_too_long_has_failed_and_its_late_end_is_not_taken(runner):
    stopped, told = [], []

    @runner.blueprint.runner
    def run(run):
        stopped.append(wait_for(lambda: current_run.stop_requested, 30))
        return {"rows": 1}

    start(runner, run_timeout=1)
    runner.put({"end_datetime": "2023-03-01"})
    runner.work(tell=lambda run, status: told.append(status))
    [row] = runner.rows()
    assert (row["status"], stopped, told) == ("failed", [True], [None])
    assert "run_timeout" in row["error"] and "1 second" in row["error"]
    assert (runner.get()["status"], runner.get()["metrics"]) == ("failed", None)


def test_a_claim_fails_what_takes_too_long_if_its_worker_does_not(runner):
    start(runner, run_timeout=60, pipeline_run_limit=1)
    [late] = runner.claim()
    assert runner.claim() == []
    runner.store(started_at=late.started_at - timedelta(seconds=61))
    # Its worker may still be at it: until that is known, the limit counts it.
    runner.claim()
    assert runner.rows()[0]["status"] == "failed"
    assert runner.end(late, "completed", {"rows": 1}) is False
    assert runner.rows()[0]["status"] == "failed"


@pytest.mark.parametrize("known", ["whole", "by its id"])
def test_nobody_need_have_looked_before_a_late_end(runner, known):
    start(runner, run_timeout=1)
    late, in_time = runner.claim(limit=2)
    time.sleep(1.1)
    runner.put({"settings": {"run_timeout": 60}})
    assert runner.end(in_time, "completed", {"rows": 1}) is True
    runner.put({"settings": {"run_timeout": 1}})
    end = runner.end if known == "whole" else runner.finish
    assert end(late, "completed", {"rows": 1}) is False
    row, *_ = runner.rows()
    assert row["status"] == "failed" and "run_timeout" in row["error"] and row["completed_at"]
    assert runner.get()["metrics"] == {"rows": 1}


def test_a_run_that_took_too_long_is_not_begun_beside_its_old_worker(runner):
    start(runner, run_timeout=1, pipeline_run_limit=1)
    [late] = runner.claim()
    time.sleep(1.1)
    # Its place is free, and nobody waits for it.
    for _ in range(2):
        [run] = runner.claim()
        assert runner.end(run)
    assert runner.get()["status"] == "failed"
    assert runner.rows()[0]["completed_at"] is None
    assert runner.client.delete(URL).status_code == 409
    again = {"status": "initial", "settings": {"reprocess": "failed"}}
    assert runner.put(again).json["metadata"]["plan"]["redo"] == 1
    assert runner.claim() == []
    assert runner.end(late) is False
    [run] = runner.claim()
    assert (run.id, run.attempt) == (late.id, 2)


def test_a_function_that_hangs_does_not_hold_up_the_others_though_its_run_is_tried_again(runner):
    start(runner, run_timeout=1, max_attempts=2, retry_delay=0, pipeline_run_limit=1)
    [late] = runner.claim()
    time.sleep(1.1)
    for _ in range(2):
        [run] = runner.claim()
        assert run.id != late.id and runner.end(run)
    # Only its own next try waits for it.
    assert runner.claim() == [] and runner.rows()[0]["status"] == "initial"
    assert runner.end(late) is False
    [run] = runner.claim()
    assert (run.id, run.attempt) == (late.id, 2) and runner.end(run)
    assert runner.get()["status"] == "completed"


def test_a_function_that_hangs_does_not_hold_up_the_others_though_its_run_is_tried_by_hand(runner):
    start(runner, run_timeout=1, pipeline_run_limit=1)
    [late] = runner.claim()
    time.sleep(1.1)
    [run] = runner.claim()
    assert runner.end(run)
    parts = runner.blueprint.host
    with runner.app.app_context():
        its_own = parts.run_table.key == late.id
        show = parts.backfills.show_run
        parts.changed_runs.set_status("arwen_starlight", 6, its_own, "initial", show)
    [run] = runner.claim()
    assert run.id != late.id and runner.end(run)
    assert runner.end(late) is False
    [run] = runner.claim()
    assert (run.id, run.attempt) == (late.id, 2) and runner.end(run)
    assert runner.get()["status"] == "completed"


@pytest.mark.parametrize("cut", [True, False])
def test_a_column_that_cuts_off_fractions_makes_no_run_late(runner, cut):
    start(runner, run_timeout=1)
    run, *_ = runner.claim(limit=3)
    begun = run.started_at.replace(microsecond=0 if cut else 1)
    runner.store(started_at=begun)
    age = 1.4 - run.started_at.microsecond / 1e6
    time.sleep(max(age, 0))
    run.started_at = begun
    assert runner.end(run) is cut


@pytest.mark.parametrize(
    ("settings", "claimed"),
    [({"priority": 1}, 3), ({"run_timeout": 60}, 1), ({"max_failures": 2}, 1)],
)
def test_no_run_is_claimed_ahead_that_may_not_wait_in_its_worker(runner, settings, claimed):
    start(runner, **settings)
    assert len(runner.claim(limit=1, ahead=5)) == claimed


def test_the_time_of_a_run_counts_from_when_it_is_begun(runner):
    start(runner, run_timeout=1)
    waited, other, _ = runner.claim(limit=3)
    time.sleep(1.1)
    with runner.app.app_context():
        assert runner.blueprint.runs.begin_late(waited)
    assert runner.end(waited, "completed", {"rows": 1}) is True
    assert runner.end(other) is False
    begun, ended = runner.stored("started_at", "completed_at")[0]
    assert ended - begun < timedelta(seconds=1.1)


def test_a_run_that_was_taken_back_before_it_was_begun_is_not_begun(runner):
    start(runner)
    [silent] = runner.claim()
    runner.recover()
    [run] = runner.claim()
    with runner.app.app_context():
        assert not runner.blueprint.runs.begin_late(silent)
        assert runner.blueprint.runs.begin_late(run)
    runner.put({"status": "cancelled"})
    with runner.app.app_context():
        assert not runner.blueprint.runs.begin_late(run)


def test_a_delete_may_be_the_first_to_see_that_a_run_took_too_long(runner):
    start(runner, run_timeout=1)
    runner.put({"end_datetime": "2023-03-01"})
    [late] = runner.claim()
    time.sleep(1.1)
    assert runner.client.delete(URL).status_code == 409
    assert runner.end(late) is False
    assert runner.get()["status"] == "failed"
    assert runner.client.delete(URL).status_code == 200


def test_a_run_that_took_too_long_is_left_when_its_worker_dies(runner):
    start(runner, run_timeout=1, max_failures=1)
    runner.claim()
    time.sleep(1.1)
    assert runner.claim() == []
    assert runner.get()["status"] == "failed"
    runner.recover()
    assert runner.rows()[0]["completed_at"] is not None
    assert runner.client.delete(URL).status_code == 200


# Lost


def test_a_run_that_kills_its_worker_takes_none_along_that_were_claimed_ahead(runner):
    start(runner)
    for most in (3, 1, 1):
        found = runner.claim(limit=1, ahead=20)
        assert (len(found), found[0].key[8:10]) == (most, "01")
        runner.recover()
    assert runner.rows()[0]["status"] == "failed"
    while found := runner.claim(limit=2, ahead=20):
        assert all(runner.end(run) for run in found)
    assert [row["status"] for row in runner.rows()] == ["failed", "completed", "completed"]


def test_what_no_worker_can_log_any_more_is_logged_by_who_finds_it(runner, caplog):
    start(runner, pipeline_run_limit=1)
    for _ in range(3):
        [run] = runner.claim()
        runner.recover()
    told = [message.partition(", worker")[0] for message in caplog.messages]
    assert told == [
        f"Run {run.key} of backfill 6 {what}, since its worker died: attempt {attempt}"
        for attempt, what in enumerate(["was taken back"] * 2 + ["failed"], 1)
    ]
    # For those who ship them.
    fields = [(one.backfill, one.run, one.attempt) for one in caplog.records]
    assert fields == [(6, run.key, attempt) for attempt in (1, 2, 3)]
    caplog.clear()
    runner.put({"settings": {"run_timeout": 1}})
    [run] = runner.claim()
    runner.store(started_at=utcnow() - timedelta(seconds=9))
    runner.claim()
    late = f"Run {run.key} of backfill 6 failed, since it took too long: attempt 1, worker"
    assert caplog.messages[0].startswith(late)


@pytest.mark.parametrize(("settings", "most"), [({}, 3), ({"max_attempts": 5}, 5)])
def test_a_run_that_kills_each_worker_fails_and_those_behind_it_run(runner, settings, most):
    start(runner, pipeline_run_limit=1, **settings)
    for attempt in range(1, most + 1):
        [run] = runner.claim()
        assert (run.key[8:10], run.attempt) == ("01", attempt)
        runner.recover()
    row = runner.rows()[0]
    told = f"A worker died while it ran. It was interrupted {most} times so far."
    assert (row["status"], row["error"]) == ("failed", told)
    for _ in range(2):
        [run] = runner.claim()
        assert runner.end(run)
    assert runner.get()["status"] == "failed"


@pytest.mark.parametrize(
    ("of", "died"), [("this place", True), ("another container", False), ("another host", False)]
)
def test_that_a_process_is_gone_is_known_of_this_place_alone(runner, of, died):
    start(runner)
    [run] = runner.claim()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host, _, mark = run.worker.split(":")
    if of == "another container":
        # It may have the same host name, and counts its processes from 1, too.
        mark = "0" * 8 + mark[8:]
    worker = f"{'elsewhere' if of == 'another host' else host}:{gone.pid}:{mark}"
    runner.store(worker=worker)
    with runner.app.app_context():
        assert runner.blueprint.runs.died_here(run.id) is died


def test_what_an_edit_adds_runs_though_the_last_run_has_died_for_good_meanwhile(runner):
    start(runner)
    assert runner.put({"end_datetime": "2023-03-01"}).status_code == 200
    [run] = runner.claim()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host, _, mark = run.worker.split(":")
    runner.store(worker=f"{host}:{gone.pid}:{mark}", tries=3)
    is_locked = threading.Event()

    def check(backfill):
        is_locked.set()
        # For as long as it takes until others wait for the lock.
        time.sleep(0.5)

    def edit():
        with runner.app.app_context():
            backfills = runner.blueprint.backfills
            sent = {"end_datetime": "2023-03-03"}
            backfills.update("arwen_starlight", 6, sent, check=check)

    with ThreadPoolExecutor() as pool:
        edited = pool.submit(edit)
        assert is_locked.wait(10)
        with runner.app.app_context():
            assert runner.blueprint.runs.died_here(run.id)
        edited.result()
    assert len(runner.claim(limit=5)) == 2
    assert runner.stored("status") == ["failed", "running", "running"]


def test_a_worker_that_was_taken_for_dead_does_not_end_the_next_attempt(runner):
    start(runner)
    [old] = runner.claim()
    assert runner.recover() == 1
    [new] = runner.claim()
    assert (new.id, new.attempt) == (old.id, 2)
    assert runner.end(old, "completed", {"rows": 1}) is False
    assert runner.end(new, "completed", {"rows": 2}) is True
    assert runner.get()["metrics"] == {"rows": 2}


@pytest.mark.parametrize("by", ["end", "claim", "recover"])
def test_a_crash_between_an_end_and_what_follows_is_made_up(runner, monkeypatch, by):
    start(runner)
    one, two, three = runner.claim(limit=3)
    with monkeypatch.context() as patch:
        patch.setattr(type(runner.blueprint.runs.upkeep), "roll_up", lambda self, *args: None)
        assert runner.end(one, "completed", {"rows": 1})
        if by == "recover":
            assert runner.end(two, "completed", {"rows": 1})
            assert runner.end(three, "completed", {"rows": 1})
    assert runner.get()["metrics"] is None
    if by == "end":
        assert runner.end(two, "completed", {"rows": 1})
        assert runner.get()["metrics"] == {"rows": 2}
    elif by == "claim":
        runner.put({"end_datetime": "2023-03-04"})
        assert len(runner.claim()) == 1
        assert runner.get()["metrics"] == {"rows": 1}
    else:
        assert runner.recover() == 0
        assert (runner.get()["status"], runner.get()["metrics"]) == ("completed", {"rows": 3})
    runner.recover()
    assert runner.get()["metrics"]["rows"] in (1, 2, 3)


@pytest.mark.parametrize("how", ["raises", "late", "unwanted", "interrupted"])
def test_a_crash_after_the_last_run_leaves_no_backfill_active(runner, monkeypatch, how):
    start(runner, order="backwards", **({"run_timeout": 1} if how == "late" else {}))
    runner.put({"end_datetime": "2023-03-02"})
    last, other = runner.claim(limit=2)
    assert runner.end(other)
    if how == "unwanted":
        runner.put({"end_datetime": "2023-03-01"})
    elif how == "late":
        time.sleep(1.1)
    runs = runner.blueprint.runs
    with monkeypatch.context() as patch, runner.app.app_context():
        patch.setattr(type(runs.upkeep), "roll_up", lambda self, *args, **options: None)
        if how == "interrupted":
            patch.setattr("flask_backfills.runs.ending.MAX_INTERRUPTIONS", 0)
            runs.interrupted(last, "a deadlock")
        elif how == "unwanted":
            assert runs.give_back([last]) == 1
        else:
            runs.finish(last, "failed" if how == "raises" else "completed")
    assert runner.get()["status"] == "running"
    assert runner.recover() == 0
    assert runner.get()["status"] == ("completed" if how == "unwanted" else "failed")
    # Nor does the run wait for its old worker.
    assert runner.put({"status": "initial", "settings": {"reprocess": "all"}}).status_code == 200
    assert runner.claim()


@pytest.mark.parametrize("again", [False, True])
def test_a_late_end_by_id_frees_no_run_of_another_worker(runner, again):
    start(runner, pipeline_run_limit=1)
    [first] = runner.claim()
    runner.recover()
    [second] = runner.claim()
    runner.put({"status": "cancelled"})
    if again:
        runner.put({"status": "initial"})
    assert runner.finish(first, "completed", attempt=first.attempt) is False
    assert runner.claim() == []
    assert runner.client.delete(URL).status_code == 409
    assert runner.end(second) is False
    assert len(runner.claim()) == again


# Cancelled while it runs


def test_a_cancelled_run_counts_until_its_worker_lets_go_of_it(runner):
    start(runner, pipeline_run_limit=1)
    [run] = runner.claim()
    runner.put({"status": "cancelled"})
    row = runner.rows()[0]
    assert (row["status"], row["completed_at"]) == ("cancelled", None)
    assert runner.client.delete(URL).status_code == 409
    runner.put({"status": "initial"})
    assert runner.claim(limit=3) == []
    assert runner.client.delete(URL).status_code == 409
    assert runner.end(run) is False
    [again] = runner.claim(limit=3)
    assert (again.id, again.attempt) == (run.id, 2)


def test_a_cancelled_run_of_a_dead_worker_does_not_keep_its_backfill(runner):
    start(runner)
    runner.claim()
    runner.put({"status": "cancelled"})
    assert runner.client.delete(URL).status_code == 409
    runner.store(heartbeat_at=datetime(2023, 1, 1))
    assert runner.client.delete(URL).status_code == 200
    assert runner.stored("id") == []


def test_a_worker_of_a_backfill_that_was_deleted_ends_no_other_run(runner):
    start(runner)
    [old] = runner.claim()
    runner.put({"status": "cancelled"})
    with runner.app.app_context():
        # Not even where a new row has the id of one that was deleted, as in SQLite.
        run_model = runner.blueprint.host.run_model
        runner.db.session.execute(sa.delete(run_model))
        runner.db.session.execute(sa.delete(runner.model))
        seed = {"id": old.backfill_id, "pipeline_uuid": "arwen_starlight"}
        runner.db.session.add(runner.model(**seed, status="initial"))
        row = {"id": old.id, "backfill_id": old.backfill_id, "key": old.key}
        runner.db.session.add(run_model(**row, execution_date=datetime(2023, 3, 1)))
        runner.db.session.commit()
    [new] = runner.claim()
    assert (new.id, new.attempt) == (old.id, old.attempt)
    assert runner.end(old, "completed", {"rows": 9}) is False
    assert runner.get()["metrics"] is None
    assert runner.end(new, "completed", {"rows": 1}) is True
    assert runner.get()["metrics"] == {"rows": 1}
