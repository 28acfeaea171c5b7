"""Apps, models, sessions and users of many kinds."""

import asyncio
import enum
import functools
import json
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from conftest import few
from conftest import LIST
from conftest import takes_seconds
from conftest import URL
from flask import abort
from flask import Blueprint
from flask import Flask
from flask import redirect
from flask_sqlalchemy import SQLAlchemy
from marshmallow import EXCLUDE
from marshmallow import fields
from marshmallow import post_load
from marshmallow import validates_schema
from marshmallow import ValidationError
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import column_property
from sqlalchemy.orm import synonym
from sqlalchemy.orm import validates
from werkzeug.exceptions import Forbidden

from flask_backfills import all_of
from flask_backfills import allow_anyone
from flask_backfills import api_key
from flask_backfills import backfill_updated
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillSchema
from flask_backfills import oauth_token
from flask_backfills.config import DEFAULTS
from flask_backfills.console import ConsoleBlueprint
from flask_backfills.tables.fields import JSONObject
from flask_backfills.tables.fields import UTCDateTime
from flask_backfills.tables.mixins import Moment


class Color(enum.Enum):
    INITIAL = "initial"
    RUNNING = "running"


class Step(enum.Enum):
    day = 1
    hour = 2


def legacy(db, **more):
    columns = {
        "__tablename__": "legacy",
        "key": sa.Column(sa.Uuid, primary_key=True),
        "flow": sa.Column(sa.String(30), nullable=False),
        "pipeline_uuid": synonym("flow"),
        "title": sa.Column(sa.String(8)),
        "name": synonym("title"),
        "begins": sa.Column(sa.DateTime(timezone=True)),
        "start_datetime": synonym("begins"),
        "status": sa.Column(sa.Enum(Color, native_enum=False)),
        "interval_type": sa.Column(sa.Enum(Step), nullable=False),
        "interval_units": sa.Column(sa.SmallInteger),
        "variables": sa.Column(sa.JSON().with_variant(JSONB(), "postgresql")),
        "length": sa.orm.column_property(sa.func.length("abc")),
        "metrics": synonym("length"),
    }
    return type("Legacy", (db.Model,), columns | more)


KEY = uuid.UUID(int=7)
LEGACY = f"/api/pipelines/p/backfills/{KEY}"
SEED = {"key": KEY, "flow": "p", "interval_type": Step.day}


def test_a_legacy_model_is_served_as_it_is(bare):
    bare.serve(legacy(bare.db), seed=SEED)
    sent = {"name": "x", "status": "running", "interval_type": "hour"}
    sent |= {"start_datetime": "2023-07-17T02:00:00+02:00", "variables": {"a": 1}}
    response = bare.put(sent, LEGACY)
    assert response.status_code == 200, response.text
    shown = bare.get(LEGACY)
    assert shown == response.json["backfill"]
    assert shown["id"] == str(KEY)
    assert shown["start_datetime"] == "2023-07-17 00:00:00+00:00"
    assert (shown["status"], shown["interval_type"], shown["end_datetime"]) == (
        "running",
        "hour",
        None,
    )
    assert "settings" not in shown
    bare.statements.clear()
    assert bare.put(shown, LEGACY).status_code == 200
    assert [s.split()[0] for s in bare.statements] == ["SELECT"]
    assert bare.put({"variables": {"a": True}}, LEGACY).status_code == 200
    assert bare.get(LEGACY)["variables"]["a"] is True


@pytest.mark.parametrize(
    "sent",
    [
        {"name": "123456789"},
        {"status": "completed"},
        {"interval_type": None},
        {"interval_type": "week"},
        {"interval_units": 2**15},
        {"end_datetime": "2020-01-01"},
        {"metrics": {}},
        {"settings": {}},
    ],
)
def test_limits_come_from_the_columns(bare, sent):
    bare.serve(legacy(bare.db), seed=SEED)
    response = bare.put(sent, LEGACY)
    assert response.json["error"]["errors"].keys() == sent.keys()


@pytest.mark.parametrize("key", ["abc", "a" * 30, "%00"])
def test_a_string_key_is_served(bare, key):
    class Named(bare.db.Model):
        id = sa.Column(sa.String(50), primary_key=True)
        pipeline_uuid = sa.Column(sa.String(50))
        interval_type = sa.Column(sa.Enum("day", "hour", name="interval_kind"))

    bare.serve(Named, seed={"id": "abc", "pipeline_uuid": "p", "interval_type": "day"})
    response = bare.put({"interval_type": "hour"}, f"/api/pipelines/p/backfills/{key}")
    assert response.status_code == (200 if key == "abc" else 404)


@pytest.mark.parametrize(
    "model", [dict, lambda db: 1], ids=["class that is not mapped", "not a class"]
)
def test_what_is_no_model_is_refused_at_start(bare, model):
    with pytest.raises(TypeError, match="not a mapped class"):
        BackfillBlueprint(model, bare.db.session, authorize=allow_anyone)


