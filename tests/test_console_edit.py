"""The form of the console: settings one by one, what changes, what is wrong and where."""

import html
import re

import pytest
from conftest import in_detail
from conftest import sqlite_alone
from pages import Console
from pages import fields
from pages import serve_console

from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills import BackfillSchema
from flask_backfills.rules.settings import CHOICES
from flask_backfills.rules.settings import NUMBERS
from flask_backfills.rules.settings import SWITCHES

pytestmark = [in_detail, sqlite_alone]

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1}


@pytest.fixture
def console(runner):
    return Console(runner)


def preview(console, path="6/edit", *, status=200, key="settings", **changed):
    """The page after a look at what will happen; ``order="x"`` is that setting."""
    form = {**console.form(path), "do": "preview"}
    for name, text in changed.items():
        form[f"new-{key}.{name}"] = text
    return console.post(path, form, status).text


def save(console, page, path="6/edit", status=303):
    return console.post(path, {**fields(page), "do": "save"}, status)


def lines(page):
    """What a page says of what will change, line by line."""
    found = re.search(r'<dl class="changes">(.*?)</dl>', page, re.DOTALL)
    rows = re.findall("<div>(.*?)</div>", found[1] if found else "", re.DOTALL)
    return [html.unescape(" ".join(re.sub("<[^>]*>", "", row).split())) for row in rows]


def tag_of(page, key):
    [tag] = re.findall(rf'<\w+ [^>]*id="field-{re.escape(key)}"[^>]*>', page)
    return tag


def test_each_setting_has_a_field_of_its_kind(console):
    page = console.get("6/edit")
    for name in NUMBERS:
        assert 'inputmode="numeric"' in tag_of(page, f"settings.{name}")
    for name in SWITCHES:
        assert 'type="checkbox"' in tag_of(page, f"settings.{name}")
    for name, words in CHOICES.items():
        [inner] = re.findall(rf'id="field-settings\.{name}".*?</select>', page, re.DOTALL)
        assert re.findall('<option value="(.+?)"', inner) == [*words]
        assert f"{words[0]} (default)" in inner
    # Each hint belongs to its field.
    for key, told in re.findall(r'id="field-([\w.]+)-hint">([^<]*)<', page):
        assert told and f'aria-describedby="field-{key}-hint"' in tag_of(page, key)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("failed", "The runs follow when you start it again, or retry it."),
        ("completed", "The runs follow when you start it."),
    ],
)
def test_an_edit_of_what_has_ended_says_when_its_runs_follow(console, runner, status, told):
    runner.put({**WEEK, "status": "initial"})
    for run in runner.claim(limit=7):
        runner.end(run, status)
    page = preview(console, priority="5")
    assert "No run changes." in page and f"<p>{told}</p>" in page


def test_a_setting_is_written_and_the_others_stay(console, runner):
    runner.put({"settings": {"order": "backwards", "team": "blue"}})
    assert console.form("6/edit")["new-settings.order"] == "backwards"
    assert "blue" in console.form("6/edit")["new-settings"]
    page = preview(console, max_failures="5", priority="-2", only_ended="true", order="")
    assert lines(page) == [
        "Settings max_failures nothing → 5",
        "Settings only_ended nothing → true",
        "Settings order backwards → nothing",
        "Settings priority nothing → -2",
    ]
    save(console, page)
    expected = {"team": "blue", "max_failures": 5, "priority": -2, "only_ended": True}
    assert runner.get()["settings"] == expected


def test_what_somebody_else_has_changed_of_the_settings_survives(console, runner):
    runner.put({"settings": {"order": "backwards", "team": 1}})
    page = preview(console, max_failures="5")
    runner.put({"settings": {"pipeline_run_limit": 2, "paused": True, "team": 2}})
    save(console, page)
    expected = {"pipeline_run_limit": 2, "paused": True, "team": 2, "max_failures": 5}
    assert runner.get()["settings"] == expected
    # The host's own keys and ours don't disturb each other either.
    form = {**console.form("6/edit"), "new-settings": '{"team": 3}', "do": "preview"}
    page = console.post("6/edit", form, 200).text
    runner.put({"settings": {**expected, "max_failures": 6}})
    save(console, page)
    assert runner.get()["settings"] == {**expected, "max_failures": 6, "team": 3}
    runner.put({"settings": None})
    page = preview(console, order="backwards")
    save(console, page)
    assert runner.get()["settings"] == {"order": "backwards"}


