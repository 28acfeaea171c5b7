"""How ``flask backfills`` looks: colours, tables that fit, one line of progress, empty lists."""

import re
import shlex
import threading

import pytest
import sqlalchemy as sa
from conftest import in_detail
from conftest import on_a_terminal
from conftest import sqlite_alone
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column

from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills.cli import bar
from flask_backfills.cli import table
from flask_backfills.cli import terminal

pytestmark = [in_detail, sqlite_alone]

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1, "status": "initial"}

COLOUR = re.compile(r"\x1b\[[0-9;]*m")

LONG = "Temperatures of all stations, again and again and again"


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """An environment in which nobody has asked for anything."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def flask(runner):
    def run(*args):
        return runner.app.test_cli_runner().invoke(args=["backfills", *args])

    return run


@pytest.fixture
def week(runner):
    """A backfill of a week: two runs have failed with one error, one with another."""
    url = runner.post({**WEEK, "name": LONG}).headers["Location"]
    texts = ["502 upstream\nafter 3 tries", "no reading" * 20, "502 upstream\nafter 3 tries"]
    for run, text in zip(runner.claim(limit=3), texts, strict=True):
        runner.end(run, "failed", None, text)
    return url.rsplit("/", 1)[1]


def lines_of(shown):
    return COLOUR.sub("", shown).replace("\r\n", "\n").splitlines()


# Colours


@pytest.mark.parametrize("line", [("runs", "{}"), ("list",), ("show", "6"), ("watch", "6")])
def test_statuses_have_colours_on_a_terminal_alone(flask, runner, week, line):
    runner.put({"status": "failed"})
    args = [one.format(week) for one in line]
    shown, _ = on_a_terminal(runner.app, *args)
    piped = flask(*args).output
    assert "\x1b[31mfailed" in shown and "\x1b" not in piped
    if "watch" not in line:
        # Whoever copies a line gets the same text.
        assert " ".join(COLOUR.sub("", shown).split())[:20] == " ".join(piped.split())[:20]


@pytest.mark.parametrize(
    ("environment", "on_terminal", "in_pipe"),
    [
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
    ],
)
def test_the_environment_decides_on_colours(
    flask, runner, week, monkeypatch, environment, on_terminal, in_pipe
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shown, _ = on_a_terminal(runner.app, "runs", week)
    assert bool(COLOUR.search(shown)) == on_terminal
    assert bool(COLOUR.search(flask("runs", week).stdout)) == in_pipe
    assert "\x1b" not in flask("runs", week, "--json").stdout


def test_a_refusal_is_red_where_errors_are_shown_on_a_terminal(flask, monkeypatch):
    assert flask("show", "99").stderr == "Error: There is no backfill 99.\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert flask("show", "99").stderr == "\x1b[31mError:\x1b[0m There is no backfill 99.\n"


# Tables


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
@pytest.mark.parametrize("line", [("runs", "{}"), ("list",), ("preview", "6")])
def test_a_table_fits_the_terminal_and_is_whole_in_a_pipe(
    flask, runner, week, monkeypatch, width, line
):
    runner.put({key: value for key, value in WEEK.items() if key != "status"})
    monkeypatch.setenv("COLUMNS", str(width))
    args = [one.format(week) for one in line]
    shown, _ = on_a_terminal(runner.app, *args)
    # What stands above a preview is a sentence.
    head = next(i for i, one in enumerate(lines_of(shown)) if one.isupper())
    rows = lines_of(shown)[head:]
    assert all(terminal.room_of(row) <= width for row in rows), rows
    piped = flask(*args).stdout
    assert "\u2026" not in piped
    assert ("no reading" * 20 in piped) == ("runs" in line)
    assert (LONG in piped) == ("list" in line)
    if width >= 60 and "list" in line:
        # The status stands where it was, and the window may have gone below.
        told = ("running", "not started", "2023-07-10 to 2023-07-16", "WINDOW")
        assert all(any(word in row for word in told) for row in rows[1:])
        assert sum("2023-07-10 to 2023-07-16" in row for row in rows) == 2
        # So names can be read.
        assert all(LONG[:11] in row for row in rows if "running" in row)
    if width >= 60 and "runs" in line:
        # What one copies from a table is never cut.
        assert all("2023-07-1" + end in shown for end in ("0T00:00:00", "6T00:00:00"))


def test_on_a_narrow_terminal_the_last_column_goes_below(runner, week, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    shown, _ = on_a_terminal(runner.app, "runs", week)
    assert lines_of(shown)[:4] == [
        "ID  KEY                  STATUS   ATTEMPT",
        "    ERROR",
        "1   2023-07-10T00:00:00  failed   1",
        "    502 upstream",
    ]
    # A row that has nothing there has no line for it.
    assert lines_of(shown)[-1] == "7   2023-07-16T00:00:00  waiting  1"
    monkeypatch.setenv("COLUMNS", "80")
    assert "ATTEMPT  ERROR\n" in "\n".join(lines_of(on_a_terminal(runner.app, "runs", week)[0]))


def test_what_is_said_is_broken_between_words(flask, runner, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "50")
    on_a_terminal(runner.app, "update", "6", "status=done", "interval_units=0")
    told = capfd.readouterr().err
    assert told == (
        "Error: Some keys or values are not valid. Nothing\nwas changed.\n"
        "  interval_units: Must be greater than or equal to\n  1.\n"
        "  status: Must be one of: initial, running,\n  completed, failed, cancelled.\n"
    )
    assert all(len(line) <= 50 for line in told.splitlines())


def test_the_commands_are_listed_by_what_they_are_for(flask, runner, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    runner.blueprint.cli.command("tidy", help="Remove old backfills.")(lambda: None)
    told = flask("--help").stdout
    names = [line.split()[0] for line in told.splitlines() if line[:3].strip() and line[:2] == "  "]
    assert told.index("A backfill:") < told.index("  create ") < told.index("  start ")
    assert told.index("What happened:") < told.index("  runs ") < told.index("Workers:")
    assert "More:\n  tidy  Remove old backfills.\n" in told
    assert {*runner.blueprint.cli.commands} <= {*names}
    # Each is a sentence that ends.
    assert "..." not in told[told.index("A backfill:") :]
    assert told.endswith(" backfills work\n")


# The databases of servers may be of another character set.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("name", "more"), [("\u6c17\u6e29", 2), ("Ju\u0301lio", -1), ("x", 0)])
def test_characters_take_the_columns_that_they_have(runner, week, name, more):
    runner.put({"name": name})
    shown, _ = on_a_terminal(runner.app, "list")
    head, _, row = lines_of(shown)
    # So many columns more than characters.
    assert row.index("not started") + more == head.index("STATUS")


@given(
    st.lists(st.tuples(st.integers(0, 90), st.booleans()), min_size=1, max_size=6),
    st.integers(0, 200),
)
def test_columns_give_only_what_they_must(columns, room):
    widths, may = [one for one, _ in columns], [able for _, able in columns]
    found = table.fitted(widths, may, room)
    for before, after, able in zip(widths, found, may, strict=True):
        assert after <= before and (after == before or (able and after >= table.LEAST))
    least = sum(min(one, table.LEAST) if able else one for one, able in columns)
    assert sum(found) == max(min(sum(widths), room), least)
    # No column is cut more than a longer one.
    cut = [after for before, after in zip(widths, found, strict=True) if after < before]
    assert all(one >= max(cut) - 1 for one in cut)


@given(st.text(), st.integers(0, 40))
def test_a_cut_text_fits_and_begins_as_the_text(text, room):
    found = terminal.cut(text, room)
    assert terminal.room_of(found) <= room
    assert found == text or text.startswith(found.removesuffix("\u2026"))
    # A wide character may not fit into what is left.
    assert found == text or room - terminal.room_of(found) <= 1


def test_windows_of_whole_days_are_told_without_times(flask, runner, week):
    assert "  2023-07-10 to 2023-07-16\n" in flask("list").stdout
    runner.put({"interval_type": "hour"}, f"/api/pipelines/arwen_starlight/backfills/{week}")
    assert "  2023-07-10 00:00 to 2023-07-16 00:00\n" in flask("list").stdout


# Progress


@given(
    st.text(st.characters(categories=["L", "N", "Zs"]), max_size=20),
    st.integers(0, 10**6),
    st.none() | st.integers(0, 10**6),
    st.sampled_from(["", "00:00:09", "1234:00:09"]),
    st.text(st.characters(categories=["L", "N", "Zs"]), max_size=80),
    st.integers(1, 140),
)
def test_the_line_of_progress_never_takes_more_than_its_room(label, done, of, left, info, room):
    line = bar.line(label, done, of, left, info, room)
    assert terminal.room_of(line) <= room and "\n" not in line


@pytest.mark.parametrize("width", [8, 20, 60, 80, 120])
@pytest.mark.parametrize("name", ["watch", "work"])
def test_what_moves_is_one_line_at_any_width(runner, week, monkeypatch, width, name):
    monkeypatch.setenv("COLUMNS", str(width))
    runner.blueprint.runner(lambda run: None)
    if name == "watch":
        worker = threading.Thread(target=runner.work)
        worker.start()
        shown, code = on_a_terminal(runner.app, "watch", week, "--interval", "0.1")
        worker.join()
        assert code == 1
    else:
        shown, code = on_a_terminal(runner.app, "work", "--once")
    drawn = [one for one in COLOUR.sub("", shown).split(bar.CLEAR)][1:]
    assert drawn and drawn[-1].endswith("\r\n")
    # The last column stays free: a terminal may go on to the next line after it.
    assert all(terminal.room_of(one.rstrip("\r\n")) < width for one in drawn), drawn
    assert "\n" not in "".join(drawn).rstrip("\r\n")


def test_on_a_dumb_terminal_there_are_lines(runner, week, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    runner.blueprint.runner(lambda run: None)
    shown, _ = on_a_terminal(runner.app, "work", "--once")
    assert "\x1b" not in shown and shown.count("completed: run ") == 4
    shown, code = on_a_terminal(runner.app, "watch", week)
    assert shown == "failed: 4 completed, 3 failed\r\n" and code == 1


# The next step


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "create weather interval_units=2",
            "It has no window yet: flask backfills update 7 start_datetime=2023-07-01"
            " end_datetime=2023-07-31 interval_type=day\n",
        ),
        (
            "create weather interval_type=day interval_units=1 start_datetime=2024-02-28",
            "It has no window yet: flask backfills update 7 end_datetime=2024-03-06\n",
        ),
        (
            "create weather interval_type=day interval_units=1 end_datetime=2020-03-06",
            "It has no window yet: flask backfills update 7 start_datetime=2020-02-28\n",
        ),
        ("create weather {day}", "To start it: flask backfills start 7\n"),
        ("create weather --start {day}", "To follow it: flask backfills watch 7\n"),
        ("create weather status=initial {day}", "To follow it: flask backfills watch 7\n"),
        ("create weather status=completed", ""),
        ("create weather --json", ""),
        ("start 6", "To follow it: flask backfills watch 6\n"),
        ("start 6 --json", ""),
    ],
)
def test_the_next_step_is_told_to_people_alone(flask, runner, capfd, line, told):
    runner.put({**WEEK, "status": None})
    args = line.format(day="--every day --from 2023-07-01 --to 2023-07-01").split()
    capfd.readouterr()
    shown, _ = on_a_terminal(runner.app, *args)
    assert not told.startswith("It has") or flask(*told.split()[7:]).exit_code == 0
    # What is read by a script is what it was.
    assert "To " not in shown
    assert capfd.readouterr().err == told


def test_the_next_step_follows_the_state(flask, runner, capfd):
    runner.put(WEEK)
    told = []
    for line in ("pause 6", "resume 6", "cancel 6 --yes"):
        on_a_terminal(runner.app, *line.split())
        told.append(capfd.readouterr().err)
    assert told == ["", "To follow it: flask backfills watch 6\n", ""]
    for line in ("update 6 end_datetime=2023-07-31", "update 6 name=July"):
        on_a_terminal(runner.app, *line.split())
        told.append(capfd.readouterr().err)
    assert told[3:] == ["No run has changed. To plan the runs: flask backfills start 6\n", ""]
    on_a_terminal(runner.app, "update", "6", "end_datetime=2023-08-01", "--json")
    assert capfd.readouterr().err == ""
    assert flask("create", "weather").stderr == ""
    assert flask("start", "6").stderr == ""


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        (
            "a;reboot",
            ["backfills runs 'a;reboot' --errors", "backfills retry 'a;reboot'"],
        ),
        ("-x", ["backfills runs --errors -- -x", "backfills retry -- -x"]),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_shell_takes_the_next_step_as_it_is_told(bare, capfd, key, lines):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        id: Mapped[str] = mapped_column(sa.String(20), primary_key=True, default=lambda: key)

    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        backfill_id: Mapped[str] = mapped_column(sa.String(20))

    bare.serve(Backfill, run_model=Run, seed={"id": "6", "pipeline_uuid": "weather"})
    day = "--every day --from 2023-07-01 --to 2023-07-01".split()
    on_a_terminal(bare.app, "create", "weather", *day, "--start")
    with bare.app.app_context():
        bare.blueprint.runs.finish(bare.claim()[0], "failed")
    capfd.readouterr()
    on_a_terminal(bare.app, "explain", "--", key)
    told = [line.partition(": flask ")[2] for line in capfd.readouterr().err.splitlines()]
    assert told == lines
    for line in told:
        done = bare.app.test_cli_runner().invoke(args=shlex.split(line))
        assert done.exit_code == 0, done.output


def test_without_runs_there_is_no_next_step(host, capfd):
    shown, _ = on_a_terminal(host.app, "create", "weather")
    assert "pipeline_uuid" in shown and capfd.readouterr().err == ""


# Nothing


def test_an_empty_list_says_so(flask, runner, week):
    assert flask("list", "--pipeline", "nobody").stdout == "No backfills.\n"
    assert flask("list", "--status", "completed").stdout == "No backfills.\n"
    assert flask("list", "--offset", "40").stdout == "No backfills at --offset 40: there are 2.\n"
    assert flask("runs", "6").stdout == flask("runs", week, "--status", "running").stdout
    assert flask("runs", "6").stdout == "No runs.\n"
    assert flask("runs", "6", "--errors").stdout == "No errors.\n"
    assert flask("list", "--pipeline", "nobody", "--json").stdout.startswith('{"backfills": []')


def test_an_empty_history_says_so(modelled, models, event_model):
    modelled.serve(models[1], run_model=models[2], event_model=event_model)
    result = modelled.app.test_cli_runner().invoke(args=["backfills", "history", "6"])
    assert result.stdout == "No changes.\n"


# Errors


def test_errors_are_shown_once_and_whole(flask, runner, week):
    assert flask("runs", week, "--errors").stdout == (
        "2 failed, 2023-07-10T00:00:00 to 2023-07-12T00:00:00\n"
        "    502 upstream\n"
        "    after 3 tries\n"
        "1 failed, 2023-07-11T00:00:00\n"
        f"    {'no reading' * 20}\n"
    )
    first = flask("runs", week, "--errors", "--limit", "1").stdout
    assert first.endswith("1 more. To see them: --offset 1\n") and "no reading" not in first
    assert flask("runs", week, "--errors", "--status", "completed").stdout == "No errors.\n"
    told = flask("runs", week, "--errors", "--limit", "1", "--json").stdout
    assert told == (
        '{"errors": [{"error": "502 upstream\\nafter 3 tries", '
        '"first_key": "2023-07-10T00:00:00", "last_key": "2023-07-12T00:00:00", '
        '"run_count": 2, "status": "failed"}], "metadata": {"count": 2}}\n'
    )
    assert flask("runs", week, "--errors", "--make", "done", "--status", "failed").exit_code == 2


def test_errors_of_other_backfills_and_of_history_are_not_shown(flask, runner, week):
    other = runner.post(WEEK).headers["Location"]
    for run in runner.claim(limit=11):
        runner.end(run, "failed", None, "another")
    assert "4 failed" in flask("runs", week, "--errors").stdout
    runner.put({"end_datetime": "2023-07-11", "status": "initial"}, other)
    key = other.rsplit("/", 1)[1]
    assert flask("runs", key, "--errors").stdout == "No errors.\n"


def test_the_lines_of_an_error_stand_below_each_other(flask, runner, week):
    shown = flask("run", week, "2023-07-10T00:00:00").stdout
    [at] = [line.index("502") for line in shown.splitlines() if line.startswith("error ")]
    assert f"\n{' ' * at}after 3 tries\n" in shown
