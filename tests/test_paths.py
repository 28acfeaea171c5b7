"""What is answered below our paths where no view is, in which order a request is read, and as what."""

import json
import threading

import pytest
import sqlalchemy as sa
from conftest import LIST
from conftest import URL
from flask.json.provider import DefaultJSONProvider
from marshmallow import fields
from werkzeug.exceptions import abort
from werkzeug.test import EnvironBuilder
from werkzeug.test import run_wsgi_app

from flask_backfills import api_key
from flask_backfills import BackfillMixin
from flask_backfills import BackfillSchema

FLAT = "/api/backfills/6"

#: Paths and the methods that they have; no method of ours is HTML anywhere below.
ALLOWED = {
    LIST: {"GET", "POST"},
    "/api/backfills": {"GET"},
    URL: {"GET", "PUT", "PATCH", "DELETE"},
    FLAT: {"GET", "PUT", "PATCH", "DELETE"},
    f"{URL}/explain": {"GET"},
    f"{FLAT}/explain": {"GET"},
    f"{URL}/runs": {"GET", "PUT", "PATCH"},
    f"{FLAT}/runs": {"GET", "PUT", "PATCH"},
    f"{URL}/runs/1": {"GET", "PUT", "PATCH"},
    f"{FLAT}/runs/1": {"GET", "PUT", "PATCH"},
    f"{URL}/history": {"GET"},
    f"{FLAT}/history": {"GET"},
    "/api/pipelines/arwen_starlight/coverage": {"GET"},
    "/api/pipeline_runs": {"GET"},
    "/api/pipeline_runs/1": {"PUT"},
    "/api/pipeline_schedules/6/pipeline_runs": {"POST"},
}

MISSING = [
    f"{LIST}/",
    "/api/backfills/",
    f"{URL}/",
    f"{FLAT}/",
    f"{URL}/runs/",
    "/api/pipelines/arwen_starlight/coverage/",
    f"{URL}/history/",
    f"{URL}/history/1",
    f"{URL}/runs/1/2/3",
    f"{FLAT}/nothing",
    "/api/pipelines/a/b/backfills",
    "/api/pipelines/a/b/backfills/",
    "/api/pipelines/a/b/backfills/6/runs",
]

#: What no backfill is called, although Python and databases read a six, or too large a number.
STRANGE = [
    "six",
    "06",
    "+6",
    "6.0",
    "%206",
    "\uff16",
    "\u0666",
    "9" * 5000,
    "-6",
    "None",
    "%00",
    "6%0A",
]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def mage(lent, event_model):
    return lent(mage_routes=True, event_model=event_model)


@pytest.mark.parametrize("method", METHODS)
def test_every_answer_below_our_paths_is_json(mage, method):
    for path, allowed in ALLOWED.items():
        answer = mage.client.open(path, method=method, json={"other": {}})
        assert answer.mimetype == "application/json", (path, answer.text)
        if method not in allowed:
            assert (answer.status_code, answer.json["error"]["code"]) == (405, 405), path
            assert set(answer.allow) - {"HEAD", "OPTIONS"} == allowed
    for path in MISSING:
        answer = mage.client.open(path, method=method, json={})
        assert (answer.status_code, answer.json["error"]["code"]) == (404, 404), path


@pytest.mark.parametrize("key", STRANGE, ids=lambda key: key[:9])
def test_another_spelling_of_a_key_is_a_404(mage, key):
    for path in (f"{LIST}/{key}", f"/api/backfills/{key}"):
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            answer = mage.client.open(path, method=method, json={"backfill": {"name": "another"}})
            assert (answer.status_code, answer.json["error"]["code"]) == (404, 404), path
        assert mage.client.get(f"{path}/runs").status_code == 404
        assert mage.client.get(f"{path}/history").status_code == 404
    sent = {"pipeline_run": {"backfill_id": 6, "execution_date": "2023-07-01"}}
    path = f"/api/pipeline_schedules/{key}/pipeline_runs"
    assert mage.client.post(path, json=sent).status_code == 404
    sent = {"pipeline_run": {"status": "cancelled"}}
    assert mage.client.put(f"/api/pipeline_runs/{key}", json=sent).status_code == 404
    console = mage.app.test_client()
    assert console.get(f"/backfills/{key}").status_code == 404
    assert mage.get()["name"] == "old_name"


