"""Mage's own web interface as a client: its requests, and its table of runs."""

import json
import time
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import few
from conftest import takes_seconds
from conftest import URL
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column

from flask_backfills import all_of
from flask_backfills import api_key
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills import oauth_token

REQUESTS = json.loads(Path(__file__).with_name("mage_interface.json").read_text())
DAYS = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-03"}
DAYS |= {"interval_type": "day", "interval_units": 1}
START = {**DAYS, "status": "initial"}
RUNS = "/api/pipeline_runs"
AGAIN = "/api/pipeline_schedules/6/pipeline_runs"


#: What was verified, newest last.
tokens = []


def verify(token, action, pipeline_uuid):
    tokens.append(token)
    return token == "signed.jwt"


SIGNED_IN = all_of(api_key(sources=("header", "query", "body")), oauth_token(verify))


@pytest.fixture
def mage(lent):
    """A host whose API is asked by Mage's interface, by somebody who is signed in."""
    host = lent(mage_routes=True, authorize=SIGNED_IN)
    host.app.config["BACKFILLS_API_KEYS"] = ["k"]
    tokens.clear()
    return host


@pytest.fixture
def anyone(lent):
    host = lent(mage_routes=True)
    host.put(START)
    return host


def ask(client, line, body=None, **known):
    """Send a request with what the interface sends with every one."""
    method, _, url = line.format(**known).partition(" ")
    url += f"{'&' if '?' in url else '?'}api_key=k"
    return client.open(
        url,
        method=method,
        data=None if body is None else json.dumps(filled(body, known)),
        headers={"Content-Type": "application/json", "Authorization": "Bearer opaque"},
    )


def filled(value, known):
    if isinstance(value, dict):
        return {key: filled(one, known) for key, one in value.items()}
    return known[value[1:-1]] if isinstance(value, str) and value.startswith("{") else value


def holds(answer, expected):
    """Whether an answer has at least what is expected."""
    if isinstance(expected, dict):
        return all(key in answer and holds(answer[key], one) for key, one in expected.items())
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(holds, answer, expected))
    return answer == expected


def test_every_request_of_the_interface_gets_its_answer(mage):
    mage.client.set_cookie("oauth_token", "signed.jwt")
    known = {}
    for one in REQUESTS:
        response = ask(mage.client, one["request"], one.get("body"), **known)
        assert response.status_code == one["status"], (one["what"], response.text)
        assert holds(response.json, one.get("answer", {})), (one["what"], response.text)
        if "message" in one:
            assert one["message"] in response.json["error"]["message"], one["what"]
        if one.get("remember") == "id":
            known["id"] = response.json["backfill"]["id"]
        elif one.get("remember") == "run":
            runs = response.json["pipeline_runs"]
            assert {(run["backfill_id"], run["pipeline_schedule_id"]) for run in runs} == {
                (known["id"], known["id"])
            }
            known["run"] = runs[0]["id"]
    # The cookie comes first: the Bearer token beside it is another one.
    assert set(tokens) == {"signed.jwt"}


# Credentials


