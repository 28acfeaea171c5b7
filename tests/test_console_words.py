"""The words of the console: all of ours can be replaced; the title, the way home, a host's head."""

import re
from collections.abc import Mapping
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
from conftest import in_detail
from conftest import sqlite_alone
from hypothesis import given
from hypothesis import strategies as st
from pages import fields
from pages import serve_console

from flask_backfills.console import times

pytestmark = [in_detail, sqlite_alone]

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1}


class Marked(Mapping):
    """Translates each text into itself, between marks."""

    def __getitem__(self, text):
        return f"\u2039{text}\u203a"

    def __iter__(self):
        return iter(())

    def __len__(self):
        return 1


def unmarked(page):
    """What is left of a page without what is marked, what callers wrote, and numbers."""
    for part in (
        # Callers' words and their keys; what stands in fields; cells of a strip, by their dates.
        r"<bdi>.*?</bdi>",
        r"<(textarea|svg)\b.*?</\1>",
        r'<button[^>]*class="cell.*?</button>',
        r"<!doctype html>",
    ):
        page = re.sub(part, "", page, flags=re.DOTALL)
    told = re.findall(r'(?:aria-label|placeholder|alt|data-utc|data-local)="([^"]*)"', page)
    told.append(re.sub("<[^>]*>", " ", page))
    found = []
    for text in told:
        while text != (shorter := re.sub("\u2039[^\u2039\u203a]*\u203a", "", text)):
            text = shorter
        found += re.findall(r"[^\W\d_]{2,}", text)
    return found


def test_every_text_of_ours_is_translated(own_runner):
    runner = own_runner
    console = serve_console(runner, title="7", home_url="/", translations=Marked())
    runner.put({**WEEK, "variables": {"a": 1}, "settings": {"order": "backwards"}})
    pages = {path: console.get(path) for path in ("6/edit", "6/start", "6/delete")}
    form = {**console.form("6/edit"), "new-name": "x", "do": "preview"}
    pages["preview"] = console.post("6/edit", form, 200).text
    pages["nothing"] = console.post("6/edit", {**form, "new-name": "old_name"}, 200).text
    pages["wrong"] = console.post("6/edit", {**form, "new-interval_units": "0"}, 422).text
    runner.put({"name": "theirs"})
    pages["overtaken"] = console.post("6/edit", form, 409).text
    runner.put({"status": "initial"})
    for path in ("6/pause", "6/cancel"):
        pages[path] = console.get(path)
    for path, status in (("9", 404), ("6/start", 409), ("6/resume", 409)):
        pages[f"refused {path}"] = console.get(path, status)
    pages["forged"] = console.post("6/cancel", {}, 403).text
    for run in runner.claim(limit=7):
        runner.finish(run, "failed" if "-13T" in run.key else "completed")
    for path in ("6/retry", "6/start", "6/start?again=all"):
        pages[path] = console.get(path)
    for path, page in pages.items():
        assert "\u2039" in page and unmarked(page) == [], path


def test_every_text_of_the_other_pages_is_translated(own_runner):
    runner = own_runner
    console = serve_console(runner, title="7", translations=Marked())
    new = {**WEEK, "variables": {"a": 1}, "name": "12"}
    key = runner.post({**new, "status": "initial"}).json["backfill"]["id"]
    pages = {path: console.get(path) for path in ("", str(key), f"{key}/live", f"{key}/runs")}
    for run in runner.claim(limit=7):
        error = ("failed", None, "17") if "-13T" in run.key else ("completed",)
        runner.finish(run, *error)
    [failed] = runner.read(f"/api/backfills/{key}/runs?status=failed")["runs"]
    coverage = "pipeline/coverage?pipeline=arwen_starlight"
    paths = ["", "?q=99", "?pipeline=99", "?page=9", str(key), f"{key}/live", coverage]
    paths += [f"{key}/runs", f"{key}/runs?status=failed", f"{key}/runs?since=2023-07-12"]
    paths += [f"{key}/runs/{failed['id']}", f"{key}/change-runs/retry?status=failed"]
    paths += ["pipeline/create", f"pipeline/create?from={key}"]
    paths += [f"pipeline/bulk?action=delete&chosen={key}&chosen=6&chosen=99"]
    pages |= {f"then {path}": console.get(path) for path in paths}
    form = {**console.form("pipeline/create?pipeline=x"), "do": "preview"}
    form |= {"new-start_datetime": "2023-07-10", "new-end_datetime": "2023-07-16"}
    pages["plan"] = console.post("pipeline/create", form, 200).text
    left = {
        path: unmarked(page.replace("arwen_starlight", "").replace("&times;", ""))
        for path, page in pages.items()
    }
    assert {path: found for path, found in left.items() if found} == {}


