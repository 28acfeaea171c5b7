"""The OpenAPI document, which is served only where the host asks for it."""

import subprocess
import sys
import uuid

import pytest
import sqlalchemy as sa
from conftest import few
from conftest import takes_seconds
from conftest import URL
from flask import Flask
from jsonschema import Draft202012Validator
from marshmallow import fields
from marshmallow.validate import Length
from marshmallow.validate import OneOf
from openapi_spec_validator import validate

from flask_backfills import BackfillSchema
from flask_backfills.rules.lifecycle import STATUSES
from flask_backfills.rules.settings import SETTINGS
from flask_backfills.tables.fields import Choice
from flask_backfills.tables.fields import Text
from flask_backfills.tables.schema import ADDED

DOCUMENT = "/api/backfills/openapi.json"
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def routes(app):
    """The paths and methods that the routes take."""
    for rule in app.url_map.iter_rules():
        endpoint = rule.endpoint.removeprefix("backfills.")
        # Those that refuse are no operations.
        known = endpoint not in ("missing", "openapi") and not endpoint.startswith("not_")
        if rule.endpoint.startswith("backfills.") and known:
            path = rule.rule.removeprefix("/api")
            for converter in ("int:", "uuid:", "string:"):
                path = path.replace(f"<{converter}", "<")
            for method in rule.methods - {"HEAD", "OPTIONS"}:
                yield path.replace("<", "{").replace(">", "}"), method.lower()


@pytest.mark.parametrize("with_runs", few([True, False]))
def test_the_document_is_valid_and_has_every_route(bare, with_runs):
    runs = {"run_model": bare.run_model()} if with_runs else {}
    bare.serve(openapi=True, event_model=bare.event_model(), **runs)
    document = bare.client.get(DOCUMENT).json
    validate(document)
    told = {(p, m) for p, methods in document["paths"].items() for m in methods}
    assert told == set(routes(bare.app))
    change = document["components"]["schemas"]["BackfillUpdate"]
    assert change["additionalProperties"] is False
    assert change["properties"]["interval_units"]["minimum"] == 1
    assert change["properties"]["name"]["maxLength"] == 255
    assert "id" not in change["properties"]
    assert document["servers"] == [{"url": "/api"}]
    assert ("Run" in document["components"]["schemas"]) is with_runs


def test_the_document_is_for_those_who_may_list_unless_it_is_public(bare):
    asked = []

    def authorize(action, pipeline_uuid):
        asked.append((action, pipeline_uuid))
        return False

    bare.serve(authorize=authorize, openapi=True)
    assert bare.client.get(DOCUMENT).status_code == 403
    assert asked == [("list", "")]
    model, db = bare.model, bare.db
    bare.close()
    bare.app = Flask("another")
    bare.app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db.init_app(bare.app)
    public = {"public": True, "info": {"title": "Open"}}
    bare.serve(model, authorize=authorize, openapi=public)
    document = bare.client.get(DOCUMENT).json
    validate(document)
    assert (document["info"]["title"], "public" in document, len(asked)) == ("Open", False, 1)
    assert public["public"] is True


@takes_seconds
def test_a_model_of_the_hosts_own_is_described_as_it_is(bare):
    class Narrow(bare.db.Model):
        key = sa.Column(sa.Uuid, primary_key=True)
        pipeline_uuid = sa.Column(sa.String(50), nullable=False)
        name = sa.Column(sa.String(8), nullable=False)
        interval_type = sa.Column(sa.Enum("day", "hour", name="step"))

    seed = {"key": uuid.uuid4(), "pipeline_uuid": "p", "name": "n"}
    bare.serve(Narrow, seed=seed, openapi={"info": {"title": "Reruns", "version": "7"}})
    document = bare.client.get(DOCUMENT).json
    validate(document)
    assert document["info"] == {"title": "Reruns", "version": "7"}
    schemas = document["components"]["schemas"]
    new = schemas["BackfillCreate"]
    assert new["required"] == ["name"]
    assert set(new["properties"]) == {"name", "interval_type", *ADDED}
    assert schemas["IntervalType"]["enum"] == ["hour", "day"]
    assert named(new["properties"]["interval_type"]) == ["IntervalType", "null"]
    shown = schemas["Backfill"]["properties"]
    assert (shown["id"]["type"], shown["id"]["format"]) == (["string", "null"], "uuid")
    one = document["paths"]["/backfills/{backfill_id}"]
    schema = one["get"]["parameters"][0]["schema"]
    assert (schema["type"], schema["format"]) == ("string", "uuid")
    # The request of Mage's page, as far as this model takes it.
    content = one["put"]["requestBody"]["content"]["application/json"]
    assert content["example"] == {"backfill": {"name": "new_name"}}


