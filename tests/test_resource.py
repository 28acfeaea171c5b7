"""Create, list, read, delete: the rest of the resource."""

from urllib.parse import quote
from urllib.parse import urljoin
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from conftest import LIST
from conftest import MOMENT
from conftest import URL
from flask import abort
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import synonym
from sqlalchemy.orm import validates

from flask_backfills import BackfillMixin
from flask_backfills import errors
from flask_backfills.tables.lists import pipelines

WEEK = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-07"}
WEEK |= {"interval_type": "day", "interval_units": 1}
FLAT = "/api/backfills"


def test_a_new_backfill_takes_every_attribute(host):
    sent = {**WEEK, "name": "n", "variables": {"a": 1}, "metrics": {}, "block_uuid": "b"}
    response = host.post(sent)
    assert response.status_code == 201
    location = response.headers["Location"]
    shown = host.get(location)
    assert response.json == {"backfill": shown}
    assert {k: shown[k] for k in ("name", "variables", "metrics", "block_uuid")} == {
        k: sent[k] for k in ("name", "variables", "metrics", "block_uuid")
    }
    assert (shown["pipeline_uuid"], shown["status"]) == ("arwen_starlight", None)
    assert shown["created_at"] and shown["updated_at"]
    etag = host.client.get(location).headers["ETag"]
    assert response.headers["ETag"] == etag
    assert host.put({"name": "m"}, location, headers={"If-Match": etag}).status_code == 200


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ({"id": 9}, {"id"}),
        ({"pipeline_uuid": "other"}, {"pipeline_uuid"}),
        ({"nonsense": 1, "interval_units": 0}, {"nonsense", "interval_units"}),
        ({"start_datetime": "2023-03-02", "end_datetime": "2023-03-01"}, {"end_datetime"}),
        ({"name": "x" * 300}, {"name"}),
    ],
)
def test_what_can_not_be_stored_is_not_created(host, sent, keys):
    response = host.post(sent)
    assert (response.status_code, response.json["error"]["errors"].keys()) == (422, keys)
    assert host.read(LIST)["metadata"]["count"] == 1


def with_defaults(db, nullable):
    """A model whose columns are filled by Python or by the database."""

    class Backfill(BackfillMixin, db.Model):
        __tablename__ = "backfill"
        variables = sa.Column(sa.JSON, nullable=nullable, default=dict)
        settings = sa.Column(sa.JSON(none_as_null=True), nullable=nullable, default={"mine": 1})
        interval_units = sa.Column(sa.Integer, nullable=nullable, server_default="1")
        unit = sa.Column(sa.String(16), nullable=nullable, default=lambda: "day")
        interval_type = synonym("unit")
        pipeline_schedule_id = sa.Column(sa.Integer, nullable=nullable, default=5)

        @validates("pipeline_schedule_id")
        def known(self, key, value):
            # A model knows the values of its attributes, and nothing else.
            return abs(value) if value else value

    return Backfill


DEFAULTS = {"variables": {}, "settings": {"mine": 1}, "pipeline_schedule_id": 5}
DEFAULTS |= {"interval_units": 1, "interval_type": "day"}
SOME = [[*DEFAULTS], *([key] for key in DEFAULTS)]


@pytest.mark.parametrize("keys", SOME, ids=str)
def test_a_null_that_was_sent_is_stored_where_a_default_fills_the_rest(bare, keys):
    bare.serve(with_defaults(bare.db, True), run_model=bare.run_model())
    sent = dict.fromkeys(keys)
    created = bare.post(sent)
    assert created.status_code == 201
    shown = bare.get(created.headers["Location"])
    assert created.json["backfill"] == shown
    assert {key: shown[key] for key in DEFAULTS} == {**DEFAULTS, **sent}
    would = bare.post(sent, f"{LIST}?dry_run=true").json["backfill"]
    assert {key: would[key] for key in keys} == sent
    # A plan needs a step, and the default would be one.
    start = bare.post({**WEEK, **sent, "status": "initial"})
    steps = {"interval_type", "interval_units"} & {*keys}
    assert start.status_code == (422 if steps else 201)
    assert start.json.get("error", {"errors": {}})["errors"].keys() == steps


