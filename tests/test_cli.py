"""``flask backfills``: what the API does, at a terminal."""

import contextlib
import html
import io
import itertools
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import few
from conftest import LIST
from conftest import on_a_terminal
from conftest import takes_seconds
from conftest import wait_for
from sqlalchemy import Column
from sqlalchemy import DateTime
from sqlalchemy import Integer
from sqlalchemy import String

from flask_backfills.cli import Commands
from flask_backfills.rules.settings import SETTINGS
from flask_backfills.tables import clock
from flask_backfills.worker import work

WEEK = "start_datetime=2023-07-10 end_datetime=2023-07-16 interval_type=day interval_units=1"


@pytest.fixture
def flask(runner):
    """Run ``flask backfills ...`` in the host app: its exit code, output and error output."""

    def run(line, answer=None):
        result = runner.app.test_cli_runner().invoke(
            args=["backfills", *line.split()], input=answer
        )
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return result

    return run


def read(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_group_names_the_commands_that_there_are(flask):
    from flask_backfills import cli

    listed = flask("--help").output
    assert sorted(cli.group.commands) == sorted(Commands(None).commands)
    assert all(f"\n  {name} " in listed for name in cli.group.commands)


def test_a_host_adds_commands_of_its_own_to_the_group(own_runner):
    @own_runner.blueprint.cli.command("audit")
    def audit():
        print("audited")

    result = own_runner.app.test_cli_runner().invoke(args=["backfills", "audit"])
    assert result.output == "audited\n"


def test_a_backfill_from_its_creation_to_its_deletion(flask, runner):
    made = read(flask(f"create daily name=July {WEEK} --json"))["backfill"]
    assert made == runner.get(f"/api/pipelines/daily/backfills/{made['id']}")
    key = made["id"]
    plan = read(flask(f"preview {key} --json --limit 2"))["metadata"]
    assert (plan["plan"]["add"], plan["count"], len(plan["plan"]["entries"])) == (7, 7, 2)
    assert read(flask(f"start {key} --json"))["metadata"]["plan"]["add"] == 7
    assert read(flask(f"pause {key} --json"))["backfill"]["settings"] == {"paused": True}
    assert runner.claim() == []
    assert read(flask(f"resume {key} --json"))["backfill"]["settings"] == {"paused": False}
    for run in runner.claim(limit=7):
        assert runner.finish(run, "failed" if run.key.startswith("2023-07-13") else "completed")
    assert read(flask(f"show {key} --json"))["backfill"]["run_status_counts"] == {
        "completed": 6,
        "failed": 1,
    }
    assert read(flask(f"retry {key} --json"))["metadata"]["plan"]["redo"] == 1
    assert read(flask(f"cancel {key} --json --yes"))["backfill"]["status"] == "cancelled"
    assert read(flask(f"delete {key} --json --yes"))["backfill"]["id"] == key
    assert runner.client.get(f"/api/backfills/{key}").status_code == 404


def test_tables_for_people(flask):
    flask(f"create daily name=July {WEEK}")
    key = read(flask("list --pipeline daily --json"))["backfills"][0]["id"]
    head, row = flask("list --pipeline daily").stdout.splitlines()
    assert head.split() == ["ID", "PIPELINE", "NAME", "STATUS", "RUNS", "WINDOW"]
    assert row.startswith(str(key)) and "not started" in row and "0/7" in row
    lines = flask(f"preview {key} --limit 1").stdout.splitlines()
    assert lines[0] == "The plan: 7 to add."
    assert lines[1].split() == ["KEY", "DATE", "ACTION", "REASON"]
    assert lines[3] == "6 more. To see them: --offset 1"
    assert "The plan: 7 to add." in flask(f"start {key}").stdout
    shown = flask(f"show {key}").stdout.splitlines()
    assert {tuple(line.split(maxsplit=1)) for line in shown} >= {
        ("status", "waiting"),
        ("run_status_counts", "7 waiting"),
    }
    assert "1 more. To see them: --offset 1" in flask("list --limit 1").stdout
    assert flask(f"preview {key} name=August").stdout == "No run changes.\n"


def test_a_status_is_asked_for_by_the_word_that_is_shown(flask, runner):
    assert flask(f"update 6 status=initial {WEEK}").exit_code == 0
    for what in ("list", "runs 6"):
        found = [flask(f"{what} --status {word}").stdout for word in ("waiting", "initial")]
        assert found[0] == found[1] != ""
        assert flask(f"{what} --status failed").stdout != found[0]


def test_what_callers_have_written_does_not_move_the_cursor(flask, runner):
    runner.put({"name": "\x1b[2Jgone\n"})
    for line in ("list", "show 6", "delete 6"):
        told = flask(line, "n\n").output
        assert "\x1b" not in told and "\ufffd[2Jgone\ufffd" in told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("show 7", "Error: There is no backfill 7.\n"),
        ("show x", "There is no backfill x."),
        ("show 99999999999999999999", "There is no backfill 99999999999999999999."),
        ("update 7 name=x", "There is no backfill 7."),
        ("start 7", "There is no backfill 7."),
        ("delete 7", "There is no backfill 7."),
        ("update 6 interval_units=0", "interval_units: Must be greater than or equal to 1."),
        ("update 6 color=red", "color: Unknown field."),
        ("update 6 status=initial", "start_datetime, end_datetime, interval_type"),
        ('update 6 settings={"order":1}', "settings: order: Not a valid string."),
        ("start 6", "interval_units: Needed to plan the runs."),
        ("create daily name=", "name: Shorter than minimum length 1."),
        ("create a/b name=x", "pipeline_uuid: No URL reaches this name"),
    ],
)
def test_refusals_are_those_of_the_api_and_change_nothing(flask, runner, line, told):
    before = runner.get()
    result = flask(line)
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr
    envelope = json.loads(flask(f"{line} --json").stdout)["error"]
    assert envelope["message"] and envelope["code"] in (404, 422)
    assert runner.get() == before


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("update 6 name", "'name' is not KEY=VALUE."),
        ("update 6 =x", "'=x' is not KEY=VALUE."),
        ("update 6 name=a name=b", "name is given twice."),
        ("update 6 variables={", "variables is not JSON"),
        ("list --limit 0", "--limit"),
        ("list --offset 99999999999999999999", "--offset"),
        ("recover --older-than inf", "--older-than"),
        ("recover --older-than nan", "--older-than"),
        ("watch 6 --interval nan", "--interval"),
        ("watch 6 --interval inf", "--interval"),
        ("work --grace 1e300", "--grace"),
        ("list --status lost", "--status"),
    ],
)
def test_a_line_that_says_nothing_is_a_usage_error(flask, line, told):
    result = flask(line)
    assert result.exit_code == 2 and told in result.stderr