def test_a_model_without_key_or_pipeline_is_refused_at_start(bare):
    class Two(bare.db.Model):
        a = sa.Column(sa.Integer, primary_key=True)
        b = sa.Column(sa.Integer, primary_key=True)

    class Bare(bare.db.Model):
        id = sa.Column(sa.Integer, primary_key=True)

    with pytest.raises(TypeError, match="single column"):
        BackfillBlueprint(Two, bare.db.session, authorize=allow_anyone)
    with pytest.raises(TypeError, match="pipeline_uuid"):
        BackfillBlueprint(Bare, bare.db.session, authorize=allow_anyone)
    with pytest.raises(TypeError, match="authorize"):
        BackfillBlueprint(bare.mixin_model(), bare.db.session, authorize=None)


class AsyncCall:
    async def __call__(self, *args):
        return True


async def async_function(*args):
    return True


async def async_generator(*args):
    yield {}


@pytest.mark.parametrize(
    "function",
    [async_function, async_generator, AsyncCall(), functools.partial(async_function, 1)],
    ids=["function", "generator", "call", "partial"],
)
def test_what_would_have_to_be_awaited_is_refused_at_once(bare, function):
    model, run_model = bare.mixin_model(), bare.run_model()
    with pytest.raises(TypeError, match="authorize must not be async"):
        BackfillBlueprint(model, bare.db.session, authorize=function)
    blueprint = BackfillBlueprint(
        model, bare.db.session, authorize=allow_anyone, run_model=run_model
    )
    with pytest.raises(TypeError, match="the runner must not be async"):
        blueprint.runner(function)
    with pytest.raises(TypeError, match="a generator must not be async"):
        blueprint.generator("parts")(function)
    assert blueprint.host.runner is None and not blueprint.host.generators


def test_a_schema_of_the_host_closes_and_adds(bare):
    class Narrow(BackfillSchema):
        name = fields.String(dump_only=True)
        started_at = fields.DateTime(data_key="startedAt", allow_none=True)

    bare.serve(schema=Narrow)
    assert bare.put({"name": "x"}).status_code == 422
    assert bare.put({"name": "old_name"}).status_code == 200
    assert bare.put({"startedAt": "2023-07-17T00:00:00"}).status_code == 200
    assert bare.put({"started_at": None}).status_code == 422


def test_what_a_schema_hides_of_a_backfill_is_not_shown_of_its_runs(bare):
    class Hiding(BackfillSchema):
        variables = JSONObject(load_only=True, allow_none=True)
        metrics = JSONObject(load_only=True, allow_none=True)

    bare.serve(schema=Hiding, run_model=bare.run_model(), mage_routes=True)
    sent = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-11", "status": "initial"}
    sent |= {"interval_type": "day", "interval_units": 1, "variables": {"token": "secret"}}
    url = bare.post(sent).headers["Location"]
    [run] = bare.claim()
    # Those who run it have them.
    assert run.variables["token"] == "secret"
    bare.finish(run, "completed", {"rows": 4711})
    for path in ("/runs", f"/runs/{run.id}"):
        told = bare.client.get(url + path).text
        assert "secret" not in told and "4711" not in told
    key = url.rpartition("/")[2]
    assert "secret" not in bare.client.get(f"/api/pipeline_runs?backfill_id={key}").text


class Renamed(BackfillSchema):
    """Gives every attribute another name on the wire."""

    def on_bind_field(self, field_name, field_obj):
        super().on_bind_field(field_name, field_obj)
        field_obj.data_key = f"the_{field_name}"


def test_every_attribute_may_have_another_name_on_the_wire(bare):
    bare.app.secret_key = "secret"
    bare.register(schema=Renamed, run_model=bare.run_model(), mage_routes=True)
    bare.app.register_blueprint(ConsoleBlueprint(bare.blueprint))
    bare.fill()
    bare.open()
    window = {"the_start_datetime": "2023-07-10", "the_end_datetime": "2023-07-11"}
    window |= {"the_interval_type": "day", "the_interval_units": 1, "the_name": "July"}
    assert bare.post(window, f"{LIST}?dry_run=true").json["backfill"]["the_id"] is None
    url = bare.post({**window, "the_status": "initial"}).headers["Location"]
    key = str(bare.get(url)["the_id"])
    assert url == f"{LIST}/{key}"
    assert bare.put(bare.get(url), url).status_code == 200
    [run, _] = bare.read(f"/api/pipeline_runs?backfill_id={key}")["pipeline_runs"]
    assert str(run["backfill_id"]) == key
    for path in ("/backfills/", f"/backfills/{key}", f"/backfills/{key}/edit"):
        assert "July" in bare.client.get(path).text
    for command in (["list"], ["preview", key], ["cancel", key, "--yes"], ["watch", key, "--json"]):
        told = bare.app.test_cli_runner().invoke(args=["backfills", *command])
        assert told.exit_code == (2 if command[0] == "watch" else 0), told.output
    shown = json.loads(told.stdout)["backfill"]
    assert shown["the_status"] == "cancelled" and "status" not in shown


