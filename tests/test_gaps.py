"""What is missing of a pipeline: shown by the console and at the terminal, and filled."""

import json
import re

import pytest
from conftest import LIST
from jinja2 import StrictUndefined
from pages import Console
from pages import fields
from pages import serve_console

JULY = {"start_datetime": "2023-07-01", "end_datetime": "2023-07-04"}
JULY |= {"interval_type": "day", "interval_units": 1}
SPAN = "start=2023-07-01&end=2023-07-09"
PAGE = "pipeline/coverage?pipeline=arwen_starlight"


def work(host, fails=(), **sent):
    """Do a backfill of the first days of July, or of others."""
    host.post({**JULY, **sent, "status": "initial"})
    for run in host.claim(limit=31):
        assert host.end(run, "failed" if run.key[:10] in fails else "completed")


@pytest.fixture
def worked(runner):
    runner.app.jinja_env.undefined = StrictUndefined
    work(runner)
    work(runner, start_datetime="2023-07-04", end_datetime="2023-07-05", fails=["2023-07-05"])
    return runner


@pytest.fixture
def console(worked):
    return Console(worked)


def pieces(page):
    """The rows of the table: what, from, up to, and how many backfills."""
    found = []
    for row in re.findall("<tr><td>(.*?)</tr>", page, re.DOTALL):
        what, start, end, backfills = row.split("<td>")
        cells = [re.sub("<[^>]*>", "", one)[:10] for one in (what, start, end)]
        found.append((*cells, backfills.count("<a ")))
    return found


def test_the_page_shows_what_is_done_and_what_is_missing(console):
    assert f"/backfills/{PAGE}" in console.get("?pipeline=arwen_starlight")
    page = console.get(f"{PAGE}&{SPAN}")
    assert 'href="/backfills/pipeline/create?pipeline=arwen_starlight"' in page
    assert pieces(page) == [
        ("completed", "2023-07-01", "2023-07-04", 1),
        ("completed", "2023-07-04", "2023-07-05", 2),
        ("failed", "2023-07-05", "2023-07-06", 1),
        ("missing", "2023-07-05", "2023-07-09", 0),
        ("completed ", "2023-07-04", "2023-07-05", 2),
    ]
    assert "<strong>50%</strong>" in page
    assert re.findall('number window"><bdi>(.*?)</bdi>', page)[-1] == "1-4 Jul 2023, daily"
    # Of itself it shows what its backfills are about.
    form = re.search(
        r'name="start" value="([^"]*)".*?name="end" value="([^"]*)"', console.get(PAGE), re.S
    )
    assert form.groups() == ("2023-07-01", "2023-07-06")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("start=x&end=2023-07-09", "start_datetime"),
        ("start=2023-07-09&end=2023-07-09", "Must be after start_datetime."),
        ("start=&end=", "Not an ISO 8601 date"),
    ],
)
def test_a_span_that_is_none_is_told(console, asked, told):
    page = console.get(f"{PAGE}&{asked}")
    assert told in page and "Backfill the gaps" not in page


def test_the_gaps_are_one_click_away(console, worked):
    form = console.form(f"{PAGE}&{SPAN}")
    assert (form["interval_type"], form["interval_units"]) == ("day", "1")
    there = console.post(PAGE, form).headers["Location"]
    # Whoever clicks twice gets the same one.
    assert console.post(PAGE, form).headers["Location"] == there
    assert "Idempotency-Key" in console.post(PAGE, {**form, "interval_units": "2"}, 422).text
    [made, *_] = worked.read(LIST)["backfills"]
    assert there == f"/backfills/{made['id']}/start"
    assert (made["status"], made["settings"]) == (None, {"skip_covered": True})
    page = console.get(there.removeprefix("/backfills/"))
    assert "4 to add" in page and "4 to skip" in page
    console.post(there.removeprefix("/backfills/"), fields(page))
    for run in worked.claim(limit=31):
        worked.end(run)
    assert "Backfill the gaps" not in console.get(f"{PAGE}&{SPAN}")
    # Those that were skipped are not waited for.
    assert "4 of 4" in console.get(str(made["id"]))
    listed = worked.app.test_cli_runner().invoke(args=["backfills", "list"]).output
    assert " 4/4 " in listed.splitlines()[1]


def test_a_command_names_a_run_by_its_id_or_its_key(worked):
    url = f"{LIST}/{worked.read(LIST)['backfills'][0]['id']}"
    [failed] = worked.read(f"{url}/runs?status=failed")["runs"]
    for name in (str(failed["id"]), failed["key"]):
        line = ["backfills", "run", url.rsplit("/", 1)[1], name, "--json"]
        told = worked.app.test_cli_runner().invoke(args=line)
        assert json.loads(told.output)["run"]["key"] == failed["key"]
    line[3:] = [failed["key"], "--make", "again"]
    assert worked.app.test_cli_runner().invoke(args=line).exit_code == 0
    assert worked.read(f"{url}/runs?status=initial")["runs"][0]["key"] == failed["key"]
    line[3] = "no such run"
    assert "no such run" in worked.app.test_cli_runner().invoke(args=line).output


def test_what_can_not_be_filled_is_told_and_nothing_is_made(console, worked):
    form = console.form(f"{PAGE}&{SPAN}")
    before = worked.read(LIST)["metadata"]["count"]
    for wrong in ({"interval_units": "0"}, {"interval_type": "eon"}, {"end": "2023-06-01"}):
        page = console.post(PAGE, {**form, **wrong}, 422).text
        assert 'role="alert"' in page
    console.post(PAGE, {**form, "csrf_token": "x"}, 403)
    console.post(PAGE, form, 403, headers={"Origin": "http://evil.example"})
    assert worked.read(LIST)["metadata"]["count"] == before


def test_who_may_not_create_may_look_and_who_may_not_list_may_not(bare):
    may = {"list"}
    bare.serve(run_model=bare.run_model(), authorize=lambda action, pipeline: action in may)
    console = serve_console(bare)
    page = console.get(f"{PAGE}&{SPAN}")
    assert "missing" in page
    assert "Backfill the gaps" not in page and "New backfill" not in page
    console.post(PAGE, {}, 403)
    may.clear()
    console.get(f"{PAGE}&{SPAN}", 403)


def test_without_runs_there_is_no_such_page(host):
    console = Console(host)
    console.get(PAGE, 404)
    assert "pipeline/coverage" not in console.get("?pipeline=arwen_starlight")


def test_the_command_shows_the_same(worked):
    def flask(*args):
        return worked.app.test_cli_runner().invoke(args=["backfills", "coverage", *args])

    span = ("arwen_starlight", "2023-07-01", "2023-07-09")
    lines = flask(*span).output.splitlines()
    assert lines[0] == "Completed: 50.00%."
    assert [line.split()[0] for line in lines[2:]] == "covered covered failed gaps overlaps".split()
    told = json.loads(flask(*span, "--json").output)
    query = "start_datetime=2023-07-01&end_datetime=2023-07-09"
    wire = worked.read(f"/api/pipelines/arwen_starlight/coverage?{query}")
    assert told["coverage"] == wire["coverage"]
    assert told["metadata"]["counts"] == wire["metadata"]["counts"]
    assert "1 more. To see them: --offset 1" in flask(*span, "--limit", "1").output
    refused = flask("arwen_starlight", "2023-07-09", "2023-07-01")
    assert refused.exit_code == 1 and "Must be after start_datetime." in refused.output