def test_values_are_text_or_json(flask, runner):
    assert flask('update 6 block_uuid=5 variables={"a":[1]} interval_units=3').exit_code == 0
    shown = runner.get()
    assert (shown["block_uuid"], shown["variables"]) == ("5", {"a": [1]})
    assert shown["interval_units"] == 3
    assert flask('update 6 name="null" block_uuid=null variables=null').exit_code == 0
    shown = runner.get()
    assert (shown["name"], shown["block_uuid"], shown["variables"]) == ("null", None, None)


def test_there_is_a_question_before_anything_is_lost(flask, runner):
    key = read(flask(f"create daily {WEEK} --json"))["backfill"]["id"]
    flask(f"start {key}")
    unnamed, ends = f"Backfill {key} (unnamed)", "all runs that have not ended will be cancelled."
    lossy = [
        (f"update {key} end_datetime=2023-07-12", f"{unnamed}: The plan: 3 to keep, 4 to drop."),
        (f"update {key} status=completed", f"{unnamed}: {ends}"),
        (f"cancel {key}", f"{unnamed}: {ends}"),
        ("delete 6", "This deletes backfill 6 (old_name) and its runs."),
    ]
    url = f"/api/backfills/{key}"
    before = runner.get(url), runner.rows(url), runner.get()
    for line, question in lossy:
        for answer in ("n\n", ""):
            result = flask(line, answer)
            assert result.exit_code == 1 and result.stdout == ""
            assert result.stderr.startswith(f"{question} Continue? [y/N]: ")
    assert (runner.get(url), runner.rows(url), runner.get()) == before
    assert flask(lossy[0][0], "y\n").exit_code == 0
    assert len(runner.rows(url)) == 3
    assert flask("delete 6 --yes").exit_code == 0
    # Nothing is lost by these.
    assert flask(f"update {key} name=August end_datetime=2023-07-14", "").exit_code == 0


