"""The pages of a backfill and of its runs while they are looked at, on a server that fails and is stopped."""

import re

import pytest
from browser import app as app
from browser import chromium as chromium
from browser import expect
from browser import hide
from browser import server as server
from browser import start_july
from browser import url as url
from flask import redirect
from flask import request


@pytest.fixture
def page(chromium, answer, url):
    """A page whose errors are expected: the server is away."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


@pytest.fixture
def answer(app):
    """What the server answers to the page that asks for progress; nothing for what it has."""
    found = {"status": None, "asked": 0}
    app.add_url_rule("/login", "login", lambda: "log in")

    @app.before_request
    def before():
        if request.endpoint and request.endpoint.startswith("console.live"):
            found["asked"] += 1
            if found["status"] == 302:
                return redirect("/login")
            if found["status"] is not None:
                return "", found["status"]
        return None

    return found


def look_at_july(page, app):
    """Start July, and do its first three days."""
    start_july(page)
    finish(app, 3)


def finish(app, count):
    runs = app.blueprints["backfills"].runs
    with app.app_context():
        for run in runs.claim(limit=count):
            runs.finish(run, "completed")


FRESH = "#fresh"


def test_what_is_selected_and_focused_stays_so(page, app):
    start_july(page)
    page.get_by_text("Attributes").click()
    page.locator(".strip .cell").nth(5).evaluate("(cell) => cell.focus({ preventScroll: true })")
    page.evaluate(
        """() => {
          const title = document.querySelector("h1 bdi").firstChild;
          getSelection().setBaseAndExtent(title, 0, title, 12);
        }"""
    )
    finish(app, 6)
    expect(page.locator(".strip .cell.is-completed")).to_have_count(6)
    assert page.evaluate("getSelection().toString()") == "Temperatures"
    expect(page.locator(".strip .cell").nth(5)).to_be_focused()
    expect(page.locator(".strip .cell").nth(5)).to_have_attribute("title", "2023-07-06: completed")
    expect(page.locator("#attributes")).to_have_attribute("open", "")
    expect(page.locator(".strip .cell[tabindex='0']")).to_have_count(1)


def test_what_was_done_is_not_told_any_more_once_it_has_ended(page, app):
    look_at_july(page, app)
    expect(page.locator(".strip .cell.is-completed")).to_have_count(3)
    expect(page.locator("main > .done")).to_have_text("Started.")
    finish(app, 31)
    expect(page.locator(".named .badge")).to_have_text("completed")
    expect(page.locator("main > .done")).to_have_count(0)


def test_it_says_how_old_it_is_and_how_far_in_the_tab(page, app):
    look_at_july(page, app)
    expect(page.locator(FRESH)).to_have_text(re.compile(r"^Updated \d s ago$"))
    expect(page).to_have_title("3/31 - Temperatures of July - Backfills")
    finish(app, 1)
    expect(page).to_have_title("4/31 - Temperatures of July - Backfills")
    expect(page.locator(".figures")).to_contain_text("4 of 31")


def test_a_server_that_is_away_is_waited_for(page, app, server):
    look_at_july(page, app)
    expect(page.locator(".strip .cell.is-completed")).to_have_count(3)
    server.stop()
    expect(page.locator(FRESH)).to_have_text("Reconnecting: the server does not answer.")
    expect(page.locator(".strip .cell.is-completed")).to_have_count(3)
    finish(app, 1)
    server.start()
    expect(page.locator(".strip .cell.is-completed")).to_have_count(4, timeout=20_000)
    expect(page.locator(FRESH)).to_have_text(re.compile("^Updated"))


def test_what_is_temporary_is_tried_again(page, app, answer):
    look_at_july(page, app)
    for status in (500, 502, 503, 504, 429):
        answer["status"] = status
        expect(page.locator(FRESH)).to_have_text("Reconnecting: the server does not answer.")
        answer["status"] = None
        expect(page.locator(FRESH)).to_have_text(re.compile("^Updated"), timeout=20_000)


def test_the_pauses_grow_while_it_fails(page, app, answer):
    start_july(page)
    # Time goes by as the test says.
    page.clock.install()
    page.reload()
    answer["status"] = 500
    pauses = []
    for _ in range(5):
        before, waited = answer["asked"], 0
        while answer["asked"] == before:
            page.clock.run_for(500)
            waited += 500
            page.evaluate("fetch('/backfills/pipeline/static/icon.svg')")
        pauses.append(waited)
    assert pauses == sorted(pauses) and pauses[-1] >= 8 * pauses[0] > 0


#: What is told where the answer will not be another one.
TOLD = {
    401: "You are no longer logged in. Load the page again.",
    302: "You are no longer logged in. Load the page again.",
    403: "You may no longer see this backfill.",
    404: "This backfill no longer exists.",
    400: "This page is no longer updated. Load it again.",
}


def test_what_will_not_come_back_is_told_and_not_asked_for_again(page, app, answer):
    look_at_july(page, app)
    for status, told in TOLD.items():
        answer["status"] = None
        page.reload()
        answer["status"] = status
        expect(page.locator(FRESH)).to_have_text(told)
        asked = answer["asked"]
        page.wait_for_timeout(3500)
        assert answer["asked"] == asked
        expect(page.locator(FRESH)).to_have_text(told)


def test_the_end_is_announced(page, app):
    look_at_july(page, app)
    ended = page.locator("#ended")
    expect(ended).to_have_attribute("aria-live", "polite")
    expect(ended).to_have_text("")
    finish(app, 28)
    expect(ended).to_have_text("Temperatures of July has ended: completed")
    expect(page).to_have_title("Temperatures of July - Backfills")
    expect(page.locator(FRESH)).to_be_hidden()


def test_the_focus_of_an_action_that_is_gone_stays_near(page, app):
    look_at_july(page, app)
    page.get_by_role("link", name="Pause").focus()
    app.test_cli_runner().invoke(args=["backfills", "pause", "7"])
    expect(page.get_by_role("link", name="Resume")).to_be_visible()
    expect(page.locator("#live")).to_be_focused()


def test_times_that_were_made_local_stay_so(chromium, url, app):
    context = chromium.new_context(timezone_id="Asia/Tokyo")
    page = context.new_page()
    page.goto(url)
    look_at_july(page, app)
    page.get_by_role("button", name="Show local times").click()
    finish(app, 28)
    expect(page.locator("#ended")).to_have_text(re.compile("has ended"))
    moment = page.locator(".figures small time")
    utc = page.evaluate("(t) => new Date(t).getUTCHours()", moment.get_attribute("datetime"))
    assert int(moment.text_content()[11:13]) == (utc + 9) % 24
    page.get_by_role("button", name="Show UTC").click()
    assert int(moment.text_content()[11:13]) == utc
    context.close()


def look_at_the_runs(page, app, query=""):
    """Start July, do its first three days, and go to the list of its runs."""
    look_at_july(page, app)
    page.goto(f"{page.url.partition('?')[0]}/runs{query}")
    expect(page.locator(FRESH)).to_have_text(re.compile(r"^Updated \d s ago$"))


ROWS = ".runs tbody tr"
DONE = f"{ROWS} .badge.is-completed"


def select(page, what):
    """Select a text as a reader does."""
    what.evaluate(
        """(element) => {
          const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
          const text = walker.nextNode();
          getSelection().setBaseAndExtent(text, 0, text, text.length);
        }"""
    )


def test_the_list_of_runs_follows_with_its_filter_and_its_order(page, app):
    look_at_the_runs(page, app, "?status=initial&sort=-date")
    expect(page.locator(ROWS)).to_have_count(28)
    last = page.locator(ROWS).first.locator("a")
    last.focus()
    select(page, last)
    assert page.evaluate("getSelection().toString()") == "2023-07-31"
    finish(app, 6)
    expect(page.locator(ROWS)).to_have_count(22)
    expect(page).to_have_title("9/31 - Runs of Temperatures of July - Backfills")
    expect(page.locator(ROWS).last).to_contain_text("2023-07-10")
    expect(last).to_have_text("2023-07-31")
    expect(last).to_be_focused()
    assert page.evaluate("getSelection().toString()") == "2023-07-31"
    page.get_by_role("link", name="all").click()
    expect(page.locator(DONE)).to_have_count(9)
    finish(app, 31)
    expect(page.locator("#ended")).to_have_text("Temperatures of July has ended: completed")
    expect(page.locator(DONE)).to_have_count(31)
    expect(page.locator(FRESH)).to_be_hidden()
    expect(page.locator(".named .badge")).to_have_text("completed")


def test_a_row_that_moves_up_leaves_the_others_as_they_are(page, app):
    look_at_the_runs(page, app, "?sort=-ended")
    tenth = page.get_by_role("link", name="2023-07-10")
    first = page.get_by_role("link", name="2023-07-01")
    select(page, first)
    tenth.focus()
    before = page.locator(ROWS).all_text_contents()
    finish(app, 9)
    expect(page.locator(DONE)).to_have_count(12)
    assert page.locator(ROWS).all_text_contents() != before
    expect(tenth).to_be_focused()
    assert page.evaluate("getSelection().toString()") == "2023-07-01"
    names = page.locator(f"{ROWS} .what").all_inner_texts()
    page.reload()
    assert page.locator(f"{ROWS} .what").all_inner_texts() == names


def test_the_page_of_one_run_follows(page, app, answer):
    look_at_the_runs(page, app)
    page.get_by_role("link", name="2023-07-04").click()
    expect(page.locator(".state .badge")).to_have_text("waiting")
    expect(page.locator(FRESH)).to_have_text(re.compile("^Updated"))
    heading = page.get_by_role("heading", level=1)
    select(page, heading)
    finish(app, 1)
    expect(page.locator(".state [aria-live]")).to_have_text("completed")
    assert page.evaluate("getSelection().toString()") == "2023-07-04"
    expect(page).to_have_title("4/31 - Run 2023-07-04 of Temperatures of July - Backfills")
    answer["status"] = 404
    expect(page.locator(FRESH)).to_have_text("This run no longer exists.")
    answer["status"] = None
    # It follows its second attempt, and what was done is told until that begins.
    page.reload()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".state .badge")).to_have_text("waiting")
    expect(page.locator("main > .done")).to_have_text("The run waits again.")
    page.wait_for_timeout(2000)
    expect(page.locator("main > .done")).to_have_count(1)
    finish(app, 1)
    expect(page.locator(".state .badge")).to_have_text("completed")
    expect(page.locator("main > .done")).to_have_count(0)
    finish(app, 31)
    expect(page.locator("#ended")).to_have_text(re.compile("has ended"))
    asked = answer["asked"]
    page.wait_for_timeout(2500)
    assert answer["asked"] == asked


def test_a_list_that_is_hidden_does_not_ask_and_waits_for_the_server(page, app, answer):
    look_at_the_runs(page, app)
    hide(page, True)
    page.wait_for_timeout(300)
    asked = answer["asked"]
    page.wait_for_timeout(2500)
    assert answer["asked"] == asked
    hide(page, False)
    answer["status"] = 503
    expect(page.locator(FRESH)).to_have_text("Reconnecting: the server does not answer.")
    answer["status"] = None
    expect(page.locator(FRESH)).to_have_text(re.compile("^Updated"), timeout=20_000)
