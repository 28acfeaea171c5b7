"""The console in a real Chromium, on the quickstart."""

import re

import pytest
from browser import app as app
from browser import assert_looks_right
from browser import chromium as chromium
from browser import expect
from browser import HIDDEN
from browser import hide
from browser import page as page
from browser import server as server
from browser import start_july
from browser import url as url
from browser import worker as worker


def test_a_backfill_is_started_followed_and_made_longer(page, worker):
    start_july(page)
    worker.start()
    expect(page.locator(".strip .cell.is-completed")).not_to_have_count(0)
    expect(page.locator(".badge.is-running")).to_be_visible()
    # It is not to end before it is saved, however slow the browser is.
    worker.stop()
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("End datetime").fill("2023-08-12")
    page.get_by_role("button", name="See what will happen").click()
    expect(page.locator(".legend")).to_contain_text("31 to keep")
    expect(page.locator(".strip .cell.is-add")).to_have_count(12)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".strip .cell")).to_have_count(43)
    worker.start()
    # One reading is missing, so it ends as failed, and the page says why without a reload.
    expect(page.locator(".badge.is-failed")).to_be_visible(timeout=30_000)
    expect(page.locator(".strip .cell.is-completed")).to_have_count(42)
    expect(page.locator(".failures")).to_contain_text("no reading at 12:00")
    expect(page.locator(".failures")).to_contain_text("2023-07-13")
    expect(page.get_by_role("link", name="Retry")).to_be_visible()


def asked(page):
    """How often the page asks for its progress, from now on."""
    found = []
    page.on("request", lambda request: found.append(request) if "/live" in request.url else None)
    return found


def test_the_page_stops_asking_when_it_is_hidden_or_the_backfill_has_ended(page, app):
    start_july(page)
    requests = asked(page)
    page.wait_for_timeout(3500)
    assert len(requests) >= 2
    hide(page, True)
    page.wait_for_timeout(300)
    before = len(requests)
    page.wait_for_timeout(3500)
    assert len(requests) == before
    hide(page, False)
    page.wait_for_timeout(300)
    assert len(requests) == before + 1
    app.test_cli_runner().invoke(args=["backfills", "cancel", "7", "--yes"])
    expect(page.locator(".badge.is-cancelled")).to_be_visible()
    before = len(requests)
    page.wait_for_timeout(3500)
    assert len(requests) == before


def test_cells_are_told_on_hover_and_reached_by_the_keys(page):
    start_july(page)
    told = page.locator(".told")
    page.locator(".strip .cell").nth(2).hover()
    expect(told).to_have_text("2023-07-03: waiting")
    page.locator(".legend a").last.focus()
    page.keyboard.press("Tab")
    expect(told).to_have_text("2023-07-01: waiting")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    expect(told).to_have_text("2023-07-02: waiting")
    # The strip is one stop for the tab key; what moves keeps what has the focus.
    page.wait_for_timeout(2000)
    expect(page.locator(".strip .cell").nth(1)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".strip .cell:focus")).to_have_count(0)


def test_it_works_without_javascript(chromium, url, worker):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    start_july(page)
    worker.start()
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Name").fill("<b>July</b>")
    page.get_by_role("button", name="See what will happen").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="<b>July</b>")).to_be_visible()
    context.close()


def test_what_a_browser_can_not_show_is_not_changed_by_an_edit(page, app):
    backfills = app.blueprints["backfills"].host.table
    with app.app_context():
        july = backfills.find(None, 7)
        july.name, july.interval_type, july.block_uuid = "two\r\nlines", "fortnight", "a\rb\n"
        backfills.session.commit()
    page.reload()
    page.get_by_role("link", name="two").click()
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Interval units").fill("2")
    page.get_by_role("button", name="See what will happen").click()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".attributes")).to_contain_text("interval_units2")
    with app.app_context():
        july = backfills.find(None, 7)
        assert (july.name, july.interval_type) == ("two\r\nlines", "fortnight")
        assert (july.block_uuid, july.interval_units) == ("a\rb\n", 2)


def test_an_attack_in_a_name_is_text(page, app):
    attack = "<img src=x onerror=alert(1)><script>alert(1)</script>"
    alerts = []
    page.on("dialog", lambda dialog: alerts.append(dialog.dismiss()))
    app.test_cli_runner().invoke(args=["backfills", "update", "7", f"name={attack}"])
    page.reload()
    page.get_by_role("link", name=attack).click()
    expect(page.get_by_role("heading", name=attack)).to_be_visible()
    page.get_by_role("link", name="Edit").click()
    expect(page.get_by_label("Name")).to_have_value(attack)
    assert alerts == []


