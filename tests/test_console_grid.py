"""The grids of the console: of a backfill's runs, of a plan, of a pipeline; and its figures."""

import re
import uuid
from collections import Counter
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import sqlalchemy as sa
from conftest import in_detail
from conftest import LIST
from jinja2 import StrictUndefined
from pages import Console
from pages import fields
from pages import labels
from pages import serve_console
from sqlalchemy.orm import synonym

from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin

pytestmark = in_detail

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1}
PIPELINE = "pipeline/coverage?pipeline=arwen_starlight"


@pytest.fixture
def console(runner):
    runner.app.jinja_env.undefined = StrictUndefined
    return Console(runner)


def start(host, **sent):
    response = host.post({**WEEK, **sent, "status": "initial"})
    assert response.status_code == 201, response.text
    return response.json["backfill"]["id"]


def set_status(host, word, *criteria, **more):
    model = host.blueprint.host.run_model
    with host.app.app_context():
        host.db.session.execute(sa.update(model).where(*criteria).values(status=word, **more))
        host.db.session.commit()


def rows(page):
    """The rows of a grid: what stands before each, and the kinds of its cells."""
    found = []
    page = re.sub(r"<title>.*?</title>", "", page, flags=re.DOTALL)
    for name, cells in re.findall(
        r'role="rowheader">(.*?)</span>(.*?)(?=role="row"|</section>|</div>\n</div>)',
        page,
        re.DOTALL,
    ):
        slots = cells.split('role="cell">')[1:]
        kinds = [re.search(r'class="cell is-(\w+)"', slot) for slot in slots]
        found.append((name, [kind and kind[1] for kind in kinds]))
    return found


def fills(page, label):
    """What fills a cell: its kinds and heights."""
    inner = re.search(rf'title="{re.escape(label)}[^>]*>(.*?)</(?:a|button)>', page)[1]
    return {
        k: float(h)
        for k, h in re.findall(r'class="is-(\w+)" y="[\d.]+" width="10" height="([\d.]+)"', inner)
    }


def test_days_stand_in_weeks(console, runner):
    key = start(runner, start_datetime="2023-07-01", end_datetime="2023-07-11")
    for run in runner.claim(limit=2):
        runner.end(run)
    page = console.get(str(key))
    waiting = "initial"
    assert rows(page) == [
        ("2023 Jun 26", [*[None] * 5, "completed", "completed"]),
        ("Jul 3", [waiting] * 7),
        ("Jul 10", [waiting] * 2),
    ]
    assert re.findall(r'role="columnheader">(\w+)</span>', page)[:3] == ["Mon", "Tue", "Wed"]
    assert "Each cell stands for" not in page and "Each cell is one run." in page


def test_hours_stand_in_days_and_a_few_of_them_beside_each_other(console, runner):
    day = {"start_datetime": "2023-07-01 06:00", "end_datetime": "2023-07-02 12:00"}
    key = start(runner, **day, interval_type="hour", interval_units=6)
    waiting = "initial"
    assert rows(console.get(str(key))) == [
        ("2023 Jul 1", [None, waiting, waiting, waiting]),
        ("Jul 2", [waiting] * 3),
    ]
    assert "2023-07-02 12:00: waiting" in console.get(str(key))


def test_where_there_are_too_many_runs_a_cell_stands_for_several_and_says_how_many(console, runner):
    month = {"start_datetime": "2023-07-01", "end_datetime": "2023-07-31 23:00"}
    key = start(runner, **month, interval_type="hour")
    run = runner.blueprint.host.run_model
    set_status(runner, "completed", run.execution_date < datetime(2023, 7, 4))
    set_status(
        runner, "failed", run.execution_date == datetime(2023, 7, 2, 5), error="502 upstream"
    )
    page = console.get(str(key))
    told = dict((label, kind) for kind, label in labels(page))
    assert len(told) == 31
    assert told["2023-07-01: 24 runs, 24 completed"] == "completed"
    assert told["2023-07-02: 24 runs, 23 completed, 1 failed. 502 upstream"] == "some"
    assert told["2023-07-04: 24 runs, 24 waiting"] == "initial"
    # In proportion, but that one of many is seen.
    assert fills(page, "2023-07-02: 24 runs") == {"completed": 86.0, "failed": 14.0}
    set_status(
        runner, "failed", run.execution_date.between(datetime(2023, 7, 3), datetime(2023, 7, 3, 11))
    )
    assert fills(console.get(str(key)), "2023-07-03: 24 runs") == {
        "completed": 50.0,
        "failed": 50.0,
    }
    assert "Each cell stands for a day." in page and "Each cell is one run." not in page