def test_a_window_ends_after_it_starts_whatever_its_names_on_the_wire(bare):
    class Renamed(BackfillSchema):
        start_datetime = UTCDateTime(data_key="from", allow_none=True)
        end_datetime = UTCDateTime(data_key="until", allow_none=True)

    bare.serve(schema=Renamed)
    assert bare.put({"from": "2023-07-10", "until": "2023-07-12"}).status_code == 200
    response = bare.put({"until": "2023-07-09"})
    assert response.status_code == 422
    assert response.json["error"]["errors"] == {"until": ["Must be on or after from."]}
    errors = bare.put({"from": "2023-07-13"}).json["error"]["errors"]
    assert errors == {"from": ["Must be on or before until."]}


def test_the_models_own_validator_refuses_by_key(bare):
    def check(self, key, value):
        if value == "bad":
            raise ValueError("No bad names.")
        return value

    bare.serve(legacy(bare.db, check=validates("title")(check)), seed=SEED)
    response = bare.put({"name": "bad", "interval_units": 0}, LEGACY)
    assert response.json["error"]["errors"]["name"] == ["No bad names."]
    assert response.json["error"]["errors"].keys() == {"name", "interval_units"}
    assert bare.get(LEGACY)["name"] is None


def test_a_constraint_of_the_database_is_a_409_without_sql(bare):
    more = {"__table_args__": (sa.CheckConstraint("title <> 'bad'"),)}
    bare.serve(legacy(bare.db, **more), seed=SEED)
    response = bare.put({"name": "bad"}, LEGACY)
    assert response.status_code == 409
    assert "title" not in response.text and "legacy" not in response.text
    assert bare.get(LEGACY)["name"] is None


def test_a_scope_hides_what_it_leaves_out(bare):
    bare.serve(scope=lambda query: query.where(sa.text("name = 'mine'")))
    assert bare.put({"name": "x"}).status_code == 404


def test_two_blueprints_and_a_nested_one_live_in_one_app(bare):
    model = legacy(bare.db)
    parent = Blueprint("v1", "v1", url_prefix="/v1")
    parent.register_blueprint(
        BackfillBlueprint(model, bare.db.session, authorize=allow_anyone, name="legacy")
    )
    bare.app.register_blueprint(parent)
    bare.serve()
    assert bare.client.get("/v1" + LEGACY).json["error"]["code"] == 404
    assert bare.put({"name": "x"}).status_code == 200


@pytest.mark.parametrize(
    ("options", "group"), [({}, "outer.backfills"), ({"cli_group": "backfills"}, "backfills")]
)
def test_the_commands_of_a_nested_blueprint_have_the_name_that_flask_gives(bare, options, group):
    outer = Blueprint("outer", "outer")
    parts = bare.mixin_model(), bare.db.session
    outer.register_blueprint(BackfillBlueprint(*parts, authorize=allow_anyone, **options))
    bare.app.register_blueprint(outer)
    with bare.app.app_context():
        bare.db.create_all()
    result = bare.app.test_cli_runner().invoke(args=[group, "list"])
    assert (result.exit_code, result.output.strip()) == (0, "No backfills.")
    other = {"outer.backfills": "backfills", "backfills": "outer.backfills"}[group]
    assert bare.app.cli.get_command(None, other) is None


def test_the_hosts_own_error_pages_stay(bare):
    bare.app.register_error_handler(404, lambda error: ("the host's page", 404))
    bare.serve()
    assert bare.client.get("/nowhere").text == "the host's page"
    assert bare.put({}, URL + "0").json["error"]["code"] == 404


@pytest.mark.parametrize("answer", [None, 1, "yes", object(), False, [True]])
def test_only_true_lets_in(bare, answer):
    bare.serve(authorize=lambda action, pipeline: answer)
    response = bare.put({"name": "x"})
    assert (response.status_code, response.json["error"]["code"]) == (403, 403)
    assert bare.client.get(URL).status_code == 403


def test_authorize_may_abort_and_redirect(bare):
    answers = {"update": lambda: abort(401, "Who?"), "detail": lambda: abort(redirect("/login"))}
    bare.serve(authorize=lambda action, pipeline: answers[action]())
    assert bare.put({}).json["error"]["message"] == "Who?"
    assert bare.client.get(URL).headers["Location"] == "/login"


@pytest.mark.parametrize(
    ("keys", "sent", "status"),
    [
        (["a", "key"], "key", 200),
        ("key", "key", 200),
        ("key", "k", 401),
        (["key"], "kéy", 401),
        ([""], "", 401),
        ([None], "None", 401),
        (None, "", 401),
    ],
)
def test_an_api_key_must_be_one_of_the_apps(bare, keys, sent, status):
    bare.app.config["BACKFILLS_API_KEYS"] = keys
    bare.serve(authorize=api_key())
    response = bare.put({}, headers={"X-API-KEY": sent})
    assert response.status_code == status
    assert status == 200 or response.headers["WWW-Authenticate"]