STATES = ["not started", "waiting", "paused", "running", "completed", "failed", "cancelled"]

ONLY = "only one that is waiting or running can be"

#: The refusal of each action by the state of the backfill. Each other pair is possible.
REFUSALS = {
    "start": {state: "already " + state for state in ("waiting", "running")},
    "pause": {state: f"{state}: {ONLY} paused." for state in ("not started", *STATES[4:])},
    "resume": {
        state: f"{state}: {ONLY} resumed. Start it instead."
        for state in ("not started", *STATES[4:])
    },
    "retry": {
        state: f"{state}: only one that has failed can be retried. Start it instead."
        for state in ("not started", "completed", "cancelled")
    },
    "cancel": {
        "not started": "not started, so nothing can be cancelled. Delete it instead.",
        "completed": "completed can't become cancelled; allowed: initial.",
        "cancelled": "already cancelled.",
    },
}
REFUSALS["start"]["paused"] = "already waiting."
REFUSALS["pause"]["paused"] = "already paused."
REFUSALS["resume"] |= dict.fromkeys(("waiting", "running"), "The backfill is not paused.")
REFUSALS["retry"] |= REFUSALS["start"]


@pytest.fixture
def in_state(runner):
    """Bring a new backfill into a state."""

    def bring(state):
        week = dict(part.split("=") for part in WEEK.split())
        url = runner.post({**week, "settings": {"reprocess": "all"}}).headers["Location"]
        if state != "not started":
            paused = {"reprocess": "all", "paused": state == "paused"}
            runner.put({"status": "initial", "settings": paused}, url)
        if state in ("running", "completed", "failed"):
            for run in runner.claim(limit=1 if state == "running" else 7):
                runner.end(run, state) if state != "running" else None
        if state == "cancelled":
            runner.put({"status": "cancelled"}, url)
        return url

    return bring


@pytest.mark.parametrize(("state", "action"), few(itertools.product(STATES, REFUSALS)))
def test_what_is_not_possible_is_refused_with_the_reason(flask, runner, in_state, action, state):
    url = in_state(state)
    key, before = url.rsplit("/", 1)[1], runner.get(url)
    refused = REFUSALS[action].get(state)
    offered = f"/backfills/{key}/{action}" in runner.client.get(f"/backfills/{key}").text
    page = runner.client.get(f"/backfills/{key}/{action}")
    result = flask(f"{action} {key} {'--yes' if action == 'cancel' else ''}")
    assert result.exit_code == (1 if refused else 0), result.stderr
    assert page.status_code == (409 if refused else 200)
    assert offered == (not refused)
    if refused:
        assert refused in result.stderr and runner.get(url) == before
        reason = result.stderr.removeprefix("Error: ").strip()
        assert reason in html.unescape(page.text)


def test_without_a_run_model_nothing_can_be_paused(host):
    host.put({"status": "initial"})
    for action in ("pause", "resume"):
        result = host.app.test_cli_runner().invoke(args=["backfills", action, "6"])
        assert result.exit_code == 1 and "Pausing needs a run model (run_model=)" in result.stderr


@pytest.mark.parametrize("state", ["waiting", "paused", "running"])
def test_a_preview_of_what_has_started_says_so(flask, in_state, state):
    key = in_state(state).rsplit("/", 1)[1]
    shown = "waiting (paused)" if state == "paused" else state
    assert flask(f"preview {key}").stdout == f"The backfill is {shown}. No run changes.\n"
    told = read(flask(f"preview {key} --json"))
    assert (told["metadata"]["plan"]["keep"], told["metadata"]["count"]) == (0, 0)
    assert flask(f"preview {key} end_datetime=2023-07-15").stdout.startswith("The plan: ")


