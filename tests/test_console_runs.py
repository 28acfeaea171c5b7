"""The runs of a backfill in the console: all of them, one of them, and why they failed."""

import html
import re
from datetime import datetime
from datetime import timedelta

import pytest
import sqlalchemy as sa
from conftest import in_detail
from jinja2 import StrictUndefined
from pages import Console
from pages import fields
from pages import serve_console

from flask_backfills import BackfillRunMixin
from flask_backfills.runs import failures as reading

pytestmark = in_detail

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16", "name": "July"}
WEEK |= {"interval_type": "day", "interval_units": 1, "status": "initial"}
ATTACK = '"><script>alert(1)</script>\nsecond line'


@pytest.fixture
def url(runner):
    """The path of a backfill of seven runs: three have failed, one is done, one runs, two wait."""
    runner.app.jinja_env.undefined = StrictUndefined
    url = runner.post({**WEEK, "settings": {"order": "forwards"}}).headers["Location"]
    errors = {"10": "502 upstream, shop 7", "11": ATTACK, "12": "502 upstream, shop 8"}
    for run in runner.claim(limit=4):
        error = errors.get(run.key[8:10])
        runner.end(run, "failed" if error else "completed", {} if error else {"rows": 12345}, error)
    runner.claim()
    return url


@pytest.fixture
def key(url):
    return url.rsplit("/", 1)[1]


@pytest.fixture
def console(runner):
    return Console(runner)


def text(page):
    """What of a page is read."""
    page = re.sub(r"<(script|style|head).*?</\1>", "", page, flags=re.S)
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())


def rows(page):
    """The names of the runs of the table."""
    return re.findall(r'<td class="what">\s*<a [^>]*><bdi>(.*?)</bdi>', page)


def id_of(host, url, day):
    return next(one["id"] for one in host.rows(url) if one["key"][8:10] == day)


def test_the_table_has_what_one_looks_for(console, key):
    page = console.get(f"{key}/runs")
    assert rows(page) == [f"2023-07-{day}" for day in range(10, 17)]
    told = text(page)
    for one in ("all 7", "failed 3", "waiting 2", "running 1", "completed 1", "rows 12,345"):
        assert one in told
    # The first line of an error, as text.
    assert '"><script>alert(1)</script>' in told and "second line" not in told
    assert "<script>alert" not in page


def test_the_table_is_filtered_by_status_and_dates(console, key):
    assert rows(console.get(f"{key}/runs?status=failed")) == [
        *("2023-07-10", "2023-07-11", "2023-07-12")
    ]
    page = console.get(f"{key}/runs?since=2023-07-11&until=2023-07-13T00:00:00Z")
    assert rows(page) == ["2023-07-11", "2023-07-12", "2023-07-13"]
    assert "2023-07-11 to 2023-07-13" in text(page) and "failed 2" in text(page)
    assert rows(console.get(f"{key}/runs?status=failed&since=2023-07-12")) == ["2023-07-12"]
    assert "No runs match this filter." in text(console.get(f"{key}/runs?status=cancelled"))
    for query in ("status=lost", "page=x", "page=-1", "sort=secrets", "sort=-"):
        assert len(rows(console.get(f"{key}/runs?{query}"))) == 7
    console.get(f"{key}/runs?page=99999999999999999999")
    assert "since" in console.get(f"{key}/runs?since=soon", 422)


