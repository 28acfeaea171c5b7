"""Dates by arithmetic, against a plain loop."""

import itertools
from datetime import date
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from zoneinfo import ZoneInfo

import pytest
from conftest import often
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from flask_backfills.rules.window import INTERVAL_TYPES
from flask_backfills.rules.window import Window

UTC = timezone.utc
FIXED = {"minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
ZONES += ["Africa/Monrovia", "America/Sao_Paulo", "Pacific/Apia", "Pacific/Kwajalein"]


def zone_of(name):
    return UTC if name == "UTC" else ZoneInfo(name)


def later(moment, months):
    """The same day some months later, or the last day of that month."""
    for day in range(moment.day, 0, -1):
        month = moment.month - 1 + months
        try:
            return moment.replace(moment.year + month // 12, month % 12 + 1, day)
        except ValueError:
            continue


def loop(window):
    """Every date of a window, one after the other."""
    found = []
    clock = window.interval_type in ("minute", "hour")
    zone = UTC if clock else window.zone
    local = window.start.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None, fold=0)
    for n in itertools.count():
        steps = n * window.interval_units
        if window.interval_type in FIXED:
            there = local + timedelta(seconds=steps * FIXED[window.interval_type])
        else:
            there = later(local, steps * (12 if window.interval_type == "year" else 1))
        moment = there.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None)
        moment = moment if n else window.start
        if moment > window.end or (moment == window.end and not window.inclusive):
            return found
        if not found or moment > found[-1]:
            found.append(moment)


@st.composite
def windows(draw, zones=("UTC",)):
    kind = draw(st.sampled_from(sorted(INTERVAL_TYPES)))
    units = draw(st.integers(1, 40) | st.just(1))
    start = draw(st.datetimes(datetime(1970, 1, 1), datetime(2040, 1, 1)))
    if draw(st.booleans()):
        start = start.replace(hour=0, minute=0, second=0, microsecond=0)
    length = draw(st.integers(-3, 60 * units * INTERVAL_TYPES[kind]))
    end = start + timedelta(seconds=min(length, 40 * 365 * 86400))
    zone = zone_of(draw(st.sampled_from(zones)))
    return Window(start, end, kind, units, zone, draw(st.booleans()))


@settings(max_examples=often(250))
@given(windows(ZONES), st.data())
def test_arithmetic_finds_what_a_loop_finds(window, data):
    expected = loop(window)
    assert window.count() == len(expected)
    assert list(window.dates()) == expected
    assert all(a < b for a, b in itertools.pairwise(expected))
    offset = data.draw(st.integers(0, len(expected) + 2))
    limit = data.draw(st.integers(0, 5))
    assert list(window.dates(offset, limit)) == expected[offset : offset + limit]
    page = list(window.intervals(offset, limit))
    edges = [one.start for one in page] + [one.end for one in page[-1:]]
    assert window.edges(offset, limit) == edges
    for index, moment in enumerate(expected):
        assert window.start <= moment <= window.end
        assert window.index(moment) == index
        assert window.index(moment + timedelta(microseconds=1)) is None
    assert window.index(window.start - timedelta(days=1)) is None


@settings(max_examples=often(200))
@given(windows(ZONES))
def test_the_intervals_tile_the_window(window):
    intervals = list(window.intervals())
    for one, following in itertools.pairwise(intervals):
        assert one.end == following.start
        assert following.previous == one.start
    if intervals:
        assert intervals[0].start == window.start
        assert intervals[0].previous < window.start
        assert intervals[-1].end >= window.end


@settings(max_examples=often(200))
@given(windows(ZONES), st.integers(-20, 20), st.integers(-20, 20))
def test_what_two_windows_share_is_in_both(window, shift, more):
    step = timedelta(seconds=window.interval_units * INTERVAL_TYPES[window.interval_type])
    try:
        start = window.date(shift) if shift else window.start + more * step
    except OverflowError:
        return
    other = Window(
        start, window.end + more * step, window.interval_type, window.interval_units, window.zone
    )
    mine, theirs = loop(window), loop(other)
    shared = window.shared(other)
    assert list(mine[shared.start : shared.stop]) == [d for d in mine if d in theirs] or not shared
    fixed = window.zone is UTC and window.interval_type in FIXED
    if fixed and shift >= 0 and set(mine) & set(theirs):
        assert shared


