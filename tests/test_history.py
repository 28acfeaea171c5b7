"""The history of a backfill: what was changed, from what to what, by whom."""

import enum
import html
import json
import os
import re
import socket
import subprocess
import sys
import uuid
from datetime import datetime
from datetime import timezone

import pytest
import sqlalchemy as sa
from conftest import few
from conftest import LIST
from conftest import often
from conftest import URL
from flask import abort
from flask import g
from flask import request
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from marshmallow import fields
from pages import Console
from pages import fields as sent_by
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker
from sqlalchemy.orm import synonym

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillEventMixin
from flask_backfills import BackfillSchema
from flask_backfills.console import ConsoleBlueprint
from flask_backfills.rules.history import ACTIONS
from flask_backfills.tables.fields import Text

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1}
ENDS = ["from", "to", "too_large", "reprocess"]
DAY = {**WEEK, "end_datetime": "2023-07-10"}


def caller():
    return request.headers.get("X-Caller")


@pytest.fixture
def recorded(lent, event_model):
    """A host with runs and a history, whose callers say who they are."""
    return lent(event_model=event_model, actor=caller, mage_routes=True)


def history(host, url=URL, query=""):
    return host.read(f"{url}/history{query}")["history"]


def told(host, url=URL):
    """The events, oldest first: who, what, and the changes."""
    found = history(host, url, "?_limit=100")
    return [(one["actor"], one["action"], one["changes"]) for one in reversed(found)]


def actions(host, url=URL):
    return [action for _, action, _ in told(host, url)]


def rows(host):
    """The events as they are stored, the oldest first."""
    model = host.blueprint.host.event_model
    with host.app.app_context():
        found = host.db.session.scalars(sa.select(model).order_by(model.id)).all()
        host.db.session.remove()
    return found


def test_an_edit_is_told_from_what_to_what_and_by_whom(recorded):
    before = datetime.now(timezone.utc).replace(tzinfo=None)
    sent = {"name": "new", "variables": {"depth": 1}, "end_datetime": "2023-07-18T02:00:00+02:00"}
    shown = recorded.put(sent, headers={"X-Caller": "ann"}).json["backfill"]
    [event] = history(recorded)
    assert event.pop("id") and event.pop("created_at") >= before.isoformat(sep=" ")
    assert event == {
        "action": "update",
        "actor": "ann",
        "backfill_id": 6,
        "pipeline_uuid": "arwen_starlight",
        "changes": {
            "end_datetime": {"from": None, "to": "2023-07-18 00:00:00"},
            "name": {"from": "old_name", "to": "new"},
            "variables": {"from": None, "to": {"depth": 1}},
        },
        "run_count": None,
        "run_key": None,
    }
    assert all(shown[key] == one["to"] for key, one in event["changes"].items())
    recorded.put({"variables": {"depth": True}})
    assert told(recorded)[-1] == (
        None,
        "update",
        {"variables": {"from": {"depth": 1}, "to": {"depth": True}}},
    )


def test_a_create_has_what_was_stored_and_a_delete_what_is_gone(recorded):
    made = recorded.post({**WEEK, "name": "July"}, headers={"X-Caller": "ann"})
    url, shown = made.headers["Location"], made.json["backfill"]
    stored = {key: value for key, value in shown.items() if value is not None}
    created = {key: {"from": None, "to": value} for key, value in stored.items()}
    assert told(recorded, url) == [("ann", "create", created)]
    assert recorded.client.delete(url).status_code == 200
    # The host still reads it.
    [_, gone] = rows(recorded)
    assert (gone.action, gone.backfill_id) == ("delete", shown["id"])
    assert gone.changes == {key: {"from": value, "to": None} for key, value in stored.items()}
    assert recorded.client.get(f"{url}/history").status_code == 404


def test_a_key_that_is_given_again_has_no_history_of_the_one_before(recorded):
    first = recorded.post({**WEEK, "name": "secret"}, url="/api/pipelines/other/backfills")
    url = first.headers["Location"]
    recorded.put({"name": "more secret"}, url)
    recorded.client.delete(url)
    with recorded.app.app_context():
        again = {"id": first.json["backfill"]["id"], "pipeline_uuid": "arwen_starlight"}
        recorded.db.session.add(recorded.model(**again))
        recorded.db.session.commit()
    url = f"{LIST}/{again['id']}"
    assert history(recorded, url) == []
    recorded.put({"name": "a"}, url)
    assert actions(recorded, url) == ["update"]
    assert recorded.read(f"{url}/history")["metadata"]["count"] == 1


