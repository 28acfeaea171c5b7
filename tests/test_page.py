"""Mage's "Update backfill" page, line by line, on the quickstart."""

import re

import pytest
from conftest import few

URL = "/api/pipelines/arwen_starlight/backfills/6"
KEYS = """id block_uuid completed_at created_at end_datetime failed_at interval_type
interval_units metrics name pipeline_schedule_id pipeline_uuid start_datetime started_at status
updated_at variables""".split()


@pytest.fixture
def quickstart_app(example, tmp_path):
    module = example("quickstart/app.py")
    app = module.create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/q.db"})
    yield app
    with app.app_context():
        module.db.engine.dispose()


@pytest.fixture
def quickstart(quickstart_app):
    client = quickstart_app.test_client()
    client.set_cookie("oauth_token", "demo-token")

    def put(backfill, **headers):
        headers = {"X-API-KEY": "demo-key", **headers}
        return client.put(URL, json={"backfill": backfill}, headers=headers)

    return put


def test_the_request_of_the_page_gets_the_answer_of_the_page(quickstart):
    response = quickstart(
        {
            "start_datetime": "2023-07-17 23:56:05",
            "end_datetime": "2023-07-18 23:56:05",
            "name": "new_name",
        }
    )
    assert response.status_code == 200
    backfill = response.json["backfill"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?", backfill["updated_at"])
    assert {k: backfill[k] for k in KEYS if k != "updated_at"} == dict.fromkeys(
        (k for k in KEYS if k != "updated_at"), None
    ) | {
        "id": 6,
        "created_at": "2023-07-18 23:30:26",
        "start_datetime": "2023-07-17 23:56:05",
        "end_datetime": "2023-07-18 23:56:05",
        "name": "new_name",
        "pipeline_uuid": "arwen_starlight",
    }
    assert backfill.keys() == {*KEYS, "settings"}


@pytest.mark.parametrize(
    ("key", "value"),
    few(
        [
            ("start_datetime", "2023-09-05 23:56:05"),
            ("end_datetime", "2023-09-05 23:56:05"),
            *(("interval_type", x) for x in ("minute", "hour", "day", "week", "month", "year")),
            ("interval_units", 4),
            ("name", "a new name"),
            *(("status", x) for x in ("initial", "running", "completed", "failed", "cancelled")),
            ("variables", {"env": "prod", "deep": [1, {"a": None}]}),
        ]
    ),
)
def test_every_parameter_of_the_page_is_stored(quickstart, key, value):
    # Without a window there would be no runs to start.
    window = {"start_datetime": "2023-09-05", "end_datetime": "2023-09-07"}
    quickstart({**window, "interval_type": "day", "interval_units": 1})
    response = quickstart({key: value})
    assert response.status_code == 200
    assert response.json["backfill"][key] == value
    assert quickstart({}).json["backfill"][key] == value


def test_without_the_key_or_the_token_it_is_a_401(quickstart):
    assert quickstart({"name": "x"}, **{"X-API-KEY": "wrong"}).status_code == 401


def test_the_front_page_of_the_quickstart_is_the_console(quickstart_app):
    response = quickstart_app.test_client().get("/")
    assert (response.status_code, response.location) == (302, "/backfills/")


def test_the_worker_of_the_quickstart_runs_a_backfill(quickstart, quickstart_app):
    def work():
        result = quickstart_app.test_cli_runner().invoke(args=["backfills", "work", "--once"])
        assert result.exit_code == 0, result.output
        return result.output

    window = {"start_datetime": "2023-07-11", "end_datetime": "2023-07-14"}
    start = {**window, "interval_type": "day", "interval_units": 1, "status": "initial"}
    assert quickstart({**start, "variables": {"seconds": 0}}).status_code == 200
    assert "failed: run 2023-07-13T00:00:00" in work()
    assert quickstart({}).json["backfill"]["status"] == "failed"
    again = {"status": "running", "variables": {"skip_gaps": True, "seconds": 0}}
    assert quickstart(again).json["metadata"]["plan"]["redo"] == 1
    work()
    shown = quickstart({}).json["backfill"]
    assert (shown["status"], shown["metrics"]) == ("completed", {"readings": 95})