@pytest.mark.parametrize(
    ("name", "mine", "theirs", "told"),
    [
        ("order", "backwards", "forwards", "forwards"),
        ("max_failures", "5", 7, "7"),
        ("paused", "true", None, None),
    ],
)
def test_the_same_setting_is_not_written_over(console, runner, name, mine, theirs, told):
    before = {"paused": None, "order": "backwards", "max_failures": 1}[name]
    mine = "" if name == "order" else mine
    runner.put({"settings": {name: before}})
    page = preview(console, **{name: mine})
    runner.put({"settings": {name: theirs}})
    if told is None:
        # A box that is not ticked was not ticked: both are the same.
        save(console, page)
        assert runner.get()["settings"] == {"paused": True}
        return
    page = save(console, page, status=409).text
    assert runner.get()["settings"] == {name: theirs}
    assert f'id="field-settings.{name}-stored">Somebody else has stored: ' in page
    assert f'<span class="stored"><bdi>{told}</bdi>' in page
    # The user has seen it, and decides.
    page = console.post("6/edit", {**fields(page), "do": "preview"}, 200).text
    save(console, page)
    assert runner.get()["settings"] == ({} if name == "order" else {name: int(mine)})


def test_a_box_is_ticked_and_unticked(console, runner):
    save(console, preview(console, paused="true", skip_covered="true"))
    assert runner.get()["settings"] == {"paused": True, "skip_covered": True}
    form = console.form("6/edit")
    assert form["new-settings.paused"] == "true" and "new-settings.only_ended" not in form
    # As a browser does with a box that is not ticked.
    del form["new-settings.paused"]
    page = console.post("6/edit", {**form, "do": "preview"}, 200).text
    assert lines(page) == ["Settings paused true → false"]
    save(console, page)
    assert runner.get()["settings"] == {"paused": False, "skip_covered": True}


def test_what_is_wrong_with_a_setting_stands_at_its_field_and_in_a_summary(console, runner):
    runner.put({"settings": {"order": "backwards"}})
    form = {**console.form("6/edit"), "do": "preview"}
    form |= {"new-settings.max_failures": "0", "new-settings.canary": "x"}
    form |= {"new-interval_units": "0", "new-settings": '{"maxFailures": 1}'}
    page = console.post("6/edit", form, 422).text
    for key, told in {
        "settings.max_failures": "Must be greater than or equal to 1",
        "settings.canary": "Not a valid integer.",
        "interval_units": "Must be greater than or equal to 1.",
        "settings": "maxFailures: Not a setting. Did you mean max_failures?",
    }.items():
        assert f'id="field-{key}-error"><bdi>{told}' in page
        assert 'aria-invalid="true"' in tag_of(page, key)
        assert f"field-{key}-error" in tag_of(page, key)
        assert f'<a href="#field-{key}">' in page
    # The summary is what has the focus.
    assert re.search('<div class="notice" id="wrong" role="alert" tabindex="-1" autofocus>', page)
    assert fields(page)["new-settings.max_failures"] == "0"
    assert runner.get()["settings"] == {"order": "backwards"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"order": "backwards"}', "order: This setting has a field of its own."),
        ("[]", "Not a JSON object."),
        ("7", "Not a JSON object."),
        ("{", "The text is not JSON"),
    ],
)
def test_the_hosts_own_keys_are_an_object_without_ours(console, runner, text, told):
    form = {**console.form("6/edit"), "new-settings": text, "do": "preview"}
    page = console.post("6/edit", form, 422).text
    assert f'id="field-settings-error"><bdi>{told}' in page


def test_settings_that_are_older_than_the_rules_are_left_as_they_are(console, runner):
    odd = {"order": "sideways", "max_failures": [1], "paused": "yes", "canary": None, "own": 1}
    with runner.app.app_context():
        runner.db.session.get(runner.model, 6).settings = odd
        runner.db.session.commit()
    form = {**console.form("6/edit"), "new-name": "new", "do": "preview"}
    assert (form["new-settings.order"], form["new-settings.max_failures"]) == ("sideways", "[1]")
    save(console, console.post("6/edit", form, 200).text)
    assert (runner.get()["name"], runner.get()["settings"]) == ("new", odd)
    # One that is changed is written with the rest, which is told where it is wrong.
    page = preview(console, priority="3", status=422)
    assert 'id="field-settings.order-error"' in page and "settings.paused-error" in page


