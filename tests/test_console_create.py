"""A new backfill in the console, and a copy of one."""

import html
import re
from datetime import datetime
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from conftest import in_detail
from conftest import sqlite_alone
from pages import Console
from pages import fields
from pages import labels
from pages import serve_console
from sqlalchemy import Column
from sqlalchemy import Integer
from sqlalchemy import String

pytestmark = [in_detail, sqlite_alone]

WEEK = {"new-start_datetime": "2023-07-10", "new-end_datetime": "2023-07-16"}
WEEK |= {"new-interval_type": "day", "new-interval_units": "1"}
PATH = "pipeline/create"


@pytest.fixture
def console(runner):
    return Console(runner)


def previewed(console, **values):
    """The form once its plan was shown."""
    form = {**console.form(PATH), **WEEK, "pipeline": "weather", **values, "do": "preview"}
    return console.post(PATH, form, 200).text


def listed(runner, pipeline="weather"):
    return runner.read(f"/api/pipelines/{pipeline}/backfills")["backfills"]


def test_the_plan_is_shown_before_anything_is_stored(console, runner):
    page = previewed(console, **{"new-name": "Seven days"})
    assert [kind for kind, _ in labels(page)] == ["add"] * 7
    assert fields(page)["new-name"] == "Seven days" and listed(runner) == []
    response = console.post(PATH, {**fields(page), "do": "start"})
    [stored] = listed(runner)
    assert response.location == f"/backfills/{stored['id']}?did=start"
    assert (stored["name"], stored["status"]) == ("Seven days", "initial")
    assert len(runner.rows(f"/api/backfills/{stored['id']}")) == 7


def test_create_alone_starts_nothing(console, runner):
    form = {**fields(previewed(console)), "do": "create", "new-variables": '{"a": 1}'}
    form = fields(console.post(PATH, form, 412).text)
    response = console.post(PATH, {**form, "do": "create"})
    [stored] = listed(runner)
    assert response.location == f"/backfills/{stored['id']}?did=created"
    assert (stored["status"], stored["variables"]) == (None, {"a": 1})
    assert runner.rows(f"/api/backfills/{stored['id']}") == []


@pytest.mark.parametrize("do", ["create", "start"])
def test_what_was_not_shown_is_not_stored(console, runner, do):
    form = {**console.form(PATH), **WEEK, "pipeline": "weather", "do": do}
    assert "Nothing was stored yet." in console.post(PATH, form, 412).text
    form = {**fields(previewed(console)), "new-end_datetime": "2023-07-20", "do": do}
    page = console.post(PATH, form, 412).text
    assert len(labels(page)) == 10 + 1 and listed(runner) == []
    console.post(PATH, {**fields(page), "do": do})
    assert len(listed(runner)) == 1


def test_a_form_that_is_sent_twice_makes_one(console, runner):
    form = {**fields(previewed(console)), "do": "start"}
    first, second = console.post(PATH, form), console.post(PATH, form)
    assert first.location == second.location and len(listed(runner)) == 1
    page = console.post(PATH, {**form, "new-name": "another"}, 422).text
    assert "This form has made a backfill already." in page and len(listed(runner)) == 1
    again = fields(console.post(PATH, {**fields(page), "do": "preview"}, 200).text)
    console.post(PATH, {**again, "do": "start"})
    assert len(listed(runner)) == 2


def test_errors_stand_at_their_fields_and_nothing_is_lost(console, runner):
    wrong = {"new-start_datetime": "10/07/2023", "new-interval_units": "0", "new-name": "kept"}
    form = {**console.form(PATH), **WEEK, **wrong, "pipeline": "weather", "do": "preview"}
    page = console.post(PATH, form, 422).text
    for name in ("field-start_datetime", "field-interval_units"):
        assert f'id="{name}-error"' in page
        [tag] = re.findall(rf'<input[^>]*id="{name}"[^>]*>', page)
        assert 'aria-invalid="true"' in tag and f"{name}-error" in tag
    assert fields(page)["new-name"] == "kept"
    page = console.post(PATH, {**form, "new-variables": "{a"}, 422).text
    assert 'id="field-variables-error"' in page
    for pipeline, status in (("", 422), (" ", 422), ("a/../b\x00", 422)):
        page = console.post(PATH, {**form, **WEEK, "pipeline": pipeline}, status).text
        assert 'id="new-pipeline-error"' in page
    window = {"new-start_datetime": "2023-07-17", "new-interval_units": "1"}
    page = console.post(PATH, {**form, **window}, 422).text
    assert "Must be on or after start_datetime." in page
    assert listed(runner) == []