@takes_seconds
def test_a_schema_of_the_hosts_own_is_described_as_it_is(bare):
    class Schema(BackfillSchema):
        name = Text(data_key="title", validate=Length(min=3))
        status = Choice(STATUSES, validate=OneOf(["initial", "cancelled"]))
        team = fields.String(
            attribute="block_uuid",
            validate=OneOf(["ocean", "land"]),
            metadata={"description": "Who asks.", "examples": ["ocean"]},
        )
        block_uuid = fields.String(dump_only=True)
        metrics = fields.Dict()
        pipeline_schedule_id = Text(validate=OneOf(["june", "july"]))

    bare.serve(schema=Schema, run_model=bare.run_model(), openapi=True)
    document = bare.client.get(DOCUMENT).json
    validate(document)
    schemas = document["components"]["schemas"]
    sent, shown = schemas["BackfillUpdate"]["properties"], schemas["Backfill"]["properties"]
    assert "name" not in sent and sent["title"]["minLength"] == 3
    assert "name" not in shown
    # A name can't be null, except where it is.
    assert sent["title"]["description"].startswith(shown["title"]["description"] + " Null may be")
    # Named, or generators would invent a name.
    assert schemas["BackfillBlockUuid"]["enum"] == ["ocean", "land"]
    assert named(sent["team"]) == ["BackfillBlockUuid", "null"]
    assert named(sent["metrics"]) == ["Metrics", "null"]
    assert schemas["BackfillPipelineScheduleId"]["enum"] == ["june", "july"]
    assert sent["team"]["description"] == "Who asks." and sent["team"]["examples"] == ["ocean"]
    assert shown["team"]["type"] == ["string", "null"]
    # Of two enums that would have one name, the narrower has its owner's in it.
    assert schemas["BackfillStatus"]["enum"] == ["initial", "cancelled"]
    assert named(sent["status"]) == ["BackfillStatus", "null"]
    assert named(schemas["Run"]["properties"]["status"]) == ["Status"]
    assert schemas["Status"]["enum"] == list(STATUSES)
    put = document["paths"]["/backfills/{backfill_id}"]["put"]
    content = put["requestBody"]["content"]["application/json"]
    assert content["example"]["backfill"]["title"] == "new_name"


# What generators make clients of


@pytest.fixture
def documented(lent, event_model):
    return lent(openapi=True, event_model=event_model)


@pytest.fixture
def document(documented):
    return documented.client.get(DOCUMENT).json


def operations(document):
    """Each operation, by its id."""
    every = [one for methods in document["paths"].values() for one in methods.values()]
    by_id = {one["operationId"]: one for one in every}
    assert len(by_id) == len(every)
    return by_id


def named(schema):
    """The components that a schema chooses from, and null."""
    choices = schema.get("anyOf", [schema])
    return [one["$ref"].split("/")[-1] if "$ref" in one else one["type"] for one in choices]


def test_each_operation_has_a_name_that_a_person_would_use(document):
    one = {f"{verb}_backfill" for verb in ("get", "update", "patch", "delete", "explain")}
    one |= {"list_runs"}
    one |= {f"{verb}_run" for verb in ("get", "update", "patch")} | {"update_runs", "patch_runs"}
    one |= {"get_history"}
    flat = {f"{name}_by_id" for name in one} | {"list_backfills_of_pipeline"}
    others = {"list_backfills", "create_backfill", "get_coverage"}
    assert operations(document).keys() == one | flat | others
    paths = document["paths"]
    nested = paths["/pipelines/{pipeline_uuid}/backfills/{backfill_id}"]
    assert nested["put"]["operationId"] == "update_backfill"
    assert paths["/backfills/{backfill_id}"]["put"]["operationId"] == "update_backfill_by_id"


def test_each_operation_says_what_it_does_and_has_a_tag(document):
    tags = {tag["name"] for tag in document["tags"]}
    for name, one in operations(document).items():
        assert one["summary"] and one["description"], name
        assert set(one["tags"]) <= tags and one["tags"], name
        assert all(parameter["description"] for parameter in one["parameters"]), name


def test_the_headers_that_a_client_needs_are_told(document):
    known = operations(document)
    for name, status, headers in (
        ("get_backfill", "200", {"ETag"}),
        ("create_backfill", "201", {"ETag", "Location"}),
        ("update_backfill_by_id", "200", {"ETag"}),
        ("update_backfill", "503", {"Retry-After"}),
    ):
        assert known[name]["responses"][status]["headers"].keys() == headers, name
    assert "headers" not in known["list_runs"]["responses"]["200"]


@pytest.mark.parametrize(
    "component",
    ["Backfill", "BackfillUpdate", "BackfillCreate", "Run", "Settings", "Plan", "Event"],
)
def test_each_attribute_and_setting_has_a_description_and_an_example(document, component):
    properties = document["components"]["schemas"][component]["properties"]
    for name, schema in properties.items():
        assert schema["description"], name
        left_alone = component != "Backfill" and name in ADDED
        if name != "entries" and not left_alone:
            assert schema["examples"], name
        if name.endswith(("_at", "_datetime", "_date")):
            assert "UTC" in schema["description"], name
    if component == "Settings":
        assert sorted(properties) == SETTINGS


