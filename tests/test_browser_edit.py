"""The form, the questions and the times of the console in a real Chromium, on the quickstart."""

import re

import pytest
from browser import app as app
from browser import chromium as chromium
from browser import expect
from browser import page as page
from browser import server as server
from browser import url as url


def tab_to(page, name, most=60):
    """Go to a control by the tab key alone."""
    for _ in range(most):
        page.keyboard.press("Tab")
        told = page.evaluate(
            "document.activeElement.labels?.[0]?.textContent ?? document.activeElement.textContent"
        )
        if told.strip() == name:
            return
    raise AssertionError(f"the tab key does not reach {name}")


def test_a_setting_is_edited_with_the_keyboard_alone(chromium, url, app):
    # Of its own, since what is refused stands in the browser's console, too.
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{url}7/edit")
    tab_to(page, "Max failures")
    page.keyboard.type("0")
    tab_to(page, "Skip covered")
    page.keyboard.press("Space")
    tab_to(page, "See what will happen")
    page.keyboard.press("Enter")
    # What is wrong has the focus, and leads to its field.
    expect(page.locator("#wrong")).to_be_focused()
    tab_to(page, "Max failures")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_label("Max failures")).to_be_focused()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("5")
    page.keyboard.press("Enter")
    # So has what will change.
    expect(page.locator(".plan")).to_be_focused()
    expect(page.locator(".changes")).to_contain_text("max_failures")
    tab_to(page, "Save")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Saved.")
    with app.app_context():
        july = app.blueprints["backfills"].host.table.find(None, 7)
        assert july.settings["max_failures"] == 5 and july.settings["skip_covered"] is True
    context.close()


def test_what_is_changed_after_a_look_is_not_saved_unseen(page, url):
    page.goto(f"{url}7/edit")
    page.get_by_label("Name").fill("one")
    page.get_by_role("button", name="See what will happen").click()
    expect(page.get_by_role("button", name="Save")).to_be_visible()
    # The scripts come after the page.
    page.wait_for_load_state("networkidle")
    page.get_by_label("Name").fill("two")
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    expect(page.get_by_text("You have changed more since.")).to_be_visible()
    page.get_by_label("Name").press("Enter")
    expect(page.locator(".changes")).to_contain_text("two")
    expect(page.get_by_role("button", name="Save")).to_be_visible()


@pytest.mark.parametrize("width", [400, 1400])
def test_what_saves_stays_in_sight(page, url, width):
    page.set_viewport_size({"width": width, "height": 500})
    page.goto(f"{url}7/edit")
    button = page.get_by_role("button", name="See what will happen")
    for place in (0, 300, 10_000):
        page.evaluate(f"scrollTo(0, {place})")
        expect(button).to_be_in_viewport(ratio=1)


def test_a_text_grows_up_to_twelve_lines(page, url):
    page.goto(f"{url}7/edit")
    area = page.get_by_label("Variables")
    heights = []
    for count in (1, 6, 12, 40):
        area.fill("\n".join("x" * count))
        heights.append(round(area.bounding_box()["height"]))
    assert heights[0] < heights[1] < heights[2] == heights[3]


def test_a_start_says_how_many_runs_and_starts_them(page, url):
    page.goto(f"{url}7/start")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("^Start 31 runs of "))
    page.get_by_role("button", name="Start 31 runs").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Started.")
    page.goto(f"{url}7/cancel")
    expect(page.locator("main .legend")).to_have_text(re.compile("31 waiting"))
    page.get_by_role("button", name="Cancel 31 runs").click()
    expect(page.get_by_role("status")).to_have_text("Cancelled.")


@pytest.fixture
def tokyo(chromium, url, page):
    """The page of an undo, in a browser whose zone is nine hours ahead."""
    page.goto(f"{url}7/edit")
    page.get_by_label("Name").fill("edited")
    page.get_by_role("button", name="See what will happen").click()
    page.get_by_role("button", name="Save").click()
    context = chromium.new_context(timezone_id="Asia/Tokyo")
    there = context.new_page()
    there.clock.install()
    there.goto(f"{url}7/undo")
    yield there
    context.close()


def test_times_are_shown_in_the_zone_of_the_reader_if_wanted(tokyo, url):
    moment = tokyo.locator("main time").first
    exact = moment.get_attribute("title")
    assert exact.endswith(" UTC")
    button = tokyo.get_by_role("button", name="Show local times")
    button.focus()
    tokyo.keyboard.press("Enter")
    here = moment.get_attribute("title")
    apart = (
        "(a, b) => (new Date(a.replace(' ', 'T') + 'Z') - new Date(b.replace(' UTC', 'Z'))) / 1000"
    )
    assert tokyo.evaluate(f"([a, b]) => ({apart})(a, b)", [here, exact]) == 9 * 3600
    expect(tokyo.locator("footer")).to_contain_text("in yours, Asia/Tokyo")
    # That is kept for the other pages, and can be taken back.
    tokyo.goto(url)
    tokyo.get_by_role("button", name="Show UTC").click()
    expect(tokyo.locator("footer")).to_contain_text("Times are in UTC.")
    tokyo.goto(f"{url}7/undo")
    assert tokyo.locator("main time").first.get_attribute("title") == exact


def test_how_long_ago_goes_on_while_the_page_is_open(tokyo):
    moment = tokyo.locator("main time").first
    for seconds, told in ((120, "2 minutes ago"), (3600, "1 hour ago"), (86_400, "1 day ago")):
        tokyo.clock.fast_forward(seconds * 1000)
        expect(moment).to_have_text(told)


def test_the_form_works_without_javascript(chromium, url, app):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}7/edit")
    page.get_by_label("Order").select_option("backwards")
    page.get_by_label("Paused").check()
    page.get_by_label("Max failures").fill("x")
    page.get_by_role("button", name="See what will happen").click()
    expect(page.locator("#wrong")).to_be_focused()
    page.get_by_label("Max failures").fill("3")
    page.get_by_role("button", name="See what will happen").click()
    page.get_by_role("button", name="Save").click()
    with app.app_context():
        july = app.blueprints["backfills"].host.table.find(None, 7)
        settings = {k: july.settings[k] for k in ("order", "paused", "max_failures")}
    assert settings == {"order": "backwards", "paused": True, "max_failures": 3}
    context.close()
