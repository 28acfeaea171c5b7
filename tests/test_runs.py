"""Backfills that run: started, planned anew while they run, handed out, ended."""

import enum
import json
import threading
import uuid
from collections import Counter
from datetime import datetime
from itertools import count

import pytest
import sqlalchemy as sa
from conftest import about_sql
from conftest import often
from conftest import URL
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker

from flask_backfills import allow_anyone
from flask_backfills import backfill_cancelled
from flask_backfills import backfill_finished
from flask_backfills import backfill_started
from flask_backfills import backfill_updated
from flask_backfills import BackfillBlueprint
from flask_backfills.errors import NothingToRun

pytestmark = about_sql

WEEK = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-07"}
WEEK |= {"interval_type": "day", "interval_units": 1}
START = {**WEEK, "status": "initial"}


def days(rows, *statuses):
    return [int(row["key"][8:10]) for row in rows if not statuses or row["status"] in statuses]


def plan_of(response):
    assert response.status_code < 300, response.text
    told = response.json["metadata"]["plan"]
    return {action: told[action] for action in ("keep", "add", "drop", "redo") if told[action]}


def work(host, *statuses, **claim):
    """Claim as many runs as there are statuses and end each as one of them."""
    for status in statuses:
        [run] = host.claim(**claim)
        if status != "running":
            assert host.finish(run, status)


# Start


def test_a_start_has_one_run_a_date(runner):
    response = runner.put({**START, "variables": {"a": 1, "ds": "mine"}})
    assert plan_of(response) == {"add": 7}
    rows = runner.rows()
    assert days(rows) == [1, 2, 3, 4, 5, 6, 7]
    assert rows[1] == {
        "id": rows[1]["id"],
        "backfill_id": 6,
        "pipeline_uuid": "arwen_starlight",
        "key": "2023-03-02T00:00:00",
        "execution_date": "2023-03-02 00:00:00",
        "interval_end_datetime": "2023-03-03 00:00:00",
        "status": "initial",
        "attempt": 1,
        "started_at": None,
        "completed_at": None,
        "error": None,
        "variables": {
            "a": 1,
            "ds": "2023-03-02",
            "hr": "00",
            "execution_date": "2023-03-02 00:00:00",
            "interval_start_datetime": "2023-03-02 00:00:00",
            "interval_end_datetime": "2023-03-03 00:00:00",
            "interval_seconds": 86400,
            "interval_start_datetime_previous": "2023-03-01 00:00:00",
        },
    }
    assert [r["id"] for r in runner.read(f"{URL}/runs?_limit=2&_offset=1")["runs"]] == [
        rows[1]["id"],
        rows[2]["id"],
    ]


@pytest.mark.parametrize("end", ["inclusive", "exclusive"])
def test_a_host_may_leave_the_end_out(bare, end):
    bare.serve(run_model=bare.run_model(), end=end)
    assert plan_of(bare.put(START)) == {"add": 7 if end == "inclusive" else 6}


def test_a_start_without_a_window_says_what_is_missing(runner):
    runner.put({"start_datetime": "2023-03-01"})
    before = runner.get()
    response = runner.put({"status": "initial", "interval_units": 1})
    assert response.status_code == 422
    assert response.json["error"]["errors"].keys() == {"end_datetime", "interval_type"}
    assert runner.get() == before


def test_more_runs_than_may_be_are_refused_with_both_figures(runner):
    runner.app.config["BACKFILLS_MAX_RUNS"] = 7
    assert runner.put({**START, "end_datetime": "2023-03-08"}).status_code == 422
    response = runner.put({**START, "interval_type": "minute"})
    [message] = response.json["error"]["errors"]["end_datetime"]
    assert "8,641" in message and "7" in message
    assert (runner.get()["status"], runner.rows()) == (None, [])
    assert runner.put(START).status_code == 200


def test_a_start_of_no_runs_is_refused(bare):
    bare.serve(run_model=bare.run_model(), end="exclusive")
    response = bare.put({**START, "end_datetime": "2023-03-01"})
    assert response.json["error"]["errors"] == {"end_datetime": ["There would be no runs."]}


def test_a_create_may_start(runner):
    response = runner.post(START)
    assert response.status_code == 201
    assert plan_of(response) == {"add": 7}
    assert len(runner.rows(response.headers["Location"])) == 7


@pytest.mark.parametrize("status", ["running", "initial"])
def test_either_status_starts_one_that_never_was(runner, status):
    assert plan_of(runner.put({**START, "status": status})) == {"add": 7}
    assert runner.get()["status"] == status


# Handing out


def test_runs_come_in_order_and_the_backfill_rolls_up(runner):
    runner.put(START)
    [first] = runner.claim()
    assert (first.key, first.status, first.backfill_id) == ("2023-03-01T00:00:00", "running", 6)
    assert first.variables["ds"] == "2023-03-01"
    assert runner.get()["status"] == "running"
    assert [run.key[8:10] for run in runner.claim(backfill_id=6, limit=2)] == ["02", "03"]
    for run in [first, *runner.claim(limit=10)]:
        assert runner.finish(run, "completed", {"rows": 2, "seconds": 0.5, "note": "x", "ok": True})
    assert runner.get()["status"] == "running"
    for row in runner.rows():
        if row["status"] == "running":
            with runner.app.app_context():
                assert runner.blueprint.runs.finish(row["id"], "completed", {"rows": 2})
    shown = runner.get(f"{URL}?include_run_count=true")
    assert (shown["status"], shown["run_status_counts"]) == ("completed", {"completed": 7})
    assert shown["metrics"] == {"rows": 14, "seconds": 2.5}
    assert shown["completed_at"] and not shown["failed_at"]
    assert runner.claim() == []


def test_one_failed_run_fails_the_backfill_at_its_end(runner):
    runner.put(START)
    work(runner, "failed", *["completed"] * 6)
    shown = runner.get()
    assert (shown["status"], bool(shown["failed_at"])) == ("failed", True)


def test_an_error_is_kept_on_the_run(runner):
    runner.put(START)
    [run] = runner.claim()
    runner.finish(run, "failed", error="no such file")
    assert runner.rows()[0]["error"] == "no such file"