def test_the_table_is_sorted_in_the_database(console, runner, key, url):
    took = {"10": 5, "11": 100, "12": 30, "13": 7}
    model = runner.blueprint.host.run_model
    begin = datetime(2023, 8, 1)
    with runner.app.app_context():
        for run in runner.db.session.scalars(sa.select(model)):
            if seconds := took.get(run.key[8:10]):
                run.started_at = begin
                run.completed_at = begin + timedelta(seconds=seconds)
        runner.db.session.commit()

    def days(sort):
        return [one[8:] for one in rows(console.get(f"{key}/runs?sort={sort}"))]

    assert days("-date") == ["16", "15", "14", "13", "12", "11", "10"]
    for sort in ("duration", "ended"):
        assert days(sort)[:4] == ["10", "13", "12", "11"]
        # What has not ended is last in both orders.
        assert days(f"-{sort}") == ["11", "12", "13", "10", "14", "15", "16"]
    assert days("status") == ["10", "11", "12", "14", "15", "16", "13"]
    page = console.get(f"{key}/runs?sort=-duration&status=failed")
    assert 'aria-sort="descending"' in page and rows(page)[0] == "2023-07-11"
    # Other filters keep the order, and other orders keep the filter.
    links = [html.unescape(one) for one in re.findall(r'href="([^"]*)"', page)]
    assert f"/backfills/{key}/runs?sort=-duration" in links
    assert f"/backfills/{key}/runs?status=failed&sort=duration" in links


def test_a_page_has_fifty_and_costs_as_many_statements_as_one_of_ten(console, runner):
    counts = []
    for end in ("2023-07-10 09:00", "2023-07-13 02:00"):
        window = {"end_datetime": end, "interval_type": "hour"}
        key = runner.post({**WEEK, **window}).json["backfill"]["id"]
        runner.statements.clear()
        page = console.get(f"{key}/runs")
        counts.append(len(runner.statements))
        assert len(rows(page)) == (10 if end.endswith("9:00") else 50)
    assert counts[0] == counts[1] <= 10
    assert "Page 1 of 2" in page and "page=2" in page
    assert rows(page)[5] == "2023-07-10 05:00 to 06:00"
    assert len(rows(console.get(f"{key}/runs?page=2"))) == 25
    assert "There are only 2 pages." in text(console.get(f"{key}/runs?page=3"))


def test_history_is_marked_and_left_out_of_the_counts(console, runner, key, url):
    runner.put({"end_datetime": "2023-07-11"}, url)
    page = console.get(f"{key}/runs")
    assert "failed 2" in text(page) and page.count(">history</span>") >= 2
    assert rows(console.get(f"{key}/runs?status=failed")) == ["2023-07-10", "2023-07-11"]
    history = console.get(f"{key}/runs?status=history")
    assert "2023-07-12" in rows(history) and "2023-07-10" not in rows(history)
    gone = id_of(runner, url, "12")
    page = console.get(f"{key}/runs/{gone}")
    assert ">history</span>" in page and "do-retry" not in page
    assert "No longer needed" in text(page)


def test_the_page_of_a_run_has_all_of_it(console, runner, key, url):
    failed, done = id_of(runner, url, "11"), id_of(runner, url, "13")
    page = console.get(f"{key}/runs/{failed}")
    assert (
        "<pre><bdi>&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\nsecond line</bdi></pre>" in page
    )
    assert '"ds": "2023-07-11"' in html.unescape(page)
    assert (
        f"/runs/{id_of(runner, url, '10')}" in page and f"/runs/{id_of(runner, url, '12')}" in page
    )
    told = text(console.get(f"{key}/runs/{done}"))
    for one in ("completed", "Duration", "Worker", "rows 12,345", "Attempt 1"):
        assert one in told
    first = console.get(f"{key}/runs/{id_of(runner, url, '10')}")
    assert "Previous run" not in first and "Next run" in first


def test_a_run_that_waits_says_why(console, runner, key, url):
    runner.put({"settings": {"paused": True}}, url)
    told = text(console.get(f"{key}/runs/{id_of(runner, url, '16')}"))
    assert "settings.paused is true" in told


@pytest.mark.parametrize(
    ("day", "makes"),
    [("10", {"retry", "done"}), ("13", {"retry"}), ("14", {"cancel"}), ("16", {"cancel", "done"})],
)
def test_a_run_offers_what_its_status_allows(console, runner, key, url, day, makes):
    page = console.get(f"{key}/runs/{id_of(runner, url, day)}")
    assert set(re.findall(r'id="do-(\w+)"', page)) == makes