@pytest.mark.parametrize("keys", SOME, ids=str)
def test_a_null_is_refused_where_a_default_fills_what_must_not_be_null(bare, keys):
    bare.serve(with_defaults(bare.db, False))
    refused = bare.put(dict.fromkeys(keys), bare.post({}).headers["Location"])
    assert refused.json["error"]["errors"] == {key: ["Field may not be null."] for key in keys}
    for url in (LIST, f"{LIST}?dry_run=true"):
        assert bare.post(dict.fromkeys(keys), url).json == refused.json


def test_a_null_may_be_sent_where_a_new_backfill_has_none(host):
    sent = {"id": None, "created_at": None, "name": None, "status": None, "variables": None}
    assert host.post(sent).status_code == 201


def test_a_pipeline_that_the_column_can_not_hold_is_refused(host):
    for pipeline in ("x" * 300, "a%00"):
        response = host.post({}, LIST.replace("arwen_starlight", pipeline))
        assert response.json["error"]["errors"].keys() == {"pipeline_uuid"}


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/", "/a", "a/b", "../a"])
def test_a_pipeline_that_no_url_reaches_is_not_created(host, name):
    with host.app.app_context(), pytest.raises(errors.Refused) as refused:
        host.blueprint.backfills.create(name, {"name": "x"})
    [reason] = refused.value.errors.pop("pipeline_uuid")
    assert reason.startswith("No URL reaches this name") and not refused.value.errors
    result = host.app.test_cli_runner().invoke(args=["backfills", "create", name])
    assert result.exit_code == 1 and f"pipeline_uuid: {reason}" in result.stderr
    response = host.post({}, f"/api/pipelines/{quote(name, safe='')}/backfills")
    assert response.status_code in ((422,) if name in (".", "..") else (404, 308))


@pytest.mark.parametrize(
    "name", [" ", "...", ".a", "a\\b", "%2F", "%2e", "a?b#c", "a;b=c", "\n", "ü"]
)
def test_every_other_pipeline_is_reached_by_its_location(host, name):
    made = host.post({}, f"/api/pipelines/{quote(name, safe='')}/backfills")
    # Clients resolve dots.
    path = urlsplit(urljoin("http://localhost/", made.headers["Location"])).path
    assert host.get(path)["pipeline_uuid"] == name


def test_a_pipeline_of_such_a_name_that_there_is_stays_readable(bare):
    bare.serve(seed={"id": 6, "pipeline_uuid": "a/b", "name": "old_name"})
    shown = bare.get("/api/backfills/6")
    assert shown["pipeline_uuid"] == "a/b"
    assert bare.put({**shown, "name": "new_name"}, "/api/backfills/6").status_code == 200
    [listed] = bare.read("/api/backfills?pipeline_uuid=a/b")["backfills"]
    assert listed["name"] == "new_name"


def test_what_a_model_needs_is_asked_for_at_once(bare):
    class Strict(bare.db.Model):
        id = sa.Column(sa.Integer, primary_key=True)
        pipeline_uuid = sa.Column(sa.String(50), nullable=False)
        name = sa.Column(sa.String(50), nullable=False)
        interval_type = sa.Column(sa.String(50), nullable=False, default="day")

    bare.serve(Strict, seed={"pipeline_uuid": "p", "name": "n"})
    response = bare.post({"interval_type": "x"})
    assert response.json["error"]["errors"].keys() == {"name", "interval_type"}
    assert bare.post({"name": None}).status_code == 422
    assert bare.post({"name": "x"}).json["backfill"]["interval_type"] == "day"


