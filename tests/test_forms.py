"""The forms of the console: what of a body is read, what changes something, whose change counts."""

import io
import json
import re
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from conftest import sqlite_alone
from flask import url_for
from flask_wtf import CSRFProtect
from pages import Console
from pages import fields
from pages import serve_console

from flask_backfills.changes.actions import ACTIONS

pytestmark = sqlite_alone

FORM = {"content_type": "application/x-www-form-urlencoded"}
POSTS = ("6/edit", *(f"6/{action}" for action in ACTIONS))


@pytest.fixture
def console(runner):
    return Console(runner)


class Body(io.RawIOBase):
    """A long form, which counts how much of it was read."""

    def __init__(self, size, content=b"a&"):
        self.left, self.content, self.taken = size, content, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        size = min(len(buffer), self.left)
        buffer[:size] = (self.content * (size // len(self.content) + 1))[:size]
        self.left -= size
        self.taken += size
        return size


def send(client, path, body, *, chunked):
    """POST a body, without its length where it is chunked."""
    told = {"wsgi.input": body, "CONTENT_LENGTH": str(body.left)}
    if chunked:
        told |= {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    return client.post(f"/backfills/{path}", environ_overrides=told, **FORM)


@pytest.mark.parametrize("chunked", [False, True])
def test_of_who_may_not_nothing_is_read(runner, chunked):
    runner.blueprint.authorize = lambda action, pipeline_uuid: False
    for path in POSTS:
        body = Body(40_000_000)
        assert send(runner.client, path, body, chunked=chunked).status_code == 404
        assert body.taken == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_form_that_is_too_long_is_not_parsed(runner, chunked):
    runner.app.config["BACKFILLS_MAX_CONTENT_LENGTH"] = 100_000
    before = runner.get()
    for path in POSTS:
        body = Body(40_000_000, b"name=" + b"x" * 1000)
        response = send(runner.client, path, body, chunked=chunked)
        assert (response.status_code, response.mimetype) == (413, "text/html")
        assert "This form is too long." in response.text
        assert body.taken <= (900_000 if chunked else 0)
    assert runner.get() == before


@pytest.mark.parametrize("chunked", [False, True])
def test_a_form_of_very_many_fields_is_not_parsed(runner, chunked):
    body = Body(1_000_000)
    assert send(runner.client, "6/edit", body, chunked=chunked).status_code == 413
    # The limit is the last byte that is taken: only its token is missing.
    runner.app.config["BACKFILLS_MAX_CONTENT_LENGTH"] = 100
    for size, status in ((800, 403), (801, 413)):
        body = Body(size, b"x")
        assert send(runner.client, "6/edit", body, chunked=chunked).status_code == status
    assert send(runner.client, "6/edit", Body(1998), chunked=chunked).status_code == 413


class Cut(Body):
    """A form whose client goes away."""

    def readinto(self, buffer):
        if not self.left:
            raise OSError("the connection is gone")
        return super().readinto(buffer)


def test_a_form_that_is_cut_is_a_400(runner):
    for path in POSTS:
        response = send(runner.client, path, Cut(100), chunked=True)
        assert (response.status_code, response.mimetype) == (400, "text/html")


def test_a_body_that_is_no_form_is_refused(runner):
    for sent in ({"json": {"name": "x"}}, {"data": {"a": (io.BytesIO(b"x"), "a.txt")}}):
        assert runner.client.post("/backfills/6/edit", **sent).status_code == 415
    assert runner.client.post("/backfills/6/edit").status_code == 403


def test_a_long_text_that_the_api_has_taken_can_be_edited(host):
    # Percent-encoded, and twice in the form, it is far longer than the API's limit.
    long = {"ü": "ü" * 100_000}
    sent = json.dumps({"backfill": {"variables": long}}, ensure_ascii=False)
    put = host.client.put("/api/backfills/6", data=sent, content_type="application/json")
    assert put.status_code == 200
    console = Console(host)
    form = {**console.form("6/edit"), "new-name": "new", "do": "preview"}
    form = fields(console.post("6/edit", form, 200).text)
    console.post("6/edit", {**form, "do": "save"})
    assert (host.get()["name"], host.get()["variables"]) == ("new", long)


def urls(app, run_id):
    """Each URL of the console, and the methods that its rules name."""
    found = {}
    with app.test_request_context():
        for rule in app.url_map.iter_rules():
            if rule.endpoint.startswith("console."):
                given = {"backfill_id": 6, "run_id": run_id, "make": "retry"}
                given |= {"action": "", "filename": "console.js"}
                for action in ACTIONS if "action" in rule.arguments else ("",):
                    parts = {key: given[key] for key in rule.arguments} | {"action": action}
                    parts = {key: parts[key] for key in rule.arguments}
                    url = url_for(rule.endpoint, **parts)
                    found.setdefault(url, []).append(rule.methods)
    return found


def test_only_a_post_changes_something(console, runner):
    window = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-12"}
    runner.put({**window, "interval_type": "day", "interval_units": 1, "status": "initial"})
    runner.put({"status": "cancelled"})
    form = {**console.form("6/edit"), "new-name": "new", "do": "save"}
    tables = f"{[runner.get()]} {runner.rows()} {runner.read('/api/pipelines/x/backfills')}"
    found = urls(runner.app, runner.rows()[0]["id"])
    assert {f"/backfills/{path}" for path in POSTS} < found.keys()
    for url, rules in found.items():
        for methods in rules:
            # A view is for one or the other.
            assert methods in ({"GET", "HEAD", "OPTIONS"}, {"POST", "OPTIONS"}), url
        posts = any("POST" in methods for methods in rules)
        for method in ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "POST"):
            if method == "POST" and posts:
                continue
            response = runner.client.open(url, method=method, data=form)
            reads = method in ("GET", "HEAD", "OPTIONS")
            assert response.status_code in ((200, 422, 409) if reads else (405,)), (method, url)
            response.close()
            if method == "OPTIONS":
                allowed = {"GET", "HEAD", "OPTIONS"} | ({"POST"} if posts else set())
                assert set(response.allow) == allowed
    assert f"{[runner.get()]} {runner.rows()} {runner.read('/api/pipelines/x/backfills')}" == tables
    console.post("6/delete", form)
    assert runner.client.get("/api/backfills/6").status_code == 404


def edit(console, path="6/edit", **changed):
    """A form in which the user has changed something, and has seen the plan."""
    form = {**console.form(path), **{f"new-{key}": text for key, text in changed.items()}}
    return {**fields(console.post(path, {**form, "do": "preview"}, 200).text), "do": "save"}


@pytest.mark.parametrize(
    ("key", "mine", "theirs", "shown"),
    [
        ("name", "mine", "theirs", "theirs"),
        ("name", "mine", "<i>\x1bb", "&lt;i&gt;[U+001B]b"),
        ("variables", '{"a": 1}', {"a": 2}, "{\n  &#34;a&#34;: 2\n}"),
        ("variables", "", {"a": 3}, "{\n  &#34;a&#34;: 3\n}"),
        ("interval_units", "2", 3, "3"),
        ("interval_type", "day", "week", "week"),
        ("metrics", '{"a": 1}', {}, "{}"),
        ("end_datetime", "2023-01-02", "2024-01-02", "2024-01-02 00:00:00"),
    ],
)
def test_what_somebody_else_has_stored_is_not_written_over(
    console, runner, key, mine, theirs, shown
):
    runner.put({"variables": {"a": 0}})
    form = edit(console, **{key: mine})
    runner.put({key: theirs})
    stored = runner.get()
    for do in ("preview", "save"):
        page = console.post("6/edit", {**form, "do": do}, 409).text
        assert runner.get() == stored
    assert "Somebody else has changed the same fields" in page
    told = (
        rf'id="field-{key}-stored">Somebody else has stored: <span class="stored"><bdi>(.*?)</bdi>'
    )
    assert re.search(told, page, re.DOTALL)[1] == shown
    [tag] = re.findall(rf'<\w+ [^>]*id="field-{key}"[^>]*>', page)
    assert 'aria-invalid="true"' in tag and f"field-{key}-stored" in tag
    form = fields(page)
    assert form[f"new-{key}"] == mine
    # The user has seen both, and decides.
    form = fields(console.post("6/edit", {**form, "do": "preview"}, 200).text)
    console.post("6/edit", {**form, "do": "save"})
    assert runner.get()[key] != stored[key]


def test_what_somebody_else_has_cleared_is_told(console, runner):
    runner.put({"block_uuid": "load"})
    form = edit(console, block_uuid="mine")
    runner.put({"block_uuid": None})
    page = console.post("6/edit", form, 409).text
    assert 'id="field-block_uuid-stored">Somebody else has cleared this.' in page
    # Of attributes that are folded away, those that the user has changed are in sight.
    form = edit(console, metrics='{"a": 1}')
    runner.put({"metrics": {"a": 2}})
    assert "<details open>" in console.post("6/edit", form, 409).text


def test_two_who_want_the_same_do_not_disagree(console, runner):
    form = edit(console, name="ours", interval_units="2")
    runner.put({"name": "ours"})
    console.post("6/edit", form)
    assert (runner.get()["name"], runner.get()["interval_units"]) == ("ours", 2)


def test_what_is_stored_is_compared_once_it_is_locked(console, runner):
    form = edit(console, name="mine")
    rename = sa.update(runner.model).values(name="hers")

    class Late(Body):
        """A form that arrives when the backfill was read and is not locked yet."""

        def readinto(self, buffer):
            if not self.taken:
                with runner.db.engine.begin() as other:
                    other.execute(rename)
            return super().readinto(buffer)

    content = urlencode(form).encode()
    response = send(console.client, "6/edit", Late(len(content), content), chunked=False)
    assert (response.status_code, runner.get()["name"]) == (409, "hers")


@pytest.fixture
def guarded(own_runner):
    """A host whose forms Flask-WTF protects, and its console."""
    own_runner.app.config["WTF_CSRF_FIELD_NAME"] = "their_token"
    console = serve_console(own_runner)
    CSRFProtect(own_runner.app)
    return console


def test_a_console_takes_the_token_that_the_app_takes(guarded, own_runner):
    own_runner.put({"start_datetime": "2023-07-10", "end_datetime": "2023-07-11"})
    form = guarded.form("6/edit")
    assert "their_token" in form and "csrf_token" not in form
    form |= {"new-name": "new", "do": "preview"}
    page = guarded.post("6/edit", form, 200).text
    guarded.post("6/edit", {**fields(page), "do": "save"})
    assert own_runner.get()["name"] == "new"
    for token in ({}, {"their_token": "x"}, {"csrf_token": form["their_token"]}):
        guarded.post("6/delete", token, 400)
    guarded.post("6/delete", {"their_token": form["their_token"]})


def test_a_token_that_the_app_takes_from_a_header_is_taken(guarded):
    token = guarded.form("6/edit")["their_token"]
    guarded.post("6/delete", {}, headers={"X-CSRFToken": token})


def test_the_name_of_the_token_is_the_apps_without_its_protection_too(runner):
    runner.app.config["WTF_CSRF_FIELD_NAME"] = "their_token"
    console = Console(runner)
    form = console.form("6/delete")
    assert "csrf_token" not in form
    console.post("6/delete", {"csrf_token": form["their_token"]}, 403)
    console.post("6/delete", form)


def test_what_the_apps_protection_reads_is_limited_too(guarded, own_runner):
    for chunked in (False, True):
        body = Body(40_000_000)
        assert send(own_runner.client, "6/edit", body, chunked=chunked).status_code == 413
        assert body.taken <= 9_000_000


@pytest.mark.parametrize("testing", [True, False])
def test_tokens_are_off_only_where_the_app_is_tested(runner, testing):
    runner.app.config.update(WTF_CSRF_ENABLED=False, TESTING=testing)
    console = Console(runner)
    evil = {"Origin": "https://evil.example"}
    assert runner.client.post("/backfills/6/delete", headers=evil).status_code == 403
    console.post("6/delete", {}, 303 if testing else 403)


@pytest.mark.parametrize("order", ["before", "after", "later"])
def test_the_api_needs_no_token_of_the_apps_protection(modelled, models, order):
    csrf = CSRFProtect()
    _, model, run_model = models
    modelled.app.secret_key = "secret"
    if order == "before":
        csrf.init_app(modelled.app)
    modelled.register(model, run_model=run_model, mage_routes=True)
    if order == "after":
        csrf = CSRFProtect(modelled.app)

    @modelled.app.post("/own")
    def own():
        return "done"

    modelled.fill()
    if order == "later":
        csrf.init_app(modelled.app)
    modelled.open()
    assert modelled.put({"name": "new"}).status_code == 200
    assert modelled.post({"name": "other"}).status_code == 201
    assert modelled.client.patch("/api/backfills/6", json={"backfill": {}}).status_code == 200
    assert modelled.client.delete("/api/backfills/6").status_code == 200
    assert modelled.client.put("/api/backfills/x", json={}).status_code == 404
    # No form, as before.
    assert modelled.client.post("/api/pipelines/p/backfills", data={"a": "b"}).status_code == 415
    # Nothing else of the app is exempt.
    assert modelled.client.post("/own").status_code == 400


def test_a_view_that_a_host_adds_to_the_blueprint_stays_protected(modelled, models):
    from flask_backfills import allow_anyone
    from flask_backfills import BackfillBlueprint

    class Blueprint(BackfillBlueprint):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.add_url_rule("/own", "own", self.own_view, methods=["POST"])

        def own_view(self):
            return "done"

    _, model, _ = models
    modelled.app.secret_key = "secret"
    modelled.serve(model, blueprint=Blueprint, authorize=allow_anyone)
    CSRFProtect(modelled.app)
    assert modelled.put({"name": "new"}).status_code == 200
    assert modelled.client.post("/api/own").status_code == 400
