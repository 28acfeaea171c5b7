"""The grid in a browser: by the keyboard alone, on a phone, and with thousands of runs."""

import pytest
from browser import app as app
from browser import chromium as chromium
from browser import expect
from browser import page as page
from browser import server as server
from browser import start_july
from browser import url as url
from browser import WIDTHS
from browser import worker as worker


def test_the_arrows_move_through_weeks_and_days(page):
    start_july(page)
    told = page.locator(".told")
    page.locator(".strip .cell").first.focus()
    # July begins on a Saturday.
    expect(told).to_have_text("2023-07-01: waiting")
    for key, day in (
        ("ArrowDown", "08"),
        ("ArrowDown", "15"),
        ("ArrowLeft", "14"),
        ("ArrowUp", "07"),
        ("Home", "03"),
        ("ArrowUp", "03"),
        ("End", "09"),
        ("ArrowRight", "10"),
        ("ArrowDown", "17"),
        ("ArrowDown", "24"),
        ("ArrowDown", "31"),
        ("ArrowDown", "31"),
    ):
        page.keyboard.press(key)
        expect(told).to_have_text(f"2023-07-{day}: waiting")
    page.keyboard.press("Tab")
    expect(page.locator(".strip .cell:focus")).to_have_count(0)
    page.keyboard.press("Shift+Tab")
    expect(told).to_have_text("2023-07-31: waiting")


@pytest.mark.parametrize("points", ["focus", "hover"])
def test_a_cell_is_told_though_the_scripts_come_late(page, points):
    start_july(page)
    held = []
    page.route("**/grid.js", lambda route: held.append(route))
    page.reload(wait_until="commit")
    while not held:
        page.wait_for_timeout(20)
    getattr(page.locator(".strip .cell").nth(2), points)()
    expect(page.locator(f".cell:{points}")).to_have_count(1)
    expect(page.locator(".told")).to_have_text("")
    # A page that was left may have asked too, and before this one.
    page.route("**/grid.js", lambda route: route.continue_())
    for route in held:
        route.continue_()
    expect(page.locator(".told")).to_have_text("2023-07-03: waiting")


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_told_takes_the_place_of_the_caption_and_moves_nothing(page, width):
    """However long it is."""
    page.set_viewport_size({"width": width, "height": 900})
    start_july(page)
    caption, cell = page.locator(".caption"), page.locator(".strip .cell").nth(2)
    expect(caption).to_have_text("Each cell is one run.")
    page.mouse.move(0, 0)
    strip = page.locator(".strip")
    before = caption.bounding_box(), strip.bounding_box()
    cell.evaluate("(one) => { one.title = 'long '.repeat(200); }")
    cell.hover()
    expect(page.locator(".told")).to_contain_text("long long")
    # It is still said to those who hear the page.
    expect(caption).to_contain_text("Each cell is one run.")
    assert page.locator(".each").bounding_box()["width"] <= 1
    assert (caption.bounding_box(), strip.bounding_box()) == before
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_is_told_of_a_cell_follows_its_run(page, worker):
    start_july(page)
    page.locator(".strip .cell").nth(2).focus()
    expect(page.locator(".told")).to_have_text("2023-07-03: waiting")
    worker.start()
    expect(page.locator(".told")).to_contain_text("2023-07-03: completed", timeout=30_000)


def test_a_backfill_is_paused_and_resumed_by_the_keyboard_alone(page):
    start_july(page)
    page.get_by_role("link", name="Pause").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".badge.is-paused")).to_be_visible()
    expect(page.locator("#do-resume")).to_have_class("button primary")
    page.keyboard.press("Tab")


#: Windows by their step.
WINDOWS = {
    "minute": ("2023-05-02 19:00", "2023-05-03"),
    "hour": ("2023-04-18", "2023-05-03"),
    "day": ("2022-05-03", "2023-05-03"),
    "week": ("2020-05-03", "2023-05-03"),
    "month": ("2008-05-03", "2023-05-03"),
    "year": ("1776-05-03", "2023-05-03"),
}

#: How far each cell is from where its heading is.
BESIDE = """() => [...document.querySelectorAll(".block")].flatMap((block) => {
  const heads = [...block.querySelectorAll(".heads .slot")];
  return [...block.querySelectorAll(".line:not(.heads)")].flatMap((line) =>
    [...line.querySelectorAll(".slot")].map((slot, index) =>
      slot.getBoundingClientRect().left - heads[index].getBoundingClientRect().left));
})"""


def test_no_calendar_is_wider_than_the_page_and_cells_can_be_hit(page, app, url):
    backfills = app.blueprints["backfills"].backfills
    for kind, (start, end) in WINDOWS.items():
        window = {"start_datetime": start, "end_datetime": end, "status": "initial"}
        with app.app_context():
            sent = {**window, "interval_type": kind, "interval_units": 1}
            key = app.blueprints["backfills"].host.table.key_of(
                backfills.create("weather", sent).backfill
            )
        page.goto(f"{url}{key}")
        for width in WIDTHS:
            where = f"{kind}, {width} pixels"
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, where
            box = page.locator(".strip .cell").nth(3).bounding_box()
            least = 28 if width == 400 else 22
            assert box["width"] >= least and box["height"] >= least, where
            places = page.evaluate(BESIDE)
            assert places and max(map(abs, places)) < 1, where