def test_a_token_comes_by_cookie_or_header(bare):
    def verify(token, action, pipeline):
        return (token, action, pipeline) == ("t", "update", "arwen_starlight")

    bare.serve(authorize=all_of(allow_anyone, oauth_token(verify)))
    assert bare.put({}).status_code == 401
    assert bare.put({}, headers={"OAUTH-TOKEN": "t"}).status_code == 200
    assert bare.put({}, headers={"OAUTH-TOKEN": "u"}).status_code == 403
    bare.client.set_cookie("oauth_token", "t")
    assert bare.put({}).status_code == 200
    with pytest.raises(TypeError):
        all_of()


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError, BaseException])
def test_receivers_are_told_and_can_not_undo_the_update(host, error):
    told = []

    def receive(sender, backfill, changes):
        told.append((sender, backfill.id, changes))
        raise error("a receiver's own trouble")

    with backfill_updated.connected_to(receive, host.app):
        assert host.put({"name": "new", "start_datetime": "2023-07-17"}).status_code == 200
        assert host.put({"name": "new"}).status_code == 200
    changes = {"name": ("old_name", "new"), "start_datetime": (None, datetime(2023, 7, 17))}
    assert told == [(host.app, 6, changes)]


def test_an_app_factory_and_several_binds(tmp_path):
    db = SQLAlchemy()

    class Backfill(BackfillMixin, db.Model):
        __bind_key__ = "pipelines"

    class Elsewhere(db.Model):
        id = sa.Column(sa.Integer, primary_key=True)

    blueprint = BackfillBlueprint(Backfill, db.session, authorize=allow_anyone)
    for name in ("one", "two"):  # a blueprint of a module serves every app that a factory makes
        app = Flask(name)
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/{name}.db"
        app.config["SQLALCHEMY_BINDS"] = {"pipelines": f"sqlite:///{tmp_path}/{name}-pipelines.db"}
        db.init_app(app)
        app.register_blueprint(blueprint)
        with app.app_context():
            db.create_all()
            db.session.add(Backfill(pipeline_uuid="p", name=name))
            db.session.commit()
        client = app.test_client()
        url = "/api/pipelines/p/backfills/1"
        assert client.put(url, json={"backfill": {"status": "running"}}).status_code == 200
        assert client.get(url).json["backfill"]["name"] == name
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()


def test_the_models_events_and_hooks_fire(host, listen):
    seen = []
    listen(host.model, "before_update", lambda mapper, connection, row: seen.append(row.name))
    assert host.put({"name": "new"}).status_code == 200
    assert seen == ["new"]


def test_json_in_a_text_column_of_the_hosts_own_type(bare):
    class Packed(sa.types.TypeDecorator):
        impl = sa.String(40)
        cache_ok = True

        def process_bind_param(self, value, dialect):
            return json.dumps(value)

        def process_result_value(self, value, dialect):
            return json.loads(value)

    model = legacy(bare.db, variables=sa.Column(Packed))
    bare.serve(model, seed=SEED)
    sent = {"variables": {"a": 1, "b": [2]}}
    assert bare.put(sent, LEGACY).json["backfill"]["variables"] == sent["variables"]
    assert bare.get(LEGACY)["variables"] == sent["variables"]


def test_concurrent_updates_leave_nothing_that_one_alone_could_not(host):
    """One moves the start, another the end: both at once would cross."""
    moves = [{"start_datetime": "2023-07-20"}, {"end_datetime": "2023-07-10"}]
    for _ in range(10):
        cleared = {"start_datetime": "2023-07-01", "end_datetime": "2023-07-31"}
        assert host.put(cleared).status_code == 200
        together = threading.Barrier(2)

        def put(sent, together=together):
            together.wait()
            return host.app.test_client().put(URL, json={"backfill": sent}).status_code

        with ThreadPoolExecutor() as pool:
            assert sorted(pool.map(put, moves)) == [200, 422]
        shown = host.get()
        assert shown["start_datetime"] <= shown["end_datetime"]


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_a_fraction_that_a_column_would_cut_is_refused(bare):
    more = {"ends": sa.Column(sa.DateTime), "end_datetime": synonym("ends")}
    more |= {
        "updated_at": sa.Column(sa.DateTime, onupdate=lambda: datetime(2023, 1, 1, 1, 1, 1, 9))
    }
    more |= {"started_at": sa.Column(sa.DateTime), "completed_at": sa.Column(sa.DateTime)}
    bare.serve(legacy(bare.db, **more), seed=SEED)
    response = bare.put({"end_datetime": "2023-07-17T10:00:00.5", "name": "x"}, LEGACY)
    assert response.json["error"]["errors"].keys() == {"end_datetime"}
    assert bare.get(LEGACY)["name"] is None
    response = bare.put({"end_datetime": "2023-07-17T10:00:00", "status": "running"}, LEGACY)
    shown = response.json["backfill"]
    assert shown == bare.get(LEGACY)
    assert (shown["updated_at"], len(shown["started_at"])) == ("2023-01-01 01:01:01", 19)