def test_only_a_running_run_can_be_finished(runner):
    runner.put(START)
    waiting = runner.rows()[0]["id"]
    [run] = runner.claim()
    runner.put({"status": "cancelled"})
    before = runner.rows()
    assert (before[0]["status"], before[0]["completed_at"]) == ("cancelled", None)
    assert runner.finish(run, "completed", {"rows": 1}) is False
    with runner.app.app_context():
        assert runner.blueprint.runs.finish(waiting + 1, "completed") is False
        assert runner.blueprint.runs.finish(999, "completed") is False
    rows = runner.rows()
    # Only now its worker has let go of it.
    before[0]["completed_at"] = rows[0]["completed_at"]
    assert rows[0]["completed_at"] is not None
    assert (rows, runner.get()["metrics"]) == (before, None)
    with pytest.raises(ValueError, match="cancelled"):
        runner.finish(run, "cancelled")


def test_a_worker_of_an_attempt_before_is_told_so(runner):
    runner.put(START)
    [old] = runner.claim()
    runner.put({"status": "cancelled"})
    runner.put({"status": "initial"})
    [other] = runner.claim()
    assert other.id != old.id, "while its old worker is still at it"
    assert runner.finish(old, "failed", attempt=old.attempt) is False
    [new] = runner.claim()
    assert (old.attempt, new.id, new.attempt) == (1, old.id, 2)
    assert runner.finish(new, "completed", attempt=new.attempt) is True


def test_settings_decide_what_is_handed_out(runner):
    runner.put({**START, "settings": {"pipeline_run_limit": 2, "order": "backwards", "mine": 1}})
    found = runner.claim(limit=5)
    assert [run.key[8:10] for run in found] == ["07", "06"]
    assert runner.claim() == []
    runner.finish(found[0], "completed")
    runner.put({"settings": {"paused": True}})
    assert runner.claim() == []
    runner.put({"settings": {"pipeline_run_limit": 3}})
    assert len(runner.claim(limit=5)) == 2
    assert runner.put({"settings": None}).status_code == 200
    assert len(runner.claim(limit=9)) == 3


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("pipline_run_limit", "pipeline_run_limit"),
        ("pipelineRunLimit", "pipeline_run_limit"),
        ("pause", "paused"),
        ("max-failures", "max_failures"),
    ],
)
def test_a_setting_that_is_a_slip_of_another_is_refused(runner, slip, meant):
    response = runner.put({"settings": {slip: 1}})
    message = f"Not a setting. Did you mean {meant}?"
    assert response.json["error"]["errors"] == {"settings": {slip: [message]}}
    assert runner.get()["settings"] is None


def test_settings_of_the_hosts_own_are_stored(runner):
    own = {"owner": "ana", "team": {"paused": 1}, "run": 3, "limits": [], "x": None}
    assert runner.put({"settings": own}).status_code == 200
    assert runner.get()["settings"] == own


def test_settings_that_are_older_than_a_rule_may_be_sent_back(runner):
    with runner.app.app_context():
        runner.db.session.get(runner.model, 6).settings = {"pause": 1, "paused": 1}
        runner.db.session.commit()
    shown = runner.get()["settings"]
    assert runner.put({"settings": shown, "name": "new"}).status_code == 200
    # 1 and true are equal to Python alone.
    assert runner.put({"settings": {"pause": True, "paused": 1}}).status_code == 422


@pytest.mark.parametrize(
    "wrong",
    [
        {"pipeline_run_limit": 0},
        {"pipeline_run_limit": "0"},
        {"pipeline_run_limit": "1.5"},
        {"pipeline_run_limit": "x"},
        {"pipeline_run_limit": ""},
        {"pipeline_run_limit": " 3"},
        {"max_failures": "-1"},
        {"pipeline_run_limit": True},
        {"order": "sideways"},
        {"order": []},
        {"reprocess": "some"},
        {"max_failures": -1},
        {"max_failures": 1.5},
        {"paused": 1},
        {"paused": "true"},
        {"paused": {}},
    ],
)
def test_a_setting_that_makes_no_sense_is_named(runner, wrong):
    for response in (runner.put({"settings": wrong}), runner.post({"settings": wrong})):
        assert response.status_code == 422
        assert response.json["error"]["errors"]["settings"].keys() == wrong.keys()


def test_max_failures_ends_it_when_the_running_ones_have(runner):
    runner.put({**START, "settings": {"max_failures": 2}})
    one, two, three = runner.claim(limit=3)
    runner.finish(one, "failed")
    assert len(runner.claim()) == 1
    runner.finish(two, "failed")
    assert runner.claim() == []
    assert runner.get()["status"] == "running"
    runner.finish(three, "completed")
    [last] = [row for row in runner.rows() if row["status"] == "running"]
    with runner.app.app_context():
        runner.blueprint.runs.finish(last["id"], "completed")
    assert runner.get()["status"] == "failed"
    assert Counter(row["status"] for row in runner.rows()) == {
        "failed": 2,
        "completed": 2,
        "cancelled": 3,
    }


def test_max_failures_lowered_to_what_has_failed_ends_it_at_once(runner):
    runner.put(START)
    work(runner, "failed")
    response = runner.put({"settings": {"max_failures": 1}})
    assert response.json["backfill"]["status"] == "failed"
    assert runner.get() == response.json["backfill"]


# An edit while it runs


def test_a_longer_window_adds_and_a_shorter_one_drops(runner):
    runner.put(START)
    work(runner, "completed", "failed", "running")
    assert plan_of(runner.put({"end_datetime": "2023-03-09"})) == {"keep": 7, "add": 2}
    assert days(runner.rows()) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert plan_of(runner.put({"end_datetime": "2023-03-04"})) == {"keep": 4, "drop": 5}
    assert days(runner.rows(), "initial") == [4]
    moved = {"start_datetime": "2023-03-03", "end_datetime": "2023-03-06"}
    assert plan_of(runner.put(moved)) == {"keep": 2, "add": 2}
    assert days(runner.rows()) == [1, 2, 3, 4, 5, 6]
    counts = runner.get(f"{URL}?include_run_count=true")
    assert counts["total_run_count"] == 4
    assert counts["run_status_counts"] == {"initial": 3, "running": 1}
    back = runner.put({"start_datetime": "2023-03-01"})
    assert plan_of(back) == {"keep": 6}
    assert days(runner.rows(), "completed", "failed") == [1, 2]
    counts = runner.get(f"{URL}?include_run_count=true")["run_status_counts"]
    assert counts == {"initial": 3, "running": 1, "completed": 1, "failed": 1}