def test_pages_come_newest_first(host):
    names = [f"n{number}" for number in range(5)]
    for name in names:
        host.post({"name": name, "status": "running" if name in "n1n3" else None})
    host.post({"name": "elsewhere"}, LIST.replace("arwen_starlight", "other"))
    page = host.read(f"{LIST}?_limit=2&_offset=1")
    assert [b["name"] for b in page["backfills"]] == ["n3", "n2"]
    assert page["metadata"] == {"count": 6, "next": True}
    page = host.read(f"{FLAT}?pipeline_uuid=arwen_starlight&status=running")
    assert [b["name"] for b in page["backfills"]] == ["n3", "n1"]
    assert page["metadata"] == {"count": 2, "next": False}
    assert host.read(LIST.replace("arwen_starlight", "none"))["backfills"] == []
    assert host.read(LIST.replace("arwen_starlight", "a%00"))["backfills"] == []


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("_limit=0", "_limit"),
        ("_limit=101", "_limit"),
        ("_offset=-1", "_offset"),
        ("_offset=1" + "0" * 40, "_offset"),
        ("_limit=x", "_limit"),
        ("status=done", "status"),
        ("stauts=failed", "stauts"),
        ("include_run_count=maybe", "include_run_count"),
        ("_limit=1&_limit=2", "_limit"),
        ("%ff=1", "%FF"),
    ],
)
def test_a_query_that_makes_no_sense_is_a_422(host, query, key):
    response = host.client.get(f"{LIST}?{query}")
    assert response.status_code == 422
    assert response.json["error"]["errors"].keys() == {key}


def test_the_flat_list_needs_a_pipeline(host):
    response = host.client.get(FLAT)
    assert response.json["error"]["errors"].keys() == {"pipeline_uuid"}


def test_the_flat_paths_do_the_same(host):
    url = f"{FLAT}/6"
    assert host.get(url) == host.get()
    etag = host.client.get(url).headers["ETag"]
    assert host.put({"name": "x"}, url, headers={"If-Match": etag}).status_code == 200
    assert host.client.patch(url, json={"backfill": {"name": "y"}}).status_code == 200
    assert host.get()["name"] == "y"
    assert host.client.delete(url).status_code == 200
    assert host.client.get(url).json["error"]["type"] == "not_found"
    assert host.put({}, f"{FLAT}/abc").json["error"]["type"] == "not_found"


def refuse(pipeline):
    return False


def give_403(pipeline):
    abort(403, "Not in your team.")


