"""What the console asks before an action, in numbers; and a start that runs everything again."""

import html
import re

import pytest
from conftest import in_detail
from conftest import sqlite_alone
from pages import Console
from pages import fields
from pages import labels

pytestmark = [in_detail, sqlite_alone]

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1}


@pytest.fixture
def console(runner):
    return Console(runner)


@pytest.fixture
def week(runner):
    """The key of a backfill of seven runs that wait."""
    return runner.post({**WEEK, "name": "July", "status": "initial"}).json["backfill"]["id"]


def heading(page):
    [found] = re.findall("<h1>(.*?)</h1>", page, re.DOTALL)
    return html.unescape(re.sub("<[^>]*>", "", found))


def button(page):
    [found] = re.findall('<button type="submit"[^>]*>(.*?)</button>', page)
    return html.unescape(found)


def legend(page):
    """What a page says of runs by status, before its plan."""
    [main] = re.findall("<main.*?(?:<section|<form)", page, re.DOTALL)
    items = re.findall("<li>(.*?)</li>", main, re.DOTALL)
    return [" ".join(re.sub("<[^>]*>", "", one).split()) for one in items]


def end_all(runner, **statuses):
    """End all runs that wait, by the day of their date."""
    while found := runner.claim(limit=100):
        for run in found:
            runner.finish(run, statuses.get(f"d{run.key[8:10]}", "completed"))


def test_a_start_says_how_many_runs_it_starts(console, runner):
    runner.put(WEEK)
    page = console.get("6/start")
    assert (heading(page), button(page)) == ("Start 7 runs of old_name?", "Start 7 runs")
    assert "everything again" not in page
    console.post("6/start", fields(page))
    runner.put({"end_datetime": "2023-07-10"})
    console.post("6/cancel", console.form("6/cancel"))
    page = console.get("6/start")
    assert (heading(page), button(page)) == ("Start 1 run of old_name?", "Start 1 run")


def test_a_cancel_says_how_many_wait_and_run(console, runner, week):
    runner.claim(limit=2)
    page = console.get(f"{week}/cancel")
    assert (heading(page), button(page)) == ("Cancel 7 runs of July?", "Cancel 7 runs")
    assert legend(page) == ["5 waiting", "2 running"]
    console.post(f"{week}/cancel", fields(page))
    assert "Cancelled." in console.get(f"{week}?did=cancel")


def test_pause_and_resume_say_how_many_wait(console, runner, week):
    runner.claim(limit=2)
    page = console.get(f"{week}/pause")
    assert (heading(page), button(page)) == ("Pause July, with 5 waiting runs?", "Pause 5 runs")
    console.post(f"{week}/pause", fields(page))
    page = console.get(f"{week}/resume")
    assert (heading(page), button(page)) == ("Resume July, with 5 waiting runs?", "Resume 5 runs")


def test_a_retry_says_how_many_have_failed_and_were_cancelled(console, runner, week):
    [third] = [run["id"] for run in runner.rows(f"/api/backfills/{week}") if "-12T" in run["key"]]
    run = {"run": {"status": "cancelled"}}
    assert runner.client.put(f"/api/backfills/{week}/runs/{third}", json=run).status_code == 200
    end_all(runner, d11="failed", d13="failed")
    page = console.get(f"{week}/retry")
    assert (heading(page), button(page)) == ("Retry 3 runs of July?", "Retry 3 runs")
    assert legend(page) == ["2 failed", "1 cancelled"]


def test_a_delete_counts_what_goes_with_it(console, runner, week):
    end_all(runner)
    page = console.get(f"{week}/delete")
    assert heading(page) == "Delete July and its 7 runs?"
    assert (button(page), legend(page)) == ("Delete the backfill and 7 runs", ["7 completed"])
    # What is kept as history goes, too.
    url = f"/api/backfills/{week}"
    runner.put({"status": "initial", "end_datetime": "2023-07-18"}, url)
    runner.put({"end_datetime": "2023-07-11"}, url)
    page = console.get(f"{week}/delete")
    assert heading(page) == "Delete July and its 7 runs?"
    page = console.get("6/delete")
    assert (heading(page), button(page)) == ("Delete old_name?", "Delete the backfill")


def test_a_backfill_that_is_stored_only_has_no_numbers(host):
    console = Console(host)
    page = console.get("6/start")
    assert (heading(page), button(page)) == ("Start old_name?", "Start")
    console.post("6/start", fields(page))
    page = console.get("6/cancel")
    assert (heading(page), button(page)) == ("Cancel old_name?", "Cancel the backfill")