@pytest.mark.parametrize("name", ["api_key", "oauth_token"])
def test_credentials_are_neither_stored_nor_shown_nor_logged(host, caplog, name):
    sent = {"backfill": {"name": "new"}, name: "s3cret"}
    response = host.client.put(f"{URL}?{name}=s3cret", json=sent)
    assert response.status_code == 200 and "s3cret" not in response.text
    refused = host.client.put(f"{URL}?{name}=s3cret", json={**sent, "backfill": {"id": 7}})
    assert refused.status_code == 422 and "s3cret" not in refused.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("sources", "where", "status"),
    [
        (("header",), "header", 200),
        (("header",), "query", 401),
        (("header",), "body", 401),
        (("query",), "query", 200),
        (("query",), "header", 401),
        (("body",), "body", 200),
        (("body",), "query", 401),
        (("query", "body"), "body", 200),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_key_is_looked_for_where_the_host_says(bare, sources, where, status):
    bare.app.config["BACKFILLS_API_KEYS"] = "k\N{EURO SIGN}y"
    bare.serve(authorize=api_key(sources=sources))

    def put(key):
        headers = {"X-API-KEY": key.encode().decode("latin-1")} if where == "header" else {}
        sent = {"backfill": {"name": "n"}} | ({"api_key": key} if where == "body" else {})
        query = {"api_key": key} if where == "query" else {}
        return bare.client.put(URL, json=sent, headers=headers, query_string=query).status_code

    assert put("k\N{EURO SIGN}y") == status and put("key") == 401


@pytest.mark.parametrize("sent", [b"[]", b"{", b'{"api_key": ["k"]}', b'{"api_key": null}', b""])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_body_without_a_key_is_a_401(bare, sent):
    bare.app.config["BACKFILLS_API_KEYS"] = "k"
    bare.serve(authorize=api_key(sources=("body",)))
    put = bare.client.put(URL, data=sent, content_type="application/json")
    form = bare.client.put(URL, data={"api_key": "k"})
    assert (put.status_code, form.status_code) == (401, 401)


@pytest.mark.parametrize("sources", [(), "header", ("cookie",)])
def test_unknown_sources_are_refused_at_once(sources):
    with pytest.raises(ValueError, match="header, query, body"):
        api_key(sources=sources)


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"Authorization": "Bearer abc"}, "abc"),
        ({"Authorization": "Bearer abc", "OAUTH-TOKEN": "def"}, "def"),
        ({"Authorization": "Bearer abc", "OAUTH-TOKEN": "def", "cookie": "ghi"}, "ghi"),
        ({"Authorization": "Basic YTpi"}, None),
        ({"Authorization": "Bearer"}, None),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_token_is_read_from_the_cookie_then_the_header_then_as_bearer(bare, headers, token):
    seen = []
    bare.serve(authorize=oauth_token(lambda token, *rest: seen.append(token) or True))
    headers = dict(headers)
    if cookie := headers.pop("cookie", None):
        bare.client.set_cookie("oauth_token", cookie)
    assert bare.client.get(URL, headers=headers).status_code == (200 if token else 401)
    assert seen == ([token] if token else [])


# One run


def listed(host, **asked):
    query = {"backfill_id": 6, **asked}
    response = host.client.get(RUNS, query_string=query)
    assert response.status_code == 200, response.text
    return response.json["pipeline_runs"]


def cancel(host, run_id):
    sent = {"id": run_id, "status": "cancelled"}
    return host.client.put(f"{RUNS}/{run_id}", json={"pipeline_run": sent})


def again(host, day):
    sent = {"backfill_id": 6, "execution_date": f"2023-03-0{day} 00:00:00"}
    return host.client.post(AGAIN, json={"pipeline_run": sent})


def test_a_cancelled_run_is_not_handed_out_and_the_rest_completes(anyone):
    assert cancel(anyone, listed(anyone)[0]["id"]).status_code == 200
    runs = anyone.claim(limit=3)
    assert [run.key[8:10] for run in runs] == ["01", "02"]
    for run in runs:
        anyone.end(run)
    assert anyone.get()["status"] == "completed"
    assert cancel(anyone, runs[0].id).status_code == 409


def test_a_run_that_is_tried_again_makes_its_backfill_active_and_counts_once(anyone):
    for run in anyone.claim(limit=3):
        anyone.end(run, "completed" if run.key[9] != "2" else "failed", {"rows": 1})
    assert (anyone.get()["status"], anyone.get()["metrics"]) == ("failed", {"rows": 2})
    assert [run["execution_date"][:10] for run in listed(anyone, status="last_run_failed")] == [
        "2023-03-02"
    ]
    assert again(anyone, 2).json["pipeline_run"]["status"] == "initial"
    assert anyone.get()["status"] == "initial"
    # One that had completed, too: its numbers are replaced.
    assert again(anyone, 1).status_code == 200
    assert anyone.get()["metrics"] == {"rows": 1}
    for run in anyone.claim(limit=3):
        assert run.attempt == 2
        anyone.end(run, "completed", {"rows": 5})
    shown = anyone.get()
    assert (shown["status"], shown["metrics"]["rows"], shown["failed_at"]) == (
        "completed",
        11,
        None,
    )