def test_watch_says_that_a_backfill_was_never_started(flask, runner, in_state):
    url = in_state("not started")
    key = url.rsplit("/", 1)[1]
    ending = threading.Timer(0.5, lambda: runner.put({"status": "completed"}, url))
    ending.start()
    result = flask(f"watch {key} --interval 0.1")
    ending.join()
    assert result.exit_code == 0
    [line] = result.stderr.splitlines()
    assert line.startswith(f"Backfill {key} has not been started. Waiting for `")
    assert line.endswith(f" backfills start {key}`.")


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 2)])
def test_watch_ends_with_how_the_backfill_ended(flask, runner, status, code):
    runner.put({"status": status})
    assert flask("watch 6").exit_code == code
    result = flask("watch 6 --json")
    assert json.loads(result.stdout)["backfill"]["status"] == status
    assert result.exit_code == code
    assert flask("watch 7").exit_code == 3


def test_recover_takes_back_what_runs_for_too_long(flask, runner):
    key = read(flask(f"create daily {WEEK} --json"))["backfill"]["id"]
    flask(f"start {key}")
    assert len(runner.claim(limit=2)) == 2
    assert read(flask("recover --json")) == {"recovered": 0}
    assert flask("recover --older-than 0").stdout == "Runs taken back: 2.\n"


def test_runs_are_listed_shown_and_changed(flask, runner):
    key = read(flask(f"create daily name=July {WEEK} status=initial --json"))["backfill"]["id"]
    url = f"/api/pipelines/daily/backfills/{key}"
    for run in runner.claim(limit=2):
        runner.end(run, "failed", None, "502 upstream\nwith more lines")
    listed = flask(f"runs {key} --limit 3").stdout
    head, first, *_, last = listed.splitlines()
    assert head.split() == ["ID", "KEY", "STATUS", "ATTEMPT", "ERROR"]
    assert first.endswith("failed   1        502 upstream") and " waiting " in listed
    assert last == "4 more. To see them: --offset 3"
    shown = read(flask(f"runs {key} --status failed --json"))
    assert shown["runs"] == runner.read(f"{url}/runs?status=failed")["runs"]
    one = shown["runs"][0]["id"]
    assert "502 upstream" in flask(f"run {key} {one}").stdout
    path = f"{url}/runs/{one}"
    assert read(flask(f"run {key} {one} --json")) == runner.read(path)
    assert read(flask(f"run {key} {one} --make done --json"))["run"]["status"] == "completed"
    refused = flask(f"run {key} {one} --make cancel")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "A run that is completed can't become cancelled" in refused.stderr
    # The question first.
    no = flask(f"runs {key} --status failed --make again", answer="n\n")
    assert (no.exit_code, no.stdout) == (1, "")
    assert "This tries 1 runs again." in no.stderr
    assert flask(f"runs {key} --status failed --make again", "y\n").stdout == "Changed 1 runs.\n"
    assert runner.statuses(url) == {"completed": 1, "initial": 6}
    told = read(flask(f"runs {key} --status initial --make cancel --yes --json"))
    assert told == {"runs": {"status": "cancelled"}, "metadata": {"count": 6}}
    assert flask(f"runs {key} --make again").exit_code == 2
    assert "There is no backfill 99" in flask("runs 99").stderr
    assert flask(f"run {key} 99").exit_code == flask(f"run {key} x").exit_code == 1


def test_without_a_runner_there_is_nothing_to_work_with(flask):
    result = flask("work --once")
    assert result.exit_code == 1 and "@blueprint.runner" in result.stderr


def test_without_a_run_model_what_is_recorded_can_be_changed(host):
    def flask(line):
        return host.app.test_cli_runner().invoke(args=["backfills", *line.split()])

    assert flask("list").exit_code == 0
    assert flask("start 6").exit_code == 0
    assert flask("preview 6 status=completed").stdout == "No run changes.\n"
    assert flask("cancel 6 --yes").exit_code == 0
    for command in ("work", "recover"):
        result = flask(command)
        assert result.exit_code == 1 and result.stderr.startswith("Error: ")


# The worker


@pytest.fixture
def started(runner):
    """A backfill of seven runs that wait."""
    week = dict(part.split("=") for part in WEEK.split())
    return runner.post({**week, "status": "initial"}).headers["Location"]


