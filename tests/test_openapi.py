"""The OpenAPI document, which is served only where the host asks for it."""

import subprocess
import sys
import uuid

import pytest
import sqlalchemy as sa
from openapi_spec_validator import validate

DOCUMENT = "/api/backfills/openapi.json"
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def routes(app):
    """The paths and methods that the routes take."""
    for rule in app.url_map.iter_rules():
        endpoint = rule.endpoint.removeprefix("backfills.")
        if rule.endpoint.startswith("backfills.") and endpoint not in ("missing", "openapi"):
            path = rule.rule.removeprefix("/api")
            for converter in ("int:", "uuid:", "string:"):
                path = path.replace(f"<{converter}", "<")
            for method in rule.methods - {"HEAD", "OPTIONS"}:
                yield path.replace("<", "{").replace(">", "}"), method.lower()


@pytest.mark.parametrize("with_runs", [True, False])
def test_the_document_is_valid_and_has_every_route(bare, with_runs):
    runs = {"run_model": bare.run_model()} if with_runs else {}
    bare.serve(openapi=True, **runs)
    document = bare.client.get(DOCUMENT).json
    validate(document)
    told = {(p, m) for p, methods in document["paths"].items() for m in methods}
    assert told == set(routes(bare.app))
    change = document["components"]["schemas"]["Change"]["properties"]["backfill"]
    assert change["additionalProperties"] is False
    assert change["properties"]["interval_units"]["minimum"] == 1
    assert change["properties"]["name"]["maxLength"] == 255
    assert "id" not in change["properties"]
    assert document["servers"] == [{"url": "/api"}]


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
    new = document["components"]["schemas"]["New"]["properties"]["backfill"]
    assert new["required"] == ["name"]
    assert set(new["properties"]) == {"name", "interval_type"}
    assert new["properties"]["interval_type"]["enum"] == ["hour", "day", None]
    one = document["paths"]["/backfills/{backfill_id}"]["get"]["parameters"]
    assert one[0]["schema"] == {"type": "string", "format": "uuid"}


def test_it_is_off_unless_asked_for(host):
    assert host.client.get(DOCUMENT).status_code == 404


def test_a_host_that_does_not_ask_pays_nothing(database_url):
    code = "import flask_backfills, sys; print('apispec' in sys.modules, 'psycopg' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]
