"""The console's list and its form for a new backfill in a real Chromium, by the keys alone too."""

import pytest
from browser import app as app
from browser import assert_looks_right
from browser import chromium as chromium
from browser import expect
from browser import HIDDEN
from browser import page as page
from browser import server as server
from browser import url as url

#: Scripts are loaded after the page, which takes its time on a machine that has much to do.
LOADED = {"timeout": 30_000}


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def tab_to(page, name):
    """Go to a control by the tab key, as who has no mouse does."""
    for _ in range(80):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
              const one = document.activeElement;
              return one.labels?.[0]?.firstChild.textContent.trim() || one.ariaLabel || one.textContent.trim();
            }"""
        )
        if found == name:
            return
    raise AssertionError(f"no way to {name}")


def test_filters_submit_by_themselves_and_keep_the_focus(page, url):
    expect(page.get_by_role("button", name="Filter")).to_be_hidden(**LOADED)
    page.locator("#filter-status").select_option("not-started")
    expect(page).to_have_url(f"{url}?status=not-started")
    expect(page.locator("#filter-status")).to_be_focused(**LOADED)
    page.locator("#filter-q").fill("july")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{url}?q=july&status=not-started")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="Remove the filter Status").click()
    expect(page).to_have_url(f"{url}?q=july")


def test_a_card_says_what_its_times_are_and_begins_with_its_name(page, app, url):
    page.goto(f"{url}7/start")
    page.locator("form button.primary").click()
    runs = app.blueprints["backfills"].runs
    with app.app_context():
        for run in runs.claim(limit=31):
            runs.finish(run, "completed")
    page.goto(f"{url}?q=july")
    headings = page.locator(".rows tbody .heading")
    assert headings.all_text_contents() == ["Created", "Finished"]
    for width in (400, 800):
        page.set_viewport_size({"width": width, "height": 900})
        for number in range(2):
            expect(headings.nth(number)).to_be_visible()
        lefts = page.locator(".rows tbody tr > :not(.choice, :empty)").evaluate_all(
            "(found) => found.map((one) => one.getBoundingClientRect().left)"
        )
        assert min(lefts) == lefts[0], width
    # The columns have names there.
    page.set_viewport_size({"width": 1400, "height": 900})
    for number in range(2):
        expect(headings.nth(number)).to_be_hidden()


def test_several_are_started_and_cancelled_by_the_keys_alone(page, url):
    bar = page.locator("#bulk")
    expect(bar).to_be_hidden(**LOADED)
    tab_to(page, "Choose Temperatures of July")
    press(page, "Space")
    expect(bar).to_contain_text("1 chosen")
    expect(page.locator("#choose-all")).to_have_js_property("indeterminate", True)
    tab_to(page, "Start")
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Start 1 backfill?")
    tab_to(page, "Start 1 backfill")
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Started 1 of 1")
    tab_to(page, "Back to the list")
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Backfills", **LOADED)
    expect(bar).to_be_hidden(**LOADED)
    tab_to(page, "Choose all on this page")
    press(page, "Space")
    expect(bar).to_contain_text("2 chosen")
    tab_to(page, "Cancel")
    press(page, "Enter")
    expect(page.locator("main")).to_contain_text("31 runs that have not ended are cancelled.")


def test_a_backfill_is_created_by_the_keys_alone(page, url):
    tab_to(page, "New backfill")
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("New backfill", **LOADED)
    tab_to(page, "Pipeline")
    page.keyboard.type("ships")
    page.wait_for_load_state("networkidle")
    tab_to(page, "Last 7 days")
    press(page, "Enter")
    expect(page.get_by_label("End", exact=True)).to_be_focused()
    # What was written before stays.
    expect(page.get_by_label("Pipeline", exact=True)).to_have_value("ships")
    tab_to(page, "Name")
    page.keyboard.type("A week")
    # The Enter key shows the plan, and stores nothing.
    press(page, "Enter")
    expect(page.locator(".plan .legend")).to_contain_text("7 to add", **LOADED)
    tab_to(page, "Create and start")
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("A week")
    expect(page.get_by_text("Started.")).to_be_visible()


def pages(page, url, app):
    yield "list"
    page.locator("[name=chosen]").first.check()
    yield "chosen"
    page.goto(f"{url}?q=e&sort=-name&status=not-started")
    yield "filtered"
    page.goto(f"{url}?pipeline=nowhere")
    yield "unknown"
    page.goto(f"{url}pipeline/bulk?action=cancel&chosen=6&chosen=7&chosen=99")
    yield "question"
    page.goto(f"{url}pipeline/bulk?action=start&chosen=7&chosen=99")
    page.get_by_role("button", name="Start").click()
    yield "answer"
    page.goto(f"{url}pipeline/create?from=7")
    page.get_by_text("More attributes").click()
    yield "copy"
    page.get_by_role("button", name="See what will happen").last.click()
    expect(page.locator(".plan")).to_be_visible()
    yield "plan"
    page.get_by_label("Start", exact=True).fill("1/7")
    page.get_by_label("Interval units").fill("0")
    page.get_by_role("button", name="See what will happen").last.click()
    expect(page.locator("#field-interval_units-error")).to_be_visible()
    yield "errors"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overlaps_and_axe_finds_nothing(chromium, url, app, scheme):
    long = f"a name {HIDDEN} without a space " + "x" * 120
    app.test_cli_runner().invoke(args=["backfills", "update", "6", f"name={long}"])
    context = chromium.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(url)
    for name in pages(page, url, app):
        # The bar of what is chosen lies over the rows while they are scrolled.
        assert_looks_right(page, name, scheme, overlaps=name != "chosen")
    context.close()