def test_variables_that_are_too_large_for_runs_are_refused(runner):
    runner.app.config["BACKFILLS_MAX_VARIABLES"] = 20
    assert runner.put({"variables": {"a": "€" * 5}}).status_code == 422
    response = runner.post({"variables": {"a": "x" * 13}})
    message = "Has 21 bytes of JSON. The limit is 20."
    assert response.json["error"]["errors"] == {"variables": [message]}
    stored = {"a": "x" * 12}
    assert runner.put({"variables": stored}).status_code == 200
    # What is there already may be sent back.
    runner.app.config["BACKFILLS_MAX_VARIABLES"] = 10
    assert runner.put({"variables": stored, "name": "another"}).status_code == 200


def test_variables_that_no_run_gets_may_be_large(host):
    assert host.put({"variables": {"a": "x" * 100_000}}).status_code == 200


def test_the_default_limit_of_variables_is_64_kib(runner):
    assert runner.put({"variables": {"a": "x" * (64 * 1024 - 8)}}).status_code == 200
    assert runner.put({"variables": {"a": "x" * (64 * 1024 - 7)}}).status_code == 422


def test_new_variables_reach_those_that_wait(runner):
    runner.put({**START, "variables": {"a": 1}})
    work(runner, "completed", "running")
    assert plan_of(runner.put({"variables": {"b": 2}})) == {"keep": 7}
    rows = runner.rows()
    assert ["b" in row["variables"] for row in rows] == [False, False] + [True] * 5
    assert rows[3]["variables"]["ds"] == "2023-03-04" and "a" not in rows[3]["variables"]


def test_another_interval_runs_again_what_has_ended(runner):
    hours = {"end_datetime": "2023-03-03", "interval_type": "hour", "interval_units": 12}
    runner.put({**START, **hours})
    work(runner, "completed", "completed", "running")
    refused = runner.put({"interval_type": "day", "interval_units": 1})
    assert refused.status_code == 409
    assert "2023-03-02T00:00:00" in refused.json["error"]["message"]
    assert runner.get()["interval_type"] == "hour"
    [running] = [row for row in runner.rows() if row["status"] == "running"]
    with runner.app.app_context():
        runner.blueprint.runs.finish(running["id"], "completed")
    done = plan_of(runner.put({"interval_type": "day", "interval_units": 1}))
    assert done == {"redo": 2, "keep": 1, "drop": 1}
    rows = runner.rows()
    assert [(row["key"][8:13], row["status"], row["attempt"]) for row in rows] == [
        ("01T00", "initial", 2),
        ("01T12", "completed", 1),
        ("02T00", "initial", 2),
        ("03T00", "initial", 1),
    ]
    assert rows[3]["interval_end_datetime"] == "2023-03-04 00:00:00"
    assert rows[0]["completed_at"] is None


def test_an_edit_that_leaves_nothing_to_run_ends_it(runner):
    runner.put(START)
    work(runner, "completed", "completed")
    dry = runner.put({"end_datetime": "2023-03-02"}, f"{URL}?dry_run=true")
    response = runner.put({"end_datetime": "2023-03-02"})
    for answer in (dry, response):
        assert plan_of(answer) == {"keep": 2, "drop": 5}
        assert answer.json["backfill"]["status"] == "completed"
    assert runner.get() == response.json["backfill"]


def test_an_edit_that_ends_it_tells_all_of_its_metrics(runner):
    runner.put({**START, "end_datetime": "2023-03-01"})
    [run] = runner.claim()
    with runner.app.app_context():
        # As a worker does that rolls up several ends at once.
        runner.blueprint.runs.finish(run, "completed", {"rows": 3}, later=True)
    shown = runner.put({"settings": {"priority": 1}}).json["backfill"]
    assert (shown["status"], shown["metrics"]) == ("completed", {"rows": 3})
    assert runner.recover() == 0 and runner.get() == shown


def test_one_whose_runs_are_all_completed_is_not_cancelled(runner):
    """In the moment before its end is rolled up: nobody could start it again."""
    runner.put({**START, "end_datetime": "2023-03-02"})
    first, second = runner.claim(limit=2)
    with runner.app.app_context():
        runner.blueprint.runs.finish(first, "completed", {"rows": 3}, later=True)
    assert runner.put({"status": "cancelled"}, f"{URL}?dry_run=true").status_code == 200
    with runner.app.app_context():
        runner.blueprint.runs.finish(second, "completed", {"rows": 4}, later=True)
    for query in ("", "?dry_run=true"):
        refused = runner.put({"status": "cancelled"}, URL + query)
        assert refused.status_code == 409
        assert refused.json["error"]["errors"] == {
            "status": ["All runs are completed: nothing is left to cancel."]
        }
    runner.recover()
    shown = runner.get()
    assert (shown["status"], shown["metrics"]) == ("completed", {"rows": 7})


def test_one_whose_history_runs_is_cancelled(runner):
    runner.put(START)
    *first, last = runner.claim(limit=3)
    assert all(runner.end(run) for run in first)
    assert runner.put({"end_datetime": "2023-03-02"}).json["backfill"]["status"] == "running"
    assert runner.put({"status": "cancelled"}).json["backfill"]["status"] == "cancelled"
    assert not runner.end(last)


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_a_cancel_that_waits_for_the_end_of_the_last_run_does_not_overtake_it(runner, listen):
    runner.put({**START, "end_datetime": "2023-03-01"})
    [run] = runner.claim()
    cancels = []

    def cancel():
        client = runner.app.test_client()
        cancels.append(client.put(URL, json={"backfill": {"status": "cancelled"}}).status_code)

    thread = threading.Thread(target=cancel)

    def before_commit(session):
        if thread.ident is None and threading.current_thread() is threading.main_thread():
            thread.start()
            thread.join(0.3)

    with runner.app.app_context():
        listen(runner.db.session(), "before_commit", before_commit)
        assert runner.blueprint.runs.finish(run, "completed", later=True)
    thread.join()
    assert cancels == [409]