def test_what_changes_nothing_writes_nothing(recorded):
    assert recorded.put({"name": "n"}).status_code == 200
    shown = recorded.get()
    for sent in ({}, shown, {"name": "n"}):
        assert recorded.put(sent).status_code == 200
    refused = [
        recorded.put({"name": ""}),
        recorded.put({"name": "a"}, headers={"If-Match": '"x"'}),
        recorded.put({**WEEK, "status": "initial"}, headers={"If-Plan-Match": '"x"'}),
        recorded.post({"name": ""}),
        recorded.put({"colour": "red"}),
    ]
    assert {one.status_code for one in refused} == {412, 422}
    for url, ask in (
        (f"{URL}?dry_run=true", recorded.put),
        (f"{LIST}?dry_run=true", recorded.post),
    ):
        assert ask({**WEEK, "status": "initial"}, url).status_code in (200, 201)
    assert recorded.post({}, headers={"Idempotency-Key": "k"}).status_code == 201
    assert recorded.post({}, headers={"Idempotency-Key": "k"}).status_code == 201
    assert [one.action for one in rows(recorded)] == ["update", "create"]


def test_a_transaction_that_fails_leaves_no_event(recorded, listen):
    def fail(session):
        raise ValueError("the host's own")

    listen(recorded.db.session, "before_commit", fail)
    recorded.app.config["PROPAGATE_EXCEPTIONS"] = False
    assert recorded.put({"name": "a"}).status_code == 500
    assert recorded.client.delete(URL).status_code == 500
    assert rows(recorded) == []


def test_newest_first_a_page_at_a_time(recorded):
    for number in range(5):
        recorded.put({"name": f"n{number}"})
    page = recorded.read(f"{URL}/history?_limit=2&_offset=1")
    names = [one["changes"]["name"]["to"] for one in page["history"]]
    assert (names, page["metadata"]) == (["n3", "n2"], {"count": 5, "next": True})
    assert recorded.read(f"{URL}/history?_offset=4")["metadata"]["next"] is False
    flat = URL.replace("/pipelines/arwen_starlight", "")
    assert history(recorded, flat) == history(recorded)
    for query in ("?_limit=0", "?status=failed"):
        assert recorded.client.get(f"{URL}/history{query}").status_code == 422


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["all", "from", "now"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(ENDS), inner),
    max_leaves=8,
)


@given(changes=ANY | st.dictionaries(st.sampled_from(["name", "status", "start_datetime"]), ANY))
@settings(max_examples=often(40))
@pytest.mark.parametrize("action", few(["update", "update_runs", "imported"]))
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_any_event_that_a_host_has_written_can_be_read(recorded, action, changes):
    """It may have rows of its own in the table, from before or by hand."""
    model = recorded.blueprint.host.event_model
    row = {"backfill_id": "6", "pipeline_uuid": "arwen_starlight", "action": action}
    with recorded.app.app_context():
        recorded.db.session.execute(sa.delete(model))
        recorded.db.session.add(model(**row, changes=changes))
        recorded.db.session.commit()
        recorded.db.session.remove()
    [event] = history(recorded)
    assert event["action"] == action
    for change in event["changes"].values():
        assert {"from", "to"} <= change.keys()
    Console(recorded).get("6")
    assert action in command(recorded, "history", "6")


def test_who_may_not_read_a_backfill_does_not_read_its_history(bare):
    asked = []

    def authorize(action, pipeline_uuid):
        asked.append((action, pipeline_uuid))
        return "X-Stranger" not in request.headers

    def scope(query):
        return query.where(bare.model.name != "hidden")

    bare.serve(authorize=authorize, scope=scope, event_model=bare.event_model())
    bare.put({"name": "seen"})
    asked.clear()
    assert actions(bare) == ["update"]
    assert asked == [("detail", "arwen_starlight")]
    flat = URL.replace("/pipelines/arwen_starlight", "")
    for url, code in ((URL, 403), (flat, 404)):
        stranger = bare.client.get(f"{url}/history", headers={"X-Stranger": "1"})
        assert stranger.status_code == code
    other = URL.replace("arwen", "other")
    assert bare.client.get(f"{other}/history").status_code == 404
    with bare.app.app_context():
        bare.db.session.get(bare.model, 6).name = "hidden"
        bare.db.session.commit()
    assert bare.client.get(f"{URL}/history").status_code == 404


