"""The example of an app that was there before: users, migrations, a legacy table."""

import importlib
import re
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


def test_a_legacy_row_is_updated_by_its_wire_names_and_its_history_kept(warehouse, ada):
    sent = {"name": "once more", "status": "initial", "start_datetime": "2023-03-01T00:00:00Z"}
    response = ada.put(warehouse.url, json={"backfill": sent})
    assert response.status_code == 200, response.text
    shown = response.json["backfill"]
    assert (shown["name"], shown["status"]) == ("once more", "initial")
    assert shown["start_datetime"] == "2023-03-01 00:00:00+00:00"
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
    response = ada.put(warehouse.url, json={"backfill": sent})
    assert response.json["error"]["errors"].keys() == sent.keys()


def test_the_console_shows_who_changed_what(warehouse, ada):
    assert warehouse.test_client().get("/backfills/").status_code == 401
    ada.put(warehouse.url, json={"backfill": {"name": "once more"}})
    key = warehouse.url.rsplit("/", 1)[1]
    command = ["backfills", "update", key, "interval_units=2"]
    assert warehouse.test_cli_runner().invoke(args=command).exit_code == 0
    page = re.sub("</?bdi>", "", ada.get(f"/backfills/{key}").text)
    first, second = re.findall("<strong>(.*)</strong> update: (.*)", page)
    assert first[0].startswith("cli:") and "interval_units: null -&gt; 2" in first[1]
    assert second == ("ada", "name: March again -&gt; once more</li>")
    assert "once more" in ada.get("/backfills/").text


def test_the_warehouses_own_pages_stay_its_own(warehouse, ada):
    assert ada.get("/").text == "The warehouse."
    assert ada.get("/nowhere").text == "The warehouse has no such page."