def test_work_runs_everything_once(flask, runner, started):
    called = []

    @runner.blueprint.runner
    def run(run):
        called.append(run.variables["ds"])
        if run.variables["ds"].endswith("13"):
            raise ValueError("no\0 reading \ud800" + "!" * 20_000)
        return {"readings": 24}

    result = flask("work --once --concurrency 3")
    assert result.exit_code == 0, result.output
    assert sorted(called) == [f"2023-07-{day}" for day in range(10, 17)]
    assert result.stdout.count("completed: run ") == 6 and result.stdout.count("failed: run") == 1
    shown = runner.get(started)
    assert (shown["status"], shown["metrics"]) == ("failed", {"readings": 144})
    [failed] = [row for row in runner.rows(started) if row["status"] == "failed"]
    assert failed["error"].startswith("no\\0 reading \\ud800!!!") and len(failed["error"]) == 10_000


def test_a_worker_tells_of_its_runs_in_json(flask, runner, started):
    runner.blueprint.runner(lambda run: None)
    told = [json.loads(line)["run"] for line in flask("work --once --json").stdout.splitlines()]
    assert [(run["key"][:10], run["status"]) for run in told] == [
        (f"2023-07-{day}", "completed") for day in range(10, 17)
    ]


def test_what_a_worker_tells_of_a_run_is_what_is_stored(flask, runner, started):
    @runner.blueprint.runner
    def run(run):
        if run.variables["ds"] == "2023-07-11":
            raise ValueError("no file")

    told = [json.loads(line)["run"] for line in flask("work --once --json").stdout.splitlines()]
    path = f"{started}/runs?_limit=100"
    stored = {run["id"]: run for run in runner.read(path)["runs"]}
    assert {run["id"]: run for run in told} == stored
    assert {run["error"] for run in told} == {None, "no file"}


def test_what_a_worker_tells_of_an_attempt_that_is_made_again_is_how_it_failed(
    flask, runner, monkeypatch
):
    # Each time that the database is asked for its time, the answer takes a little.
    monkeypatch.setattr(clock, "KEPT", 3600)
    settings = {"max_attempts": 2, "retry_delay": 1}
    window = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-12"}
    window |= {"interval_type": "day", "interval_units": 1}
    runner.put({**window, "settings": settings, "status": "initial"})
    failed = set()

    @runner.blueprint.runner
    def run(run):
        if run.key not in failed:
            failed.add(run.key)
            raise ValueError("no file")

    told = [json.loads(line)["run"] for line in flask("work --once --json").stdout.splitlines()]
    seen = sorted((run["key"], run["attempt"], run["status"], run["error"]) for run in told)
    assert seen == sorted(
        row
        for key in failed
        for row in [(key, 1, "failed", "no file"), (key, 2, "completed", None)]
    )
    assert all(run["started_at"] <= run["completed_at"] for run in told)


def test_what_a_runner_returns_must_be_a_dict_or_none(flask, runner, started):
    @runner.blueprint.runner
    def run(run):
        return {"10": None, "11": {"n": True, "m": "x"}}.get(run.variables["ds"][-2:], "done")

    assert flask("work --once").exit_code == 0
    errors = [row["error"] for row in runner.rows(started)]
    assert errors == [None, None, *["the runner must return a dict or None, not str"] * 5]


def test_what_a_runner_leaves_uncommitted_is_stored_with_its_run_or_not_at_all(
    flask, runner, started
):
    db, model = runner.db, runner.model

    @runner.blueprint.runner
    def run(run):
        db.session.add(model(pipeline_uuid="made", name=run.key))
        day = run.variables["ds"][-2:]
        if day == "11":
            db.session.flush()
            raise ValueError("not this one")
        if day == "12":
            # Another worker has taken it over meanwhile.
            with runner.app.app_context():
                runner.blueprint.runs.recover(older_than=timedelta(0))
                [again] = [one for one in runner.claim(limit=9) if one.key == run.key]
                assert runner.finish(again, "completed", attempt=again.attempt)

    result = flask("work --once")
    assert result.exit_code == 0
    discarded = "result discarded (cancelled, interrupted, late or reassigned): run 2023-07-12T00:00:00 of backfill "
    assert result.stdout.count("result discarded") == result.stdout.count(discarded) == 1
    made = runner.read("/api/backfills?pipeline_uuid=made")["backfills"]
    stored = {backfill["name"][8:10] for backfill in made}
    assert "10" in stored and not stored & {"11", "12"}