@pytest.mark.parametrize("order", ["again first", "cancel first"])
def test_a_running_run_is_tried_again_in_whichever_order_the_two_requests_come(anyone, order):
    [run] = anyone.claim()
    two = [lambda: again(anyone, 1), lambda: cancel(anyone, run.id)]
    for send in two if order == "again first" else reversed(two):
        assert send().status_code == 200
    assert anyone.rows()[0]["status"] == "initial"
    # Not while the old worker is at it.
    assert "01" not in [one.key[8:10] for one in anyone.claim(limit=3)]
    assert anyone.end(run, "completed", {"rows": 1}) is False
    [second] = anyone.claim()
    assert (second.key[8:10], second.attempt) == ("01", 2)
    assert anyone.end(second) and anyone.get()["metrics"] is None


@takes_seconds
def test_a_run_that_waits_since_it_took_too_long_is_cancelled_beside_its_old_worker(anyone):
    settings = {"run_timeout": 1, "max_attempts": 2, "retry_delay": 0}
    anyone.put({"settings": settings})
    [late] = anyone.claim()
    time.sleep(1.1)
    anyone.claim()
    assert anyone.rows()[0]["status"] == "initial"
    assert cancel(anyone, late.id).json["pipeline_run"]["status"] == "cancelled"
    assert anyone.end(late) is False and anyone.rows()[0]["status"] == "cancelled"


def test_receivers_hear_of_a_run_that_was_changed(anyone):
    from flask_backfills.signals import backfill_updated

    heard = []
    with backfill_updated.connected_to(lambda app, **told: heard.append(told["changes"])):
        cancel(anyone, listed(anyone)[0]["id"])
    assert heard == [{}]


@pytest.mark.parametrize(
    ("method", "url", "sent", "status"),
    [
        ("GET", f"{RUNS}?backfill_id=99", None, 404),
        ("GET", f"{RUNS}?backfill_id=x", None, 404),
        ("GET", RUNS, None, 422),
        ("GET", f"{RUNS}?backfill_id=6&status=odd", None, 422),
        ("PUT", f"{RUNS}/999", {"status": "cancelled"}, 404),
        ("PUT", f"{RUNS}/{10**19}", {"status": "cancelled"}, 404),
        ("PUT", f"{RUNS}/{2**33}", {"status": "cancelled"}, 404),
        ("GET", f"{RUNS}?backfill_id={10**19}", None, 404),
        ("GET", f"{RUNS}?backfill_id=%00", None, 422),
        ("PUT", f"{RUNS}/1", {"status": "completed"}, 422),
        ("PUT", f"{RUNS}/1", {"status": "cancelled", "attempt": 3}, 422),
        ("PUT", f"{RUNS}/1", {"status": "cancelled", "id": 2}, 422),
        ("PUT", f"{RUNS}/1", {"status": "cancelled", "id": "77"}, 422),
        ("PUT", f"{RUNS}/1", {"status": "cancelled", "id": True}, 422),
        ("PUT", f"{RUNS}/1", {"status": "cancelled", "id": [1]}, 422),
        ("PUT", f"{RUNS}/1", {"status": "cancelled", "id": None}, 422),
        ("POST", AGAIN, {"backfill_id": 6}, 422),
        ("POST", AGAIN, {"backfill_id": 7, "execution_date": "2023-03-01"}, 422),
        ("POST", AGAIN, {"backfill_id": 6, "execution_date": "2023-03-09"}, 404),
        ("POST", AGAIN, {"backfill_id": [6], "execution_date": "2023-03-01"}, 404),
        ("POST", AGAIN, {"backfill_id": {}, "execution_date": "2023-03-01"}, 404),
        ("POST", AGAIN, {"backfill_id": None, "execution_date": "2023-03-01"}, 422),
        ("POST", AGAIN, {"backfill_id": 6, "execution_date": "2023-03-01"}, 409),
    ],
)
def test_what_is_wrong_is_refused(anyone, method, url, sent, status):
    body = {} if sent is None else {"json": {"pipeline_run": sent}}
    response = anyone.client.open(url, method=method, **body)
    assert response.status_code == status, response.text
    assert response.json["error"]["message"]
    assert {run["status"] for run in listed(anyone)} == {"initial"}