def test_a_run_is_tried_again_at_once(console, runner, key, url):
    run = id_of(runner, url, "10")
    path = f"{key}/runs/{run}"
    answer = console.post(f"{path}/retry", console.form(path))
    assert answer.location == f"/backfills/{path}?did=run-retry"
    assert "The run waits again." in console.get(f"{path}?did=run-retry")
    assert runner.read(f"{url}/runs/{run}")["run"]["status"] == "initial"


@pytest.mark.parametrize(
    ("day", "make", "status"), [("10", "done", "completed"), ("14", "cancel", "cancelled")]
)
def test_a_run_is_cancelled_or_marked_as_done_after_a_question(
    console, runner, key, url, day, make, status
):
    run = id_of(runner, url, day)
    before = runner.rows(url)
    form = console.form(f"{key}/runs/{run}/{make}")
    assert runner.rows(url) == before
    console.post(f"{key}/runs/{run}/{make}", form)
    assert runner.read(f"{url}/runs/{run}")["run"]["status"] == status


def test_what_follows_for_the_backfill_is_said_before(console, runner, key, url):
    runner.put({"status": "cancelled"}, url)
    page = console.get(f"{key}/runs/{id_of(runner, url, '10')}/retry")
    assert "The backfill will be waiting." in text(page)
    assert runner.get(url)["status"] == "cancelled"


def test_what_can_not_follow_is_refused(console, runner, key, url):
    done = id_of(runner, url, "13")
    page = console.get(f"{key}/runs/{done}/cancel", 409)
    assert "A run that is completed can&#39;t become cancelled" in page
    form = console.form(f"{key}/runs/{id_of(runner, url, '10')}")
    console.post(f"{key}/runs/{done}/cancel", form, 409)
    console.get(f"{key}/runs/99999", 404)
    console.get(f"{key}/runs/x", 404)
    console.get(f"{key}/runs/99999/retry", 404)
    console.get("99999/runs", 404)
    console.post(f"{key}/runs/{done}/retry", {}, 403)


def test_all_failed_runs_are_tried_again_as_told(console, runner, key, url):
    page = console.get(f"{key}/runs?status=failed")
    assert "Try 3 runs again" in page and "/change-runs/retry?status=failed" in page
    path = f"{key}/change-runs/retry?status=failed"
    before = runner.rows(url)
    form = console.form(path)
    assert "Try 3 runs again?" in console.get(path) and form["count"] == "3"
    assert runner.rows(url) == before
    assert console.post(path, form).location == f"/backfills/{key}/runs?did=runs-retry"
    assert runner.statuses(url) == {"initial": 5, "running": 1, "completed": 1}
    assert "No runs match this filter." in console.get(path)


def test_what_is_filtered_by_dates_is_changed_alone(console, runner, key, url):
    path = f"{key}/change-runs/retry?status=failed&since=2023-07-11&until=2023-07-12"
    console.post(path, console.form(path))
    failed = [one["key"][8:10] for one in runner.rows(url) if one["status"] == "failed"]
    assert failed == ["10"]


def test_a_number_that_has_changed_is_told_again(console, runner, key, url):
    path = f"{key}/change-runs/retry?status=failed"
    form = console.form(path)
    runner.client.put(
        f"{url}/runs/{id_of(runner, url, '10')}", json={"run": {"status": "completed"}}
    )
    answer = console.post(path, form, 412)
    assert "The number of runs has changed since you saw it." in answer.text
    assert runner.statuses(url)["failed"] == 2
    console.post(path, fields(answer.text))
    assert "failed" not in runner.statuses(url)
    # Who was not asked changes nothing.
    form.pop("count")
    console.post(f"{key}/change-runs/cancel?status=initial", form, 412)


def test_many_are_changed_only_of_one_status(console, key):
    for query in ("", "?status=history", "?status=lost"):
        console.get(f"{key}/change-runs/retry{query}", 422)
    console.get(f"{key}/change-runs/retry?status=running", 409)
    console.get(f"{key}/change-runs/delete?status=failed", 404)