@pytest.mark.parametrize("statuses", [["failed"], ["completed", "failed"]])
def test_one_with_failed_runs_is_cancelled(runner, statuses):
    runner.put({**START, "end_datetime": f"2023-03-0{len(statuses)}"})
    with runner.app.app_context():
        for run, status in zip(runner.claim(limit=2), statuses, strict=True):
            runner.blueprint.runs.finish(run, status, later=True)
    assert runner.put({"status": "cancelled"}).json["backfill"]["status"] == "cancelled"


def test_one_that_has_no_runs_is_cancelled(runner):
    with runner.app.app_context():
        runner.db.session.get(runner.model, 6).status = "running"
        runner.db.session.commit()
    assert runner.put({"status": "cancelled"}).json["backfill"]["status"] == "cancelled"


def test_history_that_still_runs_is_waited_for(runner):
    runner.put(START)
    work(runner, "completed", "completed", "running")
    assert plan_of(runner.put({"end_datetime": "2023-03-02"})) == {"keep": 2, "drop": 4}
    assert runner.get()["status"] == "running"
    assert runner.client.delete(URL).status_code == 409
    [running] = [row for row in runner.rows() if row["status"] == "running"]
    with runner.app.app_context():
        runner.blueprint.runs.finish(running["id"], "failed")
    assert runner.get()["status"] == "completed"


def give_back(runner, run):
    with runner.app.app_context():
        runner.blueprint.runs.give_back([run])


def fail(runner, run):
    runner.end(run, "failed")


@pytest.mark.parametrize("leave", [give_back, fail])
@pytest.mark.parametrize("back", [False, True])
def test_a_run_may_wait_again_while_an_edit_does_without_it_or_wants_it_back(
    own_runner, leave, back
):
    """Be it after the edit has read that it runs."""
    runner = own_runner
    if runner.app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        pytest.skip("nobody else writes while an edit does")
    runner.put({**START, "settings": {"max_attempts": 2}})
    [run] = runner.claim()
    if back:
        runner.put({"start_datetime": "2023-03-03"})
    here, left = threading.current_thread(), []

    def meanwhile(connection, cursor, statement, *rest):
        reads = statement.startswith("SELECT") and "interval_end_datetime" in statement
        if threading.current_thread() is here and reads and not left:
            left.append(threading.Thread(target=leave, args=(runner, run)))
            left[0].start()
            left[0].join(30)

    with runner.app.app_context():
        sa.event.listen(runner.db.engine, "after_cursor_execute", meanwhile)
    response = runner.put({"start_datetime": "2023-03-01" if back else "2023-03-03"})
    with runner.app.app_context():
        sa.event.remove(runner.db.engine, "after_cursor_execute", meanwhile)
    assert (response.status_code, len(left)) == (200, 1), response.text
    model = runner.blueprint.host.run_model
    while claimed := runner.claim(limit=10):
        for one in claimed:
            runner.end(one)
    shown = runner.get(f"{URL}?include_run_count=true")
    failed = leave is fail and back
    assert shown["status"] == ("failed" if failed else "completed")
    with runner.app.app_context():
        waiting = runner.db.session.scalars(sa.select(model.key).where(model.status == "initial"))
        assert waiting.all() == []
    assert runner.client.delete(URL).status_code == 200


def test_an_edit_of_one_that_does_not_run_plans_nothing(runner):
    runner.put(WEEK)
    assert "metadata" not in runner.put({"end_datetime": "2023-03-09"}).json
    assert runner.rows() == []
    runner.put({"status": "initial"})
    runner.put({"status": "cancelled"})
    assert "metadata" not in runner.put({"end_datetime": "2023-03-02"}).json
    assert len(runner.rows()) == 9
    assert plan_of(runner.put({"status": "initial"})) == {"redo": 2}


def test_a_name_plans_nothing_and_half_a_window_is_refused(runner):
    runner.put(START)
    assert "metadata" not in runner.put({"name": "x"}).json
    response = runner.put({"interval_units": None})
    assert response.json["error"]["errors"].keys() == {"interval_units"}
    assert runner.get()["interval_units"] == 1


# What was previewed is what happens


def test_a_dry_run_says_what_becomes_of_each_run(runner):
    runner.put(START)
    work(runner, "completed", "running")
    before = runner.get(), runner.rows()
    moved = {"start_datetime": "2023-03-02", "end_datetime": "2023-03-09"}
    entries, seen = [], []
    for offset in (0, 4, 8):
        dry = runner.put(moved, f"{URL}?dry_run=true&_limit=4&_offset={offset}").json
        entries += dry["metadata"]["plan"].pop("entries")
        seen.append(dry["metadata"])
    assert (runner.get(), runner.rows()) == before
    told = [(int(e["key"][8:10]), e["action"], e["reason"]) for e in entries]
    assert told == [
        (2, "keep", "Running."),
        *((day, "keep", "Waiting.") for day in (3, 4, 5, 6, 7)),
        (8, "add", "Not planned before."),
        (9, "add", "Not planned before."),
        (1, "keep", "No longer needed, but completed: kept as history, and not counted."),
    ]
    assert entries[0]["execution_date"] == "2023-03-02 00:00:00"
    assert [page["count"] for page in seen] == [9, 9, 9]
    assert [page["next"] for page in seen] == [True, True, False]
    named = seen[0]["plan"]["hash"]
    done = runner.put(moved, headers={"If-Plan-Match": f'"{named}"'})
    assert done.json["metadata"]["plan"] == seen[0]["plan"]


