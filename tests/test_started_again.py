"""A backfill that has ended and is active again: when it was started last, and its ends."""

import pytest
from pages import Console
from pages import fields

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1, "status": "initial"}

#: When it was started and has ended for the first time.
THEN = {"started_at": "2023-07-20 00:00:00", "failed_at": "2023-07-20 00:01:00"}


@pytest.fixture
def failed(lent):
    """A host, and the path of a backfill that has failed with one of its seven runs, long ago."""
    host = lent(mage_routes=True)
    url = host.post(WEEK).headers["Location"]
    for run in host.claim(limit=7):
        host.end(run, "failed" if "-12T" in run.key else "completed")
    # As it is after a request that has sent both.
    sent = {**THEN, "completed_at": "2023-07-19"}
    assert host.put(sent, url).status_code == 200
    return host, url


def put(status):
    return lambda host, url: host.put({"status": status}, url)


def act(action):
    def do(host, url):
        console, path = Console(host), f"{url.rsplit('/')[-1]}/{action}"
        return console.post(path, fields(console.get(path)))

    return do


def act_in_bulk(action):
    def do(host, url):
        console, key = Console(host), url.rsplit("/")[-1]
        page = console.get(f"pipeline/bulk?action={action}&chosen={key}")
        return console.post("pipeline/bulk", fields(page), 200)

    return do


def command(line):
    def do(host, url):
        args = ["backfills", *line.format(url.rsplit("/")[-1]).split()]
        result = host.app.test_cli_runner().invoke(args=args)
        assert result.exit_code == 0, result.output

    return do


def one_run(host, url):
    [run] = host.read(f"{url}/runs?status=failed")["runs"]
    host.client.put(f"{url}/runs/{run['id']}", json={"run": {"status": "initial"}})


def all_runs(host, url):
    host.client.put(f"{url}/runs?status=failed", json={"runs": {"status": "initial"}})


def as_mage_does(host, url):
    key = url.rsplit("/")[-1]
    run = {"backfill_id": int(key), "execution_date": "2023-07-12 00:00:00"}
    host.client.post(f"/api/pipeline_schedules/{key}/pipeline_runs", json={"pipeline_run": run})


WAYS = {
    "the API starts it": put("initial"),
    "the console starts it": act("start"),
    "the console retries it": act("retry"),
    "the list starts it": act_in_bulk("start"),
    "the list retries it": act_in_bulk("retry"),
    "a command starts it": command("start {}"),
    "a command retries it": command("retry {}"),
    "a command retries one run": command("retry {} --run 2023-07-12T00:00:00"),
    "one run is tried again": one_run,
    "all that have failed are tried again": all_runs,
    "Mage's table of runs tries one again": as_mage_does,
}


@pytest.mark.parametrize("way", WAYS)
def test_it_has_started_now_and_has_no_end(failed, way):
    host, url = failed
    WAYS[way](host, url)
    shown = host.get(url)
    assert shown["status"] in ("initial", "running"), way
    assert shown["started_at"] > THEN["started_at"]
    assert (shown["completed_at"], shown["failed_at"]) == (None, None)
    begun = shown["started_at"]
    [run] = host.claim(limit=7)
    host.end(run)
    shown = host.get(url)
    assert (shown["status"], shown["started_at"], shown["failed_at"]) == ("completed", begun, None)


def test_a_retry_by_the_api_goes_on_with_what_was_started(failed):
    host, url = failed
    assert put("running")(host, url).status_code == 200
    shown = host.get(url)
    assert {name: shown[name] for name in THEN} == THEN


def test_an_edit_of_what_has_ended_starts_nothing(failed):
    host, url = failed
    assert host.put({"end_datetime": "2023-07-20"}, url).status_code == 200
    shown = host.get(url)
    assert {name: shown[name] for name in THEN} == THEN
    assert (shown["status"], host.statuses(url)) == ("failed", {"completed": 6, "failed": 1})


def test_a_run_that_is_marked_as_done_took_no_time(runner):
    url = runner.post(WEEK).headers["Location"]
    [run] = runner.claim(limit=1)
    runner.end(run, "failed")
    key, path = url.rsplit("/")[-1], f"{url}/runs/{run.id}"
    runner.client.put(path, json={"run": {"status": "completed"}})
    shown = runner.read(path)["run"]
    assert (shown["status"], shown["started_at"]) == ("completed", None)
    assert shown["completed_at"] is not None
    page = Console(runner).get(f"{key}/runs/{run.id}")
    assert "<dt>Ended</dt>" in page and "<dt>Duration</dt>" not in page


def test_a_run_took_as_long_as_its_last_attempt(runner):
    """Not since its first attempt, however long ago that was."""
    url = runner.post({**WEEK, "end_datetime": "2023-07-10"}).headers["Location"]
    [run] = runner.claim(limit=1)
    runner.end(run, "failed")
    runner.store(started_at=run.started_at.replace(year=2020))
    runner.client.put(f"{url}/runs/{run.id}", json={"run": {"status": "initial"}})
    key = url.rsplit("/")[-1]
    path = f"{key}/runs/{run.id}"
    assert "<dt>Duration</dt>" not in Console(runner).get(path)
    [run] = runner.claim(limit=1)
    runner.end(run)
    for page in (path, f"{key}/runs"):
        shown = Console(runner).get(page)
        assert " d " not in shown and " s<" in shown


@pytest.mark.parametrize("dry", ["", "?dry_run=true"])
@pytest.mark.parametrize("sent", [{}, None, {"mine": 5}, {"rows": 70}])
def test_metrics_that_are_sent_with_a_start_are_stored_as_sent(lent, sent, dry):
    host = lent()
    url = host.post(WEEK).headers["Location"]
    for run in host.claim(limit=7):
        host.end(run, "completed", {"rows": 10})
    assert host.get(url)["metrics"] == {"rows": 70}
    again = {"status": "initial", "settings": {"reprocess": "all"}}
    shown = host.put({**again, "metrics": sent}, url + dry).json["backfill"]
    assert shown["metrics"] == sent
    if not dry:
        assert host.get(url)["metrics"] == sent


@pytest.mark.parametrize("cleared", [None, {}, {"mine": 5}])
def test_metrics_that_were_cleared_are_those_of_the_runs_that_run_again(lent, cleared):
    host = lent()
    url = host.post(WEEK).headers["Location"]
    for run in host.claim(limit=7):
        host.end(run, "completed", {"rows": 10})
    host.put({"metrics": cleared}, url)
    host.put({"status": "initial", "settings": {"reprocess": "all"}}, url)
    for run in host.claim(limit=7):
        host.end(run, "completed", {"rows": 10})
    assert host.get(url)["metrics"] == {**(cleared or {}), "rows": 70}
