"""The history in the console, and the last edit undone there."""

import html
import re

import pytest
import sqlalchemy as sa
from jinja2 import StrictUndefined
from pages import Console
from pages import fields

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills.console import ConsoleBlueprint

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1}
ATTACK = '"><script>alert(1)</script>\x1b'


@pytest.fixture
def recorded(lent, event_model):
    host = lent(event_model=event_model, actor=caller)
    host.app.jinja_env.undefined = StrictUndefined
    return host


def caller():
    return ATTACK


@pytest.fixture
def console(recorded):
    return Console(recorded)


@pytest.fixture
def week(recorded):
    """The path of a backfill whose seven runs wait."""
    return recorded.post({**WEEK, "name": "July", "status": "initial"}).headers["Location"]


def lines(page):
    """The changes on a page, as they are read."""
    found = re.search(r'<ol class="history events">(.*?)</ol>', page, re.DOTALL)
    items = re.findall("<li>(.*?)</li>", found[1] if found else "", re.DOTALL)
    return [html.unescape(" ".join(re.sub("<[^>]*>", "", one).split())) for one in items]


def events(recorded, url="/api/pipelines/arwen_starlight/backfills/6"):
    return recorded.read(f"{url}/history?_limit=100")["history"]


def test_the_page_shows_what_was_changed_and_by_whom(console, recorded):
    assert "No changes are recorded." in console.get("6")
    recorded.put({"name": ATTACK})
    recorded.put({"variables": {"depth": 1}})
    page = console.get("6")
    assert "<script>alert" not in page and "\x1b" not in page
    newest, oldest = lines(page)
    who = ATTACK.replace("\x1b", "[U+001B]")
    assert newest.endswith(f"{who} update Variables depth nothing → 1 Undo")
    assert oldest.endswith(f"{who} update Name old_name → {who}")


def test_each_attribute_has_a_line_in_the_words_of_the_pages(console, recorded):
    url = recorded.post({**WEEK, "name": "July", "settings": {"canary": 3}}).headers["Location"]
    key = url.rsplit("/", 1)[1]
    recorded.put({"status": "initial", "settings": {"canary": 3, "paused": True}}, url)
    newest, oldest = lines(console.get(key))
    assert oldest.partition("create ")[2] == (
        "End datetime 2023-07-16 00:00:00 Interval type day Interval units 1 Name July"
        " Settings canary 3 Start datetime 2023-07-10 00:00:00"
    )
    assert re.search(
        r" update Settings paused nothing → true"
        r" Started at nothing → [\d-]{10} [\d:]{8} Status not started → waiting",
        newest,
    )
    recorded.put({"status": "cancelled"}, url)
    assert "Status waiting → cancelled" in lines(console.get(key))[0]


def test_twenty_at_a_time(console, recorded):
    for number in range(25):
        recorded.put({"name": f"n{number}"})
    assert len(lines(console.get("6"))) == 20
    older = console.get("6?changes=2")
    assert len(lines(older)) == 5 and "Page 2 of 2" in older and "Undo" not in older
    for query in ("?changes=x", "?changes=-1", "?changes=99999999999999999999"):
        console.get(f"6{query}")


def test_the_last_edit_is_undone_and_done_again(console, recorded):
    recorded.put({"name": "before", "variables": {"depth": 1}, **WEEK})
    edited = {"name": "after", "variables": None, "end_datetime": "2023-07-20"}
    before = recorded.get()
    after = recorded.put(edited).json["backfill"]
    for wanted in (before, after):
        page = console.get("6/undo")
        console.post("6/undo", fields(page))
        shown = recorded.get()
        assert {**shown, "updated_at": wanted["updated_at"]} == wanted
    first, second = events(recorded)[:2]
    assert first["changes"] == {
        key: {"from": one["to"], "to": one["from"]} for key, one in second["changes"].items()
    }


def test_an_undo_shows_its_plan_and_does_that_alone(console, recorded, week):
    key = week.rsplit("/", 1)[1]
    recorded.put({"end_datetime": "2023-07-12"}, week)
    page = console.get(f"{key}/undo")
    assert "4 to add" in page and "2023-07-16 00:00:00" in page
    # Meanwhile, one of the runs that are kept has gone.
    with recorded.app.app_context():
        model = recorded.blueprint.host.run_model
        recorded.db.session.execute(sa.delete(model).where(model.key.contains("07-11")))
        recorded.db.session.commit()
    console.post(f"{key}/undo", fields(page), 412)
    assert recorded.get(week)["end_datetime"] == "2023-07-12 00:00:00"
    console.post(f"{key}/undo", fields(console.get(f"{key}/undo")))
    assert recorded.get(week)["end_datetime"] == "2023-07-16 00:00:00"
    assert recorded.statuses(week) == {"initial": 7}