@pytest.mark.parametrize("refusal", [refuse, give_403])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_flat_path_tells_no_more_than_a_missing_one(bare, refusal, method):
    asked = []

    def authorize(action, pipeline):
        asked.append(pipeline)
        return refusal(pipeline)

    bare.serve(authorize=authorize)
    answers = [
        bare.client.open(f"{FLAT}/{key}", method=method, json={"backfill": {}}) for key in (6, 7)
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text == answers[1].text
    # As often for one as for the other, since that takes time, too.
    assert asked in (["arwen_starlight", ""], ["arwen_starlight"] * 2 + [""] * 2)


def test_who_may_read_but_not_change_is_told_so(bare):
    bare.serve(authorize=lambda action, pipeline: action == "detail" and pipeline != "")
    for method in ("PUT", "PATCH", "DELETE"):
        for path, status in ((f"{FLAT}/6", 403), (f"{FLAT}/7", 404)):
            answer = bare.client.open(path, method=method, json={"backfill": {}})
            assert answer.status_code == status, (method, path)
    assert bare.client.get(f"{FLAT}/6").status_code == 200


def test_without_credentials_a_flat_path_is_a_401_either_way(bare):
    bare.serve(authorize=lambda action, pipeline: abort(401))
    assert {bare.client.get(f"{FLAT}/{key}").status_code for key in (6, 7)} == {401}


def test_each_route_asks_for_its_own_action(bare):
    asked = []

    def authorize(action, pipeline):
        asked.append((action, pipeline))
        return True

    bare.serve(authorize=authorize)
    bare.client.get(LIST)
    bare.client.get(f"{FLAT}?pipeline_uuid=p")
    bare.post({})
    bare.client.get(URL)
    bare.put({})
    bare.client.delete(URL)
    assert [action for action, _ in asked] == [
        "list",
        "list",
        "create",
        "detail",
        "update",
        "delete",
    ]
    assert asked[1] == ("list", "p")


def test_who_may_not_list_or_create_does_not(bare):
    bare.serve(authorize=lambda action, pipeline: False)
    assert bare.client.get(LIST).status_code == 403
    assert bare.client.get(f"{FLAT}?pipeline_uuid=p").status_code == 403
    assert bare.post({}).status_code == 403
    assert bare.client.delete(URL).status_code == 403


def test_a_delete_answers_with_what_was_deleted(host):
    before = host.get()
    assert host.client.delete(URL, headers={"If-Match": '"other"'}).status_code == 412
    assert host.get() == before
    response = host.client.delete(URL)
    assert (response.status_code, response.json) == (200, {"backfill": before})
    assert host.client.get(URL).status_code == 404
    assert host.client.delete(URL).status_code == 404


def test_a_scope_hides_from_lists_and_deletes_too(bare):
    bare.serve(scope=lambda query: query.where(sa.text("name = 'mine'")))
    assert bare.read(LIST)["metadata"]["count"] == 0
    assert bare.client.delete(URL).status_code == 404


def test_a_dry_run_answers_and_stores_nothing(host):
    before = host.get()
    assert host.put({"interval_units": 0}, f"{URL}?dry_run=true").status_code == 422
    response = host.put({"name": "new"}, f"{URL}?dry_run=true")
    assert (response.status_code, response.json["backfill"]["name"]) == (200, "new")
    assert "ETag" not in response.headers
    assert host.get() == before
    response = host.post({"name": "new"}, f"{LIST}?dry_run=true")
    assert (response.status_code, response.json["backfill"]["id"]) == (201, None)
    assert "Location" not in response.headers
    assert host.read(LIST)["metadata"]["count"] == 1


def test_without_a_run_model_the_window_is_counted(host):
    host.put(WEEK)
    shown = host.get(f"{URL}?include_run_count=true&include_preview_runs=true&_limit=1&_offset=2")
    assert shown["total_run_count"] == 7
    assert "run_status_counts" not in shown
    [run] = shown["pipeline_run_dates"]
    assert run == {
        "ds": "2023-03-03",
        "hr": "00",
        "execution_date": "2023-03-03 00:00:00",
        "interval_start_datetime": "2023-03-03 00:00:00",
        "interval_end_datetime": "2023-03-04 00:00:00",
        "interval_seconds": 86400,
        "interval_start_datetime_previous": "2023-03-02 00:00:00",
    }
    assert host.client.get(f"{URL}/runs").json["error"]["type"] == "not_found"
    with pytest.raises(RuntimeError, match="run_model"):
        host.claim()


def test_half_a_window_has_no_count(host):
    shown = host.get(f"{URL}?include_run_count=true&include_preview_runs=true")
    assert (shown["total_run_count"], shown["pipeline_run_dates"]) == (None, [])


def test_counts_of_a_page_take_as_many_statements_as_of_one(runner):
    for _ in range(12):
        runner.post({**WEEK, "status": "initial"})
    taken = []
    for limit in (1, 10):
        runner.statements.clear()
        page = runner.read(f"{LIST}?include_run_count=true&_limit={limit}")
        taken.append(len(runner.statements))
        assert {b["total_run_count"] for b in page["backfills"]} == {7}
        assert [b["run_status_counts"] for b in page["backfills"]] == [{"initial": 7}] * limit
    assert taken == [3, 3]


@pytest.mark.parametrize("old", [{"interval_units": -1}, {"interval_type": "fortnight"}])
def test_a_row_that_is_older_than_the_rules_stays_readable(bare, old):
    seed = {"id": 6, "pipeline_uuid": "arwen_starlight", "interval_type": "day"}
    seed |= {"interval_units": 1, "start_datetime": MOMENT, "end_datetime": MOMENT, **old}
    bare.serve(seed=seed, run_model=bare.run_model())
    query = "?include_run_count=true&include_preview_runs=true"
    shown = bare.get(URL + query)
    assert (shown["total_run_count"], shown["pipeline_run_dates"]) == (None, [])
    assert bare.read(LIST + "?include_run_count=true")["metadata"]["count"] == 1
    [key] = old
    response = bare.put({"status": "initial"})
    assert response.json["error"]["errors"].keys() == {key}
    assert bare.put({"name": "x"}).status_code == 200
    assert bare.put({"status": "initial", "interval_type": "day", "interval_units": 1}).json[
        "metadata"
    ]


#: What each database takes for the same.
ALIKE = {
    "sqlite": sa.String(50, collation="NOCASE"),
    "postgresql": postgresql.CITEXT(),
    "mariadb": sa.String(50),
}


@pytest.fixture
def alike(bare):
    """A host that has backfills of pipelines whose names the database takes for one."""
    name = bare.app.config["SQLALCHEMY_DATABASE_URI"].partition("+")[0].partition(":")[0]
    kind = ALIKE["mariadb" if name == "mysql" else name]

    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        id = sa.Column(kind, primary_key=True)
        pipeline_uuid = sa.Column(kind)

    if name == "postgresql":
        with bare.app.app_context(), bare.db.engine.begin() as connection:
            connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS citext"))
    bare.serve(Backfill, seed={"id": "a", "pipeline_uuid": "sales"})
    with bare.app.app_context():
        for place, pipeline_uuid in enumerate(("Sales", "SALES", "sales", "other")):
            bare.db.session.add(Backfill(id=str(place), pipeline_uuid=pipeline_uuid))
        if name == "mysql":
            bare.db.session.add(Backfill(id="b", pipeline_uuid="sales "))
            bare.db.session.add(Backfill(id="c", pipeline_uuid="s\u00e1les"))
        bare.db.session.commit()
    return bare


def test_a_list_has_no_row_of_a_pipeline_that_is_only_alike(alike):
    page = alike.read("/api/pipelines/sales/backfills")
    assert {one["pipeline_uuid"] for one in page["backfills"]} == {"sales"}
    assert page["metadata"]["count"] == len(page["backfills"]) == 2
    assert alike.read("/api/backfills?pipeline_uuid=Sales")["metadata"]["count"] == 1
    with alike.app.app_context():
        known = pipelines(alike.blueprint.host.table)
    assert {"SALES", "Sales", "other", "sales"} <= set(known) and len(known) in (4, 6)


def test_an_id_that_is_only_alike_is_a_404(alike):
    assert alike.client.get("/api/backfills/a").status_code == 200
    for url in ("/api/backfills/A", "/api/pipelines/sales/backfills/A", "/api/backfills/a%20"):
        assert alike.client.get(url).status_code == 404, url
        assert alike.put({"name": "x"}, url).status_code == 404, url


def test_a_page_of_too_many_bytes_is_refused_with_what_to_do(lent):
    host = lent()
    host.app.config["BACKFILLS_MAX_PAGE_LENGTH"] = 3000
    for _ in range(3):
        host.post({"variables": {"text": "x" * 2000}})
    refused = host.client.get(LIST)
    assert (refused.status_code, list(refused.json["error"]["errors"])) == (422, ["_limit"])
    assert "3,000 bytes" in refused.text
    assert len(host.read(f"{LIST}?_limit=1")["backfills"]) == 1
    host.app.config["BACKFILLS_MAX_PAGE_LENGTH"] = 9000
    assert len(host.read(LIST)["backfills"]) == 4
