"""The console's list of backfills: what it shows, finds, sorts and counts; several at once."""

import html
import re
from datetime import datetime
from datetime import timedelta

import pytest
import sqlalchemy as sa
from conftest import in_detail
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from pages import Console
from pages import fields
from pages import serve_console
from sqlalchemy import Column
from sqlalchemy import DateTime
from sqlalchemy import Enum
from sqlalchemy import Integer
from sqlalchemy import String

from flask_backfills.rules.window import Window
from flask_backfills.rules.window_words import say_window

pytestmark = in_detail

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1}
OTHER = "/api/pipelines/other/backfills"


@pytest.fixture
def console(runner):
    return Console(runner)


def names(page):
    """The names in the table, from the top."""
    return [html.unescape(one) for one in re.findall(r'class="name"><\w+ [^>]*><bdi>(.*?)<', page)]


def text(page):
    """The page as it is read."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def chosen(page):
    return re.findall(r'name="chosen" value="([^"]*)"', page)


def test_a_row_has_what_one_asks_of_a_backfill(console, runner):
    runner.post({**WEEK, "name": "July", "status": "initial"})
    for run in runner.claim(limit=4):
        runner.finish(run, "failed" if "-11T" in run.key else "completed")
    page = console.get("?status=active")
    [row] = re.findall(r"<tr>.*?</tr>", page.partition("<tbody>")[2], re.DOTALL)
    told = text(row)
    for one in ("July", "arwen_starlight", "running", "4 of 7", "10-16 Jul 2023, daily", "ago"):
        assert one in told or (one == "ago" and "now" in told), (one, told)
    assert re.search(r"about \d+ s left", told)
    assert re.findall(r'<rect class="is-(\w+)"', row) == ["completed", "failed"]
    assert 'href="/backfills/pipeline/coverage?pipeline=arwen_starlight"' in row
    assert "00:00:00" not in told


def test_it_is_sorted_in_the_database(console, runner):
    for name, start in (("b", "2023-07-03"), ("a", "2023-07-02"), ("c", None)):
        runner.post({"name": name, "start_datetime": start}, url=OTHER)
    query = "?pipeline=other"
    assert names(console.get(query)) == ["c", "a", "b"]
    for sort, found in {
        "name": ["a", "b", "c"],
        "-name": ["c", "b", "a"],
        "created": ["b", "a", "c"],
        "-created": ["c", "a", "b"],
        # What has none comes last, whichever way.
        "start": ["a", "b", "c"],
        "-start": ["b", "a", "c"],
        "status": ["c", "a", "b"],
        "id": ["c", "a", "b"],
        "name; DROP TABLE backfill": ["c", "a", "b"],
    }.items():
        assert names(console.get(f"{query}&sort={sort}")) == found, sort
    page = html.unescape(console.get(f"{query}&sort=name"))
    assert 'aria-sort="ascending"' in page and "/?pipeline=other&sort=-name" in page
    assert names(console.get("?sort=pipeline"))[0] == "old_name"
    assert names(console.get("?sort=-pipeline"))[-1] == "old_name"


def test_it_is_searched_by_a_part_of_the_name(console, runner):
    for name in ("July 100%", "JULY_1", "july/x"):
        runner.post({"name": name})
    runner.post({})
    for q, found in {
        "july": ["july/x", "JULY_1", "July 100%"],
        "%25": ["July 100%"],
        "_": ["JULY_1", "old_name"],
        "/": ["july/x"],
        "%00": [],
        "x" * 300: [],
        "": ["Unnamed #10", "july/x", "JULY_1", "July 100%", "old_name"],
    }.items():
        shown = names(console.get(f"?q={q}"))
        if q == "_":
            shown.sort()
        assert len(shown) == len(found) and (q == "" or shown == found), q


def test_what_it_is_filtered_by_is_told_and_stays(console, runner):
    for number in range(45):
        runner.post({"name": f"n{number}", "status": "initial", **WEEK}, url=OTHER)
    page = html.unescape(console.get("?pipeline=other&status=active&q=n&sort=name&page=2"))
    assert "Page 2 of 3" in page and "45 backfills" in page
    told = text(page)
    for one in ("Name: n", "Pipeline: other", "Status: waiting or running"):
        assert one in told
    rest = "?pipeline=other&status=active&q=n&sort=name"
    for link in (rest, f"{rest}&page=3", "?pipeline=other&status=active&sort=name"):
        assert f'href="/backfills/{link}"' in page, link
    assert names(page) == sorted(f"n{number}" for number in range(45))[20:40]
    assert re.search(r'name="sort" value="name"', page)


def test_what_is_not_there_is_told(console, runner):
    console.get("?status=not-started")
    assert names(console.get("?status=not-started")) == ["old_name"]
    runner.put({"status": "completed"})
    for query, told in {
        "?pipeline=nowhere": "There is no pipeline nowhere that you may see.",
        "?status=not-started": "No backfills match this filter.",
        "?q=nothing": "No backfills match this filter.",
        "?page=7": "There is no page 7. Go to page 1, the last one",
    }.items():
        assert told in text(console.get(query)), query
    runner.client.delete("/api/pipelines/arwen_starlight/backfills/6")
    page = console.get("")
    assert "There are no backfills here." in page and 'href="/backfills/pipeline/create"' in page
    assert 'id="filter"' not in page


def test_the_statements_of_a_page_do_not_grow_with_its_rows(console, runner):
    def count(rows):
        for _ in range(rows):
            runner.post({**WEEK, "status": "initial"}, url=OTHER)
        runner.statements.clear()
        console.get("?pipeline=other&sort=name&q=")
        return len(runner.statements)

    count(6)
    assert count(0) == count(12)


def test_a_model_that_lacks_columns_or_has_others_is_listed(bare):
    class Backfill(bare.db.Model):
        __tablename__ = "backfill"
        key = Column(String(20), primary_key=True)
        pipeline_uuid = Column(String(20), nullable=False)
        status = Column(Enum("initial", "running", "completed", "failed", "cancelled", name="st"))

    bare.serve(Backfill, seed={"key": "a", "pipeline_uuid": "p"})
    console = serve_console(bare)
    for query in ("", "?q=x", "?sort=name", "?sort=-start", "?sort=created", "?sort=status"):
        console.get(query)
    page = console.get("")
    assert names(page) == ["Unnamed #a"] and 'name="q"' not in page
    assert re.findall(r"sort=([\w-]+)", page) == ["pipeline", "status"]
    assert names(console.get("?status=not-started")) == ["Unnamed #a"]
    assert names(console.get("?status=active")) == []
    answer = console.form("pipeline/bulk?action=start&chosen=a")
    assert "Started 1 of 1" in console.post("pipeline/bulk", answer, 200).text


def test_synonyms_are_sorted_and_searched(bare):
    class Backfill(bare.db.Model):
        __tablename__ = "backfill"
        id = Column(Integer, primary_key=True)
        pipe = Column(String(20), nullable=False)
        label = Column(String(20))
        begins = Column(DateTime)
        pipeline_uuid = sa.orm.synonym("pipe")
        name = sa.orm.synonym("label")
        start_datetime = sa.orm.synonym("begins")

    bare.serve(Backfill, seed={"id": 6, "pipe": "p", "label": "b"})
    with bare.app.app_context():
        bare.db.session.add(Backfill(id=7, pipe="p", label="A"))
        bare.db.session.commit()
    console = serve_console(bare)
    assert names(console.get("?sort=-name")) in (["b", "A"], ["A", "b"])
    assert names(console.get("?q=a")) == ["A"]
    assert names(console.get("?status=not-started&sort=start")) == ["A", "b"]


@pytest.fixture
def several(runner):
    """Three that wait with seven runs each, one that was never started."""
    return [
        runner.post({**WEEK, "name": f"w{n}", "status": "initial"}).json["backfill"]["id"]
        for n in range(3)
    ]


def question(action, *keys):
    return f"pipeline/bulk?action={action}" + "".join(f"&chosen={key}" for key in keys)


def test_several_are_cancelled_after_one_question_that_counts(console, runner, several):
    assert set(chosen(console.get(""))) == {"6", *map(str, several)}
    page = console.get(question("cancel", *several, 6, 99))
    told = text(page)
    assert "Cancel 3 backfills?" in told and "21 runs that have not ended are cancelled." in told
    assert "old_name : The backfill is not started, so nothing can be cancelled." in told
    assert "Backfill 99 : There is no such backfill" in told and "Left out: 2" in told
    answer = console.post("pipeline/bulk", fields(page), 200)
    assert "Cancelled 3 of 3" in answer.text
    for key in several:
        assert runner.statuses(f"/api/backfills/{key}") == {"cancelled": 7}
    told = text(console.get(question("delete", *several)))
    assert "Delete 3 backfills?" in told and "21 runs are deleted too. You can't undo it." in told
    answer = console.post("pipeline/bulk", console.form(question("delete", *several)), 200)
    assert "Deleted 3 of 3" in answer.text
    assert chosen(console.get("")) == ["6"]
    # Sent once more, nothing is left to do.
    form = {"csrf_token": console.form("6/delete")["csrf_token"], "action": "delete"}
    form |= {f"plan-{key}": "" for key in several}
    answer = console.post("pipeline/bulk", form, 409)
    assert "Deleted 0 of 3" in answer.text


def test_each_action_of_several_says_its_runs_and_does_them(console, runner, several):
    for run in runner.claim(limit=30):
        runner.finish(run, "failed" if "-13T" in run.key else "completed")
    runner.put(WEEK)
    for action, told, status in (
        ("retry", "Retry 3 backfills? 3 runs wait for a worker again.", "running"),
        ("pause", "Pause 3 backfills? 3 waiting runs are held back.", "running"),
        ("resume", "Resume 3 backfills? 3 waiting runs can start again.", "running"),
        ("cancel", "Cancel 3 backfills? 3 runs that have not ended are cancelled.", "cancelled"),
        ("start", "Start 3 backfills? 3 runs wait for a worker then.", "running"),
    ):
        page = console.get(question(action, *several))
        assert told in text(page)
        console.post("pipeline/bulk", fields(page), 200)
        for key in several:
            assert runner.get(f"/api/backfills/{key}")["status"] in (status, "initial")
    assert "Start 1 backfill?" in text(console.get(question("start", 6)))


def test_what_changed_since_the_question_is_refused_for_that_one(console, runner):
    keys = [runner.post(WEEK).json["backfill"]["id"] for _ in range(3)]
    form = console.form(question("start", *keys))
    runner.put({"end_datetime": "2023-07-20"}, f"/api/backfills/{keys[0]}")
    runner.put({"status": "cancelled"}, f"/api/backfills/{keys[1]}")
    runner.put({"status": "initial"}, f"/api/backfills/{keys[1]}")
    told = text(console.post("pipeline/bulk", form, 200).text)
    assert "Started 1 of 3" in told and "Refused: 2" in told
    assert "The plan has changed since you saw it." in told
    assert "The backfill is already waiting." in told
    assert runner.get(f"/api/backfills/{keys[0]}")["status"] is None
    assert runner.get(f"/api/backfills/{keys[2]}")["status"] == "initial"


def test_a_question_about_nothing_or_too_much_is_answered(console):
    assert "You have chosen no backfill." in text(console.get("pipeline/bulk?action=start"))
    console.get("pipeline/bulk?action=drop&chosen=6", 422)
    console.get("pipeline/bulk", 422)
    many = "".join(f"&chosen={n}" for n in range(101))
    console.get(f"pipeline/bulk?action=start{many}", 422)


def test_several_need_the_token_and_our_own_site(console, runner, several):
    form = console.form(question("cancel", *several))
    for data, headers in (
        ({**form, "csrf_token": ""}, {}),
        (form, {"Origin": "https://evil.example"}),
    ):
        console.post("pipeline/bulk", data, 403, headers=headers)
    assert runner.get(f"/api/backfills/{several[0]}")["status"] == "initial"


def test_only_what_the_user_may_change_can_be_chosen(bare):
    may = {"list:other", "list:arwen_starlight", "detail:other", "update:arwen_starlight"}
    bare.serve(
        run_model=bare.run_model(),
        authorize=lambda action, pipeline_uuid: f"{action}:{pipeline_uuid}" in may,
    )
    with bare.app.app_context():
        bare.db.session.add(bare.model(id=7, pipeline_uuid="other", name="theirs"))
        bare.db.session.add(bare.model(id=8, pipeline_uuid="secret", name="secret name"))
        bare.db.session.commit()
    console = serve_console(bare)
    page = console.get("")
    assert set(names(page)) == {"old_name", "theirs"} and chosen(page) == ["6"]
    assert 'id="do-create"' not in page
    assert "There is no pipeline secret that you may see." in text(console.get("?pipeline=secret"))
    told = text(console.get(question("delete", 6, 7, 8)))
    assert "Left out: 3" in told and "secret name" not in told and "old_name" not in told
    token = console.form("6/edit")["csrf_token"]
    form = {"csrf_token": token, "action": "delete", "plan-6": "", "plan-7": "", "plan-8": ""}
    assert "Deleted 0 of 3" in console.post("pipeline/bulk", form, 409).text
    may.add("create:arwen_starlight")
    assert 'id="do-create"' in console.get("")
    assert 'id="do-create"' not in console.get("?pipeline=other")


def test_what_the_user_may_not_open_has_a_name_and_no_link(bare):
    asked = []
    may = {"list:other", "list:arwen_starlight", "detail:other", "update:arwen_starlight"}

    def authorize(action, pipeline_uuid):
        asked.append(f"{action}:{pipeline_uuid}")
        return asked[-1] in may

    bare.serve(run_model=bare.run_model(), authorize=authorize)
    console = serve_console(bare)
    bare.put(WEEK)
    with bare.app.app_context():
        bare.db.session.add_all(
            bare.model(pipeline_uuid=pipeline, name=f"{pipeline} {n}")
            for n in range(9)
            for pipeline in ("other", "arwen_starlight")
        )
        bare.db.session.commit()
    asked.clear()
    page = console.get("")
    assert len(names(page)) == 19
    linked = re.findall(r'class="name"><a href="/backfills/(\d+)"', page)
    assert len(linked) == 9 and all(f"other {n}" in text(page) for n in range(9))
    # Once for each pipeline, however many of its backfills are shown.
    assert asked.count("detail:other") == asked.count("detail:arwen_starlight") == 1
    for path in (
        "pipeline/coverage?pipeline=arwen_starlight",
        question("start", 6),
        "6/edit",
        "6/start",
    ):
        page = console.get(path)
        assert "old_name" in page and 'href="/backfills/6"' not in page, path
    may.add("detail:arwen_starlight")
    assert 'class="name"><a href="/backfills/6"' in console.get("")
    assert 'href="/backfills/6"' in console.get("6/edit")


JULY = datetime(2023, 7, 1)


@given(
    st.integers(0, 48),
    st.integers(0, 96),
    st.sampled_from([("hour", n) for n in (1, 2, 5, 6, 12, 24, 36)] + [("minute", 90)]),
)
@settings(max_examples=200)
def test_hours_are_said_unless_the_runs_fill_whole_days(begin, length, step):
    start = JULY + timedelta(hours=begin)
    window = Window(start, start + timedelta(hours=length), *step)
    runs = [*window.intervals()]
    told = say_window(window.start, window.end, *step)
    if ":" not in told:
        # From the midnight before the first to that after the last: what is said is what is run.
        assert (start.hour, runs[-1].end.hour, runs[-1].end.minute) == (0, 0, 0)
        last = runs[-1].end - timedelta(days=1)
        assert f"{last.day} Jul 2023" in told
    elif start.hour == 0 and runs[-1].start == window.end and window.end.hour:
        assert (
            runs[-1].end.hour
            or runs[-1].end.minute
            or runs[-1].end.date() != (window.end.date() + timedelta(days=1))
        )