def test_a_run_model_with_the_required_columns_alone_is_worked_on(bare):
    class Run(bare.db.Model):
        id = Column(Integer, primary_key=True)
        backfill_id = Column(Integer)
        key = Column(String(255))
        status = Column(String(16))
        execution_date = Column(DateTime)

    bare.serve(run_model=Run)
    bare.blueprint.runner(lambda run: {"runs": 1})
    week = dict(part.split("=") for part in WEEK.split())
    assert bare.put({**week, "status": "initial"}).status_code == 200
    result = bare.app.test_cli_runner().invoke(args=["backfills", "work", "--once"])
    assert result.exit_code == 0 and bare.get()["metrics"] == {"runs": 7}


def test_what_the_database_refuses_of_a_runners_work_is_a_failed_run(flask, runner, started):
    db, model = runner.db, runner.model

    @runner.blueprint.runner
    def run(run):
        db.session.add(model(pipeline_uuid=None, name="secret"))

    assert flask("work --once").exit_code == 0
    assert runner.statuses(started) == {"failed": 7}
    for row in runner.rows(started):
        assert "pipeline_uuid" in row["error"]
        assert "INSERT" not in row["error"] and "secret" not in row["error"].split("(")[0]


@pytest.fixture
def process(database_url, tmp_path):
    """Start ``flask backfills ...`` as a process, in a host whose runs take a while."""
    begun = []

    def begin(line, **options):
        environment = {
            **os.environ,
            "FLASK_APP": str(Path(__file__).with_name("processes.py")) + ":working",
            "DATABASE_URL": database_url,
            "LOG": str(tmp_path / "log"),
        }
        command = [sys.executable, "-m", "flask", "backfills", *line.split()]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        begun.append(subprocess.Popen(command, env=environment, **options))
        return begun[-1]

    yield begin
    for one in begun:
        if one.poll() is None:
            one.kill()
        one.communicate()


@takes_seconds
def test_a_backfill_whose_worker_has_died_can_be_deleted_at_the_terminal(runner, process):
    window = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-10"}
    window |= {"interval_type": "day", "interval_units": 1}
    runner.put({**window, "status": "initial"})
    runner.claim()
    runner.put({"status": "cancelled"})
    # Longer than the lease of the command's app.
    time.sleep(2.5)
    told = process("delete 6 --yes").communicate(timeout=30)
    assert runner.client.get(LIST).json["backfills"] == [], told


@takes_seconds
def test_what_was_asked_about_is_what_happens(runner, started, process):
    key = started.rsplit("/", 1)[1]
    asking = process(f"update {key} end_datetime=2023-07-12", stdin=subprocess.PIPE)
    question = b""
    while not question.endswith(b"[y/N]: "):
        question += os.read(asking.stderr.fileno(), 1024)
        assert asking.poll() is None, question
    assert b"3 to keep, 4 to drop" in question
    # Meanwhile one of those that were to be dropped begins.
    runner.put({"settings": {"order": "backwards"}}, started)
    runner.claim()
    out, err = asking.communicate(b"y\n", timeout=30)
    assert (asking.returncode, out) == (1, b"")
    assert b"The plan has changed since you saw it (If-Plan-Match)." in err
    assert runner.get(started)["end_datetime"] == "2023-07-16 00:00:00"


@takes_seconds
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_those_end_that_run_and_claims_no_more(runner, started, process, number):
    worker = process("work --concurrency 2")
    wait_for(lambda: runner.statuses(started).get("running") == 2)
    worker.send_signal(number)
    out, err = worker.communicate(timeout=30)
    assert worker.returncode == 0, err
    counts = runner.statuses(started)
    assert "running" not in counts
    assert out.count(b"completed: ") == counts["completed"] < 7


@takes_seconds
@pytest.mark.parametrize("line", ["watch {}", "cancel {}"])
def test_ctrl_c_ends_the_command_and_not_the_backfill(runner, started, process, line):
    before = runner.get(started), runner.statuses(started)
    command = process(line.format(started.rsplit("/", 1)[1]), stdin=subprocess.PIPE)
    # Its first line, or its question.
    begun = command.stdout if "watch" in line else command.stderr
    assert begun.read(1)
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=30)
    assert command.returncode == 130 and b"Traceback" not in err
    assert (runner.get(started), runner.statuses(started)) == before