def fraction(digits, *, decorated=False):
    """A datetime with so many digits of a fraction, on each database that can have fewer."""
    plain = sa.DateTime().with_variant(mysql.DATETIME(fsp=digits), "mysql", "mariadb")
    plain = plain.with_variant(postgresql.TIMESTAMP(precision=digits), "postgresql")

    class Decorated(sa.types.TypeDecorator):
        impl = plain
        cache_ok = True

    return Decorated() if decorated else plain


@pytest.mark.parametrize("decorated", [False, True])
@pytest.mark.parametrize("digits", few([0, 1, 3, 5, 6]))
def test_more_digits_of_a_fraction_than_a_column_has_are_refused(bare, digits, decorated):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        end_datetime = sa.Column(fraction(digits, decorated=decorated))

    bare.serve(Backfill)
    stored = 6 if bare.app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite") else digits
    for given in range(7):
        end = f"9999-12-31 23:59:59.{'9' * given}".rstrip(".")
        sent = {"end_datetime": end}
        answers = [bare.put(sent), bare.put(sent, f"{URL}?dry_run=true"), bare.post(sent)]
        for answer in answers:
            if given <= stored:
                shown = answer.json["backfill"]["end_datetime"]
                assert shown == end.ljust(26, "0") if given else end
            else:
                [(key, [told])] = answer.json["error"]["errors"].items()
                assert key == "end_datetime"
                assert f"at most {stored} digit" in told or (not stored and "whole second" in told)
    # A last moment that was rounded could not be read by anybody.
    assert bare.read(LIST)["metadata"]["count"] == 2 + stored


def test_a_list_can_be_filtered_by_what_a_model_lacks(bare):
    bare.serve(legacy(bare.db), seed=SEED)
    for status, count in (("running", 0), ("completed", 0)):
        page = bare.read(f"/api/pipelines/p/backfills?status={status}")
        assert page == {"backfills": [], "metadata": {"count": count, "next": False}}
    bare.put({"status": "running"}, LEGACY)
    assert bare.read("/api/pipelines/p/backfills?status=running")["metadata"]["count"] == 1


def test_a_model_without_a_status_can_be_listed(bare):
    class Plain(bare.db.Model):
        id = sa.Column(sa.Integer, primary_key=True)
        pipeline_uuid = sa.Column(sa.String(50))

    bare.serve(Plain, seed={"pipeline_uuid": "p"})
    assert bare.read("/api/pipelines/p/backfills")["metadata"]["count"] == 1
    assert bare.read("/api/pipelines/p/backfills?status=running")["metadata"]["count"] == 0


def test_statuses_that_runs_would_need_are_asked_for_at_start(bare):
    blueprint = BackfillBlueprint(
        legacy(bare.db), bare.db.session, authorize=allow_anyone, run_model=bare.run_model()
    )
    with pytest.raises(TypeError, match="must also accept cancelled, completed, failed"):
        bare.app.register_blueprint(blueprint)


