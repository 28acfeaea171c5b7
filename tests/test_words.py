"""``flask backfills`` as people type it: dates in words, --watch, --run, help, and the tab key."""

import json
import shlex
import threading
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import click
import pytest
from click.shell_completion import ShellComplete
from conftest import Host
from conftest import in_detail
from conftest import on_a_terminal
from conftest import sqlite_alone
from conftest import wait_for
from flask.cli import FlaskGroup

from flask_backfills.cli import Commands
from flask_backfills.rules.lifecycle import STATUSES
from flask_backfills.rules.window import INTERVAL_TYPES

pytestmark = [in_detail, sqlite_alone]

NAMES = sorted(Commands(None).commands)

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1}


def commands_of(host):
    def run(line, answer=None):
        result = host.app.test_cli_runner().invoke(
            args=["backfills", *shlex.split(line)], input=answer
        )
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return result

    return run


@pytest.fixture
def flask(runner):
    return commands_of(runner)


# Dates and steps


def day_of(days):
    return str(datetime.now(timezone.utc).date() - timedelta(days=days))


def test_a_backfill_is_created_in_words_and_started(flask, runner):
    today = day_of(0)
    line = 'create daily --every day --from "2 weeks ago" --to yesterday'
    result = flask(f"{line} --start name=July")
    if day_of(0) != today:
        pytest.skip("midnight has passed meanwhile")
    first, *_, last = result.stdout.splitlines()
    assert first == f"From {day_of(14)} to {day_of(1)}, daily."
    assert last == "The plan: 14 to add."
    [made] = runner.read("/api/backfills?pipeline_uuid=daily")["backfills"]
    assert (made["start_datetime"], made["end_datetime"]) == (
        f"{day_of(14)} 00:00:00",
        f"{day_of(1)} 00:00:00",
    )
    assert (made["interval_type"], made["interval_units"]) == ("day", 1)
    assert (made["status"], made["name"]) == ("initial", "July")
    # Without --start it waits for somebody to start it; JSON is that of the API.
    told = json.loads(flask(f"{line} --json").stdout)["backfill"]
    assert told["status"] is None and told == runner.get(f"/api/backfills/{told['id']}")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--every '6 hours' --from 2023-07-01 --to 2023-07-02T06:00", "from 2023-07-01 00:00"),
        ("--every 6hours", "--every 6hours: write minute, hour, day"),
        ("--every fortnight", "--every fortnight: write minute, hour, day"),
        ("--from soon", "--from soon: write a date such as 2023-07-18"),
        ("--to '9999999 years ago'", "--to 9999999 years ago: write a date"),
        ("--from 2023-07-01 start_datetime=2023-07-02", "start_datetime is given twice: --from"),
        ("--to 2023-07-01 end_datetime=null", "end_datetime is given twice: --to"),
        ("--every day interval_units=2", "interval_units is given twice: --every"),
        ("--start status=failed", "status is given twice: --start"),
        ("--from today --gaps-of today today", "start_datetime is given twice: --gaps-of"),
        ("--watch", "add --start"),
    ],
)
def test_what_is_not_understood_is_a_usage_error(flask, runner, line, told):
    result = flask(f"create daily {line}")
    if "6 hours" in line:
        assert result.stdout.startswith(
            "From 2023-07-01 00:00 to 2023-07-02 06:00, every 6 hours.\n"
        )
        return
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert runner.read("/api/backfills?pipeline_uuid=daily")["backfills"] == []


def test_what_is_understood_and_not_possible_is_refused_as_by_the_api(flask, runner):
    result = flask("create daily --every '0 days' --from today --to yesterday --start")
    assert result.exit_code == 1
    assert "interval_units: Must be greater than or equal to 1." in result.stderr
    assert runner.read("/api/backfills?pipeline_uuid=daily")["backfills"] == []


def test_words_are_of_the_zone_of_the_blueprint(lent):
    host = lent(timezone="Asia/Kathmandu")
    flask = commands_of(host)
    line = "create daily --every day --from 'yesterday' --to today"
    made = json.loads(flask(f"{line} --json").stdout)["backfill"]
    assert made["start_datetime"].endswith(" 00:00:00+05:45")
    assert flask(line).stdout.splitlines()[0].count(":") == 0
    wire = host.get(f"/api/backfills/{made['id']}")
    assert wire["start_datetime"].endswith(" 18:15:00")