@takes_seconds
def test_a_worker_that_is_killed_loses_nothing(runner, started, process):
    killed = process("work --concurrency 2")
    wait_for(lambda: runner.statuses(started).get("running") == 2)
    killed.kill()
    killed.communicate()
    lost = runner.statuses(started)["running"]
    # Its lease is two seconds.
    other = process("work --concurrency 2")
    watch = process(f"watch {started.rsplit('/', 1)[1]} --interval 0.1")
    out, err = watch.communicate(timeout=60)
    assert watch.returncode == 0, err
    assert out.splitlines()[-1] == b"completed: 7 completed"
    other.terminate()
    assert other.wait(30) == 0
    attempts = [row["attempt"] for row in runner.rows(started)]
    assert attempts.count(2) == lost and attempts.count(1) == 7 - lost


def test_on_a_terminal_there_is_a_bar(runner, started):
    runner.blueprint.runner(lambda run: None)
    key = started.rsplit("/", 1)[1]
    shown, code = on_a_terminal(runner.app, "work", "--once", "--concurrency", "2")
    assert "7/7" in shown and "7 completed" in shown and "#" in shown and not code
    shown, code = on_a_terminal(runner.app, "watch", key)
    assert "7/7" in shown and "completed" in shown and code == 0
    assert "\x1b" not in runner.app.test_cli_runner().invoke(args=["backfills", "list"]).output


def test_what_the_app_prints_and_logs_stands_above_the_bar(runner, started):
    @runner.blueprint.runner
    def run(run):
        print("loading", run.key)
        runner.app.logger.warning("slow %s", run.key)
        if run.key.startswith("2023-07-16"):
            print("and no", end=" more")

    lines = []
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        # One that remembers where it wrote before there was a bar.
        handler = logging.StreamHandler()
        runner.app.logger.addHandler(handler)
        shown, code = on_a_terminal(runner.app, "work", "--once", "--concurrency", "3")
    assert handler.stream is errors
    for line in shown.split("\n"):
        # What is left on the terminal when the line was cleared.
        lines.append(line.rpartition("\x1b[K")[2].rstrip("\r"))
    keys = [row["key"] for row in runner.rows(started)]
    assert sorted(line for line in lines if "loading" in line) == [f"loading {k}" for k in keys]
    assert "7/7" in shown and lines[-2] == "and no more" and not code
    logged = [line for line in errors.getvalue().split("\n") if "slow" in line]
    assert len(logged) == 7 and not any("\x1b" in line for line in logged)


def test_help_names_every_setting(flask):
    told = flask("create --help").output
    assert [name for name in SETTINGS if name not in told] == []


def test_the_bar_counts_a_discarded_result_as_such(runner, started):
    runner.blueprint.runner(lambda run: runner.put({"status": "cancelled"}, started) and None)
    shown, code = on_a_terminal(runner.app, "work", "--once")
    assert "1 result discarded (cancelled, interrupted, late or reassigned)" in shown and not code
    assert runner.statuses(started) == {"cancelled": 7}


@pytest.mark.parametrize("how", ["", " --json", "on a terminal"])
def test_watch_follows_until_the_end(runner, started, flask, how):
    key = started.rsplit("/", 1)[1]

    def work():
        for run in runner.claim(limit=7):
            runner.finish(run, "completed")
            time.sleep(0.05)

    working = threading.Thread(target=work)
    working.start()
    if how == "on a terminal":
        shown, code = on_a_terminal(runner.app, "watch", key, "--interval", "0.1")
    else:
        result = flask(f"watch {key} --interval 0.1{how}")
        shown, code = result.stdout, result.exit_code
    working.join()
    assert code == 0 and "completed" in shown
    if how != "on a terminal":
        # A line for each change that was seen.
        assert len(shown.splitlines()) == len(set(shown.splitlines())) >= 2


def test_watch_waits_for_a_database_that_goes_away(runner, started, flask):
    runner.blueprint.runner(lambda run: None)
    cut, main = [], threading.current_thread()

    def fail(*args):
        if threading.current_thread() is main and len(cut) < 3:
            cut.append(1)
            raise sa.exc.OperationalError("SELECT", None, ConnectionError("cut"))

    def go_away():
        with runner.app.app_context():
            sa.event.listen(runner.db.engine, "before_cursor_execute", fail)
        wait_for(lambda: len(cut) == 3)
        runner.work()

    going = threading.Timer(0.5, go_away)
    going.start()
    result = flask(f"watch {started.rsplit('/', 1)[1]} --interval 0.1")
    going.join()
    assert (result.exit_code, len(cut)) == (0, 3), result.output
    assert result.stdout.splitlines()[-1].startswith("completed")