@takes_seconds
def test_what_a_host_does_not_use_is_not_imported():
    code = """
import sys
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_backfills import allow_anyone, BackfillBlueprint, BackfillMixin, BackfillRunMixin

app = Flask("host")
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
db = SQLAlchemy(app)
class Backfill(BackfillMixin, db.Model):
    pass
class Run(BackfillRunMixin, db.Model):
    pass
blueprint = BackfillBlueprint(Backfill, db.session, authorize=allow_anyone, run_model=Run)
app.register_blueprint(blueprint)
rooms = ["api.openapi", "celery", "changes.actions", "cli.commands", "console", "worker"]
assert not [room for room in rooms if f"flask_backfills.{room}" in sys.modules], sys.modules
assert not {"apispec", "celery", "flask_wtf", "wtforms"} & sys.modules.keys()
assert {rule.endpoint.partition(".")[0] for rule in app.url_map.iter_rules()} == {
    "static", "backfills"
}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_subclass_decides_who_is_let_in(bare):
    class Mine(BackfillBlueprint):
        def allow(self, action, pipeline_uuid):
            if action != "list":
                raise Forbidden()

    bare.serve(blueprint=Mine)
    assert bare.client.get(LIST).status_code == 200
    assert [bare.client.get(URL).status_code, bare.put({"name": "a"}).status_code] == [403, 403]
    assert bare.client.get("/api/backfills/6").status_code == 404


def test_what_a_host_sets_on_its_blueprint_counts(own_host):
    own_host.blueprint.authorize = lambda action, pipeline_uuid: False
    assert own_host.put({"name": "a"}).status_code == 403


def test_a_pipeline_that_is_not_known_is_a_404_with_the_nearest_name(bare):
    bare.serve(pipelines=lambda: {"arwen_starlight", "weather"})
    assert bare.post({"name": "a"}).status_code == 201
    refused = bare.post({"name": "a"}, "/api/pipelines/wether/backfills")
    assert refused.status_code == 404
    assert refused.json["error"]["message"] == "There is no such pipeline. Did you mean weather?"
    another = bare.post({"name": "a"}, "/api/pipelines/ocean/backfills")
    assert another.json["error"]["message"] == "There is no such pipeline."
    assert bare.post({"name": "a"}, "/api/pipelines/wether/backfills?dry_run=1").status_code == 404
    # One that is gone leaves its backfills.
    assert bare.put({"name": "new"}).status_code == 200
    result = bare.app.test_cli_runner().invoke(args=["backfills", "create", "wether"])
    assert (result.exit_code, "Did you mean weather?" in result.output) == (1, True)


def test_the_coverage_of_a_pipeline_that_is_not_known_names_the_nearest(bare):
    bare.serve(run_model=bare.run_model(), pipelines=lambda: ["weather"])

    def coverage(pipeline):
        args = ["backfills", "coverage", pipeline, "2023-07-01", "2023-07-02"]
        return bare.app.test_cli_runner().invoke(args=args)

    refused = coverage("wether")
    assert (refused.exit_code, "Did you mean weather?" in refused.output) == (1, True)
    assert coverage("weather").exit_code == 0
    # One that is gone leaves its backfills.
    assert coverage("arwen_starlight").exit_code == 0


def test_the_name_of_a_pipeline_that_is_not_the_callers_is_not_told(bare):
    mine = {"arwen_starlight", "wether"}
    bare.serve(pipelines=lambda: ["weather"], authorize=lambda action, of: of in mine)
    refused = bare.post({}, "/api/pipelines/wether/backfills")
    assert refused.json["error"]["message"] == "There is no such pipeline."


def test_a_backfill_that_its_creator_could_not_see_is_not_stored(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        tenant = sa.Column(sa.Integer, default=lambda: bare.stamped)

    def of_the_tenant(query):
        return query.where(Backfill.tenant == bare.tenant)

    bare.tenant, bare.stamped = 1, None
    bare.serve(Backfill, scope=of_the_tenant)
    refused = bare.post({"name": "a"})
    assert (refused.status_code, refused.json["error"]["type"]) == (403, "forbidden")
    assert bare.post({"name": "a"}, f"{LIST}?dry_run=true").status_code == 403
    with bare.app.app_context():
        assert bare.db.session.scalar(sa.select(sa.func.count()).select_from(Backfill)) == 1
    bare.stamped = 1
    made = bare.post({"name": "a"})
    assert made.status_code == 201
    assert bare.get(made.headers["Location"])["name"] == "a"


@pytest.mark.parametrize("kind", ["suggested", "redeclared", "dataclass"])
def test_models_that_type_checkers_accept_are_served(kind):
    from typed_host import models

    app = Flask("typed")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    models.db.init_app(app)
    model, run_model, schema = {
        "suggested": (models.Backfill, models.BackfillRun, models.Added),
        "redeclared": (models.Rerun, models.RerunRun, models.Replaced),
        "dataclass": (models.DataBackfill, models.DataRun, BackfillSchema),
    }[kind]
    blueprint = BackfillBlueprint(
        model, models.db.session, authorize=allow_anyone, run_model=run_model, schema=schema
    )
    app.register_blueprint(blueprint)
    shown = blueprint.host.schema.dump(model(name="July"))
    assert shown["name"] == "July"


def widened(db):
    """A model with attributes of all kinds that a schema may name."""

    class Backfill(BackfillMixin, db.Model):
        __tablename__ = "backfill"
        team = sa.Column(sa.String(20))
        size = sa.Column(sa.Integer)
        constant = column_property(sa.literal("fixed"))
        same = synonym("constant")
        double = sa.Column(sa.Integer, sa.Computed("size * 2", persisted=True))

        @property
        def shout(self):
            return (self.name or "").upper()

        @hybrid_property
        def twice(self):
            return self.name

    return Backfill


@pytest.mark.parametrize("name", ["taem", "constant", "same", "double", "shout", "twice"])
def test_a_field_that_is_stored_nowhere_is_refused_at_start(bare, name):
    model = widened(bare.db)
    schema = BackfillSchema.from_dict({name: fields.String()})
    with pytest.raises(TypeError, match=rf"{name} can be written, and Backfill\.{name} can't"):
        bare.register(model, schema=schema)


def generated(db):
    class Backfill(BackfillMixin, db.Model):
        __tablename__ = "backfill"
        size = sa.Column(sa.Integer, sa.Computed("interval_units * 2", persisted=True))
        block_uuid = sa.Column(sa.String(20), sa.Computed("upper(name)", persisted=True))
        variables = synonym("block_uuid")
        failed_at = sa.Column(Moment, sa.Computed("end_datetime", persisted=True))

    return Backfill


class Sized(BackfillSchema):
    size = fields.Integer(dump_only=True)


def test_what_the_database_generates_can_be_read_alone(bare):
    bare.serve(generated(bare.db), schema=Sized)
    made = bare.post({"name": "a", "interval_units": 3})
    assert made.status_code == 201, made.text
    url, shown = made.headers["Location"], made.json["backfill"]
    assert (shown["block_uuid"], shown["variables"], shown["size"]) == ("A", "A", 6)
    for key in ("size", "block_uuid", "variables", "failed_at"):
        for refused in (bare.put({key: 7}, url), bare.post({key: 7})):
            told = {key: ["Read-only: may only be sent back unchanged."]}
            assert (refused.status_code, refused.json["error"]["errors"]) == (422, told)
    # A client sends back what it has read, and a status has a timestamp that is not written.
    changed = bare.put({**shown, "name": "b", "status": "failed"}, url)
    assert (changed.status_code, changed.json["backfill"]["block_uuid"]) == (200, "B")
    assert bare.get(url) == changed.json["backfill"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("always", [True, False])
def test_a_number_that_the_database_alone_gives_can_be_read_alone(bare, always):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        pipeline_schedule_id = sa.Column(sa.Integer, sa.Identity(always=always))

    bare.serve(Backfill)
    shown = bare.get()
    assert shown["pipeline_schedule_id"] == 1
    assert bare.put({**shown, "name": "b"}).status_code == 200
    changed = bare.put({"pipeline_schedule_id": 7})
    assert changed.status_code == (422 if always else 200), changed.text


@pytest.mark.parametrize("name", ["id", "pipeline_uuid", "status"])
def test_a_schema_without_what_names_a_backfill_is_refused_at_start(bare, name):
    class Without(BackfillSchema):
        class Meta(BackfillSchema.Meta):
            exclude = (name,)

    with pytest.raises(TypeError, match=f"Without must have {name}: leave it out of exclude="):
        bare.register(schema=Without, run_model=bare.run_model())


def test_a_schema_that_lets_unknown_keys_through_is_refused_at_start(bare):
    class Loose(BackfillSchema):
        class Meta:
            unknown = EXCLUDE

    with pytest.raises(TypeError, match="Loose must refuse unknown keys"):
        bare.register(schema=Loose)


class AsObjects(BackfillSchema):
    @post_load
    def made(self, values, **kwargs):
        return SimpleNamespace(**values)


def test_a_hook_that_makes_objects_is_named(bare):
    bare.serve(schema=AsObjects)
    bare.app.testing = True
    with pytest.raises(TypeError, match="AsObjects must load a dictionary, not namespace"):
        bare.put({"name": "new"})


class Own(BackfillSchema):
    team = fields.String()
    size = fields.Raw()
    shout = fields.String(dump_only=True)
    loud = fields.Function(lambda row: row.name.upper())
    quiet = fields.Method("in_lower_case")

    def in_lower_case(self, row):
        return row.name.lower()

    @validates_schema
    def differ(self, sent, **kwargs):
        if sent.get("team") == "same":
            raise ValidationError("The team must differ.")


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"loud": "zzz"}, {"loud": ["Read-only: may only be sent back unchanged."]}),
        ({"quiet": "ZZZ"}, {"quiet": ["Read-only: may only be sent back unchanged."]}),
        ({"team": "\ud800"}, {"team": ["Must not contain NUL or an unpaired surrogate."]}),
        ({"team": "a\0"}, {"team": ["Must not contain NUL or an unpaired surrogate."]}),
        ({"team": "same"}, {"_schema": ["The team must differ."]}),
        ({"size": {"a": 1}}, {"size": ["Must not be an object or an array."]}),
        ({"size": 10**30}, {}),
    ],
)
def test_what_a_hosts_own_field_can_not_store_is_a_422(bare, sent, told):
    bare.serve(widened(bare.db), schema=Own)
    refused = bare.put({"name": "new", **sent})
    assert (refused.status_code, refused.json["error"]["errors"]) == (422, told)
    assert bare.get()["name"] == "old_name"
    shown = bare.get()
    assert bare.put({**shown, "team": "land"}).json["backfill"]["team"] == "land"


def test_thousands_of_unknown_names_are_not_compared_with_those_that_are_known(runner):
    """To compare each takes its time, and so many are nobody's slip."""
    names = {f"nmae{number}": 1 for number in range(1000)}
    told = runner.put(names).json["error"]["errors"]
    assert len(told) == 1000
    assert set(map(str, told.values())) == {"['Unknown field.']"}
    assert runner.put({"settings": {**names, "pipline_run_limit": 1}}).status_code == 200