def test_a_plan_that_has_moved_is_a_412_with_the_new_one(runner):
    runner.put(START)
    shorter = {"end_datetime": "2023-03-01"}
    named = runner.put(shorter, f"{URL}?dry_run=true").json["metadata"]["plan"]["hash"]
    work(runner, "completed", "running")
    before = runner.get(), runner.rows()
    response = runner.put(shorter, headers={"If-Plan-Match": named})
    assert (response.status_code, response.json["error"]["code"]) == (412, 412)
    assert response.json["metadata"]["plan"]["drop"] == 5
    assert (runner.get(), runner.rows()) == before
    named = response.json["metadata"]["plan"]["hash"]
    assert (
        runner.put({**shorter, "variables": {}}, headers={"If-Plan-Match": named}).status_code
        == 412
    )
    assert runner.put(shorter, headers={"If-Plan-Match": named}).status_code == 200


def test_progress_alone_is_no_other_plan(runner):
    runner.put(START)
    longer = {"end_datetime": "2023-03-09"}
    named = runner.put(longer, f"{URL}?dry_run=true").json["metadata"]["plan"]["hash"]
    work(runner, "completed", "running")
    assert runner.put(longer, headers={"If-Plan-Match": named}).status_code == 200


def test_if_plan_match_without_a_plan_is_a_412(runner):
    response = runner.put({"name": "x"}, headers={"If-Plan-Match": "abc"})
    assert (response.status_code, response.json["metadata"]) == (412, {"plan": None})
    assert runner.get()["name"] == "old_name"
    dry = runner.put({"name": "x"}, f"{URL}?dry_run=true").json["metadata"]["plan"]
    assert (dry["entries"], dry["add"]) == ([], 0)
    assert runner.put({"name": "x"}, headers={"If-Plan-Match": dry["hash"]}).status_code == 200


# Cancel, close, start again


@pytest.mark.parametrize("before", [None, "initial", "running", "failed"])
def test_a_cancel_ends_every_run_in_any_state(runner, before):
    if before is not None:
        runner.put(START)
    if before == "running":
        work(runner, "completed", "running")
    if before == "failed":
        work(runner, "failed", *["completed"] * 6)
    runner.statements.clear()
    assert runner.put({"status": "cancelled"}).status_code == 200
    assert len([s for s in runner.statements if s.startswith("UPDATE backfill_run")]) == 1
    assert not days(runner.rows(), "initial", "running")
    assert runner.get()["status"] == "cancelled"


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_close_by_hand_cancels_what_has_not_ended(runner, status):
    runner.put(START)
    work(runner, "completed", "running")
    assert runner.put({"status": status}).status_code == 200
    counts = runner.get(f"{URL}?include_run_count=true")["run_status_counts"]
    assert counts == {"completed": 1, "cancelled": 6}


@pytest.mark.parametrize(
    ("reprocess", "again", "plan"),
    [
        (None, [2, 3, 4, 5, 6, 7], {"keep": 1, "redo": 6}),
        ("failed", [2, 3, 4, 5, 6, 7], {"keep": 1, "redo": 6}),
        ("all", [1, 2, 3, 4, 5, 6, 7], {"redo": 7}),
    ],
)
def test_a_start_again_requeues_in_place(runner, reprocess, again, plan):
    runner.put(START)
    work(runner, "completed", "failed")
    runner.put({"status": "cancelled"})
    ids = [row["id"] for row in runner.rows()]
    settings = {"settings": {"reprocess": reprocess}} if reprocess else {}
    assert plan_of(runner.put({"status": "initial", **settings})) == plan
    rows = runner.rows()
    assert [row["id"] for row in rows] == ids
    assert days(rows, "initial") == again
    assert {row["attempt"] for row in rows if row["status"] == "initial"} == {2}


def test_reprocess_none_runs_only_what_is_missing(runner):
    runner.put(START)
    work(runner, "completed")
    runner.put({"status": "cancelled", "settings": {"reprocess": "none"}})
    refused = runner.put({"status": "initial"})
    assert refused.status_code == 409
    assert refused.json["error"]["errors"]["status"] == [
        "No run would start: 1 completed, 6 cancelled."
        ' To run what is not completed again, start with settings.reprocess = "failed".'
    ]
    assert runner.get()["status"] == "cancelled"
    longer = {"status": "initial", "end_datetime": "2023-03-08"}
    assert plan_of(runner.put(longer)) == {"keep": 7, "add": 1}


def test_a_retry_of_a_failed_one_runs(runner):
    runner.put(START)
    work(runner, "failed", *["completed"] * 6)
    assert plan_of(runner.put({"status": "running"})) == {"keep": 6, "redo": 1}
    work(runner, "completed")
    assert runner.get()["status"] == "completed"


def test_a_completed_one_is_not_started_to_do_nothing(runner):
    runner.put(START)
    work(runner, *["completed"] * 7)
    for query in ("", "?dry_run=true"):
        refused = runner.put({"status": "initial"}, URL + query)
        assert (refused.status_code, runner.get()["status"]) == (409, "completed")
        assert refused.json["error"]["message"] == (
            'All 7 runs are completed. To run them again, start with settings.reprocess = "all".'
        )


@pytest.mark.parametrize(
    ("statuses", "told"),
    [
        ({"completed": 1}, "The only run is completed. To run it again,"),
        ({"failed": 1}, "The only run has failed. To run it again,"),
        ({"failed": 1_200}, "All 1,200 runs have failed. To run them again,"),
    ],
)
def test_why_nothing_would_run_is_said_in_a_sentence(statuses, told):
    message = NothingToRun(statuses).description
    assert message == f'{told} start with settings.reprocess = "all".'


def test_where_some_have_failed_they_are_the_ones_to_run_again():
    assert NothingToRun({"failed": 1, "initial": 2}).description == (
        "No run would start: 2 waiting, 1 failed."
        ' To run what is not completed again, start with settings.reprocess = "failed".'
    )


