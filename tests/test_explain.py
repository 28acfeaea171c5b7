"""Why nothing moves, or what moves; and why one run stands as it does."""

import re
from datetime import datetime
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import URL
from sqlalchemy import Column
from sqlalchemy import DateTime
from sqlalchemy import Integer
from sqlalchemy import String
from test_claims import post
from test_only_ended import days

from flask_backfills.rules.reasons import REASONS
from flask_backfills.tables.mixins import utcnow

WEEK = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-07"}
WEEK |= {"interval_type": "day", "interval_units": 1}
START = {**WEEK, "status": "initial"}
FIRST = "2023-03-01T00:00:00"

#: What says of a run that the next claims hand it out.
MAY_START = {"turn", "ready", "others_first", "no_worker"}


def why(host, query="", url=URL):
    return host.read(f"{url}/explain{query}")["explain"]["why"]


def codes(host, query="", url=URL):
    return [one["code"] for one in why(host, query, url)]


def messages(host, query="", url=URL):
    return [one["message"] for one in why(host, query, url)]


def start(host, **settings):
    assert host.put({**START, "settings": settings}).status_code == 200


# The whole backfill


def test_one_that_is_not_started_says_so(runner):
    [told] = why(runner)
    assert told == {
        "code": "not_started",
        "message": "Not started.",
        "change": "Start it: send the status initial.",
    }


def test_without_a_worker_it_says_that_none_is_there(runner):
    start(runner)
    [told] = why(runner)
    assert told["code"] == "no_worker"
    assert told["message"] == (
        "Waits for a worker: 7 runs may start, and no worker has taken a run for 60 seconds."
    )


def test_what_moves_is_told_first_with_what_the_others_wait_for(runner):
    start(runner, pipeline_run_limit=3)
    found = runner.claim(limit=9)
    assert messages(runner) == [
        "Moves: 3 runs running, 4 waiting, 0 of 7 ended.",
        "Waits: 3 of 3 run at once.",
    ]
    runner.end(found[0])
    runner.put({"settings": {"paused": True}})
    assert messages(runner) == [
        "Moves: 2 runs running, 4 waiting, 1 of 7 ended.",
        "Waits: settings.paused is true.",
    ]


def test_a_worker_that_is_busy_elsewhere_is_told_apart_from_none(runner):
    start(runner)
    other = post(runner, settings={"priority": 1})
    assert codes(runner) == ["no_worker"]
    assert len(runner.claim(other)) == 1
    assert codes(runner) == ["others_first"]
    assert "7 runs may start, after those of 1 backfill." in messages(runner)[0]
    runner.put({"settings": {"priority": 2}})
    assert codes(runner) == ["ready"]


def test_too_many_failures_are_told_with_their_number(runner):
    start(runner, max_failures=2)
    found = runner.claim(limit=3)
    for run in found[:2]:
        runner.end(run, "failed")
    assert messages(runner) == [
        "Moves: 1 run running, 4 waiting, 2 of 7 ended.",
        "Ends as failed: 2 runs failed, and settings.max_failures is 2.",
    ]
    runner.end(found[2])
    assert messages(runner) == [
        "Failed: 2 of 7 runs failed.",
        "It gave up: 2 runs failed, and settings.max_failures is 2.",
    ]


def test_runs_between_two_attempts_are_told_with_the_time_of_the_next(runner):
    start(runner, max_attempts=2, retry_delay=3600)
    runner.put({"end_datetime": "2023-03-02"})
    for run in runner.claim(limit=9):
        runner.end(run, "failed")
    runner.store(available_at=datetime(2099, 1, 1))
    assert messages(runner) == [
        "Waits: 2 runs between two attempts, the next one at 2099-01-01 00:00:00 UTC."
    ]


def test_intervals_that_have_not_ended_are_told_with_the_time_of_the_first(runner):
    runner.put(days(0, -2))
    [told] = why(runner)
    end = runner.rows()[0]["interval_end_datetime"]
    assert told["code"] == "not_ended"
    assert told["message"].startswith("Waits: 3 runs whose interval has not ended, the next one at")
    assert f"{end[:19]} UTC" in told["message"]