def test_what_changes_is_told_beside_the_plan(console, runner):
    runner.put({**WEEK, "variables": {"depth": 1, "same": 2}, "status": "initial"})
    form = {**console.form("6/edit"), "do": "preview"}
    assert "You have changed nothing." in console.post("6/edit", form, 200).text
    form |= {"new-name": "<July>", "new-end_datetime": "2023-07-18"}
    form |= {"new-variables": '{"depth": 5, "same": 2}'}
    # The same moment in another spelling changes nothing.
    form |= {"new-start_datetime": "2023-07-10T00:00"}
    page = console.post("6/edit", form, 200).text
    assert lines(page) == [
        "End datetime 2023-07-16 00:00:00 → 2023-07-18 00:00:00",
        "Name old_name → <July>",
        "Variables depth 1 → 5",
    ]
    assert "2 to add" in page
    # After another plan has come in between, what changes is told again.
    runner.put({"end_datetime": "2023-07-16", "interval_units": 2})
    page = save(console, page, status=412).text
    assert "Name old_name → <July>" in lines(page)


def test_a_text_is_at_most_twelve_lines_high(console, runner):
    runner.put({"variables": {f"key{n}": n for n in range(40)}})
    page = console.get("6/edit")
    assert 'rows="12"' in tag_of(page, "variables")
    assert 'rows="2"' in tag_of(page, "settings")


def test_the_step_is_one_line(console):
    page = console.get("6/edit")
    [group] = re.findall('<div class="field" role="group".*?</div>', page, re.DOTALL)
    assert 'aria-label="Interval units"' in group and 'aria-label="Interval type"' in group
    assert ">Every<" in group


def test_without_runs_settings_are_the_hosts_alone(host):
    console = Console(host)
    form = {**console.form("6/edit"), "new-settings": '{"order": 1}', "do": "preview"}
    assert "new-settings.order" not in form
    save(console, console.post("6/edit", form, 200).text)
    assert host.get()["settings"] == {"order": 1}
    form = {**console.form("6/edit"), "new-settings": "", "do": "preview"}
    save(console, console.post("6/edit", form, 200).text)
    assert host.get()["settings"] is None


def test_a_model_without_settings_has_no_fields_for_them(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        settings = None

    bare.serve(Backfill, run_model=bare.run_model())
    console = serve_console(bare)
    form = {**console.form("6/edit"), "new-name": "new", "do": "preview"}
    assert not [key for key in form if "settings" in key]
    save(console, console.post("6/edit", form, 200).text)
    assert bare.get()["name"] == "new"


def test_a_setting_that_the_models_can_not_follow_has_no_field(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        canary_runs = None

    class BackfillRun(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        interval_end_datetime = None

    bare.serve(Backfill, run_model=BackfillRun)
    console = serve_console(bare)
    page = console.get("6/edit")
    assert "settings.canary" not in page and "settings.only_ended" not in page
    assert "settings.order" in page
    with bare.app.app_context():
        bare.db.session.get(Backfill, 6).settings = {"canary": 3, "order": "backwards"}
        bare.db.session.commit()
    # It is one of those that are written as JSON.
    form = {**console.form("6/edit"), "new-settings": "{}", "do": "preview"}
    save(console, console.post("6/edit", form, 200).text)
    assert bare.get()["settings"] == {"order": "backwards"}


class Renamed(BackfillSchema):
    """Gives every attribute another name on the wire."""

    def on_bind_field(self, field_name, field_obj):
        super().on_bind_field(field_name, field_obj)
        field_obj.data_key = f"the_{field_name}"


def test_a_host_that_renames_its_keys_has_the_same_form(bare):
    bare.serve(schema=Renamed, run_model=bare.run_model())
    console = serve_console(bare)
    bare.put({"the_settings": {"order": "backwards", "team": 1}})
    page = preview(console, key="the_settings", max_failures="4")
    # The actions change it, whatever its name.
    assert "new-the_status" not in fields(page) and 'role="group"' in page
    save(console, page)
    expected = {"order": "backwards", "team": 1, "max_failures": 4}
    assert bare.get()["the_settings"] == expected
    page = preview(console, key="the_settings", max_failures="0", status=422)
    assert 'id="field-the_settings.max_failures-error"' in page


def test_pages_of_the_form_cost_no_more_with_many_runs(console, runner):
    counts = []
    for end in ("2023-07-11", "2023-07-31"):
        runner.put({**WEEK, "end_datetime": end, "status": "initial"})
        runner.statements.clear()
        console.get("6/edit")
        counts.append(len(runner.statements))
        runner.put({"status": "cancelled"})
    assert counts[0] == counts[1]