def test_without_an_event_model_there_is_no_history(runner):
    assert runner.client.get(f"{URL}/history").status_code == 404


VALUES = {
    "name": st.sampled_from(["a", "b"]),
    "variables": st.sampled_from([None, {}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": {"b": []}}]),
    "settings": st.sampled_from([None, {"paused": True}, {"paused": False, "own": [None]}]),
    "end_datetime": st.sampled_from(["2023-07-12", "2023-07-11T23:00:00.5-01:00", "2023-07-10"]),
    "interval_units": st.sampled_from([1, 2, "2"]),
    "status": st.sampled_from(["initial", "cancelled", "completed"]),
    "metrics": st.sampled_from([None, {"rows": 1}]),
}


@given(edits=st.lists(st.fixed_dictionaries({}, optional=VALUES), max_size=6))
@settings(max_examples=often(60))
def test_all_changes_one_after_the_other_give_the_backfill_as_it_is(recorded, edits):
    made = recorded.post({**WEEK, "end_datetime": "2023-07-12"})
    url, shown = made.headers["Location"], [made.json["backfill"]]
    for sent in edits:
        if (answer := recorded.put(sent, url)).status_code == 200:
            shown.append(answer.json["backfill"])
    replayed = dict.fromkeys(shown[0])
    states = []
    for event in reversed(history(recorded, url, "?_limit=100")):
        for key, change in event["changes"].items():
            assert json.dumps(replayed[key]) == json.dumps(change["from"])
            replayed[key] = change["to"]
        states.append({**replayed, "updated_at": None})
    # Each state that was answered, those that repeat once.
    seen = [{**one, "updated_at": None} for one in shown]
    texts = [json.dumps(one, sort_keys=True) for one in seen]
    wanted = [one for one, before in zip(texts, [None, *texts], strict=False) if one != before]
    assert [json.dumps(one, sort_keys=True) for one in states] == wanted


# What people do with runs


@pytest.fixture
def week(recorded):
    """A backfill of which one run has failed, one is completed, and five wait."""
    url = recorded.post({**WEEK, "status": "initial"}).headers["Location"]
    for status in ("failed", "completed"):
        [run] = recorded.claim()
        recorded.end(run, status)
    return url


def run_of(host, url, status):
    return next(one for one in host.rows(url) if one["status"] == status)


def test_a_change_of_one_run_is_an_event_with_its_key(recorded, week):
    run = run_of(recorded, week, "failed")
    path, sent = f"{week}/runs/{run['id']}", {"run": {"status": "initial"}}
    recorded.client.put(f"{path}?dry_run=true", json=sent)
    assert actions(recorded, week) == ["create", "begin"]
    recorded.client.put(path, json=sent, headers={"X-Caller": "ann"})
    event = history(recorded, week)[0]
    assert (event["actor"], event["action"]) == ("ann", "update_run")
    assert (event["run_key"], event["run_count"]) == (run["key"], 1)
    assert event["changes"] == {"status": {"from": "failed", "to": "initial"}}
    assert recorded.client.put(path, json={"run": {"status": "failed"}}).status_code == 422
    assert actions(recorded, week) == ["create", "begin", "update_run"]


def test_a_change_of_some_runs_is_one_event_and_what_follows_another(recorded, week):
    path, sent = f"{week}/runs?status=initial", {"runs": {"status": "cancelled"}}
    recorded.client.put(f"{path}&dry_run=true", json=sent)
    recorded.client.put(path, json=sent, headers={"X-Caller": "ann"})
    follows, event = history(recorded, week)[:2]
    assert (event["action"], event["run_key"], event["run_count"]) == ("update_runs", None, 5)
    assert event["changes"] == {"status": {"from": "initial", "to": "cancelled"}}
    assert (follows["actor"], follows["action"]) == ("ann", "finish")
    assert follows["changes"]["status"] == {"from": "running", "to": "failed"}
    assert recorded.client.put(path, json=sent).json["metadata"]["count"] == 0
    recorded.client.put(f"{week}/runs?status=failed", json={"runs": {"status": "initial"}})
    follows, event = history(recorded, week)[:2]
    assert (follows["action"], event["action"], event["run_count"]) == ("reopen", "update_runs", 1)
    assert follows["changes"]["status"] == {"from": "failed", "to": "initial"}
    assert len(history(recorded, week)) == 6


@pytest.mark.parametrize(
    ("reprocess", "runs_again", "words"),
    [
        ("all", {"reprocess": "all"}, "completed -> initial (everything runs again)"),
        ("failed", {}, "completed -> initial"),
        ("none", {"reprocess": "none"}, "completed -> initial (nothing runs again)"),
    ],
)
def test_a_start_says_what_it_runs_again(recorded, reprocess, runs_again, words):
    """Be it the settings that say so. Otherwise two starts look alike, of which one ran all."""
    sent = {**WEEK, "settings": {"reprocess": reprocess}, "status": "initial"}
    url = recorded.post(sent).headers["Location"]
    # Of the first start, there was nothing to run again.
    assert "reprocess" not in history(recorded, url)[0]["changes"]["status"]
    for run in recorded.claim(limit=7):
        recorded.end(run)
    # There is something to run in any case.
    recorded.put({"end_datetime": "2023-07-20", "status": "initial"}, url)
    change = {"from": "completed", "to": "initial", **runs_again}
    assert history(recorded, url)[0]["changes"]["status"] == change
    key = url.rsplit("/")[-1]
    shown = recorded.app.test_cli_runner().invoke(
        args=["backfills", "history", key], terminal_width=500
    )
    page = html.unescape(Console(recorded).get(key))
    seen = words.replace("->", "→").replace("initial", "waiting")
    for text, said in ((shown.output, f"status: {words}"), (page, seen)):
        told = " ".join(text.split())
        assert said in told
        assert ("again)" in told) == bool(runs_again)


def test_everything_run_again_once_is_in_the_history(recorded):
    url = recorded.post({**WEEK, "status": "initial"}).headers["Location"]
    for run in recorded.claim(limit=7):
        recorded.end(run)
    console, path = Console(recorded), f"{url.rsplit('/')[-1]}/start?again=all"
    console.post(path, sent_by(console.get(path)))
    event = history(recorded, url)[0]
    assert event["changes"]["status"] == {"from": "completed", "to": "initial", "reprocess": "all"}


def test_mages_paths_write_events_too(recorded, week):
    [run] = recorded.claim()
    url = f"/api/pipeline_schedules/{run.backfill_id}/pipeline_runs"
    date = str(run.execution_date)
    sent = {"backfill_id": run.backfill_id, "execution_date": date}
    assert recorded.client.post(url, json={"pipeline_run": sent}).status_code == 200
    event = history(recorded, week)[0]
    assert (event["action"], event["run_key"]) == ("update_run", run.key)
    assert event["changes"] == {"status": {"from": "running", "to": "initial"}}
    waits = run_of(recorded, week, "initial")
    path, sent = f"/api/pipeline_runs/{waits['id']}", {"status": "cancelled"}
    assert recorded.client.put(path, json={"pipeline_run": sent}).status_code == 200


# What is stored and shown


def test_what_answers_do_not_show_is_in_no_event(bare):
    class Schema(BackfillSchema):
        name = Text(data_key="title")
        block_uuid = fields.String(load_only=True)
        interval_type = fields.Function(lambda backfill: "of the host's")

    event_model = bare.event_model()
    bare.serve(schema=Schema, event_model=event_model)
    bare.put({"title": "a", "block_uuid": "secret"})
    assert told(bare) == [(None, "update", {"title": {"from": "old_name", "to": "a"}})]
    # That it was changed is told all the same.
    bare.put({"block_uuid": "another secret"})
    assert told(bare)[1:] == [(None, "update", {})]
    bare.client.delete(URL)
    assert "secret" not in str([one.changes for one in rows(bare)])
    # Nor what was shown once.
    url = bare.post({}).headers["Location"]
    with bare.app.app_context():
        [event] = bare.db.session.scalars(sa.select(event_model).filter_by(action="create"))
        event.changes = {**event.changes, "token": {"from": None, "to": "secret"}}
        bare.db.session.commit()
    assert "secret" not in str(told(bare, url))


def nested(levels):
    return {"a": nested(levels - 1)} if levels else 1


@pytest.mark.parametrize("levels", [29, 30])
def test_every_value_that_a_body_may_have_can_be_written_into_the_history(recorded, levels):
    """MariaDB's JSON holds 31 levels, of which an event has two itself."""
    deep = nested(levels)
    kept = {"from": None, "to": deep}
    if levels > 29:
        kept = {"from": None, "to": None, "too_large": {"to": len(json.dumps(deep))}}
    made = recorded.post({"variables": deep})
    assert made.status_code == 201, made.text
    assert recorded.put({"variables": deep}).status_code == 200
    for url in (URL, made.headers["Location"]):
        assert recorded.get(url)["variables"] == deep
        assert history(recorded, url)[0]["changes"]["variables"] == kept
    assert recorded.put({"variables": nested(31)}).status_code == 400


def test_what_is_too_large_is_told_by_its_size(recorded):
    recorded.app.config["BACKFILLS_MAX_EVENT_VALUE"] = 50
    small, large = {"a": "x"}, {"a": "x" * 100}
    for variables in (small, large, {"b": 1}):
        recorded.put({"variables": variables})
    changes = [one["variables"] for _, _, one in told(recorded)]
    assert changes == [
        {"from": None, "to": small},
        {"from": small, "to": None, "too_large": {"to": 109}},
        {"from": None, "to": {"b": 1}, "too_large": {"from": 109}},
    ]


def test_a_million_bytes_are_not_kept_twice(recorded):
    recorded.app.config["BACKFILLS_MAX_VARIABLES"] = 2**20
    assert recorded.put({"variables": {"a": "x" * 2**19}}).status_code == 200
    [event] = rows(recorded)
    assert event.changes["variables"]["too_large"] == {"to": 2**19 + 9}
    assert len(str(event.changes)) < 200


# Who it was


def test_a_function_that_fails_refuses_a_request_and_nothing_else(bare):
    def actor():
        if request.method == "DELETE":
            abort(401)
        return g.user

    bare.serve(run_model=bare.run_model(), event_model=bare.event_model(), actor=actor)
    bare.app.config["PROPAGATE_EXCEPTIONS"] = False
    assert bare.put({"name": "a"}).status_code == 500
    assert bare.client.delete(URL).status_code == 401
    assert bare.get()["name"] == "old_name"
    with bare.app.app_context():
        bare.blueprint.backfills.update("arwen_starlight", 6, {"name": "b"})
    assert told(bare) == [(None, "update", {"name": {"from": "old_name", "to": "b"}})]


@pytest.mark.parametrize(
    ("name", "kept"), [(7, "7"), ("x" * 300, "x" * 255), ("a\0\ud800", "a\\0\\ud800"), ("", "")]
)
def test_any_name_is_kept_as_its_column_takes_it(bare, name, kept):
    bare.serve(event_model=bare.event_model(), actor=lambda: name)
    bare.put({"name": "a"})
    assert [actor for actor, *_ in told(bare)] == [kept]


# Models


def test_a_model_with_the_needed_columns_alone_has_a_history(bare):
    moment = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

    class Past(bare.db.Model):
        key = sa.Column(sa.Uuid, primary_key=True, default=uuid.uuid4)
        of = sa.Column(sa.BigInteger, nullable=False)
        at = sa.Column(moment, nullable=False)
        what = sa.Column(sa.Enum(*ACTIONS, name="what"), nullable=False)
        diff = sa.Column(sa.JSON, nullable=False)
        noted = sa.Column(sa.String(10), nullable=False, default="new")
        backfill_id, created_at, action, changes = map(synonym, ("of", "at", "what", "diff"))

    bare.serve(run_model=bare.run_model(), event_model=Past, actor=lambda: "ann")
    bare.put({"name": "a"})
    bare.put({**DAY, "status": "initial"})
    bare.end(*bare.claim())
    found = history(bare)
    assert [one["action"] for one in found] == ["finish", "begin", "update", "update"]
    assert found[-1]["changes"] == {"name": {"from": "old_name", "to": "a"}}
    assert uuid.UUID(found[0]["id"])
    assert (found[0]["actor"], found[0]["run_key"], found[0]["backfill_id"]) == (None, None, 6)
    assert found[0]["created_at"].endswith("+00:00")


class Word(enum.Enum):
    CREATE = "create"


@pytest.mark.parametrize(
    ("declared", "cure"),
    [
        ({"backfill_id": sa.Column(sa.String(40))}, "must have the type of Backfill.id"),
        ({"backfill_id": sa.Column(sa.ForeignKey("backfill.id"))}, "must not have a foreign key"),
        ({"action": sa.Column(sa.String(5))}, "can't hold create, update, delete"),
        ({"action": sa.Column(sa.Enum(Word))}, "can't hold update, delete"),
        ({"changes": sa.Column(sa.Text)}, "changes must be a JSON"),
        ({"created_at": sa.Column(sa.Integer)}, "created_at must be a DateTime"),
        ({"actor": sa.Column(sa.String(9), nullable=False)}, "actor must be nullable"),
        ({"run_count": sa.Column(sa.Integer, sa.Computed("1"))}, "must not be computed"),
        ({"seen": sa.Column(sa.String(9), nullable=False)}, "column seen of Event"),
        ({"changes": None}, "changes must be a column"),
        ({"__bind_key__": "other"}, "in the database of Backfill"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_model_that_can_not_work_is_refused_with_the_cure(bare, declared, cure):
    bare.mixin_model()
    backfill = bare.db.Model.registry._class_registry["Backfill"]
    model = type(
        "Event", (BackfillEventMixin, bare.db.Model), {"__tablename__": "event", **declared}
    )
    with pytest.raises(TypeError, match=cure):
        bare.register(backfill, event_model=model)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_is_no_model_and_what_is_no_function_is_refused(bare):
    model = bare.mixin_model()

    async def later():
        return "ann"

    for options in (
        {"event_model": dict},
        {"actor": caller},
        {"event_model": bare.event_model(), "actor": later},
        {"event_model": bare.db.Model.registry._class_registry["BackfillEvent"], "actor": len},
    ):
        with pytest.raises(TypeError):
            bare.register(model, **options)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_table_has_its_index_whatever_the_model_says(bare, caplog):
    class Bare(bare.db.Model):
        id = sa.Column(sa.Integer, primary_key=True)
        backfill_id = sa.Column(sa.Integer)
        created_at = sa.Column(sa.DateTime)
        action = sa.Column(sa.String(32))
        changes = sa.Column(sa.JSON)

    [index] = bare.event_model().__table__.indexes
    assert [column.name for column in index.columns] == ["backfill_id", "id"]
    bare.register(event_model=Bare)
    assert "no Index('ix_bare_history', 'backfill_id', 'id')" in caplog.text


# How many statements


def statements(host, ask):
    host.statements.clear()
    ask()
    return [one.split()[0] for one in host.statements if not one.startswith("SET ")]


def test_an_edit_takes_one_insert_more_and_none_if_it_changes_nothing(recorded):
    ask = lambda: recorded.put({"name": "one"})  # noqa: E731
    assert statements(recorded, ask) == ["SELECT", "UPDATE", "INSERT"]
    assert statements(recorded, ask) == ["SELECT"]


def test_without_a_history_nothing_is_written_more(runner):
    assert statements(runner, lambda: runner.put({"name": "one"})) == ["SELECT", "UPDATE"]


def test_a_page_takes_three_statements(recorded):
    for number in range(5):
        recorded.put({"name": f"n{number}"})
    assert statements(recorded, lambda: history(recorded)) == ["SELECT"] * 3


# Workers


@pytest.fixture
def worker():
    return f"worker:{socket.gethostname()}:{os.getpid()}"


@pytest.mark.parametrize("failed", [0, 1])
def test_a_worker_writes_two_events_however_many_runs_there_are(recorded, worker, failed):
    recorded.blueprint.runner(lambda run: {"rows": 5} if run.key > "2023-07-11" else fail())

    def fail():
        if failed:
            raise ValueError("no reading")
        return {"rows": 1}

    url = recorded.post({**WEEK, "status": "initial"}).headers["Location"]
    recorded.work()
    shown = recorded.get(url)
    begin, finish = told(recorded, url)[1:]
    assert begin == (worker, "begin", {"status": {"from": "initial", "to": "running"}})
    assert finish[:2] == (worker, "finish")
    word = "failed" if failed else "completed"
    assert shown["status"] == word
    assert finish[2]["status"] == {"from": "running", "to": word}
    assert finish[2][f"{word}_at"] == {"from": None, "to": shown[f"{word}_at"]}
    assert finish[2]["metrics"]["to"] == shown["metrics"]


def test_a_roll_up_takes_one_insert_if_it_ends_the_backfill_and_else_none(recorded):
    recorded.post({**WEEK, "end_datetime": "2023-07-12", "status": "initial"})
    runs = recorded.claim(limit=3)
    inserts = []
    for run in runs:
        done = statements(recorded, lambda run=run: recorded.end(run, "completed", {"rows": 1}))
        inserts.append(done.count("INSERT"))
    assert inserts == [0, 0, 1]
    assert statements(recorded, recorded.claim).count("INSERT") == 0


def test_a_claim_takes_one_insert_if_it_is_the_first(recorded):
    recorded.post({**WEEK, "status": "initial"})
    assert [statements(recorded, recorded.claim).count("INSERT") for _ in range(3)] == [1, 0, 0]


def test_what_recover_and_late_looks_find_is_told_once(recorded, worker):
    url = recorded.post({**DAY, "status": "initial"}).headers["Location"]
    for _ in range(3):
        assert recorded.claim()
        assert recorded.recover() == 1
    assert recorded.recover() == 0
    assert actions(recorded, url) == ["create", "begin", "finish"]
    assert recorded.get(url)["status"] == "failed"
    assert told(recorded, url)[-1][0] == worker


def test_a_run_that_a_message_brings_begins_its_backfill(recorded):
    url = recorded.post({**DAY, "status": "initial"}).headers["Location"]
    [run] = recorded.rows(url)
    with recorded.app.app_context():
        begun = recorded.blueprint.runs.begin(run["id"])
    recorded.end(begun)
    assert actions(recorded, url) == ["create", "begin", "finish"]


def test_a_message_that_comes_again_too_often_ends_its_backfill(recorded):
    url = recorded.post({**DAY, "status": "initial"}).headers["Location"]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for _ in range(3):
        [run] = recorded.claim()
        recorded.store(worker=run.worker.replace(f":{os.getpid()}:", f":{gone.pid}:"))
        with recorded.app.app_context():
            assert recorded.blueprint.runs.died_here(run.id)
    assert recorded.get(url)["status"] == "failed"
    assert actions(recorded, url) == ["create", "begin", "finish"]


def test_an_edit_of_a_running_backfill_is_none_of_its_workers(recorded):
    url = recorded.post({**WEEK, "status": "initial"}).headers["Location"]
    first, second = recorded.claim(limit=2)
    with recorded.app.app_context():
        # What has ended is added up by the edit, before it plans.
        recorded.blueprint.runs.finish(first, "completed", {"rows": 5}, later=True)
    recorded.put({"end_datetime": "2023-07-11"}, url, headers={"X-Caller": "ann"})
    assert recorded.get(url)["metrics"] == {"rows": 5}
    window = {"from": "2023-07-16 00:00:00", "to": "2023-07-11 00:00:00"}
    assert told(recorded, url)[-1] == ("ann", "update", {"end_datetime": window})
    recorded.end(second)
    finish = told(recorded, url)[-1]
    assert finish[1] == "finish" and "metrics" not in finish[2]


def test_the_function_is_asked_by_workers_too(bare):
    bare.serve(run_model=bare.run_model(), event_model=bare.event_model(), actor=lambda: "batch")
    bare.put({**DAY, "status": "initial"})
    bare.end(*bare.claim())
    assert [actor for actor, *_ in told(bare)] == ["batch"] * 3


# The command line


def command(host, *args):
    done = host.app.test_cli_runner().invoke(args=["backfills", *args])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_command_is_by_the_user_of_the_machine(recorded, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")
    command(recorded, "create", "arwen_starlight", *(f"{k}={v}" for k, v in DAY.items()))
    url = f"{LIST}/7"
    command(recorded, "start", "7")
    command(recorded, "update", "7", "name=b")
    [run] = recorded.rows(url)
    command(recorded, "run", "7", str(run["id"]), "--make", "done")
    command(recorded, "runs", "7", "--status", "completed", "--make", "again", "--yes")
    command(recorded, "preview", "7", "name=c")
    assert {actor for actor, *_ in told(recorded, url)} == {"cli:ada"}
    wanted = "create update update update_run finish update_runs reopen".split()
    assert actions(recorded, url) == wanted
    command(recorded, "cancel", "7", "--yes")
    command(recorded, "delete", "7", "--yes")
    assert [(one.actor, one.action) for one in rows(recorded)][-1] == ("cli:ada", "delete")
    # The next request is not the command's.
    recorded.put({"name": "by nobody"})
    assert told(recorded)[-1][0] is None


def test_a_worker_at_the_terminal_is_a_worker(recorded, worker):
    recorded.blueprint.runner(lambda run: None)
    url = recorded.post({**DAY, "status": "initial"}).headers["Location"]
    command(recorded, "work", "--once")
    assert [actor for actor, *_ in told(recorded, url)][1:] == [worker, worker]


def test_the_terminal_shows_what_the_api_shows(recorded):
    recorded.put({"name": "\x1b[2J", "variables": {"a": "x" * 100}}, headers={"X-Caller": "ann"})
    recorded.put({"name": "b"})
    shown = json.loads(command(recorded, "history", "6", "--json"))
    assert shown == {"history": history(recorded), "metadata": {"count": 2}}
    told = command(recorded, "history", "6")
    head, newest, oldest = told.splitlines()
    assert head.split() == ["TIME", "WHO", "ACTION", "CHANGES"]
    assert "\x1b" not in told and newest.endswith("[2J -> b")
    assert " ann  update  name: old_name -> " in oldest and oldest.endswith("xxx...")
    told = command(recorded, "history", "6", "--limit", "1")
    assert told.splitlines()[-1] == "1 more. To see them: --offset 1"


def test_a_status_of_another_name_is_told_as_any(bare):
    class Schema(BackfillSchema):
        def on_bind_field(self, field_name, field_obj):
            super().on_bind_field(field_name, field_obj)
            names = {"status": "state", "pipeline_uuid": "pipeline"}
            field_obj.data_key = names.get(field_name, field_obj.data_key)

    event_model, run_model = bare.event_model(), bare.run_model()
    bare.register(schema=Schema, event_model=event_model, run_model=run_model)
    bare.app.secret_key = "secret"
    bare.app.register_blueprint(ConsoleBlueprint(bare.blueprint))
    bare.fill()
    bare.open()
    sent = {**DAY, "state": "initial", "settings": {"reprocess": "all"}}
    url = bare.post(sent).headers["Location"]
    bare.end(bare.claim()[0])
    bare.put({"state": "initial", "name": "a"}, url)
    key = url.rsplit("/")[-1]
    page = re.sub(r"\s+", " ", re.sub("<[^>]*>", "", Console(bare).get(key)))
    assert "State completed → waiting (everything runs again)" in page
    assert "statewaiting" in page
    assert "Pipeline arwen_starlight" not in page
    newest = command(bare, "history", key).splitlines()[1]
    assert "update  state: completed -> initial (everything runs again); " in newest


def test_the_terminal_says_that_there_is_no_history(runner):
    done = runner.app.test_cli_runner().invoke(args=["backfills", "history", "6"])
    assert done.exit_code == 1 and "no event_model" in done.output


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_table_in_another_database_is_refused_before_anything_is_stored(bare, tmp_path):
    model, events = bare.mixin_model(), bare.event_model()
    ours, theirs = (sa.create_engine(f"sqlite:///{tmp_path}/{name}.db") for name in ("a", "b"))
    session = scoped_session(sessionmaker(binds={model: ours, events: theirs}))
    options = {"authorize": allow_anyone, "event_model": events}
    bare.app.register_blueprint(BackfillBlueprint(model, session, **options))
    bare.db.Model.metadata.create_all(ours)
    bare.db.Model.metadata.create_all(theirs)
    bare.app.testing = True
    client = bare.app.test_client()
    with pytest.raises(RuntimeError, match="must be in the database of Backfill"):
        client.post(LIST, json={"backfill": {"name": "a"}})
    assert client.get(LIST).json["metadata"]["count"] == 0
    session.remove()
    for engine in (ours, theirs):
        engine.dispose()


def test_the_pause_of_a_canary_is_the_workers(recorded):
    hours = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-01T10:00:00"}
    hours |= {"interval_type": "hour", "interval_units": 1, "settings": {"canary": 1}}
    url = recorded.post({**hours, "status": "initial"}).headers["Location"]
    [run] = recorded.claim(limit=20)
    recorded.end(run)
    assert recorded.claim(limit=20) == []
    actor, action, changes = told(recorded, url)[-1]
    assert actor.startswith("worker:") and action == "pause"
    assert changes["settings"] == {"from": {"canary": 1}, "to": {"canary": 1, "paused": True}}
    assert actions(recorded, url) == ["create", "begin", "pause"]