def names(page):
    """The failures of a page by their message."""
    found = re.findall(r'class="message" href="[^"]*failure=(\w+)">(.*?)</a>', page)
    return {html.unescape(re.sub("<.*?>", "", text)): name for name, text in found}


def test_failures_are_grouped_by_what_they_say(console, runner, key, url):
    page = console.get(f"{key}/runs")
    assert set(names(page)) == {"502 upstream, shop …", '"><script>alert(1)</script>'}
    told = text(page)
    assert "502 upstream, shop … 2 runs 2023-07-10 to 2023-07-12" in told and "1 run" in told
    name = names(page)["502 upstream, shop …"]
    assert rows(console.get(f"{key}/runs?failure={name}")) == ["2023-07-10", "2023-07-12"]
    path = f"{key}/change-runs/retry?failure={name}"
    form = console.form(path)
    assert form["count"] == "2"
    console.post(path, form)
    assert [one["key"][8:10] for one in runner.rows(url) if one["status"] == "failed"] == ["11"]
    assert "No failed run has this error now." in console.get(f"{key}/runs?failure={name}")
    assert "No runs match this filter." in console.get(path)


def test_failures_without_a_reason_are_one_of_their_own(console, runner, key, url):
    runner.store(error=None)
    page = console.get(f"{key}/runs")
    assert set(names(page)) == {"No reason was recorded"}
    path = f"failure={names(page)['No reason was recorded']}"
    assert len(rows(console.get(f"{key}/runs?{path}"))) == 3
    assert console.form(f"{key}/change-runs/retry?{path}")["count"] == "3"


def test_long_errors_are_the_same_if_they_begin_so(console, runner, key, url):
    key_of_runs = runner.blueprint.host.run_model.key
    runner.store(error=sa.literal("x" * 600) + sa.func.substr(key_of_runs, 1, 10))
    [name] = names(console.get(f"{key}/runs")).values()
    assert len(rows(console.get(f"{key}/runs?failure={name}"))) == 3
    assert console.form(f"{key}/change-runs/retry?failure={name}")["count"] == "3"


def test_a_collation_does_not_join_errors(console, runner, key, url):
    model = runner.blueprint.host.run_model
    errors = iter(["Upstream", "upstream", "upstream "])
    with runner.app.app_context():
        for run in runner.db.session.scalars(sa.select(model).where(model.status == "failed")):
            run.error = next(errors)
        runner.db.session.commit()
    page = console.get(f"{key}/runs")
    found = re.findall(r"failure=(\w+)\">", page)
    assert len(set(found)) == 3
    for name in found:
        assert len(rows(console.get(f"{key}/runs?failure={name}"))) == 1
        assert console.form(f"{key}/change-runs/retry?failure={name}")["count"] == "1"


def test_of_too_many_errors_the_most_frequent_are_read(console, runner):
    window = {"end_datetime": "2023-07-11 10:00", "interval_type": "minute"}
    key = runner.post({**WEEK, **window}).json["backfill"]["id"]
    runner.store(status="failed", error=runner.blueprint.host.run_model.key)
    page = console.get(f"{key}/runs")
    assert f"… at least {reading.MOST:,} runs" in text(page)
    assert "There are too many different errors" in page
    # All are changed that are of this kind.
    [name] = names(page).values()
    assert console.form(f"{key}/change-runs/retry?failure={name}")["count"] == "2041"


def test_many_runs_of_a_failure_take_a_bounded_number_of_statements(console, runner):
    counts = []
    for end in ("2023-07-10 00:09", "2023-07-10 15:00"):
        window = {"end_datetime": end, "interval_type": "minute"}
        made = runner.post({**WEEK, **window})
        key = made.json["backfill"]["id"]
        runner.store(status="failed", error="no reading at 12:00")
        [name] = set(re.findall(r"failure=(\w+)\">", console.get(f"{key}/runs")))
        path = f"{key}/change-runs/retry?failure={name}"
        form = console.form(path)
        runner.statements.clear()
        console.post(path, form)
        counts.append(len(runner.statements))
        assert "failed" not in runner.statuses(made.headers["Location"])
    assert counts[0] == counts[1] < 25