def test_each_body_and_answer_and_each_object_in_them_has_a_name(document):
    def objects(schema, at):
        for key, value in schema.items():
            if key in ("examples", "example"):
                continue
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    kinds = one.get("type", [])
                    assert "object" not in kinds and "enum" not in one, (at, key, one)
                    objects(one, at)

    for name, one in operations(document).items():
        objects({key: one[key] for key in ("responses", "parameters")}, name)
        objects(one.get("requestBody", {}), name)
    for name, schema in document["components"]["schemas"].items():
        objects(schema, name)


def test_an_enum_that_may_be_null_is_one_type(document):
    schemas = document["components"]["schemas"]
    for schema in (schemas["Backfill"], schemas["BackfillUpdate"]):
        assert named(schema["properties"]["status"]) == ["Status", "null"]
        assert named(schema["properties"]["interval_type"]) == ["IntervalType", "null"]
    assert None not in schemas["Status"]["enum"] + schemas["IntervalType"]["enum"]


def test_ids_have_the_type_of_their_columns(document):
    schemas = document["components"]["schemas"]
    shown, run = schemas["Backfill"]["properties"], schemas["Run"]["properties"]
    # A create that is a dry run shows no id.
    assert shown["id"]["type"] == ["integer", "null"]
    assert shown["pipeline_uuid"]["type"] == "string"
    assert (run["id"]["type"], run["backfill_id"]["type"]) == ("integer", "integer")


def test_the_example_is_the_request_of_mages_page(document):
    content = operations(document)["update_backfill"]["requestBody"]["content"]
    example = content["application/json"]["example"]
    assert example["backfill"]["start_datetime"] == "2023-07-17 23:56:05"
    assert example["backfill"].keys() == {"start_datetime", "end_datetime", "name"}
    Draft202012Validator(resolved(document, "BackfillUpdateBody")).validate(example)


def resolved(document, component):
    """A schema that a validator can read: the document's, with a reference into it."""
    return {**document, "$ref": f"#/components/schemas/{component}"}


def test_what_a_get_shows_may_be_sent_back_as_the_document_has_it(documented, document):
    started = {"start_datetime": "2023-07-01", "end_datetime": "2023-07-03", "status": "initial"}
    started |= {"interval_type": "day", "interval_units": 1}
    assert documented.put(started).status_code == 200
    query = "include_run_count=true&include_preview_runs=true&include_forecast=true"
    answer = documented.client.get(f"{URL}?{query}").json
    Draft202012Validator(resolved(document, "BackfillAnswer")).validate(answer)
    update = document["components"]["schemas"]["BackfillUpdate"]
    assert answer["backfill"].keys() > ADDED
    sent = {key: answer["backfill"][key] for key in update["properties"]}
    assert sent.keys() > ADDED
    body = {"backfill": sent, "api_key": "k", "oauth_token": "t"}
    Draft202012Validator(resolved(document, "BackfillUpdateBody")).validate(body)
    assert (
        documented.client.put(f"{URL}?api_key=k&_http_error_codes=1", json=body).status_code == 200
    )


def test_a_forecast_is_as_the_document_has_it(documented, document):
    started = {"start_datetime": "2023-07-01", "end_datetime": "2023-07-09", "status": "initial"}
    started |= {"interval_type": "day", "interval_units": 1}
    assert documented.put(started).status_code == 200
    for run in documented.claim(limit=3):
        documented.end(run)
    for settings in ({}, {"paused": True}):
        documented.put({"settings": settings})
        answer = documented.client.get(f"{URL}?include_forecast=true").json
        assert answer["backfill"]["forecast"]["seconds"] is not None
        Draft202012Validator(resolved(document, "BackfillAnswer")).validate(answer)
    change = {"backfill": {"end_datetime": "2023-07-08"}}
    answer = documented.client.put(f"{URL}?dry_run=true", json=change).json
    assert answer["metadata"]["forecast"]["runs"] == 5
    Draft202012Validator(resolved(document, "BackfillSaved")).validate(answer)
    answer = documented.client.put(
        f"{URL}?dry_run=true", json=change, headers={"If-Plan-Match": "x"}
    )
    assert answer.status_code == 412
    Draft202012Validator(resolved(document, "Error")).validate(answer.json)


@pytest.mark.parametrize(
    "moment",
    [
        "2023-07-18",
        "2023-07-18 23:30",
        "2023-07-18T23:30:26.5",
        "2023-07-18T23:30:26Z",
        "2023-07-18 23:30:26+02",
        "2023-07-18T23:30:26-0230",
        "2023-07-18T23:30:26+02:00",
    ],
)
def test_the_document_knows_each_form_of_a_datetime(documented, document, moment):
    body = {"backfill": {"start_datetime": moment}}
    Draft202012Validator(resolved(document, "BackfillUpdateBody")).validate(body)
    assert documented.client.put(URL, json=body).status_code == 200


def test_it_is_off_unless_asked_for(host):
    assert host.client.get(DOCUMENT).status_code == 404


@takes_seconds
def test_a_host_that_does_not_ask_pays_nothing(database_url):
    code = "import flask_backfills, sys; print('apispec' in sys.modules, 'psycopg' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]