def test_a_delete_takes_the_runs_along(runner):
    runner.put(START)
    assert runner.client.delete(URL).status_code == 409
    runner.put({"status": "cancelled"})
    assert runner.client.delete(URL).status_code == 200
    with runner.app.app_context():
        model = runner.blueprint.host.run_model
        assert runner.db.session.scalar(sa.select(sa.func.count()).select_from(model)) == 0


def test_pages_of_runs_can_be_filtered(runner):
    runner.put(START)
    work(runner, "failed", "completed")
    page = runner.read(f"{URL}/runs?status=initial&_limit=2")
    assert days(page["runs"]) == [3, 4]
    assert page["metadata"] == {"count": 5, "next": True}
    assert runner.client.get(f"{URL}/runs?status=done").status_code == 422
    flat = runner.read("/api/backfills/6/runs?status=failed")
    assert days(flat["runs"]) == [1]


# Generators


def partitions(backfill):
    for name in backfill.variables["partitions"]:
        yield {"partition": name, "key": name, "execution_date": "2023-03-01T02:00:00+02:00"}


def test_a_generator_says_which_runs_there_are(runner):
    runner.blueprint.generator("by_partition")(partitions)
    sent = {"block_uuid": "by_partition", "variables": {"partitions": ["b", "a"], "x": 1}}
    assert plan_of(runner.put({**sent, "status": "initial"})) == {"add": 2}
    first, second = runner.rows()
    assert (first["key"], second["key"]) == ("b", "a")
    assert first["execution_date"] == "2023-03-01 00:00:00"
    assert first["variables"] == {
        "partitions": ["b", "a"],
        "x": 1,
        "partition": "b",
        "execution_date": "2023-03-01 00:00:00",
        "ds": "2023-03-01",
        "hr": "00",
    }
    work(runner, "completed")
    assert plan_of(runner.put({"variables": {"partitions": ["a", "c"]}})) == {"keep": 1, "add": 1}
    shown = runner.get(f"{URL}?include_run_count=true&include_preview_runs=true&_limit=1")
    assert (shown["total_run_count"], shown["run_status_counts"]) == (2, {"initial": 2})
    assert [date["partition"] for date in shown["pipeline_run_dates"]] == ["a"]
    work(runner, "completed", "completed")
    assert runner.get()["status"] == "completed"


@pytest.mark.parametrize("own", [{"n": 1}, {}])
@pytest.mark.parametrize("again", ["by hand", "by itself", "lost", "given back", "start"])
def test_a_generators_run_that_is_tried_again_has_the_newest_variables(runner, again, own):
    twice = {"max_attempts": 2, "retry_delay": 0} if again == "by itself" else {}
    given = {"block_uuid": "numbers", "settings": twice}
    runner.blueprint.generator("numbers")(lambda backfill: [{"key": "a", **own}])
    runner.put({**given, "variables": {"m": "old", "n": 0, "gone": 1}, "status": "initial"})
    [run] = runner.claim()
    assert run.variables == {"m": "old", "n": 0, "gone": 1, **own}
    newer = {"variables": {"m": "new", "n": 0}}
    if again in ("by hand", "start"):
        runner.end(run, "failed")
        runner.put({**newer, **({"status": "initial"} if again == "start" else {})})
    else:
        assert runner.put(newer).status_code == 200
    if again == "by hand":
        sent = {"run": {"status": "initial"}}
        assert runner.client.put(f"{URL}/runs/{run.id}", json=sent).status_code == 200
    elif again == "by itself":
        runner.end(run, "failed")
    elif again == "lost":
        runner.recover()
    elif again == "given back":
        with runner.app.app_context():
            runner.blueprint.runs.give_back([run])
    # What is shown is what it gets.
    assert runner.rows()[0]["variables"] == {"m": "new", "n": 0, **own}
    [run] = runner.claim()
    assert run.variables == {"m": "new", "n": 0, **own}


def test_without_keys_a_run_is_known_by_its_position(runner):
    runner.blueprint.generator("numbers")(lambda backfill: ({"n": n} for n in range(3)))
    runner.put({"block_uuid": "numbers", "status": "initial"})
    assert [(row["key"], row["variables"]) for row in runner.rows()] == [
        ("0", {"n": 0}),
        ("1", {"n": 1}),
        ("2", {"n": 2}),
    ]
    assert runner.rows()[0]["execution_date"] is None


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (None, "No generator is registered"),
        (lambda backfill: [], "There would be no runs."),
        (lambda backfill: ({} for _ in count()), "more than 50 runs, which is the limit"),
        (lambda backfill: [{"key": "a"}, {"key": "a"}], "same key"),
        (lambda backfill: [{"key": "a" * 300}], "Longer than maximum"),
        (lambda backfill: [{"execution_date": "soon"}], "Not an ISO 8601 date"),
        (lambda backfill: [{"day": datetime(2023, 3, 1)}], "Contains a value that is not JSON"),
        (lambda backfill: [{"x": float("nan")}], "NaN"),
    ],
)
def test_a_generator_that_can_not_be_used_is_a_422(runner, generator, message):
    runner.app.config["BACKFILLS_MAX_RUNS"] = 50
    if generator is not None:
        runner.blueprint.generator("odd")(generator)
    response = runner.put({"block_uuid": "odd", "status": "initial"})
    assert response.status_code == 422
    assert message in " ".join(response.json["error"]["errors"]["block_uuid"])
    assert (runner.get()["status"], runner.rows()) == (None, [])


def test_a_preview_asks_a_generator_for_no_more_than_its_page(runner):
    given = []

    def endless(backfill):
        while True:
            given.append(len(given))
            yield {"n": given[-1]}

    runner.blueprint.generator("endless")(endless)
    runner.put({"block_uuid": "endless"})
    shown = runner.get(f"{URL}?include_preview_runs=true&_offset=2&_limit=3")
    assert [one["n"] for one in shown["pipeline_run_dates"]] == [2, 3, 4]
    assert len(given) == 5
    runner.app.config["BACKFILLS_MAX_RUNS"] = 10
    far = runner.get(f"{URL}?include_preview_runs=true&_offset=100000000")
    assert (far["pipeline_run_dates"], len(given)) == ([], 15)