def test_who_may_not_update_sees_no_buttons(lent):
    allowed = {"list", "detail", "create"}
    host = lent(authorize=lambda action, pipeline_uuid: action in allowed)
    url = host.post(WEEK).headers["Location"]
    host.store(status="failed", error="boom")
    key, console = url.rsplit("/", 1)[1], Console(host)
    run = id_of(host, url, "10")
    for page in (console.get(f"{key}/runs?status=failed"), console.get(f"{key}/runs/{run}")):
        assert "do-" not in page and "change-runs" not in page
    for path in (f"{key}/runs/{run}/done", f"{key}/change-runs/retry?status=failed"):
        console.get(path, 403)
        console.post(path, {}, 403)
    allowed.discard("detail")
    console.get(f"{key}/runs", 404)
    console.get(f"{key}/runs/{run}", 404)


def test_runs_lead_to_the_hosts_own_logs(own_runner):
    urls = {"10": "https://logs.example/10", "11": "javascript:alert(1)", "12": None}
    console = serve_console(own_runner, run_url=lambda run: urls[run.key[8:10]])
    url = own_runner.post({**WEEK, "end_datetime": "2023-07-12"}).headers["Location"]
    key = url.rsplit("/", 1)[1]
    page = console.get(f"{key}/runs")
    assert page.count('href="https://logs.example/10"') == 1 and "javascript" not in page
    assert "https://logs.example/10" in console.get(f"{key}/runs/{id_of(own_runner, url, '10')}")
    assert "javascript" not in console.get(f"{key}/runs/{id_of(own_runner, url, '11')}")


def test_a_function_that_can_not_be_called_with_a_run_is_refused(own_runner):
    async def later(run):
        return None

    for run_url in (later, lambda: None):
        with pytest.raises(TypeError, match="run_url"):
            serve_console(own_runner, run_url=run_url)


def test_a_run_model_with_the_required_columns_alone_will_do(bare):
    class BackfillRun(bare.db.Model):
        id = sa.Column(sa.Integer, primary_key=True)
        backfill_id = sa.Column(sa.Integer)
        key = sa.Column(sa.String(80))
        status = sa.Column(sa.String(16))
        execution_date = sa.Column(sa.DateTime)

    bare.serve(run_model=BackfillRun)
    bare.app.jinja_env.undefined = StrictUndefined
    console = serve_console(bare)
    url = bare.post(WEEK).headers["Location"]
    bare.store(status="failed")
    key = url.rsplit("/", 1)[1]
    page = console.get(f"{key}/runs")
    assert rows(page)[0] == "2023-07-10 00:00" and "sort=duration" not in page
    console.get(f"{key}/runs?sort=duration&failure=x")
    console.get(f"{key}/runs/{id_of(bare, url, '10')}")
    path = f"{key}/change-runs/retry?status=failed"
    console.post(path, console.form(path))
    assert bare.statuses(url) == {"initial": 7}