GERMAN = {
    "{first} to {last}": "{first} bis {last}",
    "from {date}": "ab {date}",
    "to {date}": "bis {date}",
    "about {span} left": "noch etwa {span}",
    "{count} s": "{count} Sek.",
    "{count} min": "{count} Min.",
    "{count} h": "{count} Std.",
}


def test_spans_of_time_are_told_in_the_hosts_words(own_runner):
    """Of dates, of runs and cells, and of what is taken or left. They stand within other texts."""
    runner = own_runner
    console = serve_console(runner, translations=GERMAN)
    hours = {**WEEK, "end_datetime": "2023-07-22", "interval_type": "hour", "status": "initial"}
    key = runner.post(hours).json["backfill"]["id"]
    for run in runner.claim(limit=6):
        runner.end(run, *(("failed", None, "17") if run.key[11:13] < "02" else ()))
    [_, *rest] = [run["id"] for run in runner.rows(f"/api/backfills/{key}")]
    since, until = "since=2023-07-11T00:00:00", "until=2023-07-12T00:00:00"
    for query, told in {
        since: "ab 2023-07-11",
        until: "bis 2023-07-12",
        f"{since}&{until}": "2023-07-11 bis 2023-07-12",
    }.items():
        assert f"Dates: {told} <a" in console.get(f"{key}/runs?{query}"), query
    page = console.get(f"{key}/runs/{rest[0]}")
    assert "2023-07-10 01:00 bis 02:00" in page
    run_page = console.get(f"{key}/runs?status=failed")
    assert "2023-07-10 00:00 bis 2023-07-10 01:00" in run_page and " Sek.<" in run_page
    left = re.findall(r"noch etwa (\d+ (?:Sek|Min|Std)\.)", console.get(""))
    assert len(left) == 1
    runner.put({"status": "cancelled"}, f"/api/backfills/{key}")
    runner.put({"status": "initial", "started_at": "2023-07-10"}, f"/api/backfills/{key}")
    runner.put({"status": "completed", "completed_at": "2023-07-10T01:00"}, f"/api/backfills/{key}")
    assert "1 Std." in console.get(str(key))
    # A cell of several runs: two weeks and more are too long for an hour each.
    long = {**hours, "start_datetime": "2022-01-01", "end_datetime": "2023-12-31"}
    key = runner.post(long).json["backfill"]["id"]
    assert 'title="2022-01-03 bis 2022-01-09: ' in console.get(str(key))
    for path in ("", str(key), f"{key}/runs"):
        text = re.sub(r"<[^>]*>", " ", console.get(path))
        assert not re.search(r"\d to \d|\d (?:s|min|h)\b| left\b", text), path


def test_every_text_of_an_undo_is_translated(bare):
    bare.serve(run_model=bare.run_model(), event_model=bare.event_model(), actor=lambda: "ann")
    console = serve_console(bare, title="7", translations=Marked())
    bare.put({"name": "new", "variables": {"a": 1}})
    page = console.get("6/undo")
    assert "\u2039Undo the edit\u203a" in page and unmarked(page) == []


@pytest.mark.parametrize("told", ["{anzahl} B", "{count", "100 % {} B", "{count.real} B"])
def test_a_translation_that_can_not_be_filled_in_is_refused_at_once(own_runner, told):
    with pytest.raises(ValueError, match=r"can have only the names of '\{count\} backfills'"):
        serve_console(own_runner, translations={"{count} backfills": told})


