"""The example of an app that was there before: users, migrations, a legacy table."""

import importlib
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import takes_seconds

pytestmark = takes_seconds

EXAMPLE = Path(__file__).parent.parent / "examples" / "existing_app"


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.chdir(EXAMPLE)
    warehouse = importlib.import_module("warehouse")
    uri = f"sqlite:///{tmp_path}/warehouse.db"
    app = warehouse.create_app({"SQLALCHEMY_DATABASE_URI": uri, "TESTING": True})
    runner = app.test_cli_runner()
    for command in ("db upgrade", "db check", "seed"):
        done = runner.invoke(args=command.split())
        assert done.exit_code == 0, done.output
    app.url = done.output.strip()
    yield app
    with app.app_context():
        warehouse.db.engine.dispose()


@pytest.fixture
def ada(warehouse):
    client = warehouse.test_client()
    assert client.put(warehouse.url, json={"backfill": {}}).status_code == 401
    assert client.post("/login", data={"login": "ada", "password": "wrong"}).status_code == 401
    assert client.post("/login", data={"login": "ada", "password": "lovelace"}).status_code == 200
    return client


@pytest.fixture
def bob(warehouse):
    client = warehouse.test_client()
    assert client.post("/login", data={"login": "bob", "password": "builder"}).status_code == 200
    return client


@pytest.fixture
def program(warehouse):
    client = warehouse.test_client()
    client.environ_base["HTTP_X_API_KEY"] = "change me too"
    return client


def work(warehouse):
    done = warehouse.test_cli_runner().invoke(args=["backfills", "work", "--once"])
    assert done.exit_code == 0, done.output


ORDERS = "/api/pipelines/orders/backfills"
MARCH = "/api/pipelines/orders/coverage?start_datetime=2023-03-01&end_datetime=2023-04-01"


def test_a_legacy_row_is_updated_by_its_wire_names_and_its_history_kept(warehouse, ada):
    sent = {"name": "once more", "status": "initial", "start_datetime": "2023-03-02T00:00:00Z"}
    response = ada.put(warehouse.url, json={"backfill": sent})
    assert response.status_code == 200, response.text
    shown = response.json["backfill"]
    assert (shown["name"], shown["status"]) == ("once more", "initial")
    assert shown["start_datetime"] == "2023-03-02 00:00:00+00:00"
    assert ada.get(warehouse.url).json["backfill"] == shown
    [event] = ada.get(f"{warehouse.url}/history").json["history"]
    assert (event["actor"], event["backfill_id"]) == ("ada", shown["id"])
    assert event["changes"]["name"] == {"from": "March again", "to": "once more"}
    assert event["changes"]["start_datetime"]["to"] == shown["start_datetime"]


def test_a_grant_decides_by_pipeline_and_action(warehouse, ada):
    for pipeline, read, write in (("orders", 200, 200), ("stock", 404, 403), ("other", 403, 403)):
        url = warehouse.url.replace("orders", pipeline)
        assert ada.get(url).status_code == read
        assert ada.put(url, json={"backfill": {}}).status_code == write


def test_what_the_legacy_columns_do_not_hold_is_refused(warehouse, ada):
    sent = {"name": "x" * 81, "interval_type": "week", "interval_units": 40_000, "metrics": {}}
    sent["company"] = "Globex"
    response = ada.put(warehouse.url, json={"backfill": sent})
    assert response.json["error"]["errors"].keys() == sent.keys()


def test_the_console_shows_who_changed_what(warehouse, ada):
    assert warehouse.test_client().get("/backfills/").status_code == 401
    ada.put(warehouse.url, json={"backfill": {"name": "once more"}})
    key = warehouse.url.rsplit("/", 1)[1]
    command = ["backfills", "update", key, "interval_units=2"]
    assert warehouse.test_cli_runner().invoke(args=command).exit_code == 0
    page = re.sub("</?bdi>", "", ada.get(f"/backfills/{key}").text)
    [told] = re.findall('<ol class="history events">(.*?)</ol>', page, re.DOTALL)
    told = re.sub("<[^>]*>", " ", told.replace("</li>", ";"))
    first, second, *_ = (" ".join(one.split()) for one in told.split(";"))
    assert " cli:" in first and first.endswith("update Interval units 1 → 2 Undo")
    assert second.endswith("ada update Name March again → once more")
    assert "once more" in ada.get("/backfills/").text