@pytest.mark.parametrize("pipelines", [False, True])
def test_all_that_is_missing_is_told_at_once(own_runner, pipelines):
    """Be there pipelines already, or not."""
    console = serve_console(own_runner)
    if not pipelines:
        own_runner.client.delete("/api/backfills/6")
    form = {**console.form(PATH), "do": "preview"}
    for more in ({}, {"pipeline": " "}, {"new-variables": ""}):
        page = console.post(PATH, {**form, **more}, 422).text
        errors = dict(re.findall(r'class="error" id="([\w-]+)">(?:<bdi>)?([^<]*)', page))
        assert errors.keys() == {
            "new-pipeline-error",
            "field-start_datetime-error",
            "field-end_datetime-error",
        }
        assert errors["new-pipeline-error"] == "Choose a pipeline, or write the name of one."
    page = console.post(PATH, {**form, **WEEK, "new-interval_units": "0"}, 422).text
    assert set(re.findall(r'class="error" id="([\w-]+)"', page)) == {
        "new-pipeline-error",
        "field-interval_units-error",
    }
    # What is right but for the pipeline is only asked for it.
    page = console.post(PATH, {**form, **WEEK}, 422).text
    assert re.findall(r'class="error" id="([\w-]+)"', page) == ["new-pipeline-error"]
    assert "What will happen when it starts" not in page


@pytest.mark.parametrize(
    ("end", "told"), [("inclusive", "Included"), ("exclusive", "Not included")]
)
def test_the_form_says_whether_the_end_is_included(lent, end, told):
    """As the plan then does it."""
    host = lent(end=end)
    console = Console(host)
    for page in (console.get(PATH), console.get("6/edit")):
        [hint] = re.findall(r'id="field-end_datetime-hint">([^<]*)', page)
        assert hint.startswith(f"{told}: the last run begins ")
        assert 'aria-describedby="field-end_datetime-hint"' in page
    days = [label for _, label in labels(previewed(console))]
    assert days[-1].startswith("2023-07-16" if end == "inclusive" else "2023-07-15")


def test_where_nothing_is_run_no_run_is_told_of(host):
    page = Console(host).get(PATH)
    assert "the last run" not in page and 'id="field-end_datetime-hint"' in page


def test_a_copy_has_window_step_variables_and_settings(console, runner):
    sent = {"name": "x" * 250, "start_datetime": "2023-07-10 06:00", "end_datetime": "2023-07-12"}
    sent |= {"interval_type": "hour", "interval_units": 6, "variables": {"a": "ü"}}
    sent |= {"settings": {"pipeline_run_limit": 2, "paused": True}}
    key = runner.post(sent).json["backfill"]["id"]
    form = console.form(f"{PATH}?from={key}")
    assert form["pipeline"] == "arwen_starlight" and not form["new-settings"]
    assert form["new-settings.pipeline_run_limit"] == "2"
    assert len(form["new-name"]) == 255 and form["new-name"].endswith("x (copy)")
    page = console.post(PATH, {**form, "do": "preview"}, 200).text
    console.post(PATH, {**fields(page), "do": "create"})
    copy, original = listed(runner, "arwen_starlight")[:2]
    for name in (*sent.keys() - {"name", "settings"}, "pipeline_uuid"):
        assert copy[name] == original[name], name
    assert copy["settings"] == {"pipeline_run_limit": 2}
    console.get(f"{PATH}?from=99", 404)
    assert console.form(f"{PATH}?from=6")["new-name"] == "old_name (copy)"


def test_known_windows_fill_the_form(console):
    page = html.unescape(console.get(f"{PATH}?pipeline=weather"))
    links = dict(
        (name, query)
        for query, name in re.findall(
            r'href="/backfills/pipeline/create\?([^"]*)" data-[^>]*>([^<]*)', page
        )
    )
    assert {"Last 7 days", "Last month"} <= set(links)
    form = console.form(f"{PATH}?{links['Last 7 days']}")
    start, end = form["new-start_datetime"], form["new-end_datetime"]
    days = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    assert days == timedelta(days=6) and form["pipeline"] == "weather"
    assert (form["new-interval_units"], form["new-interval_type"]) == ("1", "day")
    page = console.post(PATH, {**form, "do": "preview"}, 200).text
    assert len(labels(page)) == 7