def test_the_page_of_mage_shows_25_runs():
    window = Window(datetime(2023, 3, 1), datetime(2023, 3, 5), "hour", 4)
    assert (window.count(), window.date(24)) == (25, datetime(2023, 3, 5))
    exclusive = Window(datetime(2023, 3, 1), datetime(2023, 3, 5), "hour", 4, inclusive=False)
    assert exclusive.count() == 24


def test_months_are_counted_from_the_start():
    window = Window(datetime(2023, 1, 31), datetime(2024, 3, 31), "month", 1)
    days = [f"{d:%m-%d}" for d in window.dates()]
    assert days[:4] == ["01-31", "02-28", "03-31", "04-30"]
    assert days[-3:] == ["01-31", "02-29", "03-31"]


def test_a_leap_day_comes_back_in_leap_years():
    window = Window(datetime(2020, 2, 29), datetime(2024, 2, 29), "year", 1)
    assert [d.date() for d in window.dates()] == [
        date(2020, 2, 29),
        *(date(year, 2, 28) for year in (2021, 2022, 2023)),
        date(2024, 2, 29),
    ]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "America/Santiago"])
def test_local_midnight_stays_local_midnight_over_both_changes_of_the_clocks(zone):
    here = ZoneInfo(zone)
    start = datetime(2023, 1, 1, tzinfo=here).astimezone(UTC).replace(tzinfo=None)
    window = Window(start, start + timedelta(days=364), "day", 1, here)
    hours = set()
    for interval in window.intervals():
        local = interval.start.replace(tzinfo=UTC).astimezone(here)
        # Santiago's clocks change at midnight: that day begins at one.
        assert local.hour == 0 or (zone == "America/Santiago" and local.hour == 1)
        hours.add((interval.end - interval.start).total_seconds() / 3600)
    assert (window.count(), hours) == (365, {23, 24, 25})
    elapsed = Window(start, start + timedelta(days=364), "hour", 24, here)
    assert {i.end - i.start for i in elapsed.intervals()} == {timedelta(hours=24)}


@pytest.mark.parametrize(
    ("zone", "skipped"),
    [("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Kwajalein", date(1993, 8, 21))],
)
def test_a_day_that_a_zone_skipped_has_no_run(zone, skipped):
    here = ZoneInfo(zone)
    around = [skipped + timedelta(days=n) for n in (-2, -1, 1, 2)]
    start, end = (
        datetime(day.year, day.month, day.day, tzinfo=here).astimezone(UTC).replace(tzinfo=None)
        for day in (around[0], around[-1])
    )
    window = Window(start, end, "day", 1, here)
    days = [d.replace(tzinfo=UTC).astimezone(here).date() for d in window.dates()]
    assert days == around
    assert {i.end - i.start for i in window.intervals()} == {timedelta(days=1)}


@pytest.mark.parametrize("kind", sorted(INTERVAL_TYPES))
@pytest.mark.parametrize("units", [1, 1000, 2**31 - 1])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Anchorage"])
def test_the_ends_of_the_calendar_are_no_error(kind, units, zone):
    for start, end in (
        (datetime(1, 1, 1), datetime(1, 1, 5)),
        (datetime(9999, 12, 28), datetime.max),
        (datetime(1, 1, 1), datetime.max),
        (datetime.max, datetime.max),
    ):
        window = Window(start, end, kind, units, zone_of(zone))
        count = window.count()
        assert count >= 1
        page = [*window.intervals(0, 3), *window.intervals(count - 1, 3)]
        assert all(i.start <= i.end for i in page)
        edges = window.edges(0, 3)
        assert edges == sorted(edges) and len(edges) == min(count, 3) + 1
        assert window.index(window.date(count - 1)) == count - 1