@pytest.fixture
def locked(runner, database_url):
    """Lock the database of the runner for some time, as another process does."""
    runner.wait_less_for_a_lock()
    with sqlite3.connect(
        database_url.removeprefix("sqlite:///"), check_same_thread=False
    ) as connection:

        def lock(seconds):
            connection.execute("BEGIN IMMEDIATE")
            unlocking = threading.Timer(seconds, connection.rollback)
            unlocking.start()
            return unlocking

        yield lock
    connection.close()


@takes_seconds
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_that_is_away_is_waited_for_or_told(runner, started, flask, locked):
    runner.blueprint.runner(lambda run: None)
    unlocking = locked(2)
    result = flask("work --once")
    assert result.exit_code == 1 and "locked or can't be reached" in result.stderr
    unlocking.join()
    stop = threading.Event()
    locked(2)

    def tell(run, status):
        stop.set()

    with runner.app.app_context():
        work(runner.app, runner.blueprint, stop=stop, tell=tell, idle=0.1)
    assert runner.statuses(started)["completed"] == 1


def test_a_claim_that_is_cut_does_not_take_the_runs_that_are_done_from_a_worker(
    runner, started, flask
):
    called, cut, main = [], [], threading.current_thread()

    @runner.blueprint.runner
    def run(run):
        called.append(run.key)
        if run.key == "2023-07-10T00:00:00":
            wait_for(lambda: len(cut) == 3)

    def fail(*args):
        if called and threading.current_thread() is main and len(cut) < 3:
            cut.append(1)
            raise sa.exc.OperationalError("SELECT", None, ConnectionError("cut"))

    with runner.app.app_context():
        sa.event.listen(runner.db.engine, "before_cursor_execute", fail)
    result = flask("work --once --concurrency 2")
    assert result.exit_code == 0, result.output
    rows = runner.rows(started)
    assert len(called) == len(rows) == 7
    assert {(row["status"], row["attempt"]) for row in rows} == {("completed", 1)}


@takes_seconds
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_end_that_can_not_be_told_at_once_is_told_later(runner, started, flask, locked):
    @runner.blueprint.runner
    def run(run):
        if run.attempt == 1 and run.key == "2023-07-10T00:00:00":
            # Longer than the driver waits for it.
            locked(1.5)

    assert flask("work --once").exit_code == 0
    assert runner.statuses(started) == {"completed": 7}
    assert {row["attempt"] for row in runner.rows(started)} == {1}


def test_gaps_of_makes_a_backfill_of_what_is_not_completed(flask, runner):
    done = read(flask(f"create daily {WEEK} --json"))["backfill"]["id"]
    flask(f"start {done}")
    for run in runner.claim(limit=5):
        assert runner.end(run)
    step = "interval_type=day interval_units=1"
    line = f"create daily --gaps-of 2023-07-10 2023-07-16 {step} --json"
    made = read(flask(f'{line} settings={{"priority":3}}'))["backfill"]
    assert (made["start_datetime"], made["end_datetime"]) == (
        "2023-07-10 00:00:00",
        "2023-07-16 00:00:00",
    )
    assert made["settings"] == {"priority": 3, "skip_covered": True}
    assert flask(f"start {made['id']}").stdout.endswith("The plan: 2 to add, 5 to skip.\n")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("start_datetime=2023-07-01", "start_datetime is given twice"),
        ("end_datetime=null", "end_datetime is given twice"),
        ('settings={"skip_covered":false}', "without skip_covered"),
        ("settings=[]", "are an object"),
    ],
)
def test_gaps_of_contradicts_nothing(flask, more, told):
    result = flask(f"create daily --gaps-of 2023-07-10 2023-07-16 {more}")
    assert (result.exit_code, told in result.stderr) == (2, True), result.stderr


def test_gaps_of_a_wrong_window_is_refused_as_any_other(flask):
    result = flask("create daily --gaps-of soon 2023-07-16")
    assert result.exit_code == 1 and "start_datetime: Not an ISO 8601" in result.stderr