def test_a_translation_may_leave_names_out_and_have_an_example_of_its_own(own_runner):
    words = {"{count} backfills": "viele {{B}}", "1 backfill": "ein B"}
    words['A JSON object, such as {"depth": 5}'] = 'JSON, etwa {"tiefe": 5}'
    console = serve_console(own_runner, translations=words)
    assert "ein B" in console.get("") and "{&#34;tiefe&#34;: 5}" in console.get("6/edit")
    own_runner.post({"name": "two"})
    assert "viele {B}" in console.get("")


def test_a_text_is_replaced_with_what_is_filled_in(own_runner):
    words = {"Start {count} runs of {name}?": "{name}: {count} Läufe starten?", "Save": "Sichern"}
    words |= {"Start {count} runs": "{count} Läufe starten", "en": "de"}
    console = serve_console(own_runner, translations=words)
    own_runner.put({**WEEK, "name": "<July>"})
    page = console.get("6/start")
    assert "<h1><bdi>&lt;July&gt;</bdi>: 7 Läufe starten?</h1>" in page
    assert "<title>&lt;July&gt;: 7 Läufe starten? - Backfills</title>" in page
    assert ">7 Läufe starten</button>" in page and '<html lang="de">' in page


def test_the_pages_have_the_hosts_title_and_a_way_home(own_host):
    console = serve_console(own_host, title="Re-runs & more", home_url="/start?a=1&b=2")
    for path in ("", "6", "6/edit", "6/start", "9"):
        page = console.get(path, 404 if path == "9" else 200)
        assert "Re-runs &amp; more</title>" in page
        assert '<li><a href="/start?a=1&amp;b=2">Home</a></li>' in page
        assert ">Re-runs &amp; more</a>" in page


def test_without_a_way_home_none_is_shown(own_host):
    assert ">Home<" not in serve_console(own_host).get("")


def test_a_host_adds_to_the_head_of_every_page(own_host, tmp_path):
    folder = tmp_path / "templates" / "backfills_console"
    folder.mkdir(parents=True)
    (folder / "head.html").write_text('<link rel="stylesheet" href="/own/{{ console_title }}.css">')
    own_host.app.root_path = str(tmp_path)
    own_host.app.jinja_loader = None
    del own_host.app.jinja_loader
    console = serve_console(own_host)
    for path in ("", "6", "6/edit", "6/start"):
        head = console.get(path).partition("</head>")[0]
        assert '<link rel="stylesheet" href="/own/Backfills.css">' in head


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("9", 404, "Not found"),
        ("6/resume", 409, "This can't be done now"),
    ],
)
def test_a_refused_page_says_what_it_is_and_what_to_do_next(own_runner, path, status, told):
    page = serve_console(own_runner).get(path, status)
    assert f"<h1>{told}</h1>" in page.replace("&#39;", "'")
    assert f"<title>{told} - " in page.replace("&#39;", "'")
    assert re.search('<p class="quiet">.+</p>', page) and 'class="button primary"' in page


def test_a_form_that_is_not_ours_is_told_to_load_again(own_runner):
    console = serve_console(own_runner)
    page = console.post("6/delete", {}, 403).text
    assert "Not allowed" in page and "Load the page again." in page
    assert fields(console.get("6/delete"))["csrf_token"]


#: A second way to say how long ago something was.
SECONDS = {"year": 31_536_000, "month": 2_592_000, "day": 86_400, "hour": 3_600, "minute": 60}


@given(st.integers(-(10**9), 10**9))
def test_a_relative_time_is_told_in_the_largest_unit(seconds):
    now = datetime(2023, 7, 18, 12, tzinfo=timezone.utc)
    told = times.relative(now - timedelta(seconds=seconds), now, translate)
    if seconds == 0:
        assert told == "now"
        return
    count, unit = abs(seconds), "second"
    for name, length in SECONDS.items():
        if abs(seconds) >= length:
            count, unit = abs(seconds) // length, name
            break
    span = f"{count} {unit}{'' if count == 1 else 's'}"
    assert told == (f"{span} ago" if seconds > 0 else f"in {span}")


def translate(text, **values):
    return text.format(**values)
