"""The console, as its pages answer; in a browser it is in test_browser.py."""

import html
import re
import sqlite3
import unicodedata
from datetime import datetime

import pytest
import sqlalchemy as sa
from conftest import lacking
from conftest import sqlite_alone
from conftest import takes_seconds
from flask import abort
from flask import request
from jinja2 import StrictUndefined
from pages import Console
from pages import fields
from pages import labels
from pages import serve_console
from sqlalchemy import Column
from sqlalchemy import String

from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills.console import ConsoleBlueprint
from flask_backfills.rules.settings import SETTINGS

pytestmark = sqlite_alone

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1}
ATTACK = "\"><script>alert(1)</script><b a='{{ 98765 * 9 }}"


@pytest.fixture
def console(runner):
    return Console(runner)


@pytest.fixture
def started(runner):
    """A backfill of seven runs that wait."""
    return runner.post({**WEEK, "name": "July", "status": "initial"}).json["backfill"]["id"]


def test_the_list_has_name_pipeline_window_status_and_progress(console, runner, started):
    for run in runner.claim(limit=3):
        runner.finish(run, "completed")
    page = " ".join(console.get("").split())
    for told in ("July", "arwen_starlight", "running", "3 of 7", "10-16 Jul 2023, daily"):
        assert told in page
    assert re.search(r"about \d+ s left", page)
    assert "old_name" in page and "not started" in page


def test_a_backfill_without_a_name_that_waits_is_told_so(console, runner):
    started = runner.post({**WEEK, "status": "initial"}).json["backfill"]["id"]
    for path in ("", str(started), f"{started}/edit", f"{started}/cancel"):
        page = console.get(path)
        assert f"Unnamed #{started}" in page and ">waiting</span>" in page
    assert ">initial<" not in console.get("") + console.get(str(started))


def test_the_list_is_filtered_and_paged(console, runner):
    for number in range(25):
        runner.post({"name": f"n{number}"}, url="/api/pipelines/other/backfills")
    first, second = console.get("?pipeline=other"), console.get("?pipeline=other&page=2")
    assert "Page 1 of 2" in first and "Page 2 of 2" in second
    assert [f">n{number}<" in first for number in (24, 5, 4)] == [True, True, False]
    assert [f">n{number}<" in second for number in (5, 4, 0)] == [False, True, True]
    runner.put({"status": "failed"})
    page = console.get("?status=failed")
    assert "old_name" in page and ">n1<" not in page
    assert "No backfills match this filter." in console.get("?status=running")
    for query in ("?pipeline=nowhere", "?pipeline=%00"):
        assert "that you may see." in console.get(query)
    for query in ("?page=x", "?page=-1", "?status=lost", "?page=99999999999999999999"):
        console.get(query)


def test_a_backfill_shows_its_runs_in_their_order(console, runner, started):
    for run in runner.claim(limit=3):
        failed = run.key.startswith("2023-07-11")
        runner.finish(run, "failed" if failed else "completed", error=ATTACK if failed else None)
    runner.claim()
    page = console.get(str(started))
    cells = labels(page)
    assert [kind for kind, _ in cells] == [
        *("completed", "failed", "completed", "running", "initial", "initial", "initial")
    ]
    assert cells[0][1] == "2023-07-10: completed"
    assert cells[1][1].startswith("2023-07-11: failed. &#34;&gt;&lt;script&gt;")
    live = console.get(f"{started}/live")
    assert labels(live) == cells and 'data-active="true"' in live and "<html" not in live


def test_runs_of_a_generator_are_named_by_their_keys(console, runner):
    runner.blueprint.generator("parts")(lambda backfill: [{"key": "b"}, {"key": "a"}])
    runner.put({"block_uuid": "parts", "status": "initial"})
    assert {label for _, label in labels(console.get("6"))} == {"a: waiting", "b: waiting"}