def test_a_backfill_may_go_from_a_window_to_a_generator(runner):
    runner.blueprint.generator("numbers")(lambda backfill: ({"n": n} for n in range(3)))
    runner.put(START)
    work(runner, "completed")
    assert plan_of(runner.put({"block_uuid": "numbers"})) == {"add": 3, "drop": 6}
    assert plan_of(runner.put({"block_uuid": None})) == {"keep": 1, "add": 6, "drop": 3}


# Signals, time zones, models of other kinds


def test_each_move_is_told_after_the_commit(runner):
    told = []

    def receiver(name):
        def receive(sender, backfill, changes):
            told.append((name, backfill.status, changes.get("status")))

        return receive

    signals = {
        "updated": backfill_updated,
        "started": backfill_started,
        "cancelled": backfill_cancelled,
        "finished": backfill_finished,
    }
    receivers = {name: receiver(name) for name in signals}
    for name, signal in signals.items():
        signal.connect(receivers[name], runner.app)
    runner.put(START, f"{URL}?dry_run=true")
    assert told == []
    runner.put({**START, "end_datetime": "2023-03-01"})
    work(runner, "failed")
    runner.put({"status": "running"})
    runner.put({"status": "cancelled"})
    assert told == [
        ("updated", "initial", (None, "initial")),
        ("started", "initial", (None, "initial")),
        ("updated", "running", ("initial", "running")),
        ("updated", "failed", ("running", "failed")),
        ("finished", "failed", ("running", "failed")),
        ("updated", "running", ("failed", "running")),
        ("started", "running", ("failed", "running")),
        ("updated", "cancelled", ("running", "cancelled")),
        ("cancelled", "cancelled", ("running", "cancelled")),
    ]


def test_days_are_those_of_the_blueprints_zone(bare):
    bare.serve(run_model=bare.run_model(), timezone="Europe/Berlin")
    bare.put({**START, "start_datetime": "2023-03-24T23:00:00Z", "end_datetime": "2023-03-28"})
    assert [(r["execution_date"][5:16], r["variables"]["ds"]) for r in bare.rows()] == [
        ("03-24 23:00", "2023-03-25"),
        ("03-25 23:00", "2023-03-26"),
        ("03-26 22:00", "2023-03-27"),
        ("03-27 22:00", "2023-03-28"),
    ]


class State(enum.Enum):
    initial = "initial"
    running = "running"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"


def test_models_of_the_hosts_own_run_too(bare):
    """UUID keys, enums, aware datetimes, other names, and only the columns that it takes."""

    class Rerun(bare.db.Model):
        key = sa.Column(sa.Uuid, primary_key=True, default=uuid.uuid4)
        pipeline_uuid = sa.Column(sa.String(50))
        start_datetime = sa.Column(sa.DateTime(timezone=True))
        end_datetime = sa.Column(sa.DateTime(timezone=True))
        interval_type = sa.Column(sa.Enum("hour", "day", name="step"))
        interval_units = sa.Column(sa.Integer)
        status = sa.Column(sa.Enum(State))

    class Job(bare.db.Model):
        job = sa.Column(sa.Integer, primary_key=True)
        rerun = sa.Column(sa.ForeignKey("rerun.key"))
        backfill_id = sa.orm.synonym("rerun")
        key = sa.Column(sa.String(40))
        day = sa.Column("when", sa.DateTime(timezone=True))
        execution_date = sa.orm.synonym("day")
        state = sa.Column(sa.Enum(State, native_enum=False))
        status = sa.orm.synonym("state")

    key = uuid.uuid4()
    bare.serve(Rerun, seed={"key": key, "pipeline_uuid": "p"}, run_model=Job)
    url = f"/api/pipelines/p/backfills/{key}"
    assert plan_of(bare.put(START, url)) == {"add": 7}
    with bare.app.app_context():
        [job] = bare.blueprint.runs.claim(key)
        assert (job.state, job.key) == (State.running, "2023-03-01T00:00:00")
        assert bare.blueprint.runs.finish(job.job, "failed") is True
    assert plan_of(bare.put({"end_datetime": "2023-03-08"}, url)) == {"keep": 7, "add": 1}
    assert plan_of(bare.put({"interval_units": 2}, url)) == {"keep": 4, "drop": 4}
    assert bare.put({"status": "cancelled"}, url).status_code == 200
    assert plan_of(bare.put({"status": "initial"}, url)) == {"redo": 4}
    row = bare.read(f"{url}/runs?_limit=1")["runs"][0]
    assert (row["backfill_id"], row["status"]) == (str(key), "initial")
    assert (row["execution_date"], row["attempt"]) == ("2023-03-01 00:00:00+00:00", None)


def test_a_run_model_that_lacks_a_column_is_refused_at_start(bare):
    class Thin(bare.db.Model):
        id = sa.Column(sa.Integer, primary_key=True)
        backfill_id = sa.Column(sa.Integer)

    blueprint = BackfillBlueprint(
        bare.mixin_model(), bare.db.session, authorize=allow_anyone, run_model=Thin
    )
    with pytest.raises(TypeError, match="has no attribute key:"):
        bare.app.register_blueprint(blueprint)


# Any edits, in any order

EDITS = st.fixed_dictionaries(
    {},
    optional={
        "start_datetime": st.sampled_from([f"2023-03-{day:02}" for day in range(1, 6)]),
        "end_datetime": st.sampled_from([f"2023-03-{day:02}" for day in range(5, 13)]),
        "interval_units": st.sampled_from([1, 1, 1, 2, 3]),
        "variables": st.sampled_from([{}, {"a": 1}]),
        "status": st.sampled_from(["initial", "cancelled"]),
    },
)


#: The worker of a run that was cancelled is still at it when the run is wanted again, and dropped.
STILL_AT_IT = [
    ({"status": "initial"}, ""),
    ({"status": "cancelled"}, "running"),
    ({"status": "initial"}, ""),
    ({"start_datetime": "2023-03-03"}, ""),
]