def test_a_hundred_thousand_runs_are_counted_by_the_database(console, runner):
    runner.app.config["BACKFILLS_MAX_RUNS"] = 200_000
    last = datetime(2012, 1, 1) + timedelta(hours=99_999)
    years = {"start_datetime": "2012-01-01", "end_datetime": str(last)}
    key = start(runner, **years, interval_type="hour")
    runner.statements.clear()
    page = console.get(str(key))
    many = len(runner.statements)
    cells = labels(page)
    total = sum(int(re.search(r": ([\d,]+) runs", one)[1].replace(",", "")) for _, one in cells)
    assert total == 100_000 and len(cells) <= 400
    short = start(runner)
    runner.statements.clear()
    console.get(str(short))
    assert many - len(runner.statements) <= 2 and many <= 20


def test_a_cell_leads_to_its_run_or_to_the_list_of_its_runs(console, runner):
    key = start(runner)
    page = console.get(str(key))
    runs = {one["execution_date"][:10]: one["id"] for one in runner.rows(f"/api/backfills/{key}")}
    links = dict(re.findall(r'title="([\d-]+): waiting"[^>]* href="([^"]*)"', page))
    assert links == {day: f"/backfills/{key}/runs/{run}" for day, run in runs.items()}
    assert f'<a href="/backfills/{key}/runs?status=initial">' in page
    assert f'id="do-duplicate" href="/backfills/pipeline/create?from={key}"' in page
    key = start(runner, interval_type="minute")
    page = console.get(str(key)).replace("&amp;", "&")
    hour = f"/backfills/{key}/runs?since=2023-07-10T01:00:00&until=2023-07-10T01:59:59"
    assert f'href="{hour}"' in page
    # Just those that the cell stands for.
    assert 'all <span class="number">60</span>' in console.get(hour.removeprefix("/backfills/"))


def test_runs_of_a_generator_are_laid_out_by_their_dates_or_in_their_order(console, runner):
    dated = [{"key": f"m{n}", "execution_date": f"2023-{n:02}-01"} for n in range(1, 8)]
    runner.blueprint.generator("mixed")(lambda backfill: [*dated, {"key": "b"}, {"key": "a"}])
    key = start(runner, block_uuid="mixed")
    page = console.get(str(key))
    assert [(name, len(kinds)) for name, kinds in rows(page)] == [("2023", 7)]
    assert [label for _, label in labels(page)][-2:] == ["a: waiting", "b: waiting"]
    many = [{"key": f"{n:04}"} for n in range(900)]
    runner.blueprint.generator("many")(lambda backfill: [*many, *dated])
    page = console.get(str(start(runner, block_uuid="many")))
    cells = [label for _, label in labels(page)]
    assert cells[0] == "2023-01: 1 waiting" and cells[7] == "0000 to 0002: 3 runs, 3 waiting"
    assert "Each cell stands for several runs." in page