@pytest.mark.parametrize("function", [api_key, lambda action: True, lambda: True])
def test_a_function_that_can_not_be_called_as_it_will_be_is_refused_at_once(models, function):
    db, model, _ = models
    told = r"is called with \(action, pipeline_uuid\)"
    with pytest.raises(TypeError, match=told):
        BackfillBlueprint(model, db.session, authorize=function)
    with pytest.raises(TypeError, match=told):
        all_of(allow_anyone, function)
    blueprint = BackfillBlueprint(model, db.session, authorize=allow_anyone)
    with pytest.raises(TypeError, match=r"the runner is called with \(run\)"):
        blueprint.runner(lambda: None)


def token_alone(token):
    return True


#: What can't work, and what is told of it.
OPTIONS = [
    ({"pipelines": ["weather"]}, r"pipelines must be a function, .* type list"),
    ({"pipelines": lambda host: ["weather"]}, r"pipelines is called with \(\)"),
    ({"scope": "tenant"}, "scope must be a function, .* type str"),
    ({"scope": lambda: None}, r"scope is called with \(query\)"),
    ({"scope": AsyncCall()}, "scope must not be async"),
    ({"actor": "me", "event_model": 1}, "actor must be a function, .* type str"),
    ({"transitions": [1]}, "transitions must be a mapping"),
    ({"transitions": "initial"}, "transitions must be a mapping"),
    ({"transitions": {"failed": "initial"}}, r"transitions\['failed'\] must be the statuses"),
    ({"transitions": {None: 5}}, r"transitions\[None\] must be the statuses"),
    ({"schema": None}, "schema must be BackfillSchema or a subclass"),
    ({"schema": BackfillMixin}, "schema must be BackfillSchema or a subclass"),
    ({"openapi": "yes"}, "openapi must be True, False, or a mapping"),
    ({"openapi": None}, "openapi must be True, False, or a mapping"),
]