def test_coverage_explain_and_gaps_take_words_too(flask, runner):
    made = json.loads(flask("create daily --gaps-of '3 days ago' today --every day --json").stdout)[
        "backfill"
    ]
    assert made["start_datetime"] == f"{day_of(3)} 00:00:00"
    assert flask("coverage daily '3 days ago' today").stdout.startswith("Completed: 0.00%.\n")
    explained = flask(f"explain {made['id']} --date yesterday").stdout
    assert explained == flask(f"explain {made['id']} --date {day_of(1)}").stdout != ""
    assert explained != flask(f"explain {made['id']} --date '9 days ago'").stdout
    # Both ends are told, as the route tells them.
    refused = flask("coverage daily soon later")
    assert refused.exit_code == 1
    assert "start_datetime, end_datetime: Not an ISO 8601 date" in refused.stderr
    refused = flask("coverage daily 2023-07-02 2023-07-02")
    assert "end_datetime: Must be after start_datetime." in refused.stderr


@pytest.mark.parametrize("words", ["hourly", "hour", "1 hour", "an hour"])
def test_a_step_is_understood_as_it_is_told(flask, runner, words):
    line = f"create daily --every '{words}' --from 2023-07-01 --to 2023-07-02"
    assert (
        flask(line).stdout.splitlines()[0] == "From 2023-07-01 00:00 to 2023-07-02 00:00, hourly."
    )


# --watch


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ("start 6 --watch", None, 0),
        ("retry 6 --watch", "failed", 0),
        ("retry 6 --run 2023-07-13T00:00:00 --watch", "failed", 1),
        ("create daily --every day --from 2023-07-10 --to 2023-07-11 --start --watch", None, 0),
    ],
)
def test_what_was_started_is_followed_to_its_end(own_runner, line, status, code):
    host, flask = own_runner, commands_of(own_runner)
    host.put({**WEEK, **({"status": "initial"} if status else {})})
    for run in host.claim(limit=7) if status else []:
        host.end(run, "failed", None, "502 upstream")
    host.blueprint.runner(lambda run: None)
    ended = threading.Event()

    def work():
        while not ended.is_set():
            host.work(idle=0.1)

    worker = threading.Thread(target=work)
    worker.start()
    result = flask(line)
    ended.set()
    worker.join()
    assert result.exit_code == code, result.output
    last = result.stdout.splitlines()[-1]
    assert last.startswith("completed: " if code == 0 else "failed: 1 completed, 6 failed")


def test_whoever_watches_is_told_that_nobody_works(runner, monkeypatch):
    runner.app.config["BACKFILLS_LEASE"] = 1
    runner.put({**WEEK, "status": "initial"})
    shown = []
    told = threading.Thread(
        target=lambda: shown.append(commands_of(runner)("watch 6 --interval 0.3"))
    )
    told.start()
    # It looks more often than it waits until it asks.
    told.join(4)
    runner.put({"status": "cancelled"})
    told.join()
    # Once, and not among the states.
    assert shown[0].stderr.count("Waits for a worker: 7 runs may start") == 1
    assert "Start one: flask backfills work" in shown[0].stderr
    states = shown[0].stdout.splitlines()
    assert (states[0], states[-1]) == ("waiting: 7 waiting", "cancelled: 7 cancelled")
    assert "Start one" not in shown[0].stdout


def test_explain_says_how_to_go_on_after_a_failure(runner, capfd):
    runner.put({**WEEK, "status": "initial"})
    for run in runner.claim(limit=7):
        runner.end(run, "failed", None, "502 upstream")
    capfd.readouterr()
    on_a_terminal(runner.app, "explain", "6")
    assert capfd.readouterr().err == (
        "To see what went wrong: flask backfills runs 6 --errors\n"
        "To try it again: flask backfills retry 6\n"
    )


def test_what_can_not_be_started_is_not_followed(flask, runner):
    assert flask("start 6 --watch").exit_code == 3
    assert flask("start 99 --watch").exit_code == 3
    assert flask("create daily --start --watch").exit_code == 3


# --run


def test_one_run_is_tried_again(flask, runner):
    runner.put({**WEEK, "status": "initial"})
    for run in runner.claim(limit=7):
        runner.end(run, "failed", None, "502 upstream")
    key = "2023-07-13T00:00:00"
    assert "waiting" in flask(f"retry 6 --run {key}").stdout
    assert runner.statuses("/api/backfills/6") == {"initial": 1, "failed": 6}
    [one] = [row for row in runner.rows() if row["key"] == "2023-07-14T00:00:00"]
    told = json.loads(flask(f"retry 6 --run {one['id']} --json").stdout)["run"]
    assert (told["id"], told["status"], told["error"]) == (one["id"], "initial", None)
    refused = flask("retry 6 --run nobody")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == (
        "Error: There is no such run in this backfill."
        ' The first two columns of "runs" are the ids and the keys.\n'
    )


# Help

#: How a backfill is before the example of a command is run; where there is none, waiting.
BEFORE = {
    "delete": "failed",
    "resume": "paused",
    "retry": "failed",
    "runs": "failed",
    "run": "failed",
    "start": None,
    "preview": None,
    "watch": "completed",
}


def example_of(host, name):
    group = host.blueprint.cli
    return group.get_command(click.Context(group), name).example