def test_what_callers_wrote_does_not_turn_the_page(page, app):
    name = f"{HIDDEN} \u05d0\u05d1 "
    app.test_cli_runner().invoke(args=["backfills", "update", "7", f"name={name}"])
    page.reload()
    page.get_by_role("link", name="[U+202E]").click()
    # What stands after the name stays after it.
    page.get_by_role("link", name="Start").click()
    heading = page.get_by_role("heading", level=1)
    places = heading.evaluate(
        """(heading) => {
          const place = (node) => {
            const range = document.createRange();
            range.selectNodeContents(node);
            return range.getBoundingClientRect();
          };
          return [...heading.childNodes].map((node) => [place(node).left, place(node).right]);
        }"""
    )
    assert places == sorted(places) and len(places) == 3
    page.goto(f"{page.url.removesuffix('start')}edit")
    expect(page.get_by_label("Name")).to_have_value(name)


def pages(page, url, app):
    """Each page of the console in turn, with something in it."""
    yield "list"
    start_july(page)
    yield "backfill"
    page.get_by_role("link", name="Cancel").click()
    yield "action"
    page.goto(f"{url}pipeline/coverage?pipeline=weather&start=2023-06-20&end=2023-08-20")
    page.get_by_text("Pieces").click()
    yield "pipeline"
    page.goto(f"{url}7/edit")
    page.get_by_text("More attributes").click()
    yield "form"
    page.get_by_label("End datetime").fill("2023-07-20")
    page.get_by_role("button", name="See what will happen").click()
    page.get_by_text("List of these runs").click()
    yield "preview"
    page.get_by_label("End datetime").fill("20/07/2023")
    page.get_by_role("button", name="See what will happen").click()
    yield "errors"
    page.goto(f"{url}7/edit")
    page.get_by_label("Max failures").fill("0")
    page.get_by_role("button", name="See what will happen").click()
    yield "errors of settings"
    page.goto(f"{url}7/edit")
    page.get_by_label("Name").fill("mine")
    app.test_cli_runner().invoke(args=["backfills", "update", "7", f"name=hers {HIDDEN}"])
    page.get_by_role("button", name="See what will happen").click()
    expect(page.get_by_text("Somebody else has stored: hers [U+202E]")).to_be_visible()
    yield "overtaken"
    page.goto(f"{url}7/undo")
    yield "undo"
    page.goto(f"{url}7/delete")
    yield "delete"
    page.get_by_role("button", name="Delete").click()
    yield "refused"
    fail_some(app)
    page.goto(f"{url}7/runs")
    yield "runs"
    page.get_by_role("link", name="no reading at").first.click()
    yield "runs of a failure"
    page.get_by_role("link", name="2023-07-03").click()
    yield "run"
    page.get_by_role("link", name="Mark as done").click()
    yield "question of a run"
    page.goto(f"{url}7/change-runs/retry?status=failed")
    yield "question of runs"


def fail_some(app):
    """Let runs of July fail, with short and with long reasons."""
    host = app.blueprints["backfills"].host
    with app.app_context():
        backfill = host.table.find(None, 7)
        for number, run in enumerate(host.progress.page(backfill, None, 0, 31)[0]):
            if number < 20:
                run.status, run.error = "failed", f"no reading at {number}:00 {HIDDEN}"
            elif number < 25:
                run.status, run.error = "failed", "x" * 500
            run.started_at = run.completed_at = run.execution_date
            run.metrics, run.worker = {"rows": 10**9, "x" * 90: {"y": "z" * 90}}, "w" * 200
        host.table.session.commit()


def test_failed_runs_are_tried_again_with_the_keys_alone(page, url, app):
    start_july(page)
    fail_some(app)
    page.goto(f"{url}7/runs")

    def press_until(name):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.getAttribute('aria-label')") == name:
                return
            if page.evaluate("document.activeElement.innerText") == name:
                return
        raise AssertionError(f"no Tab leads to {name}")

    press_until("failed 25")
    page.keyboard.press("Enter")
    expect(page.locator(".choices [aria-current]")).to_have_text("failed 25")
    press_until("Try 25 runs again")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Try 25 runs again?")).to_be_visible()
    press_until("Try 25 runs again")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("The runs wait again.")
    expect(page.locator(".badge.is-failed")).to_have_count(0)
    press_until("2023-07-01")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="2023-07-01")).to_be_visible()
    press_until("Next run")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="2023-07-02")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overlaps_and_axe_finds_nothing(chromium, url, app, scheme):
    long = "a name without a space " + "x" * 120
    app.test_cli_runner().invoke(args=["backfills", "update", "6", f"name={long}"])
    # The policy is for what a page loads by itself, not for what is put in by a test.
    context = chromium.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(url)
    for name in pages(page, url, app):
        assert_looks_right(page, name, scheme)
    context.close()


def test_the_language_and_title_of_a_page_are_told(page):
    assert re.search("<html lang=.en.>", page.content()) and page.title() == "Backfills"