@pytest.mark.parametrize(("options", "told"), OPTIONS)
def test_options_that_can_not_work_are_refused_at_once(models, options, told):
    db, model, _ = models
    with pytest.raises(TypeError, match=told):
        BackfillBlueprint(model, db.session, **{"authorize": allow_anyone, **options})


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: oauth_token(None), r"oauth_token\(\) must be a function, .* type NoneType"),
        (lambda: oauth_token(token_alone), r"called with \(token, action, pipeline_uuid\)"),
        (lambda: api_key(["s3cret"]), "the name that the keys have in app.config"),
        (lambda: api_key(None), "the name that the keys have in app.config"),
    ],
)
def test_a_check_that_can_not_work_is_refused_at_once(make, told):
    with pytest.raises(TypeError, match=told) as refused:
        make()
    assert "s3cret" not in str(refused.value)


def test_a_generator_that_can_not_work_is_refused_at_once(models):
    db, model, _ = models
    blueprint = BackfillBlueprint(model, db.session, authorize=allow_anyone)
    with pytest.raises(TypeError, match=r"a generator is called with \(backfill\)"):
        blueprint.generator("parts")(lambda: [])
    with pytest.raises(TypeError, match="a generator needs a name"):
        blueprint.generator(lambda backfill: [])


@pytest.mark.parametrize("option", ["run_url", "history"])
def test_a_function_of_the_console_that_can_not_work_is_refused_at_once(models, option):
    db, model, run_model = models
    blueprint = BackfillBlueprint(model, db.session, authorize=allow_anyone, run_model=run_model)
    with pytest.raises(TypeError, match=rf"{option} is called with \("):
        ConsoleBlueprint(blueprint, **{option: lambda: None})
    with pytest.raises(TypeError, match=f"{option} must be a function"):
        ConsoleBlueprint(blueprint, **{option: "https://logs.example"})


@pytest.mark.parametrize("kind", [fields.Integer, fields.String])
def test_a_status_that_knows_no_words_is_refused_at_once(bare, kind):
    class Own(BackfillSchema):
        status = kind()

    with pytest.raises(TypeError, match=r"Own\.status must be the field of BackfillSchema"):
        bare.serve(schema=Own)


@pytest.mark.parametrize("value", ["30s", "1k", "", None, True, -1, float("nan"), "1e99", [60]])
@pytest.mark.parametrize("name", list(DEFAULTS))
def test_a_number_of_the_config_that_is_none_is_refused_at_start(models, name, value):
    db, model, run_model = models
    app = Flask("mistaken")
    app.config[name] = value
    blueprint = BackfillBlueprint(model, db.session, authorize=allow_anyone, run_model=run_model)
    with pytest.raises(ValueError, match=f"{name}.*such as {DEFAULTS[name]}"):
        app.register_blueprint(blueprint)


def test_numbers_of_the_config_may_come_from_the_environment(own_runner, monkeypatch):
    for name, value in {"LEASE": "2.5", "MAX_RUNS": "3"}.items():
        monkeypatch.setenv(f"FLASK_BACKFILLS_{name}", value)
    own_runner.app.config.from_prefixed_env()
    own_runner.app.config["BACKFILLS_MAX_CONTENT_LENGTH"] = "200"
    window = {"start_datetime": "2023-07-01", "interval_type": "day", "interval_units": 1}
    sent = {**window, "end_datetime": "2023-07-04", "status": "initial"}
    assert "The limit is 3" in own_runner.put(sent).text
    assert own_runner.put({"name": "x" * 200}).status_code == 413