@pytest.mark.parametrize("name", NAMES)
def test_help_ends_with_an_example_that_works(modelled, models, event_model, name):
    host, state = modelled, BEFORE.get(name, "initial")
    host.serve(models[1], run_model=models[2], event_model=event_model)
    flask, example = commands_of(host), example_of(host, name)
    assert example.split()[0] == name
    # On one line, so that it can be copied.
    assert flask(f"{name} --help").stdout.endswith(f" backfills {example}\n")
    status = {} if state is None else {"status": "initial"}
    host.put({**WEEK, **status, "settings": {"paused": state == "paused"}})
    for run in host.claim(limit=9) if state in ("completed", "failed") else []:
        host.end(run, state)
    host.blueprint.runner(lambda run: None)

    def work_once_it_has_started():
        wait_for(lambda: host.get()["status"] == "initial")
        host.work()

    worker = threading.Thread(target=work_once_it_has_started)
    if "--watch" in example:
        worker.start()
    line = f"{example} --once" if name == "work" else example
    result = flask(line, "y\n" if name in ("cancel", "delete") else None)
    assert result.exit_code == 0, result.output
    if "--watch" in example:
        worker.join()


# The tab key


def shell_of(app):
    """What a shell asks when somebody presses the tab key."""
    group = FlaskGroup(create_app=lambda: app)
    return ShellComplete(group, {}, "flask", "_FLASK_COMPLETE")


@pytest.fixture
def tab(runner):
    shell = shell_of(runner.app)

    def complete(*args, incomplete=""):
        return [one.value for one in shell.get_completions(["backfills", *args], incomplete)]

    return complete


def test_the_shell_completes_ids_and_keys_and_pipelines(tab, runner):
    made = runner.post({**WEEK, "status": "initial"}, "/api/pipelines/daily/backfills")
    key = made.headers["Location"].rsplit("/", 1)[1]
    assert tab("show") == [key, "6"] and tab("show", incomplete="6") == ["6"]
    keys = [f"2023-07-{day}T00:00:00" for day in range(10, 17)]
    assert tab("run", key) == tab("explain", key, "--key") == keys
    assert tab("run", key, incomplete="2023-07-13") == keys[3:4]
    assert tab("retry", key, "--run") == []
    runner.end(runner.claim()[0], "failed")
    assert tab("retry", key, "--run") == keys[:1]
    for line in (["list", "--pipeline"], ["coverage"], ["create"]):
        assert tab(*line) == ["arwen_starlight", "daily"]
    assert "cancelled" in tab("list", "--status") and "waiting" in tab("runs", "6", "--status")


def test_the_shell_completes_attributes_and_their_words(tab):
    names = tab("update", "6")
    assert {"name=", "status=", "start_datetime=", "settings="} <= {*names}
    assert not {"id=", "created_at=", "pipeline_uuid="} & {*names}
    assert tab("update", "6", incomplete="interval") == ["interval_type=", "interval_units="]
    assert "name=" not in tab("update", "6", "name=July")
    # Zsh and fish hand over the whole word, bash takes the = for a word of its own.
    assert tab("create", "daily", incomplete="status=") == [f"status={one}" for one in STATUSES]
    assert tab("create", "daily", incomplete="status=r") == ["status=running"]
    assert tab("create", "daily", "status", "=", incomplete="r") == ["running"]
    assert tab("update", "6", "name=x", "interval_type", "=") == [*INTERVAL_TYPES]
    assert tab("update", "6", incomplete="name=") == tab("update", "6", incomplete="nobody=") == []


def test_the_shell_offers_nothing_that_it_would_obey(tab, runner):
    names = ["a b", "a;reboot", "$(reboot)", "-x", "a\nb", "*", "~", "'", "good-1.2", "\xa0"]
    with runner.app.app_context():
        runner.db.session.add_all(
            runner.model(pipeline_uuid=name, name="\x1b[2J") for name in names
        )
        runner.db.session.commit()
    assert tab("list", "--pipeline") == ["arwen_starlight", "good-1.2"]
    offered = shell_of(runner.app).get_completions(["backfills", "show"], "")
    assert len(offered) == 11 and not any("\x1b" in one.help for one in offered)


@pytest.mark.parametrize("name", NAMES)
def test_the_tab_key_never_fails(tmp_path, models, capfd, name):
    """Neither without a database, nor for what is not there."""
    host = Host(f"sqlite:///{tmp_path}/nowhere/host.db", models[0])
    host.register(models[1])
    shell = shell_of(host.app)
    for args in ([], ["6"], ["\x1b", "x"], ["6", "status", "="], ["6", "--key"], ["6", "--run"]):
        for incomplete in ("", "=", "status=", "\ud800"):
            assert shell.get_completions(["backfills", name, *args], incomplete) is not None
    assert capfd.readouterr() == ("", "")
    with host.app.app_context():
        host.db.engine.dispose()