def test_a_worker_does_the_runs_and_the_rest_of_the_month_skips_them(warehouse, ada):
    plan = ada.put(warehouse.url, json={"backfill": {"status": "initial"}}).json["metadata"]["plan"]
    assert plan["add"] == 7
    work(warehouse)
    assert ada.get(warehouse.url).json["backfill"]["status"] == "completed"
    [covered] = ada.get(MARCH).json["coverage"]["covered"]
    assert (covered["start_datetime"][:10], covered["end_datetime"][:10]) == (
        "2023-03-01",
        "2023-03-08",
    )
    rest = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-31", "interval_type": "day"}
    rest |= {"name": "rest", "interval_units": 1, "status": "initial"}
    made = ada.post(ORDERS, json={"backfill": {**rest, "settings": {"skip_covered": True}}})
    plan = made.json["metadata"]["plan"]
    assert (plan["add"], plan["skip"]) == (24, 7)
    work(warehouse)
    assert ada.get(MARCH).json["coverage"]["share"] == 1


def test_companies_see_nothing_of_each_other(warehouse, ada, bob):
    adas = warehouse.url.rsplit("/", 1)[1]
    for client, name in ((ada, "March again"), (bob, "March, for Globex")):
        assert [one["name"] for one in client.get(ORDERS).json["backfills"]] == [name]
    ada.put(warehouse.url, json={"backfill": {"status": "initial"}})
    work(warehouse)
    assert bob.get(MARCH).json["coverage"]["share"] == 0
    for path in ("", "/runs", "/history", "/explain"):
        assert ada.get(warehouse.url + path).status_code == 200
        assert bob.get(warehouse.url + path).status_code == 404
    assert bob.put(warehouse.url, json={"backfill": {"name": "mine"}}).status_code == 404
    assert bob.get(f"/backfills/{adas}").status_code == 404
    assert "March again" not in bob.get("/backfills/").text
    made = bob.post(ORDERS, json={"backfill": {"name": "bob's"}})
    assert bob.get(made.location).status_code == 200
    assert ada.get(made.location).status_code == 404


def test_a_program_with_a_key_serves_all_companies(warehouse, ada, program):
    assert program.get(ORDERS).json["metadata"]["count"] == 2
    assert program.put(warehouse.url, json={"backfill": {"name": "by night"}}).status_code == 200
    [event] = ada.get(f"{warehouse.url}/history").json["history"]
    assert event["actor"] == "a program"
    made = program.post(ORDERS, json={"backfill": {"name": "the house's"}})
    assert program.get(made.location).status_code == 200
    assert ada.get(made.location).status_code == 404
    program.environ_base["HTTP_X_API_KEY"] = "another key"
    assert program.get(ORDERS).status_code == 401


def test_rows_that_were_there_before_get_their_company(warehouse, ada):
    runner = warehouse.test_cli_runner()
    for command in ("db downgrade 0002", "db upgrade", "db check"):
        done = runner.invoke(args=command.split())
        assert done.exit_code == 0, done.output
    shown = ada.get(ORDERS).json["backfills"]
    assert {one["name"] for one in shown} == {"March again", "March, for Globex"}


def test_the_readme_can_be_followed(warehouse):
    """Its curl commands, in their order."""
    page = (EXAMPLE / "README.md").read_text()
    jars = {}
    for line in re.findall(r"^ {4}(.*)$", page, re.M):
        program, *args = shlex.split(line)
        if program != "curl":
            if "work" in args:
                work(warehouse)
            continue
        options = {flag: value for flag, value in pairwise(args) if flag[0] == "-"}
        client = jars.setdefault(options.get("-c") or options.get("-b"), warehouse.test_client())
        form = [value for flag, value in pairwise(args) if flag == "-d"]
        is_json = "json" in options.get("-H", "")
        headers = dict([options["-H"].split(": ")]) if "-H" in options else {}
        answer = client.open(
            args[-1].removeprefix("http://127.0.0.1:5000"),
            method=options.get("-X", "POST" if form else "GET"),
            headers=headers,
            data=form[0] if is_json else dict(one.split("=") for one in form) or None,
        )
        expected = 404 if options.get("-b") == "bobs" and "7c9e" in line else (200, 201)
        assert answer.status_code in ((expected,) if isinstance(expected, int) else expected), line
        if "The rest of March" in line:
            assert answer.json["metadata"]["plan"]["skip"] == 7


def test_the_warehouses_own_pages_stay_its_own(warehouse, ada):
    assert ada.get("/").text == "The warehouse."
    assert ada.get("/nowhere").text == "The warehouse has no such page."