def test_an_edit_that_is_not_the_last_any_more_is_not_undone(console, recorded):
    recorded.put({"name": "one"})
    form = console.form("6/undo")
    recorded.put({"name": "two"})
    page = console.post("6/undo", form, 409).text
    assert "has been changed since" in page
    console.post("6/undo", {**form, "edit": "x"}, 409)
    assert recorded.get()["name"] == "two"


def test_what_was_changed_by_other_means_is_left_alone(console, recorded):
    recorded.put({"name": "one", "block_uuid": "b"})
    form = console.form("6/undo")
    with recorded.app.app_context():
        recorded.db.session.get(recorded.model, 6).name = "the host's"
        recorded.db.session.commit()
    console.post("6/undo", form)
    shown = recorded.get()
    assert (shown["name"], shown["block_uuid"]) == ("the host's", None)


def test_a_status_is_for_the_actions(console, recorded, week):
    key = week.rsplit("/", 1)[1]
    assert "do-undo" not in console.get(key)
    console.get(f"{key}/undo", 409)
    recorded.put({"status": "cancelled", "name": "b"}, week)
    assert "do-undo" in console.get(key)
    console.post(f"{key}/undo", console.form(f"{key}/undo"))
    shown = recorded.get(week)
    assert (shown["status"], shown["name"]) == ("cancelled", "July")
    # The edit before is not the last one.
    recorded.put({"status": "initial"}, week)
    assert "do-undo" not in console.get(key)


def test_what_can_not_be_written_back_is_not_offered(console, recorded):
    recorded.app.config["BACKFILLS_MAX_EVENT_VALUE"] = 20
    recorded.put({"variables": {"a": "x" * 30}})
    assert "do-undo" not in console.get("6")
    with recorded.app.app_context():
        recorded.db.session.get(recorded.model, 6).name = None
        recorded.db.session.commit()
    # A name may not be null.
    recorded.put({"name": "a"})
    assert recorded.get()["name"] == "a"
    assert "do-undo" not in console.get("6")


def test_what_workers_do_later_does_not_hide_the_last_edit(console, recorded, week):
    key = week.rsplit("/", 1)[1]
    recorded.put({"name": "b"}, week)
    recorded.claim()
    newest, edit, _ = lines(console.get(key))
    assert "begin" in newest and edit.endswith("Undo")
    console.post(f"{key}/undo", console.form(f"{key}/undo"))
    assert recorded.get(week)["name"] == "July"


def test_an_edit_from_before_windows_were_local_is_undone_to_the_same_moment(bare):
    event_model = bare.event_model()
    bare.register(event_model=event_model)
    local = {"timezone": "America/New_York", "local_datetimes": True, "name": "local"}
    local |= {"event_model": event_model, "authorize": allow_anyone, "url_prefix": "/local"}
    blueprint = BackfillBlueprint(bare.model, bare.db.session, **local)
    bare.app.register_blueprint(blueprint)
    bare.app.secret_key = "secret"
    bare.app.register_blueprint(ConsoleBlueprint(blueprint))
    bare.fill()
    bare.open()
    bare.put({"start_datetime": "2023-07-10"})
    bare.put({"start_datetime": None})
    shown = bare.read("/local/pipelines/arwen_starlight/backfills/6/history")["history"]
    there = "2023-07-09 20:00:00-04:00"
    assert [one["changes"]["start_datetime"]["from"] for one in shown] == [there, None]
    console = Console(bare)
    console.post("6/undo", fields(console.get("6/undo")))
    assert bare.get()["start_datetime"] == "2023-07-10 00:00:00"
    # And the other way round.
    console.post("6/undo", fields(console.get("6/undo")))
    assert bare.get()["start_datetime"] is None
    assert events(bare)[0]["changes"]["start_datetime"]["from"] == "2023-07-10 00:00:00"


def test_who_may_not_edit_may_not_undo(lent, event_model):
    host = lent(event_model=event_model, authorize=readers)
    with host.app.app_context():
        host.blueprint.backfills.update("arwen_starlight", 6, {"name": "a"})
    console = Console(host)
    page = console.get("6")
    [told] = lines(page)
    assert told.endswith("update Name old_name → a")
    console.get("6/undo", 403)
    console.post("6/undo", {}, 403)


def readers(action, pipeline_uuid):
    return action in ("list", "detail")


def test_without_a_token_nothing_is_undone(console, recorded):
    recorded.put({"name": "a"})
    console.post("6/undo", {**console.form("6/undo"), "csrf_token": "x"}, 403)
    assert recorded.get()["name"] == "a"


def test_without_a_history_there_is_nothing_to_undo(runner):
    console = Console(runner)
    assert "Changes" not in console.get("6")
    console.get("6/undo", 409)