def test_a_worker_that_is_silent_is_told_and_a_run_that_is_taken_back(runner):
    start(runner)
    runner.put({"end_datetime": "2023-03-01"})
    runner.claim()
    runner.store(heartbeat_at=datetime(2023, 3, 1), started_at=datetime(2023, 3, 1))
    assert codes(runner) == ["lease_over"]
    assert codes(runner, f"?key={FIRST}") == ["run_running", "run_silent"]
    runner.recover(None)
    assert codes(runner) == ["no_worker"]


def test_a_worker_that_is_still_at_a_cancelled_run_counts_for_the_limit(runner):
    start(runner, pipeline_run_limit=1)
    runner.claim()
    runner.put({"status": "cancelled"})
    assert messages(runner) == ["Cancelled: 7 of 7 runs cancelled."]
    assert codes(runner, f"?key={FIRST}") == ["run_stopping"]
    runner.put({"status": "initial"})
    assert codes(runner) == ["at_limit"]
    assert codes(runner, f"?key={FIRST}") == ["at_limit", "held"]
    runner.put({"settings": {}, "end_datetime": "2023-03-01"})
    assert codes(runner) == ["held"]


def test_what_has_ended_says_how(runner):
    start(runner)
    runner.put({"end_datetime": "2023-03-02"})
    first, second = runner.claim(limit=2)
    runner.end(first)
    runner.end(second, "failed", None, "no file\nTraceback")
    assert messages(runner) == ["Failed: 1 of 2 runs failed."]
    assert codes(runner, f"?key={first.key}") == ["run_completed"]
    [told] = why(runner, f"?key={second.key}")
    assert told["code"] == "run_failed" and told["message"].endswith(" as attempt 1: no file")
    runner.put({"status": "initial"})
    runner.end(runner.claim()[0])
    assert messages(runner) == ["Completed: 2 runs."]


def test_one_whose_runs_have_ended_and_that_nobody_has_rolled_up_ends(runner):
    start(runner)
    runner.store(status="completed")
    assert codes(runner) == ["ending"]


def test_a_status_of_the_hosts_own_is_told_as_it_is(runner):
    start(runner)
    runner.store(status="resting")
    assert messages(runner, f"?key={FIRST}") == [
        "Has the status resting, of which no rule says anything."
    ]
    with runner.app.app_context():
        runner.db.session.get(runner.model, 6).status = "asleep"
        runner.db.session.commit()
    assert codes(runner) == ["other_status"]


# One run


def test_the_next_one_waits_for_a_worker_and_the_others_for_their_turn(runner):
    start(runner)
    assert codes(runner, f"?key={FIRST}") == ["no_worker"]
    told = messages(runner, "?date=2023-03-03")
    assert told[0] == "Waits: before it, the backfill has 2 runs to start."
    runner.put({"settings": {"order": "backwards"}})
    assert messages(runner, "?date=2023-03-03")[0].endswith("has 4 runs to start.")
    assert codes(runner, "?date=2023-03-07") == ["no_worker"]


def test_it_has_the_reasons_of_its_backfill_and_its_own(runner):
    runner.put(days(1, 0, paused=True))
    past, future = (run["key"] for run in runner.rows())
    assert codes(runner, f"?key={past}") == ["paused"]
    assert codes(runner, f"?key={future}") == ["paused", "not_ended"]


def test_a_run_that_is_cancelled_says_when(runner):
    start(runner)
    runner.put({"status": "cancelled"})
    assert codes(runner, f"?key={FIRST}") == ["run_cancelled"]


def test_one_in_the_message_queue_says_so(runner):
    start(runner)
    with runner.app.app_context():
        runner.blueprint.runs.enqueue(6, 1)
    assert codes(runner, f"?key={FIRST}") == ["queued", "no_worker"]


def test_one_that_was_dropped_says_why(runner):
    start(runner)
    for run in runner.claim(limit=2):
        runner.end(run)
    runner.put({"start_datetime": "2023-03-02"})
    assert codes(runner, f"?key={FIRST}") == ["dropped", "before_start"]
    assert messages(runner, "?date=2023-03-01")[0].endswith("kept as history: completed.")
    runner.put({"end_datetime": "2023-03-05"})
    # It had not begun, and nothing of it was kept.
    assert codes(runner, "?date=2023-03-07") == ["after_end"]