def test_options_tell_the_methods_of_each_path(mage):
    for path, allowed in ALLOWED.items():
        answer = mage.client.options(path)
        assert answer.status_code == 200
        assert set(answer.allow) == {*allowed, "OPTIONS", *(["HEAD"] if "GET" in allowed else [])}


def test_a_rule_of_the_hosts_own_comes_first(bare):
    from flask_backfills import allow_anyone
    from flask_backfills import BackfillBlueprint

    blueprint = BackfillBlueprint(bare.mixin_model(), bare.db.session, authorize=allow_anyone)
    blueprint.add_url_rule("/backfills", "import", lambda: "imported", methods=["POST"])
    blueprint.add_url_rule("/backfills/export", "export", lambda: "exported")
    bare.app.register_blueprint(blueprint)
    client = bare.app.test_client()
    told = client.post("/api/backfills").text, client.get("/api/backfills/export").text
    assert told == ("imported", "exported")


# In which order a request is read


class Slow:
    """A body that a caller sends only when it is told to."""

    def __init__(self, content):
        self.content = content
        self.asked, self.sent = threading.Event(), threading.Event()

    def read(self, size=-1):
        self.asked.set()
        assert self.sent.wait(20)
        content, self.content = self.content, b""
        return content

    def readline(self, size=-1):
        return self.read(size)


@pytest.mark.parametrize("path", [URL, FLAT])
def test_a_caller_who_sends_slowly_holds_no_connection(runner, path):
    if runner.app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        pytest.skip("its pool is the same; once is enough")
    content = json.dumps({"backfill": {"name": "late"}}).encode()
    body = Slow(content)
    environ = EnvironBuilder(path, method="PUT", content_type="application/json").get_environ()
    environ |= {"wsgi.input": body, "CONTENT_LENGTH": str(len(content))}
    statuses = []
    with runner.app.app_context():
        pool = runner.db.engine.pool
    free = pool.checkedout()

    def call():
        statuses.append(run_wsgi_app(runner.app, environ)[1])

    thread = threading.Thread(target=call)
    thread.start()
    assert body.asked.wait(20)
    held = pool.checkedout() - free
    body.sent.set()
    thread.join()
    assert (held, statuses, runner.get()["name"]) == (0, ["200 OK"], "late")


def test_who_may_not_is_refused_before_a_body_is_read(bare):
    bare.app.config["BACKFILLS_API_KEYS"] = ["right"]
    bare.serve(authorize=api_key())
    for path, method in ((URL, "PUT"), (LIST, "POST")):
        body = Slow(b"{}")
        environ = EnvironBuilder(path, method=method, content_type="application/json")
        environ = environ.get_environ() | {"wsgi.input": body, "CONTENT_LENGTH": "2"}
        assert run_wsgi_app(bare.app, environ)[1] == "401 UNAUTHORIZED"
        assert not body.asked.is_set()


# As what it is answered


class Camel(DefaultJSONProvider):
    """As hosts have whose own answers are for JavaScript."""

    def dumps(self, value, **options):
        def renamed(value):
            if isinstance(value, dict):
                return {key.title().replace("_", ""): renamed(one) for key, one in value.items()}
            return [renamed(one) for one in value] if isinstance(value, list) else value

        return super().dumps(renamed(value), **options)


def test_a_provider_of_the_hosts_own_renames_no_key_of_ours(bare):
    bare.app.json = Camel(bare.app)
    bare.serve(run_model=bare.run_model(), openapi=True)

    @bare.app.get("/theirs")
    def theirs():
        return {"their_own": 1}

    assert bare.client.get("/theirs").json == {"TheirOwn": 1}
    shown = bare.get()
    etag = bare.client.get(URL).headers["ETag"]
    as_json = {"content_type": "application/json"}
    sent = json.dumps({"backfill": {**shown, "name": "new"}})
    changed = bare.client.put(URL, data=sent, headers={"If-Match": etag}, **as_json)
    assert (changed.status_code, changed.json["backfill"]["name"]) == (200, "new")
    refused = bare.client.put(URL, data='{"backfill": {"nmae": 1}}', **as_json)
    assert refused.json["error"]["errors"].keys() == {"nmae"}
    assert bare.read(LIST)["metadata"]["count"] == 1
    assert bare.client.get("/api/backfills/openapi.json").json["openapi"] == "3.1.0"
    result = bare.app.test_cli_runner().invoke(args=["backfills", "show", "6", "--json"])
    assert json.loads(result.output)["backfill"]["name"] == "new"