def test_models_with_other_names_and_keys_and_fewer_columns_have_a_grid(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        id = sa.Column(sa.Uuid, primary_key=True, default=uuid.uuid4)
        team = sa.Column(sa.String(40))
        pipeline_uuid = synonym("team")

    class Run(bare.db.Model):
        __tablename__ = "backfill_run"
        id = sa.Column(sa.Uuid, primary_key=True, default=uuid.uuid4)
        of = sa.Column(sa.Uuid)
        backfill_id = synonym("of")
        key = sa.Column(sa.String(255))
        begins = sa.Column(sa.DateTime(timezone=True))
        execution_date = synonym("begins")
        state = sa.Column(
            sa.Enum("initial", "running", "completed", "failed", "cancelled", name="state")
        )
        status = synonym("state")

    bare.serve(Backfill, run_model=Run, seed={"team": "arwen_starlight"}, timezone="Europe/Berlin")
    bare.app.jinja_env.undefined = StrictUndefined
    console = serve_console(bare)
    key = start(bare, start_datetime="2023-07-09 22:00", end_datetime="2023-07-12 22:00")
    # In Berlin, the day has begun two hours before.
    assert rows(console.get(key)) == [("2023 Jul 10", ["initial"] * 4)]
    assert labels(console.get(key))[0][1] == "2023-07-10: waiting"
    key = start(bare, start_datetime="2023-03-01", end_datetime="2023-04-30", interval_type="hour")
    assert sum(kind == "initial" for kind, _ in labels(console.get(key))) == 61


def test_the_figures_say_how_far_it_is_and_when_it_ends(console, runner):
    key = start(runner)
    for number, run in enumerate(runner.claim(limit=5)):
        runner.end(run, "failed" if number == 1 else "completed")
    page = " ".join(console.get(str(key)).split())

    def figure(name):
        found = re.search(rf"<dt>{name}</dt><dd[^>]*>(.*?)</dd>", page)
        return found and re.sub("<[^>]*>", "", found[1]).strip()

    assert figure("ended") == "5 of 7" and figure("failed") == "1"
    assert float(figure("runs a minute")) > 0
    assert "at the latest with 90%" in figure("finish")
    assert "<title>5/7 - " in page and 'data-title="5/7 - ' in page
    for run in runner.claim(limit=5):
        runner.end(run)
    page = " ".join(console.get(str(key)).split())
    assert figure("took") and figure("finished").startswith(
        ("now", "1 second ago", "2 seconds ago")
    )
    assert figure("runs a minute") is None and "/7 - " not in page.split("</title>")[0]


def primary(page):
    return re.findall(r'class="button primary" id="do-(\w+)"', page)


def test_one_action_is_first_by_state(console, runner):
    key = runner.post(WEEK).json["backfill"]["id"]
    url = f"{LIST}/{key}"
    assert primary(console.get(str(key))) == ["start"]
    runner.put({"status": "initial"}, url)
    assert primary(console.get(str(key))) == ["pause"]
    runner.put({"settings": {"paused": True}}, url)
    page = console.get(str(key))
    assert primary(page) == ["resume"] and "No run starts while it is paused." in page
    runner.put({"settings": None}, url)
    for run in runner.claim(limit=9):
        runner.end(run, "failed")
    assert primary(console.get(str(key))) == ["retry"]
    runner.put({"status": "running"}, url)
    for run in runner.claim(limit=9):
        runner.end(run)
    assert primary(console.get(str(key))) == []


def test_where_nothing_moves_the_page_says_what_to_start(console, runner):
    key = start(runner)
    page = " ".join(console.get(str(key)).split())
    assert "7 runs may start, and no worker has taken a run for 60 seconds." in page
    assert "Start one: <code>flask backfills work</code>" in page
    runner.claim()
    assert 'class="why"' not in console.get(str(key))


def test_the_canary_is_told_while_others_wait_for_it(console, runner):
    key = start(runner, settings={"canary": 3})
    first, *others = runner.claim(limit=3)
    runner.end(first, "failed")
    # Something moves, and this is told all the same.
    assert "Waits for the canary: 1 of 3 ended, 1 failed." in console.get(str(key))
    for run in others:
        runner.end(run)
    page = console.get(str(key))
    assert "Canary: 3 of 3 ended, 1 failed." in page
    # In the words of the buttons.
    assert "Then resume it, or cancel it." in page and "settings.paused" not in page


def test_one_that_takes_long_is_looked_at_less_often(console, runner):
    def every(key):
        return int(re.search(r'data-every="(\d+)"', console.get(str(key)))[1])

    assert every(start(runner)) == 1500
    years = {"start_datetime": "2022-01-01", "end_datetime": "2022-12-31"}
    assert every(start(runner, **years, interval_type="hour")) == 5000


# A plan


def preview(console, key, **sent):
    form = console.form(f"{key}/edit")
    form |= {**{f"new-{name}": value for name, value in sent.items()}, "do": "preview"}
    return console.post(f"{key}/edit", form, 200).text


def listed(page):
    """The entries of the table: the run, and what happens to it."""
    body = page[page.index('class="entries"') :].split("<tbody>")[1].split("</tbody>")[0]
    found = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [re.sub(r"<[^>]*>", " ", one).split()[:3] for one in found]


def test_what_is_dropped_is_seen_beside_a_thousand_that_are_added(console, runner):
    key = start(runner)
    page = preview(console, key, start_datetime="2023-07-11", end_datetime="2026-07-16")
    found = dict((label, kind) for kind, label in labels(page))
    # A cell for each week, since there are so many.
    label = "2023-07-10 to 2023-07-16: 7 runs, 6 to keep, 1 to drop"
    assert found[label] == "some" and fills(page, label) == {"drop": 14.29}
    assert found["2023-07-17 to 2023-07-23: 7 runs, 7 to add"] == "add"
    assert listed(page)[0] == ["2023-07-10", "to", "drop"]
    assert len(listed(page)) == 50 and "Page 1 of 23" in page


def test_the_pages_of_a_previewed_plan_are_asked_for_by_its_form(console, runner):
    key = start(runner)
    page = preview(console, key, end_datetime="2023-10-16")
    url = re.search(r'name="do" value="preview" formaction="([^"]*)"', page)[1]
    assert url == f"/backfills/{key}/edit?entries=2"
    assert '<details class="entries">' in page
    form = {**fields(page), "do": "preview"}
    page = console.post(url.removeprefix("/backfills/"), form, 200).text
    assert "Page 2 of 2" in page and '<details class="entries" open>' in page
    # Those that stay come last.
    assert listed(page)[-7:] == [[f"2023-07-{day}", "to", "keep"] for day in range(10, 17)]
    console.post(f"{key}/edit", {**fields(page), "do": "save"})
    assert len(runner.rows(f"/api/backfills/{key}")) == 99


def test_the_pages_of_a_plan_that_was_asked_for_by_a_link_are_links(console, runner):
    key = runner.post({**WEEK, "end_datetime": "2023-12-31"}).json["backfill"]["id"]
    page = console.get(f"{key}/start?_scheme=javascript&entries=99")
    assert "Page 4 of 4" in page
    [url] = re.findall(r'<a href="([^"]*entries=[^"]*)"', page)
    assert url.replace("&amp;", "&") == f"/backfills/{key}/start?_scheme=javascript&entries=3"


def test_the_pages_of_a_plan_are_those_of_a_key_with_signs_of_a_url(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        id = sa.Column(sa.String(20), primary_key=True)

    class BackfillRun(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        backfill_id = sa.Column(sa.String(20))

    window = {"start_datetime": datetime(2023, 7, 1), "end_datetime": datetime(2023, 12, 31)}
    window |= {"interval_type": "day", "interval_units": 1}
    bare.serve(
        Backfill, run_model=BackfillRun, seed={"id": "a?b#%25", "pipeline_uuid": "p", **window}
    )
    console = serve_console(bare)
    page = console.get("a%3Fb%23%2525/start")
    [url] = re.findall(r'<a href="/backfills/([^"]*entries=2)"', page)
    assert "Page 2 of 4" in console.get(url)


def test_what_a_plan_skips_and_a_generators_runs_are_in_its_grid(console, runner):
    runner.blueprint.generator("parts")(lambda backfill: [{"key": "b"}, {"key": "a"}])
    key = runner.post({"block_uuid": "parts"}).json["backfill"]["id"]
    page = console.get(f"{key}/start")
    assert labels(page) == [("add", f"{k}: to add. Not planned before.") for k in "ab"]
    assert listed(page) == [["a", "to", "add"], ["b", "to", "add"]]


# A pipeline


def work(host, *fails, **sent):
    key = start(host, **sent)
    run = host.blueprint.host.run_model
    set_status(host, "completed", run.backfill_id == key)
    for date in fails:
        set_status(host, "failed", run.backfill_id == key, run.execution_date == date)
    return key


def test_the_coverage_of_a_pipeline_is_a_calendar(console, runner):
    work(runner, start_datetime="2023-07-14", end_datetime="2023-07-15", interval_type="hour")
    work(runner, datetime(2023, 7, 12))
    page = console.get(f"{PIPELINE}&start=2023-07-08&end=2023-07-18")
    assert "<title>Pipeline arwen_starlight - Backfills</title>" in page
    assert [(name, kinds) for name, kinds in rows(page)] == [
        ("2023 Jul 3", [*[None] * 5, "missing", "missing"]),
        ("Jul 10", ["completed", "completed", "failed", "completed", "twice", "some", "completed"]),
        ("Jul 17", ["missing"]),
    ]
    # Of the 15th, one hour was done twice.
    label = "2023-07-15: 96% completed, 4% completed twice"
    assert fills(page, label) == {"twice": 14.0, "completed": 86.0}
    for share in ("50% completed once", "10% completed twice", "10% failed", "30% missing"):
        assert re.search(
            rf">{share}<|>{share[: share.index('%')]}%</span> {share.split('% ')[1]}", page
        ), share


@pytest.mark.parametrize(
    ("days", "completed", "failed"),
    [("18", "95%", "5%"), ("50", "99.9%", "0.1%")],
)
def test_what_is_completed_is_one_figure_on_the_page(console, runner, days, completed, failed):
    """It stands above and beside the colour, and is not all where something failed."""
    hours = {"18": 19, "50": 1_200}[days]
    end = datetime(2023, 7, 10) + timedelta(hours=hours)
    until = str(end - timedelta(hours=1))
    work(runner, datetime(2023, 7, 10, 5), end_datetime=until, interval_type="hour")
    page = console.get(f"{PIPELINE}&start=2023-07-10&end={end}")
    assert re.findall(r"<strong>([^<]*)</strong> completed", page) == [completed]
    legend = re.findall(r'<span class="number">([^<]*%)</span> (\w+)', page)
    assert legend == [(completed, "completed"), (failed, "failed")]


def test_a_day_of_the_coverage_leads_to_its_hours(console, runner):
    work(runner)
    page = console.get(f"{PIPELINE}&start=2023-07-08&end=2023-07-18").replace("&amp;", "&")
    url = re.search(r'title="2023-07-10: completed"[^>]* href="/backfills/([^"]*)"', page)[1]
    zoomed = console.get(url)
    assert "2023-07-10 00:00 to 01:00" not in page
    assert rows(zoomed) == [("2023 Jul 10", ["completed"])]
    work(runner, interval_type="hour", end_datetime="2023-07-10 05:00", start_datetime="2023-07-10")
    kinds = Counter(rows(console.get(url))[0][1])
    assert kinds == {"twice": 6, "completed": 18}


def test_the_backfills_of_a_pipeline_stand_under_its_coverage(console, runner):
    for number in range(12):
        start(runner, name=f"number {number}")
    runner.statements.clear()
    page = console.get(f"{PIPELINE}&start=2023-07-08&end=2023-07-18")
    assert "number 11" in page and "number 1<" not in page and "All 13 backfills" in page
    assert f'<li><a href="/backfills/{PIPELINE}">' in console.get("7")
    assert "Pieces" in page and '<div class="scrolls"' not in page


def test_who_may_not_list_a_pipeline_is_not_led_to_it(own_runner):
    def authorize(action, pipeline_uuid):
        return action == "detail"

    own_runner.blueprint.host.authorize = authorize
    console = serve_console(own_runner)
    assert "pipeline/coverage" not in console.get("6")


def test_the_runs_a_minute_are_those_of_the_last_minutes(console, runner):
    key = start(runner)
    run = runner.blueprint.host.run_model
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    set_status(
        runner,
        "completed",
        run.execution_date < datetime(2023, 7, 12),
        completed_at=now - timedelta(hours=1),
    )
    set_status(runner, "completed", run.execution_date == datetime(2023, 7, 12), completed_at=now)
    with runner.app.app_context():
        model = runner.model
        old = (
            sa.update(model)
            .where(model.id == key)
            .values(started_at=now - timedelta(hours=2), status="running")
        )
        runner.db.session.execute(old)
        runner.db.session.commit()
    page = " ".join(console.get(str(key)).split())
    assert re.search(r"<dt>runs a minute</dt><dd[^>]*>0\.2", page)


def test_what_a_longer_window_lacks_is_said(console, runner):
    key = start(runner)
    for run in runner.claim(limit=100):
        runner.end(run)
    page = console.get(str(key))
    assert "completed" in page and "missing" not in page
    last = runner.get(f"/api/backfills/{key}")["end_datetime"]
    later = datetime.fromisoformat(last) + timedelta(days=2)
    runner.put({"end_datetime": str(later)}, f"/api/backfills/{key}")
    assert "2 runs are missing: a start adds them." in console.get(str(key))