def test_a_date_without_a_run_says_why(runner):
    assert codes(runner, "?date=2023-03-01") == ["no_window"]
    runner.put(WEEK)
    assert codes(runner, "?date=2023-02-28T23:59:59") == ["before_start"]
    assert codes(runner, "?date=2023-03-08") == ["after_end"]
    assert codes(runner, "?date=2023-03-03") == ["not_planned"]
    [told] = why(runner, "?date=2023-03-07T23:00:00")
    assert told["code"] == "off_grid"
    assert told["message"] == (
        "Between two dates of the window. The run of 2023-03-07 00:00:00 UTC covers it."
    )
    # An offset is converted.
    start(runner)
    assert codes(runner, "?date=2023-03-03T02:00:00%2B02:00") == ["turn", "no_worker"]


def test_a_generator_that_gives_no_such_run_is_named(runner):
    dates = [{"key": key, "execution_date": "2023-03-01"} for key in "ab"]
    runner.blueprint.generator("sources")(lambda backfill: [*dates, {"key": "c"}])
    runner.put({"block_uuid": "sources", "status": "initial"})
    assert messages(runner, "?date=2023-03-02") == [
        "The generator sources has given no run of this date."
    ]
    assert MAY_START & {*codes(runner, "?key=c")}
    response = runner.client.get(f"{URL}/explain?date=2023-03-01")
    assert response.status_code == 422
    assert response.json["error"]["errors"] == {
        "date": ["Several runs have this date. Ask with key."]
    }


def test_what_it_says_is_what_the_claim_does(runner):
    """Each run that may start is handed out by the next claims, and no other."""
    settings = [
        {},
        {"paused": True},
        {"pipeline_run_limit": 1},
        {"pipeline_run_limit": 9, "order": "backwards"},
        {"max_failures": 1},
        {"max_attempts": 2, "retry_delay": 3600},
        {"only_ended": True},
    ]
    for number, one in enumerate(settings):
        key = post(runner, **{**days(4, -1), "settings": {}})
        url = f"/api/backfills/{key}"
        first, second = runner.claim(limit=2)
        runner.put({"settings": one}, url)
        runner.end(first, "failed")
        rows = runner.rows(url)
        waiting = [run["key"] for run in rows if run["status"] == "initial"]
        told = {key for key in waiting if MAY_START & {*codes(runner, f"?key={key}", url)}}
        claimed = {run.key for run in runner.claim(limit=20)}
        assert claimed == told, one
        assert bool(claimed) == (number in (0, 3, 5, 6))
        runner.end(second)
        runner.put({"status": "cancelled"}, url)


# Who may ask, and how


@pytest.mark.parametrize("url", [URL, "/api/backfills/6"])
def test_an_unknown_key_is_a_404_and_a_wrong_parameter_a_422(runner, url):
    start(runner)
    for key in ("2023-04-01T00:00:00", "", "x", "2023-03-01T00:00:00 "):
        response = runner.client.get(f"{url}/explain", query_string={"key": key})
        assert response.status_code == 404, key
        assert response.json["error"]["message"] == "There is no such run in this backfill."
    wrong = {"date": "July"}, {"key": FIRST, "date": "2023-03-01"}, {"kye": FIRST}, {"key": "\0"}
    for query in wrong:
        assert runner.client.get(f"{url}/explain", query_string=query).status_code == 422, query
    assert runner.client.get(f"{url.replace('6', '99')}/explain").status_code == 404