# The version of a backfill


def test_what_workers_report_is_no_newer_version_to_edit(runner):
    runner.put({"start_datetime": "2023-07-01", "end_datetime": "2023-07-03"})
    runner.put({"interval_type": "day", "interval_units": 1})
    runner.put({"status": "initial"})
    one, *_ = runner.claim(limit=2)
    before = runner.client.get(URL).headers["ETag"]
    shown = runner.get()
    runner.end(one, "completed", {"rows": 1})
    after = runner.client.get(URL).headers["ETag"]
    assert after != before
    assert runner.put({"name": "a"}, headers={"If-Match": before}).status_code == 200
    # But it must not take back what they have reported.
    stale = runner.put({"metrics": {"rows": 0}}, headers={"If-Match": before})
    whole = runner.put({**shown, "name": "b"}, headers={"If-Match": before})
    assert (stale.status_code, whole.status_code) == (412, 412)
    assert runner.client.delete(URL, headers={"If-Match": before}).status_code == 412
    now = runner.client.get(URL).headers["ETag"]
    assert runner.put({"metrics": {"rows": 0}}, headers={"If-Match": now}).status_code == 200


@pytest.mark.parametrize("named", ["", '""', '"", "x"', 'W/""', ', ""', "x", '"*"', "\xff", ","])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_tag_that_no_version_has_is_a_412(runner, named, method):
    headers, sent = {"If-Match": named}, {"backfill": {"name": "new"}}
    answer = runner.client.open(URL, method=method, headers=headers, json=sent)
    assert (answer.status_code, answer.json["error"]["code"]) == (412, 412)
    assert runner.get()["name"] == "old_name"


def test_what_the_host_alone_writes_is_of_the_version(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        approved_by = sa.Column(sa.String(20))

    class Approved(BackfillSchema):
        approved_by = fields.String(dump_only=True)

    bare.serve(Backfill, schema=Approved, run_model=bare.run_model())
    before = bare.client.get(URL).headers["ETag"]
    with bare.app.app_context():
        bare.db.session.get(Backfill, 6).approved_by = "ada"
        bare.db.session.commit()
    assert bare.put({"name": "a"}, headers={"If-Match": before}).status_code == 412


def test_a_form_deletes_nothing(host):
    """Another site can send one, and some hosts let a form say which method it stands for."""
    for sent in ({"data": {"_method": "DELETE"}}, {"data": "x", "content_type": "text/plain"}):
        assert host.client.delete(URL, **sent).status_code == 415
    assert host.client.delete(URL, content_type="application/json").status_code == 200


def test_without_runs_every_attribute_is_for_callers_to_edit(host):
    before = host.client.get(URL).headers["ETag"]
    assert host.put({"metrics": {"rows": 1}}).status_code == 200
    assert host.put({"name": "a"}, headers={"If-Match": before}).status_code == 412


def test_an_abort_of_the_hosts_own_is_json_too(bare):
    bare.serve(authorize=lambda action, pipeline_uuid: abort(418))
    assert bare.client.get(URL).json["error"]["code"] == 418


@pytest.mark.parametrize("with_scope", [False, True])
def test_who_may_not_learns_nothing_from_how_much_of_a_row_is_read(bare, with_scope):
    """A row of a megabyte takes longer to read than one that is not there."""
    options = {"scope": lambda query: query.where(bare.model.name.is_not(None))}
    bare.serve(authorize=lambda action, of: False, **(options if with_scope else {}))
    read = []
    for url in (FLAT, "/api/backfills/7"):
        bare.statements.clear()
        assert bare.client.get(url).status_code == 404
        assert bare.put({"name": "a"}, url).status_code == 404
        assert bare.client.delete(url).status_code == 404
        read.append([*bare.statements])
    assert read[0] == read[1]
    assert read[0]
    assert not [one for one in read[0] if "variables" in one]
