"""Runs as people change them: one, or all that have a status."""

import pytest
import sqlalchemy as sa
from conftest import LIST
from conftest import URL
from conftest import wait_for

from flask_backfills import backfill_finished
from flask_backfills import backfill_started

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1, "status": "initial"}


@pytest.fixture
def week(runner):
    """The path of a backfill of seven runs: two have failed, one is completed, four wait."""
    url = runner.post({**WEEK, "settings": {"order": "forwards"}}).headers["Location"]
    for status in ("failed", "failed", "completed"):
        [run] = runner.claim()
        done = status == "completed"
        runner.end(run, status, {"rows": 5} if done else None, None if done else "x" * 5000)
    return url


def ids(host, url, status):
    return [one["id"] for one in host.read(f"{url}/runs?status={status}")["runs"]]


def change(host, path, status, **options):
    name = "run" if "/runs/" in path else "runs"
    return host.client.put(path, json={name: {"status": status}}, **options)


def test_one_run_is_read_whole(runner, week):
    [done] = ids(runner, week, "completed")
    run = runner.read(f"{week}/runs/{done}")["run"]
    [listed] = runner.read(f"{week}/runs?status=completed")["runs"]
    assert run == {**listed, "metrics": {"rows": 5}, "worker": run["worker"]}
    assert (run["variables"]["ds"], run["attempt"]) == ("2023-07-12", 1)
    failed = runner.read(f"{week}/runs/{ids(runner, week, 'failed')[0]}")["run"]
    assert failed["error"] == "x" * 5000
    # The same on the path without a pipeline.
    flat = week.replace("/pipelines/arwen_starlight", "")
    assert runner.read(f"{flat}/runs/{done}")["run"] == run


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("failed", "initial"),
        ("failed", "completed"),
        ("completed", "initial"),
        ("initial", "cancelled"),
        ("initial", "completed"),
    ],
)
def test_one_run_is_changed_as_previewed(runner, week, old, new):
    before, path = runner.statuses(week), f"{week}/runs/{ids(runner, week, old)[0]}"
    seen = change(runner, f"{path}?dry_run=true", new)
    assert (seen.status_code, seen.json["run"]["status"]) == (200, new)
    assert runner.statuses(week) == before
    made = change(runner, path, new)
    assert (made.status_code, made.json["run"]["status"]) == (200, new)
    assert runner.read(path)["run"] == made.json["run"]
    after = {**before, old: before[old] - 1, new: before.get(new, 0) + 1}
    assert runner.statuses(week) == {word: count for word, count in after.items() if count}


@pytest.mark.parametrize(
    ("old", "new"),
    [("completed", "cancelled"), ("completed", "completed"), ("failed", "cancelled")],
)
def test_what_can_not_follow_is_a_409_for_one_and_for_all(runner, week, old, new):
    before = runner.rows(week)
    for path in (f"{week}/runs/{ids(runner, week, old)[0]}", f"{week}/runs?status={old}"):
        refused = change(runner, path, new)
        assert refused.status_code == 409, refused.text
        assert f"A run that is {old} can't become {new}" in refused.json["error"]["message"]
    assert runner.rows(week) == before


@pytest.mark.parametrize(
    "sent", [{}, {"status": "failed"}, {"status": None}, {"statsu": "initial"}]
)
@pytest.mark.parametrize("many", [True, False])
def test_what_no_run_can_be_made_of_is_a_422(runner, week, sent, many):
    path = f"{week}/runs?status=failed" if many else f"{week}/runs/{ids(runner, week, 'failed')[0]}"
    refused = runner.client.put(path, json={"runs" if many else "run": sent})
    assert refused.status_code == 422
    assert refused.json["error"]["errors"].keys() & {"status", "statsu"}


def test_all_runs_of_a_status_are_tried_again(runner, week):
    before = runner.rows(week)
    seen = change(runner, f"{week}/runs?status=failed&dry_run=true", "initial")
    assert seen.json == {"runs": {"status": "initial"}, "metadata": {"count": 2}}
    assert runner.rows(week) == before
    made = change(runner, f"{week}/runs?status=failed", "initial")
    assert made.json == seen.json
    assert runner.statuses(week) == {"initial": 6, "completed": 1}
    attempts = {row["key"]: row["attempt"] for row in runner.rows(week)}
    assert [attempts[row["key"]] for row in before if row["status"] == "failed"] == [2, 2]
    # Once more, there are none.
    assert change(runner, f"{week}/runs?status=failed", "initial").json["metadata"]["count"] == 0


def test_a_thousand_runs_take_as_many_statements_as_ten(runner):
    counts = []
    for end in ("2023-07-01 00:09:00", "2023-07-01 16:39:00"):
        window = {"start_datetime": "2023-07-01", "end_datetime": end, "interval_type": "minute"}
        url = runner.post({**WEEK, **window}).headers["Location"]
        runner.store(status="failed")
        runner.statements.clear()
        assert change(runner, f"{url}/runs?status=failed", "initial").status_code == 200
        counts.append(len(runner.statements))
        runner.store(status="completed")
        runner.put({"status": "cancelled"}, url)
    assert counts[0] == counts[1] < 20