def test_an_edit_shows_its_plan_before_it_is_saved(console, runner, started):
    form = console.form(f"{started}/edit")
    assert form["new-end_datetime"] == "2023-07-16 00:00:00"
    form |= {"new-end_datetime": "2023-07-18", "new-start_datetime": "2023-07-11", "do": "preview"}
    response = console.post(f"{started}/edit", form, 200)
    assert [kind for kind, _ in labels(response.text)] == ["drop", *["keep"] * 6, "add", "add"]
    assert labels(response.text)[0][1] == (
        "2023-07-10: to drop. No longer needed, and not started."
    )
    assert runner.get(f"/api/backfills/{started}")["end_datetime"] == "2023-07-16 00:00:00"
    form = {**fields(response.text), "do": "save"}
    assert form["new-end_datetime"] == "2023-07-18"
    assert console.post(f"{started}/edit", form).location == f"/backfills/{started}?did=saved"
    assert len(runner.rows(f"/api/backfills/{started}")) == 8


def test_what_would_happen_otherwise_by_now_is_shown_again(console, runner, started):
    form = {**console.form(f"{started}/edit"), "new-end_datetime": "2023-07-12", "do": "preview"}
    form = {**fields(console.post(f"{started}/edit", form, 200).text), "do": "save"}
    # One that was to be dropped runs by now.
    runner.put({"settings": {"order": "backwards"}}, f"/api/backfills/{started}")
    runner.claim()
    response = console.post(f"{started}/edit", form, 412)
    assert "The plan has changed since you saw it. Nothing was saved." in response.text
    assert runner.get(f"/api/backfills/{started}")["end_datetime"] == "2023-07-16 00:00:00"
    console.post(f"{started}/edit", {**fields(response.text), "do": "save"})
    assert runner.get(f"/api/backfills/{started}")["end_datetime"] == "2023-07-12 00:00:00"


def test_a_save_that_was_not_previewed_is_not_taken(console, runner, started):
    form = {**console.form(f"{started}/edit"), "new-end_datetime": "2023-07-12", "do": "save"}
    console.post(f"{started}/edit", form, 412)
    assert len(runner.rows(f"/api/backfills/{started}")) == 7


def test_the_form_names_every_setting(console, started):
    page = console.get(f"{started}/edit")
    assert [name for name in SETTINGS if name not in page] == []


def test_an_edit_that_runs_do_not_allow_keeps_what_was_typed(console, runner, started):
    runner.claim()
    form = {**console.form(f"{started}/edit"), "new-interval_units": "2", "do": "preview"}
    response = console.post(f"{started}/edit", form, 409)
    told = html.unescape(response.text)
    assert "The interval of running runs can't change." in told
    assert fields(response.text)["new-interval_units"] == "2"
    assert runner.get(f"/api/backfills/{started}")["interval_units"] == 1


def test_only_what_the_user_has_changed_is_sent(console, runner):
    form = {**console.form("6/edit"), "new-name": "mine", "do": "preview"}
    form = {**fields(console.post("6/edit", form, 200).text), "do": "save"}
    runner.put({"block_uuid": "theirs", "variables": {"a": 1}})
    console.post("6/edit", form)
    shown = runner.get()
    assert (shown["name"], shown["block_uuid"], shown["variables"]) == ("mine", "theirs", {"a": 1})


def test_errors_stand_at_their_fields(console, runner):
    before = runner.get()
    form = {**console.form("6/edit"), "new-interval_units": "0", "new-settings.order": "1"}
    page = console.post("6/edit", {**form, "do": "preview"}, 422).text
    for key, told in {
        "interval_units": "Must be greater than or equal to 1.",
        "settings.order": "Must be one of: forwards, backwards.",
    }.items():
        assert f'id="field-{key}-error"><bdi>{told}<' in page
        [tag] = re.findall(rf'<\w+ [^>]*id="field-{key}"[^>]*>', page)
        assert 'aria-invalid="true"' in tag and f"field-{key}-error" in tag
    assert fields(page)["new-interval_units"] == "0"
    page = console.post("6/edit", {**form, "new-variables": "{a", "do": "save"}, 422).text
    assert 'id="field-variables-error"><bdi>The text is not JSON: ' in page
    for text in ("[]", "1", '{"a": NaN}', "null", "[" * 20_000):
        console.post("6/edit", {**form, "new-variables": text, "do": "preview"}, 422)
    assert runner.get() == before