def test_where_all_is_completed_everything_is_run_again(console, runner, week):
    url = f"/api/backfills/{week}"
    runner.put({"settings": {"team": 1}}, url)
    end_all(runner)
    page = console.get(f"{week}/start")
    assert heading(page) == "Run all 7 runs of July again?"
    assert button(page) == "Run 7 runs again"
    assert "A start as the settings say would run nothing." in page
    assert [kind for kind, _ in labels(page)] == ["redo"] * 7
    console.post(f"{week}/start", fields(page))
    assert runner.statuses(url) == {"initial": 7}
    # Only this once: the next start runs what has failed.
    assert runner.get(url)["settings"] == {"team": 1}
    end_all(runner, d12="failed")
    page = console.get(f"{week}/start")
    assert button(page) == "Start 1 run"
    [path] = re.findall(r'href="/backfills/(\d+/start\?again=all)"', page)
    page = console.get(path)
    assert button(page) == "Run 7 runs again"
    console.post(f"{week}/start", fields(page))
    assert runner.statuses(url) == {"initial": 7}


def test_what_would_run_again_is_what_was_shown(console, runner, week):
    end_all(runner)
    form = console.form(f"{week}/start")
    # The plan of a usual start is another one.
    console.post(f"{week}/start", {**form, "again": ""}, 409)
    runner.put({"end_datetime": "2023-07-20"}, f"/api/backfills/{week}")
    console.post(f"{week}/start", form, 412)
    assert runner.get(f"/api/backfills/{week}")["status"] == "completed"
    # Nothing but a start runs again.
    console.get(f"{week}/retry?again=all", 409)


def test_what_others_have_completed_is_not_run_again(console, runner, week):
    end_all(runner)
    runner.put({**WEEK, "settings": {"skip_covered": True}})
    assert "settings.skip_covered" in console.get("6/start", 409)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {},
            "Retry runs again: 2 failed, 1 cancelled."
            " Start does the same, or runs all 7 runs again.",
        ),
        (
            {"reprocess": "all"},
            "Retry runs again: 4 completed, 2 failed, 1 cancelled. Start does the same.",
        ),
        ({"reprocess": "none"}, "Retry and Start run nothing again: settings.reprocess is none."),
    ],
)
def test_a_failed_backfill_says_what_each_button_would_run(console, runner, week, settings, told):
    """As the buttons then do it."""
    url = f"/api/backfills/{week}"
    runner.put({"settings": settings}, url)
    [third] = [run["id"] for run in runner.rows(url) if "-12T" in run["key"]]
    runner.client.put(f"{url}/runs/{third}", json={"run": {"status": "cancelled"}})
    end_all(runner, d11="failed", d13="failed")
    page = console.get(str(week))
    assert re.findall(r'id="hints">([^<]*)<', page) == [told]
    assert "Try again runs only the runs with that error." in page
    if "nothing" in told:
        console.get(f"{week}/retry", 409)
        return
    counted = told.removeprefix("Retry runs again: ").partition(".")[0].split(", ")
    asked = [console.get(f"{week}/{action}") for action in ("retry", "start")]
    assert legend(asked[0]) == counted
    count = sum(int(one.split()[0]) for one in counted)
    assert [button(page) for page in asked] == [f"Retry {count} runs", f"Start {count} runs"]
    for page in asked:
        assert ("Completed runs run again, too." in page) == ("completed" in told)
    assert ("everything again" in asked[1]) == ("or runs all" in told)
    if "or runs all" in told:
        assert button(console.get(f"{week}/start?again=all")) == "Run 7 runs again"


def test_only_what_can_be_retried_and_started_is_explained(console, runner, week):
    assert 'id="hints"' not in console.get(str(week))
    end_all(runner)
    page = console.get(str(week))
    assert 'id="hints"' not in page and "with that error" not in page


def test_numbers_are_told_of_runs_as_the_window_asks_for_them(console, runner, week):
    url = f"/api/backfills/{week}"
    end_all(runner, d10="failed", d11="failed")
    assert "Retry runs again: 2 failed." in console.get(str(week))
    # Another window, with as many dates: only one of the failed runs is needed by it.
    runner.put({"start_datetime": "2023-07-11", "end_datetime": "2023-07-17"}, url)
    [told] = re.findall(r'id="hints">([^<]*)<', console.get(str(week)))
    assert not re.search("[0-9]", told) and "first show what they would run" in told
    assert button(console.get(f"{week}/retry")) == "Retry 2 runs"
    runner.put({"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}, url)
    assert "Retry runs again: 2 failed." in console.get(str(week))


def test_nothing_is_said_of_settings_where_there_are_no_runs(console, runner):
    """Such as of a backfill that has failed before the app had runs."""
    with runner.app.app_context():
        backfill = runner.db.session.get(runner.model, 6)
        backfill.status = "failed"
        runner.db.session.commit()
    assert "settings.reprocess" not in console.get("6")


def test_a_first_start_creates_what_there_is_not(console, runner, week):
    runner.put(WEEK)
    assert "This creates the runs." in console.get("6/start")
    end_all(runner, d11="failed")
    page = console.get(f"{week}/start")
    assert "This creates the runs." not in page and "The others stay." in page