def test_the_backfill_follows(runner, week):
    told = []
    started = backfill_started.connected_to(lambda *args, **more: told.append("started"))
    finished = backfill_finished.connected_to(
        lambda *args, backfill, **more: told.append(backfill.status)
    )
    with started, finished:
        change(runner, f"{week}/runs?status=initial", "cancelled")
        assert runner.get(week)["status"] == "failed"
        change(runner, f"{week}/runs?status=failed", "completed")
        shown = runner.get(week)
        assert (shown["status"], shown["metrics"]) == ("completed", {"rows": 5})
        # What runs again counts no longer.
        change(runner, f"{week}/runs?status=completed", "initial")
        shown = runner.get(week)
        assert (shown["status"], shown["metrics"]["rows"]) == ("initial", 0)
    assert [word for word in told if word != "started"] == ["failed", "completed"]


def test_a_running_run_is_cancelled_and_its_late_end_is_not_taken(runner, week):
    [run] = runner.claim()
    assert change(runner, f"{week}/runs/{run.id}", "cancelled").json["run"]["status"] == "cancelled"
    assert runner.end(run) is False
    other = runner.claim()
    assert change(runner, f"{week}/runs?status=running", "cancelled").json["metadata"]["count"] == 1
    assert runner.end(other[0]) is False
    assert runner.statuses(week)["cancelled"] == 2


def test_what_a_worker_is_still_at_is_not_marked_as_done(runner, week):
    """It keeps its place in the limit, and its backfill, until the worker has left it."""
    runner.put({"settings": {"pipeline_run_limit": 1, "reprocess": "failed"}}, week)
    [run] = runner.claim()
    url = f"{week}/runs/{run.id}"
    assert change(runner, url, "cancelled").status_code == 200
    told = change(runner, url, "completed")
    assert told.status_code == 409 and "still at this run" in told.json["error"]["message"]
    several = change(runner, f"{week}/runs?status=cancelled", "completed")
    assert several.json["metadata"]["count"] == 0
    assert runner.claim(limit=5) == [] and runner.client.delete(week).status_code == 409
    # It learns that its end is not wanted, and leaves.
    assert runner.end(run) is False
    assert change(runner, url, "completed").json["run"]["status"] == "completed"
    assert len(runner.claim(limit=5)) == 1


def test_what_a_silent_worker_had_is_marked_as_done(runner, week):
    [run] = runner.claim()
    url = f"{week}/runs/{run.id}"
    assert change(runner, url, "cancelled").status_code == 200
    runner.app.config["BACKFILLS_LEASE"] = 0.5
    wait_for(lambda: change(runner, url, "completed").status_code == 200)


def test_runs_of_history_are_left_alone(runner, week):
    runner.put({"end_datetime": "2023-07-10"}, week)
    history = [row for row in runner.rows(week) if row["key"] > "2023-07-10T00:00:00"]
    assert {row["status"] for row in history} == {"failed", "completed"}
    for row in history:
        assert change(runner, f"{week}/runs/{row['id']}", "initial").status_code == 409
    assert change(runner, f"{week}/runs?status=failed", "initial").json["metadata"]["count"] == 1
    assert change(runner, f"{week}/runs?status=completed", "initial").json["metadata"]["count"] == 0


def test_a_run_of_another_backfill_is_a_404(runner, week):
    [done] = ids(runner, week, "completed")
    other = runner.post({**WEEK, "status": "initial"}).headers["Location"]
    for path in (f"{other}/runs/{done}", f"{week}/runs/99999", f"{week}/runs/x", f"{URL}1/runs/1"):
        assert runner.client.get(path).status_code == 404
        assert change(runner, path, "initial").status_code == 404
    assert change(runner, f"{LIST}/99999/runs?status=failed", "initial").status_code == 404


def test_who_may_not_update_changes_no_run(lent):
    allowed = set()
    host = lent(authorize=lambda action, pipeline_uuid: action in allowed)
    allowed |= {"create", "detail"}
    url = host.post(WEEK).headers["Location"]
    [first, *_] = host.read(f"{url}/runs")["runs"]
    for path in (f"{url}/runs/{first['id']}", f"{url}/runs?status=initial"):
        assert change(host, path, "cancelled").status_code == 403
    assert host.read(f"{url}/runs/{first['id']}")["run"]["status"] == "initial"
    allowed.discard("detail")
    assert host.client.get(f"{url}/runs/{first['id']}").status_code == 403


def test_a_run_model_with_the_required_columns_alone_will_do(bare):
    class BackfillRun(bare.db.Model):
        id = sa.Column(sa.Integer, primary_key=True)
        backfill_id = sa.Column(sa.Integer)
        key = sa.Column(sa.String(80))
        status = sa.Column(sa.String(16))
        execution_date = sa.Column(sa.DateTime)

    bare.serve(run_model=BackfillRun)
    url = bare.post(WEEK).headers["Location"]
    assert change(bare, f"{url}/runs?status=initial", "cancelled").json["metadata"]["count"] == 7
    run = bare.read(f"{url}/runs?_limit=1")["runs"][0]
    assert change(bare, f"{url}/runs/{run['id']}", "initial").status_code == 200
    shown = bare.read(f"{url}/runs/{run['id']}")["run"]
    assert (shown["status"], shown["metrics"], shown["worker"]) == ("initial", None, None)