def test_it_asks_for_detail_and_respects_the_scope(bare):
    asked = []

    def authorize(action, pipeline_uuid):
        asked.append(action)
        return action == "detail" or pipeline_uuid != "arwen_starlight"

    def scope(query):
        return query.where(bare.model.name != "hidden")

    bare.serve(authorize=authorize, scope=scope, run_model=bare.run_model())
    assert codes(bare) == codes(bare, url="/api/backfills/6") == ["not_started"]
    assert {*asked} == {"detail"}
    with bare.app.app_context():
        one = bare.db.session.get(bare.model, 6)
        one.status, one.settings = "initial", {"priority": -1}
        hidden = bare.model(pipeline_uuid="p", name="hidden", status="initial")
        bare.db.session.add(hidden)
        bare.db.session.flush()
        run = bare.blueprint.host.run_model
        date = datetime(2023, 3, 1)
        rows = [run(backfill_id=key, key="a", execution_date=date) for key in (6, hidden.id)]
        rows.append(run(backfill_id=6, key="b", execution_date=date, status="running"))
        rows[-1].heartbeat_at = rows[-1].started_at = utcnow() + timedelta(hours=1)
        bare.db.session.add_all(rows)
        bare.db.session.commit()
        key = hidden.id
    # Others come first, which this caller may not see.
    assert codes(bare) == ["moving", "ready"]
    assert bare.client.get(f"/api/backfills/{key}/explain").status_code == 404


def test_a_model_that_lacks_optional_columns_is_explained_too(bare):
    class Run(bare.db.Model):
        __tablename__ = "backfill_run"
        id = Column(Integer, primary_key=True)
        backfill_id = Column(Integer, nullable=False)
        key = Column(String(80), nullable=False)
        status = Column(String(16), nullable=False)
        execution_date = Column(DateTime)

    bare.serve(run_model=Run)
    bare.put(START)
    assert codes(bare) == ["ready"]
    [first, second] = bare.claim(limit=2)
    assert codes(bare) == ["moving", "ready"]
    assert messages(bare, f"?key={first.key}") == ["Running since an unknown time, as attempt 1."]
    bare.end(first)
    bare.end(second, "failed")
    assert codes(bare, f"?key={first.key}") == ["run_completed"]
    assert messages(bare, f"?key={second.key}") == [
        "Failed at an unknown time, as attempt 1: no reason was recorded"
    ]
    assert codes(bare, "?date=2023-03-04") == ["turn", "ready"]


def test_nothing_is_changed_or_locked(runner):
    start(runner)
    runner.claim()
    runner.statements.clear()
    for query in ("", f"?key={FIRST}", "?date=2023-03-04"):
        codes(runner, query)
    assert {one.split()[0] for one in runner.statements} <= {"SELECT", "SET"}
    assert not any("FOR UPDATE" in one for one in runner.statements)


def test_it_takes_as_many_statements_whatever_there_is(runner):
    start(runner)
    codes(runner)
    runner.statements.clear()
    codes(runner)
    few = len(runner.statements)
    for _ in range(5):
        post(runner)
    runner.put({"end_datetime": "2023-05-31"})
    runner.statements.clear()
    codes(runner)
    assert len(runner.statements) <= few


# At the terminal and in the console


def invoke(host, *args):
    return host.app.test_cli_runner().invoke(args=["backfills", "explain", *args])


def test_the_command_says_the_same(runner):
    start(runner)
    result = invoke(runner, "6", "--date", "2023-02-01")
    assert result.output == (
        "before_start: Before the start of the window, 2023-03-01 00:00:00 UTC.\n"
        "  An earlier start_datetime.\n"
    )
    result = invoke(runner, "6", "--json")
    assert f'"code": "{codes(runner)[0]}"' in result.output
    assert invoke(runner, "6", "--key", "nothing").exit_code == 1
    assert invoke(runner, "6", "--date", "July").exit_code == 2
    assert invoke(runner, "6", "--date", "2023-03-01", "--key", "a").exit_code == 2


def test_the_page_of_a_backfill_says_why_nothing_moves(runner):
    start(runner)
    page = runner.client.get("/backfills/6").text
    assert "7 runs may start, and no worker has taken a run" in page
    runner.claim()
    assert 'class="why"' not in runner.client.get("/backfills/6").text
    runner.put({"status": "cancelled"})
    assert 'class="why"' not in runner.client.get("/backfills/6/live").text


def test_the_page_of_the_documentation_has_every_code():
    page = Path(__file__).parent.parent / "docs" / "explain.md"
    assert re.findall(r"^\| `(\w+)` \|", page.read_text(), re.M) == [*REASONS]