def test_what_is_wrong_with_what_is_stored_too_stands_at_a_field(console, runner):
    runner.put({"start_datetime": "2023-07-10"})
    form = {**console.form("6/edit"), "new-end_datetime": "2023-07-01", "do": "preview"}
    page = console.post("6/edit", form, 422).text
    assert 'id="field-end_datetime-error"><bdi>Must be on or after start_datetime.' in page


@pytest.mark.parametrize("text", [ATTACK, "\n leading\r\nlines\n"])
def test_names_are_text(console, runner, text):
    runner.put({"name": text, "variables": {"a": text}, "block_uuid": text})
    runner.post({"name": "x"}, url="/api/pipelines/%3Cb%3Eid/backfills")
    for path in ("", "6", "6/live", "6/edit", "6/delete"):
        page = console.get(path)
        assert "<script>alert" not in page and "888885" not in page and "<b>" not in page
    form = console.form("6/edit")
    assert form["new-name"] == form["was-name"]
    assert form["new-variables"].replace("\\r\\n", "\\n").count("script") == text.count("script")
    # Sent back as it is, it is no change.
    console.post("6/edit", {**form, "do": "preview"}, 200)


@takes_seconds
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_hidden_characters_are_spelled_out_on_every_page(own_runner):
    # What may turn, hide or cut the text around it; NUL is stored nowhere.
    found = (char for code in range(1, 0x110000) if (char := chr(code)) not in "\t\n\r")
    kinds = {"Cc", "Cf", "Zl", "Zp"}
    hidden = "".join(char for char in found if unicodedata.category(char) in kinds)
    assert {*"\x1b\x7f\x85\u200b\u200d\u200e\u202e\u2066\u2069\u2028\ufeff\u061c"} < {*hidden}
    runner, hostile, short = own_runner, f"a{hidden}b", "a\x1b\u200b\u202e\u2066\ufeffb"
    runner.app.json.ensure_ascii = False
    moment = datetime(2026, 1, 2)
    console = serve_console(runner, history=lambda backfill: [(moment, hostile, hostile)])
    with runner.app.app_context():
        [backfill] = runner.db.session.scalars(sa.select(runner.model))
        backfill.name = backfill.block_uuid = backfill.pipeline_uuid = short
        backfill.variables = backfill.metrics = {hostile: hostile}
        backfill.settings = {hostile: hostile, "max_failures": 9}
        old = {"status": short, "interval_type": short, "interval_units": 2}
        old |= {"start_datetime": moment, "end_datetime": moment, "pipeline_uuid": "p"}
        runner.db.session.add(runner.model(**old))
        runner.db.session.commit()
    keys = [{"key": f"{n}{hidden[n * 8 : n * 8 + 8]}"} for n in range(len(hidden) // 8 + 1)]
    keys[0]["variables"] = hostile
    runner.blueprint.generator(short)(lambda backfill: keys)
    console.post("6/start", console.form("6/start"))
    for run in runner.claim(limit=3):
        runner.finish(run, "failed", error=hostile)
    [run] = runner.claim(limit=1)
    texts = {}
    for path in ("", "?pipeline=x", "6", "6/live", "6/edit", "6/pause", "6/cancel", "7", "7/edit"):
        texts[path] = console.get(path)
    form = console.form("6/edit")
    assert form["new-block_uuid"] == short and form["new-variables"].count("\u202e")
    wrong = {
        **form,
        "new-variables": f'{{"{hostile}',
        "new-settings": f'{{"max_failurez{hostile}": 1}}',
    }
    texts["wrong"] = console.post("6/edit", {**wrong, "do": "save"}, 422).text
    wrong = {**form, "new-settings": f'{{"max_failures{hostile[-9:]}": 1}}'}
    texts["wrong setting"] = console.post("6/edit", {**wrong, "do": "save"}, 422).text
    assert runner.post({"block_uuid": f"{short}x"}).status_code == 201
    texts["refused"] = console.get("8/start", 422)
    texts["preview"] = console.post("6/edit", {**form, "new-name": "x", "do": "preview"}, 200).text
    runner.put({"metrics": {hostile * 2: 1}}, url="/api/backfills/6")
    overtaken = {**form, "new-metrics": "{}", "do": "preview"}
    texts["overtaken"] = console.post("6/edit", overtaken, 409).text
    for path, page in texts.items():
        # What a field or a choice holds is the very text; it is shown by itself.
        shown = re.sub(r"<textarea\b.*?</textarea>|\bvalue=\"[^\"]*\"", "", page, flags=re.DOTALL)
        assert not {*shown} & {*hidden}, path
        assert "[U+202E]" in shown, path


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_words_of_callers_do_not_turn_what_is_beside_them(own_runner):
    history = [(datetime(2026, 1, 2), "\u05d0 who", "\u05d0 what")]
    console = serve_console(own_runner, history=lambda backfill: history)
    own_runner.put({"name": "\u05d0 name", "variables": {"\u05d0": 1}})
    own_runner.put(WEEK)
    for path in ("", "6", "6/edit", "6/start"):
        page = console.get(path)
        for text in ("title", "textarea"):
            page = re.sub(rf"<{text}\b.*?</{text}>", "", page, flags=re.DOTALL)
        page = re.sub(r"<bdi>.*?</bdi>", "", page, flags=re.DOTALL)
        assert "\u05d0" not in re.sub(r"<[^>]*>", "", page), path


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", [" ", "\u200b\u202e", "\u3164", "\n"])
def test_a_name_that_can_not_be_seen_is_refused_and_shown_like_none(console, runner, name):
    for response in (runner.put({"name": name}), runner.post({"name": name})):
        assert response.status_code == 422
        assert response.json["error"]["errors"] == {"name": ["Must not be blank."]}
    form = {**console.form("6/edit"), "new-name": name, "do": "save"}
    assert "Must not be blank." in console.post("6/edit", form, 422).text
    with runner.app.app_context():
        runner.db.session.execute(sa.update(runner.model).values(name=name))
        runner.db.session.commit()
    assert re.search(r'href="/backfills/6"[^>]*><bdi>Unnamed #6</bdi></a>', console.get(""))
    assert "<title>Unnamed #6 - Backfills</title>" in console.get("6")
    # What is stored already may be sent back.
    assert runner.put({**runner.get(), "block_uuid": "new"}).status_code == 200


def test_it_works_where_a_template_may_not_use_what_is_undefined(own_runner):
    own_runner.app.jinja_env.undefined = StrictUndefined
    console = serve_console(own_runner, history=lambda backfill: [])
    own_runner.put(WEEK)
    for path in ("", "?page=2", "6", "6/live", "6/edit", "6/start", "6/delete"):
        console.get(path)
    console.get("7", 404)
    form = console.form("6/edit")
    console.post("6/start", {}, 403)
    console.post("6/edit", {**form, "new-name": "x", "do": "preview"}, 200)
    console.post("6/edit", {**form, "new-name": "x", "do": "save"}, 412)
    console.post("6/edit", {**form, "new-interval_units": "x", "do": "save"}, 422)
    console.post("6/start", console.form("6/start"))
    for run in own_runner.claim(limit=2):
        own_runner.finish(run, "failed", error="oh")
    own_runner.claim(limit=1)
    for path in ("", "6", "6/live", "6/pause", "6/cancel"):
        console.get(path)
    console.post("6/delete", form, 409)
    own_runner.put({"name": "theirs"})
    console.post("6/edit", {**form, "new-name": "x", "do": "save"}, 409)
    console.get("6/start", 409)


def test_a_host_with_apiflask_still_has_its_document(bare):
    try:
        import apiflask
    except ImportError:
        lacking('no APIFlask: it is in the extra "check"')
    app = apiflask.APIFlask("host")
    app.config.from_mapping(bare.app.config)
    bare.app = app
    bare.db.init_app(app)

    @app.get("/own")
    def own():
        return {}

    bare.serve(run_model=bare.run_model())
    console = serve_console(bare)
    document = app.test_client().get("/openapi.json")
    assert (document.status_code, list(document.json["paths"])) == (200, ["/own"])
    console.get("")
    console.get("7", 404)
    assert "text/html" in console.post("6/start", {}, 403).content_type
    assert "_status" not in bare.client.get("/api/backfills/7").json
    assert bare.put({"name": 1}).json["error"]["errors"]


def test_actions_say_what_they_do_and_do_it(console, runner, started):
    url = f"/api/backfills/{started}"

    def do(action):
        page = console.get(f"{started}/{action}")
        console.post(f"{started}/{action}", fields(page))
        return page

    assert "Running runs continue." in do("pause")
    assert runner.get(url)["settings"] == {"paused": True}
    assert ">paused<" in console.get(str(started))
    do("resume")
    for run in runner.claim(limit=7):
        runner.finish(run, "failed" if "-13T" in run.key else "completed")
    page = do("retry")
    assert [kind for kind, _ in labels(page)] == ["keep"] * 3 + ["redo"] + ["keep"] * 3
    assert runner.get(url)["status"] == "running"
    assert "All waiting and running runs are cancelled." in do("cancel")
    assert runner.get(url)["status"] == "cancelled"
    assert [kind for kind, _ in labels(do("start"))].count("redo") == 1
    do("cancel")
    assert "You can't undo it." in html.unescape(do("delete"))
    assert runner.client.get(url).status_code == 404
    console.get(str(started), 404)


def test_actions_that_are_not_possible_are_not_shown_and_are_refused(console, runner, started):
    page = console.get(str(started))
    shown = re.findall(r'id="do-(\w+)"', page)
    assert shown == ["pause", "edit", "duplicate", "cancel"]
    token = console.form(f"{started}/pause")["csrf_token"]
    for action, told in {
        "start": "The backfill is already waiting.",
        "delete": "Cancel it first, and delete it once no worker is at them.",
    }.items():
        response = console.post(f"{started}/{action}", {"csrf_token": token}, 409)
        assert told in response.text
    console.get("6/start", 422)
    assert runner.get(f"/api/backfills/{started}")["status"] == "initial"


def test_a_plan_that_has_changed_since_it_was_shown_is_not_started(console, runner):
    runner.put(WEEK)
    form = console.form("6/start")
    runner.put({"end_datetime": "2023-07-31"})
    console.post("6/start", form, 412)
    assert runner.get()["status"] is None


def test_a_form_without_a_plan_is_told_so_and_nothing_is_said_twice(console, runner):
    runner.put(WEEK)
    form = console.form("6/start")
    page = console.post("6/start", {**form, "plan": ""}, 412).text
    assert "This form has no plan." in page and page.count("Nothing was changed") == 1
    runner.put({"end_datetime": "2023-07-31"})
    page = console.post("6/start", form, 412).text
    assert "The plan has changed" in page and page.count("Nothing was changed") == 1
    runner.put({"status": "initial"})
    page = console.post("6/start", form, 409).text
    assert page.count("Nothing was changed") == 1
    assert "no plan" not in page


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        ({"csrf_token": None}, {}),
        ({"csrf_token": ""}, {}),
        ({"csrf_token": "IjEi.Zz.x"}, {}),
        ({}, {"Origin": "https://evil.example"}),
        ({}, {"Origin": "null"}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
        ({}, {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"}),
    ],
)
def test_another_site_changes_nothing(console, runner, data, headers):
    runner.put(WEEK)
    before = runner.get()
    for path in ("6/start", "6/delete"):
        form = {**console.form(path), **data}
        form = {key: value for key, value in form.items() if value is not None}
        assert "comes from another site" in console.post(path, form, 403, headers=headers).text
    assert runner.get() == before
    ours = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}
    console.post("6/start", console.form("6/start"), headers=ours)


def test_a_token_of_another_session_is_not_taken(console, runner):
    runner.put(WEEK)
    token = console.form("6/start")["csrf_token"]
    console.client = runner.app.test_client()
    form = {**console.form("6/start"), "csrf_token": token}
    console.post("6/start", form, 403)


def test_pages_load_only_their_own_files(console, started):
    for path in ("", "6", "6/edit", f"{started}/cancel", "pipeline/static/console.js"):
        response = console.client.get(f"/backfills/{path}")
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        if path != "pipeline/static/console.js":
            assert response.headers["Cache-Control"] == "private, no-cache"
            assert not re.search(r"style=|onclick=|<script>|<style|https?://", response.text)
        response.close()


@pytest.fixture
def guarded(bare):
    """A host where who has the cookie ``user`` may do what stands in it."""

    def authorize(action, pipeline_uuid):
        user = request.cookies.get("user")
        if user is None:
            abort(401)
        return f"{action}:{pipeline_uuid}" in user.split()

    bare.serve(run_model=bare.run_model(), authorize=authorize)
    with bare.app.app_context():
        bare.db.session.add(bare.model(pipeline_uuid="other", name="secret name"))
        bare.db.session.commit()

    @bare.app.errorhandler(401)
    def login(error):
        return "please log in", 401

    console = serve_console(bare)

    def become(*may):
        console.client.set_cookie("user", " ".join(may))
        return console

    console.become = become
    return console


def test_who_is_not_logged_in_is_the_apps_to_answer(guarded):
    for path in ("", "6", "6/live", "6/edit", "6/start"):
        assert guarded.get(path, 401) == "please log in"


def test_only_what_the_user_may_is_shown_and_works(guarded):
    guarded.become("nothing")
    guarded.get("", 200)
    assert "old_name" not in guarded.get("") and "secret name" not in guarded.get("")
    guarded.get("6", 404)
    guarded.become("list:arwen_starlight", "detail:arwen_starlight")
    page = guarded.get("")
    assert "old_name" in page and "secret name" not in page and "other" not in page
    assert "secret name" not in guarded.get("?pipeline=other")
    assert 'id="do-' not in guarded.get("6")
    for path in ("7", "7/edit"):
        guarded.get(path, 404)
    for path in ("6/edit", "6/start", "6/delete"):
        guarded.get(path, 403)
    guarded.become("detail:arwen_starlight", "update:arwen_starlight")
    assert re.findall(r'id="do-(\w+)"', guarded.get("6")) == ["start", "edit"]
    token = guarded.form("6/edit")["csrf_token"]
    guarded.post("6/delete", {"csrf_token": token}, 403)
    guarded.become("detail:arwen_starlight", "delete:arwen_starlight")
    assert re.findall(r'id="do-(\w+)"', guarded.get("6")) == ["delete"]
    guarded.post("6/edit", {"csrf_token": token, "new-name": "x", "do": "save"}, 403)
    guarded.post("6/delete", {"csrf_token": token})


def test_without_a_run_model_there_is_no_strip(host):
    console = Console(host)
    assert 'class="strip"' not in console.get("6")
    console.post("6/start", console.form("6/start"))
    shown = re.findall(r'id="do-(\w+)"', console.get("6"))
    assert shown == ["edit", "duplicate", "cancel", "delete"]
    form = {**console.form("6/edit"), "new-name": "new", "do": "preview"}
    page = console.post("6/edit", form, 200).text
    assert "No run changes." in page
    console.post("6/edit", {**fields(page), "do": "save"})
    assert host.get()["name"] == "new"


def test_changes_that_the_host_has_recorded_are_told(own_host):
    history = [(datetime(2026, 1, 2, 3, 4, 5), "Ann", f"name: {ATTACK}")]
    console = serve_console(own_host, history=lambda backfill: history)
    page = console.get("6")
    assert "<strong><bdi>Ann</bdi></strong> <bdi>name: &#34;&gt;&lt;script&gt;" in page
    history.clear()
    assert "No changes are recorded." in console.get("6")


def test_a_host_overrides_a_template(own_host, tmp_path):
    folder = tmp_path / "templates" / "backfills_console"
    folder.mkdir(parents=True)
    (folder / "base.html").write_text("<h1>Ours</h1>{% block main %}{% endblock %}")
    own_host.app.root_path = str(tmp_path)
    own_host.app.jinja_loader = None
    del own_host.app.jinja_loader
    assert serve_console(own_host).get("").startswith("<h1>Ours</h1>")


def test_keys_that_are_words_stand_in_the_paths(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        id = Column(String(20), primary_key=True)

    bare.serve(Backfill, seed={"id": "a/b c", "pipeline_uuid": "p", "name": "n"})
    with bare.app.app_context():
        bare.db.session.add(Backfill(id="ü?", pipeline_uuid="p", name="m"))
        bare.db.session.commit()
    console = serve_console(bare)
    [path] = re.findall(r'href="/backfills/([^"]+)"[^>]*><bdi>m<', console.get(""))
    assert "<h1><bdi>m</bdi></h1>" in console.get(path)


@pytest.mark.parametrize("key", ["static", "pipeline", "live", "runs", "console.css"])
def test_a_key_may_be_a_word_of_our_own_paths(bare, key):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        id = Column(String(20), primary_key=True)

    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        backfill_id = Column(String(20), nullable=False)

    bare.serve(Backfill, run_model=Run, seed={"id": key, "pipeline_uuid": "p", "name": "n"})
    console = serve_console(bare)
    bare.put({**WEEK, "interval_type": "day", "interval_units": 1}, f"/api/backfills/{key}")
    edit = f"{key}/edit"
    form = {**console.form(edit), "new-name": "m", "do": "preview"}
    console.post(edit, {**fields(console.post(edit, form, 200).text), "do": "save"})
    console.post(f"{key}/start", console.form(f"{key}/start"))
    page = console.get(key)
    assert "<h1><bdi>m</bdi></h1>" in page
    run = re.findall(r'href="/backfills/([^"]+/runs/\d+)"', console.get(f"{key}/runs"))[2]
    for path in (
        f"{key}/live",
        f"{key}/runs",
        f"{key}/live/runs",
        run,
        run.replace("/", "/live/", 1),
    ):
        assert "2023-07-12" in console.get(path), path
    console.post(f"{key}/cancel", console.form(f"{key}/cancel"))
    # The files of the pages are still there.
    files = re.findall(r'(?:href|src)="(/backfills/[^"]+/console\.\w+)"', page)
    for file in files:
        with console.client.get(file) as answer:
            assert answer.status_code == 200
    assert len(files) == 2
    console.post(f"{key}/delete", console.form(f"{key}/delete"))
    console.get(key, 404)


@takes_seconds
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_that_is_locked_is_a_503_page(host, database_url):
    host.wait_less_for_a_lock()
    console = Console(host)
    form = console.form("6/edit")
    with sqlite3.connect(database_url.removeprefix("sqlite:///")) as other:
        other.execute("BEGIN IMMEDIATE")
        response = console.post("6/edit", {**form, "new-name": "x", "do": "preview"}, 503)
        other.rollback()
    other.close()
    assert response.headers["Retry-After"] == "1"
    assert "locked or can't be reached" in html.unescape(response.text)


def test_a_console_without_a_secret_is_refused_when_it_is_registered(own_host):
    with pytest.raises(RuntimeError, match="SECRET_KEY"):
        own_host.app.register_blueprint(ConsoleBlueprint(own_host.blueprint))


def test_a_status_of_the_hosts_own_is_shown(console, runner, started):
    with runner.app.app_context():
        runner.db.session.execute(sa.text("UPDATE backfill_run SET status = 'skipped'"))
        runner.db.session.commit()
    page = runner.client.get(f"/backfills/{started}")
    assert page.status_code == 200 and "skipped" in page.text