@settings(max_examples=often(20))
@example(edits=STILL_AT_IT)
@given(
    edits=st.lists(
        st.tuples(EDITS, st.sampled_from(["", "completed", "failed", "running"])), max_size=6
    )
)
def test_dry_run_and_real_run_agree_to_the_last_row(runner, edits):
    url = runner.post(WEEK).headers["Location"]
    key = int(url.rsplit("/", 1)[1])
    for edit, ending in edits:
        if ending:
            for run in runner.claim(key):
                if ending != "running":
                    runner.finish(run, ending)
        before = {row["key"]: row for row in runner.rows(url)}
        dry = runner.put(edit, f"{url}?dry_run=true&_limit=100")
        assert {row["key"]: row for row in runner.rows(url)} == before
        real = runner.put(edit, url)
        assert (real.status_code, real.json.get("error")) == (
            dry.status_code,
            dry.json.get("error"),
        )
        if real.status_code != 200:
            continue
        stamps = dict.fromkeys(["updated_at", "started_at", "completed_at", "failed_at"])
        assert {**real.json["backfill"], **stamps} == {**dry.json["backfill"], **stamps}
        plan = dry.json["metadata"]["plan"]
        after = {row["key"]: row for row in runner.rows(url)}
        if "metadata" not in real.json:
            assert plan["entries"] == [] and after.keys() == before.keys()
            continue
        told = {entry["key"]: entry["action"] for entry in plan.pop("entries")}
        assert real.json["metadata"]["plan"] == plan
        assert {
            key for key, action in told.items() if action == "add"
        } == after.keys() - before.keys()
        dropped = {key for key, action in told.items() if action == "drop"}
        assert before.keys() - after.keys() <= dropped
        # One whose worker was told to stop, and is still at it, stays until that has ended.
        assert {after[key]["status"] for key in dropped & after.keys()} <= {"cancelled"}
        for row_key in before.keys() & after.keys():
            again = after[row_key]["attempt"] - before[row_key]["attempt"]
            assert again == (told.get(row_key) == "redo")
        status, statuses = real.json["backfill"]["status"], {r["status"] for r in after.values()}
        if status not in ("initial", "running"):
            assert not statuses & {"initial", "running"}
        # To the last one: the window's dates are there, and what else is there is history.
        wanted = runner.get(f"{url}?include_run_count=true")
        assert wanted["total_run_count"] == sum(wanted["run_status_counts"].values())
        moment = datetime.fromisoformat(wanted["start_datetime"])
        assert moment.isoformat() in after


def test_a_shifted_window_touches_only_what_differs(runner):
    minutes = {"interval_type": "minute", "end_datetime": "2023-03-01T16:39"}
    runner.put({**START, **minutes})
    touched = Counter()

    def count_rows(connection, cursor, statement, *rest):
        if "backfill_run" in statement and not statement.startswith("SELECT"):
            touched[statement.split()[0]] += cursor.rowcount

    with runner.app.app_context():
        sa.event.listen(runner.db.engine, "after_cursor_execute", count_rows)
    shift = {"start_datetime": "2023-03-01T01:40", "end_datetime": "2023-03-01T18:19"}
    assert plan_of(runner.put(shift)) == {"keep": 900, "add": 100, "drop": 100}
    assert touched == {"INSERT": 100, "DELETE": 100}


def test_runs_that_the_host_meddled_with_are_planned_from_what_is_there(runner):
    runner.put(START)
    with runner.app.app_context():
        model = runner.blueprint.host.run_model
        runner.db.session.execute(sa.delete(model).where(model.key == "2023-03-03T00:00:00"))
        moved = sa.update(model).where(model.key == "2023-03-04T00:00:00")
        runner.db.session.execute(moved.values(execution_date=datetime(2023, 3, 4, 5)))
        runner.db.session.commit()
    assert plan_of(runner.put({"end_datetime": "2023-03-08"})) == {"keep": 6, "add": 2}
    assert sorted(days(runner.rows())) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_session_that_keeps_what_it_has_read_hands_out_what_there_is(bare):
    engine = sa.create_engine(bare.app.config["SQLALCHEMY_DATABASE_URI"])
    keeping = scoped_session(sessionmaker(engine, expire_on_commit=False))
    model, run_model = bare.mixin_model(), bare.run_model()
    other = BackfillBlueprint(
        model, keeping, authorize=allow_anyone, run_model=run_model, name="o", url_prefix="/o"
    )
    bare.app.register_blueprint(other)
    bare.serve(model, run_model=run_model)
    bare.put(START)
    with bare.app.app_context():
        [run] = other.runs.claim()
        assert other.runs.finish(run.id, "failed")
        keeping.get(run_model, run.id)
        bare.put({"status": "cancelled"})
        bare.put({"status": "initial"})
        [again] = other.runs.claim()
        assert (again.id, again.attempt, again.status) == (run.id, 2, "running")
        assert other.runs.finish(again.id, "completed", attempt=again.attempt)
        keeping.remove()
    engine.dispose()


def test_errors_that_differ_are_told_apart_whatever_the_collation(runner):
    runner.put(START)
    texts = ["no file", "No file", "no file ", "no file", "na\u00efve", "naive", "no file"]
    for run, text in zip(runner.claim(limit=7), texts, strict=True):
        runner.end(run, "failed", None, text)
    args = ["backfills", "runs", "6", "--errors", "--json"]
    told = json.loads(runner.app.test_cli_runner().invoke(args=args).stdout)
    counted = {one["error"]: one["run_count"] for one in told["errors"]}
    assert counted == Counter(texts) and told["metadata"] == {"count": 5}
    assert told["errors"][0]["last_key"] == "2023-03-07T00:00:00"


def test_settings_that_are_older_than_their_rules_decide_nothing(bare):
    odd = {"max_failures": "x", "pipeline_run_limit": -1, "paused": "no", "reprocess": 7}
    seed = {"id": 6, "pipeline_uuid": "arwen_starlight", "settings": odd}
    bare.serve(seed=seed, run_model=bare.run_model())
    assert plan_of(bare.put(START)) == {"add": 7}
    work(bare, "failed", *["completed"] * 6)
    assert (bare.get()["status"], bare.get()["settings"]) == ("failed", odd)