def test_times_are_in_the_zone_of_the_blueprint(lent):
    runner = lent(timezone="America/New_York")
    console = Console(runner)
    form = {**fields(previewed(console)), "do": "start"}
    console.post(PATH, form)
    [stored] = listed(runner)
    assert stored["start_datetime"] == "2023-07-10 04:00:00"
    form = console.form(f"{PATH}?from={stored['id']}")
    assert form["new-start_datetime"] == "2023-07-10 00:00:00-04:00"
    assert "10-16 Jul 2023, daily" in console.get("")
    today = datetime.now(ZoneInfo("America/New_York")).date()
    assert f'data-end="{today - timedelta(days=1)}"' in console.get(PATH)


def test_only_known_pipelines_can_be_chosen_where_the_host_knows_them(own_runner):
    own_runner.blueprint.host.pipelines = lambda: ["weather", "ships"]
    own_runner.blueprint.host.backfills.pipelines = own_runner.blueprint.host.pipelines
    console = serve_console(own_runner)
    page = console.get(PATH)
    assert re.findall(r'<option value="(\w+)">\1<', page)[:2] == ["ships", "weather"]
    form = {**console.form(PATH), **WEEK, "pipeline": "wether", "do": "preview"}
    page = console.post(PATH, form, 422).text
    assert "There is no such pipeline. Did you mean weather?" in page
    assert "There is no pipeline weather" not in console.get("?pipeline=weather")
    assert "There is no pipeline wether" in re.sub("</?bdi>", "", console.get("?pipeline=wether"))


def test_a_model_without_a_place_for_the_key_creates_too(bare):
    class Backfill(bare.db.Model):
        __tablename__ = "backfill"
        id = Column(Integer, primary_key=True)
        pipeline_uuid = Column(String(20), nullable=False)
        name = Column(String(5))
        status = Column(String(20))

    bare.serve(Backfill, seed={"id": 6, "pipeline_uuid": "p", "name": "abcde"})
    console = serve_console(bare)
    form = console.form(f"{PATH}?from=6")
    assert "key" not in form and len(form["new-name"]) <= 5
    assert console.post(PATH, {**form, "do": "create"}).location == "/backfills/7?did=created"
    form = {**console.form(PATH), "pipeline": "p" * 21, "do": "create"}
    assert 'id="new-pipeline-error"' in console.post(PATH, form, 422).text
    form = {**console.form(PATH), "pipeline": "p", "new-name": "abcdef", "do": "start"}
    assert 'id="field-name-error"' in console.post(PATH, form, 422).text
    console.post(PATH, {**form, "new-name": "abc"})
    assert bare.read("/api/pipelines/p/backfills")["backfills"][0]["status"] == "initial"


def test_who_may_not_create_is_refused_before_anything_is_read(bare):
    may = {"list:arwen_starlight", "detail:arwen_starlight"}
    bare.serve(
        run_model=bare.run_model(),
        authorize=lambda action, pipeline_uuid: f"{action}:{pipeline_uuid}" in may,
    )
    console = serve_console(bare)
    console.get(f"{PATH}?from=6", 403)
    console.get(f"{PATH}?pipeline=arwen_starlight", 403)
    may.add("update:arwen_starlight")
    form = {**WEEK, "csrf_token": console.form("6/edit")["csrf_token"], "do": "create"}
    console.post(PATH, {**form, "pipeline": "arwen_starlight"}, 403)
    console.post(PATH, {**form, "pipeline": "other"}, 403)
    may.add("create:arwen_starlight")
    console.get(f"{PATH}?pipeline=arwen_starlight")
    console.post(PATH, {**form, "csrf_token": "", "pipeline": "arwen_starlight"}, 403)
    headers = {"Origin": "https://evil.example"}
    console.post(PATH, {**form, "pipeline": "arwen_starlight"}, 403, headers=headers)
    assert bare.read("/api/pipelines/arwen_starlight/backfills")["metadata"]["count"] == 1


def test_what_the_creator_could_not_see_is_not_stored(own_runner):
    table = own_runner.blueprint.host.table
    table.scope = lambda query: query.where(own_runner.model.name == "old_name")
    console = serve_console(own_runner)
    form = {**console.form(PATH), **WEEK, "pipeline": "weather", "do": "preview"}
    assert "You could not see this backfill yourself." in console.post(PATH, form, 403).text