def test_history_is_left_alone(anyone):
    for run in anyone.claim(limit=3):
        anyone.end(run, "failed" if run.key[9] == "3" else "completed")
    anyone.put({**START, "end_datetime": "2023-03-02", "settings": {"reprocess": "all"}})
    assert again(anyone, 3).status_code == 409
    assert anyone.stored("status")[2] == "failed"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_paths_ask_authorize(bare):
    asked = []

    def authorize(action, pipeline_uuid):
        asked.append((action, pipeline_uuid))
        return pipeline_uuid != "arwen_starlight"

    bare.serve(run_model=bare.run_model(), mage_routes=True, authorize=authorize)
    with bare.app.app_context():
        bare.db.session.get(bare.model, 6).status = "initial"
        bare.db.session.commit()
    answers = [
        bare.client.get(f"{RUNS}?backfill_id=6"),
        cancel(bare, 1),
        again(bare, 1),
    ]
    assert [one.status_code for one in answers] == [404] * 3
    asks = [("detail", "arwen_starlight"), ("update", ""), ("update", "arwen_starlight")]
    assert asked == [*asks, ("detail", "arwen_starlight")]


def test_the_paths_are_not_there_unless_asked_for(runner):
    assert runner.client.get(f"{RUNS}?backfill_id=6").status_code == 404


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_a_run_model_there_is_nothing_to_show(bare):
    with pytest.raises(TypeError, match="run_model"):
        bare.serve(mage_routes=True)


@pytest.mark.parametrize("sent", few([5, [], {}, True, 1.5, "x", "{x}"]))
def test_a_key_of_another_kind_is_a_404(bare, sent):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)

    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
        backfill_id: Mapped[uuid.UUID] = mapped_column(sa.Uuid)

    key = uuid.uuid4()
    seed = {"id": key, "pipeline_uuid": "p"}
    bare.serve(Backfill, run_model=Run, mage_routes=True, seed=seed)
    assert bare.put(START, f"/api/backfills/{key}").status_code == 200
    url = f"/api/pipeline_schedules/{key}/pipeline_runs"
    body = {"backfill_id": sent, "execution_date": "2023-03-01"}
    assert bare.client.post(url, json={"pipeline_run": body}).status_code == 404
    [run, *_] = bare.client.get(f"{RUNS}?backfill_id={key}").json["pipeline_runs"]
    assert cancel(bare, run["id"]).json["pipeline_run"]["status"] == "cancelled"
    body = {"backfill_id": str(key), "execution_date": run["execution_date"]}
    assert bare.client.post(url, json={"pipeline_run": body}).status_code == 200


def test_a_retry_that_max_failures_would_never_let_run_is_a_409(anyone):
    anyone.put({"settings": {"max_failures": 2}})
    for run in anyone.claim(limit=3):
        anyone.end(run, "failed")
    sent = {"backfill_id": 6, "execution_date": "2023-03-01"}
    response = anyone.client.post(AGAIN, json={"pipeline_run": sent})
    assert response.status_code == 409 and "max_failures" in response.text
    assert (anyone.get()["status"], set(anyone.stored("status"))) == ("failed", {"failed"})
    anyone.put({"settings": {"max_failures": 3}})
    assert anyone.client.post(AGAIN, json={"pipeline_run": sent}).status_code == 200
    assert len(anyone.claim()) == 1