def test_models_with_other_names_other_keys_and_time_zones(bare):
    class BackfillRun(BackfillRunMixin, bare.db.Model):
        id = sa.Column(sa.String(36), primary_key=True, default=lambda: next(keys))
        error = None
        reason = sa.Column("what_went_wrong", sa.String(200))
        started_at = sa.Column(sa.DateTime(timezone=True))
        completed_at = sa.Column(sa.DateTime(timezone=True))
        execution_date = sa.Column(sa.DateTime(timezone=True))

    keys = map("run-{}".format, range(100))
    BackfillRun.error = sa.orm.synonym("reason")
    bare.serve(run_model=BackfillRun, timezone="America/New_York")
    bare.app.jinja_env.undefined = StrictUndefined
    console = serve_console(bare)
    window = {"start_datetime": "2023-07-10T04:00:00", "end_datetime": "2023-07-12T04:00:00"}
    url = bare.post({**WEEK, **window}).headers["Location"]
    for run in bare.claim(limit=2):
        bare.end(run, "failed", {}, f"502 upstream {run.key}")
    key = url.rsplit("/", 1)[1]
    page = console.get(f"{key}/runs?sort=-duration")
    assert sorted(rows(page)) == ["2023-07-10", "2023-07-11", "2023-07-12"]
    assert list(names(page)) == ["502 upstream …"] and "2023-07-10 to 2023-07-11" in text(page)
    run = id_of(bare, url, "11")
    page = console.get(f"{key}/runs/{run}")
    assert "Previous run" in page and "Next run" in page
    console.post(f"{key}/runs/{run}/retry", fields(page))
    since = console.get(f"{key}/runs?since=2023-07-11T00:00:00-04:00")
    assert rows(since) == ["2023-07-11", "2023-07-12"]


def test_who_may_change_and_not_see_is_told_in_the_list_what_was_done(lent):
    allowed = {"create", "list", "detail", "update"}
    host = lent(authorize=lambda action, pipeline_uuid: action in allowed)
    console = Console(host)
    started = host.post({**WEEK, "status": "initial"}).json["backfill"]["id"]
    [run] = host.claim()
    host.finish(run, "failed")
    allowed -= {"detail"}
    for path, did in (
        (f"{started}/runs/{run.id}/retry", "run-retry"),
        (f"{started}/change-runs/cancel?status=initial", "runs-cancel"),
        (f"{started}/start", "start"),
    ):
        location = console.post(path, console.form(path)).location
        assert location == f"/backfills/?did={did}"
        assert 'role="status"' in console.get(location.removeprefix("/backfills/"))


def test_what_is_asked_again_is_the_same_list(console, runner):
    url = runner.post({**WEEK, "end_datetime": "2023-12-31"}).headers["Location"]
    key = url.rsplit("/", 1)[1]
    for run in runner.claim(limit=20):
        runner.end(run, "failed", {}, f"{'404' if run.key < '2023-07-15' else '502'} upstream")
    name = re.search(r"failure=(\w+)", console.get(f"{key}/runs"))[1]
    run = id_of(runner, url, "10")
    for path in (
        "runs",
        "runs?status=failed&sort=-date&did=saved",
        "runs?sort=-status&page=2",
        f"runs?failure={name}",
        "runs?since=2023-07-11&until=2023-07-13T00:00:00Z&status=failed",
        f"runs/{run}",
    ):
        page = console.get(f"{key}/{path}")
        asked = html.unescape(re.search(r' data-url="/backfills/([^"]*)"', page)[1])
        alone = console.get(asked)
        assert "<html" not in alone and "did=" not in asked, path
        # "1 second ago" goes on meanwhile.
        still, whole = (re.sub(r">[^<]*</time>", ">", one) for one in (alone, page))
        assert text(still) and text(still) in text(whole), path
        assert rows(alone) == rows(page), path
        assert 'data-active="true"' in alone
    runner.put({"status": "cancelled"}, url)
    for path in ("live/runs", f"live/runs/{run}"):
        assert 'data-active="false"' in console.get(f"{key}/{path}")


def test_what_is_asked_again_asks_whether_the_user_may(lent):
    allowed = {"list", "create", "detail", "update"}
    host = lent(authorize=lambda action, pipeline_uuid: action in allowed)
    console = Console(host)
    url = host.post(WEEK).headers["Location"]
    key = url.rsplit("/", 1)[1]
    run = id_of(host, url, "10")
    other = host.post(WEEK).json["backfill"]["id"]
    for path in ("live/runs", f"live/runs/{run}"):
        console.get(f"{key}/{path}")
    console.get(f"{other}/live/runs/{run}", 404)
    console.get(f"{key}/live/runs/none", 404)
    allowed -= {"detail"}
    for path in ("live/runs", f"live/runs/{run}"):
        console.get(f"{key}/{path}", 404)
