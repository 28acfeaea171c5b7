"""The calendar of a grid, against a second way that looks at each date by itself."""

from datetime import datetime
from datetime import timedelta
from datetime import timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from conftest import often
from conftest import unwatched
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from flask_backfills.rules.coverage import shared
from flask_backfills.rules.coverage import spread
from flask_backfills.rules.grid import layout
from flask_backfills.rules.grid import MOST
from flask_backfills.rules.grid import step_of
from flask_backfills.rules.window import INTERVAL_TYPES
from flask_backfills.rules.window import Window

ZONES = [timezone.utc, *map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Asia/Kolkata"))]
START = datetime(2023, 3, 1)

moments = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)).map(
    lambda one: one.replace(microsecond=0)
)


def there(date, zone):
    """What the clock shows in a zone."""
    return date.replace(tzinfo=timezone.utc).astimezone(zone).replace(tzinfo=None)


def calendar(kind, units, date, zone):
    """The row and the column of a date, as one finds them in a calendar on paper."""
    local = there(date, zone)
    if kind == "minute":
        return local.replace(minute=0, second=0), local.minute // units
    if kind == "hour":
        return local.date(), local.hour // units
    if kind == "day":
        return local.date() - timedelta(days=local.weekday()), local.weekday()
    if kind == "month":
        return local.year, (local.month - 1) // units
    if kind == "year":
        return local.year // (10 * units), local.year // units % 10
    monday = local.date() - timedelta(days=local.weekday())
    quarter = monday.replace(month=(monday.month - 1) // 3 * 3 + 1, day=1)
    return quarter, (monday - quarter).days // 7


@unwatched
@settings(max_examples=often(200))
@given(
    first=moments,
    span=st.timedeltas(timedelta(0), timedelta(days=9000)),
    more=st.lists(st.floats(0, 1), max_size=20),
    kind=st.sampled_from([*INTERVAL_TYPES]),
    units=st.integers(1, 30),
    zone=st.sampled_from(ZONES),
)
def test_a_date_is_in_the_row_and_the_column_of_its_calendar(first, span, more, kind, units, zone):
    last = first + span
    laid = layout(first, last, kind, units, zone)
    assert len(laid) <= MOST
    assert list(laid.edges) == sorted(laid.edges)
    places = {}
    rows = [*laid.rows()]
    for row, one in enumerate(rows):
        for column, place in enumerate(one.places, one.column):
            places[place] = row, column
            assert column < len(laid.columns)
    assert [*places] == [*range(len(laid))]
    dates = [first, last, *((first + share * span).replace(microsecond=0) for share in more)]
    by_row = {}
    for date in dates:
        place = laid.place(date)
        begins, ends = laid.span(place)
        assert begins <= date < ends
        row, column = places[place]
        if laid.level.kind == "minute" and there(date, zone) - date != laid.offset:
            # From the day on which clocks are put forward or back, hours are rows all the same.
            continue
        expected, expected_column = calendar(*laid.level, date, zone)
        assert column == expected_column
        assert by_row.setdefault(row, expected) == expected
    assert len({*by_row.values()}) == len(by_row)


@unwatched
@settings(max_examples=often(200))
@given(
    start=moments,
    count=st.integers(1, 100),
    kind=st.sampled_from([*INTERVAL_TYPES]),
    units=st.integers(1, 9),
    zone=st.sampled_from(ZONES),
)
def test_where_there_is_room_each_date_of_a_window_has_a_cell(start, count, kind, units, zone):
    step = timedelta(seconds=INTERVAL_TYPES[kind] * units) * count
    window = Window(start, start + step, kind, units, zone)
    dates = [*window.dates(0, MOST)]
    laid = layout(dates[0], dates[-1], kind, units, zone)
    found = [laid.place(date) for date in dates]
    assert found == sorted(found)
    if laid.level.seconds <= INTERVAL_TYPES[kind] * units:
        # But for the hour that comes twice when clocks are put back.
        assert len({*found}) >= len(found) - (kind == "hour") * (count * units // 8000 + 1)


def shape(kind, units, first, last, zone=timezone.utc):
    laid = layout(first, last, kind, units, zone)
    return tuple(laid.level), len(laid.columns), [" ".join(row.words) for row in laid.rows()]


@pytest.mark.parametrize(
    ("kind", "units", "days", "level", "width", "rows"),
    [
        ("minute", 1, 0.1, ("minute", 1), 60, ["2023 Mar 1 00:00", "Mar 1 01:00", "Mar 1 02:00"]),
        ("minute", 15, 0.05, ("minute", 15), 4, ["2023 Mar 1 00:00", "Mar 1 01:00"]),
        ("minute", 1, 1, ("minute", 10), 6, None),
        ("hour", 1, 1.5, ("hour", 1), 24, ["2023 Mar 1", "Mar 2"]),
        ("hour", 6, 1.5, ("hour", 6), 4, ["2023 Mar 1", "Mar 2"]),
        ("hour", 24, 9, ("day", 1), 7, ["2023 Feb 27", "Mar 6"]),
        ("hour", 5, 1.5, ("hour", 1), 24, ["2023 Mar 1", "Mar 2"]),
        ("hour", 1, 100, ("day", 1), 7, None),
        ("hour", 1, 1461, ("week", 1), 14, None),
        ("day", 2, 9, ("day", 1), 7, ["2023 Feb 27", "Mar 6"]),
        ("day", 1, 4000, ("month", 1), 12, None),
        ("week", 2, 90, ("week", 1), 14, ["2023 Q1", "2023 Q2"]),
        ("month", 1, 400, ("month", 1), 12, ["2023", "2024"]),
        ("month", 3, 400, ("month", 3), 4, ["2023", "2024"]),
        ("month", 12, 4000, ("year", 1), 10, ["2020", "2030"]),
        ("year", 1, 4000, ("year", 1), 10, ["2020", "2030"]),
    ],
)
def test_a_step_has_the_calendar_that_people_know(kind, units, days, level, width, rows):
    found = shape(kind, units, START, START + timedelta(days=days))
    assert found[:2] == (level, width)
    if rows is not None:
        assert found[2] == rows


@pytest.mark.parametrize("kind", [*INTERVAL_TYPES])
@pytest.mark.parametrize("zone", [*ZONES, ZoneInfo("Pacific/Apia")])
def test_all_of_time_has_a_calendar(kind, zone):
    laid = layout(datetime.min, datetime.max, kind, 1, zone)
    assert len(laid) <= MOST and [*laid.rows()]
    assert [laid.name(place) for place in (0, len(laid) - 1)]
    for moment in (datetime.min, datetime.max):
        assert len(layout(moment, moment, kind, 1, zone)) == 1
    for first, last in (
        (datetime.min, datetime(1, 1, 1, 2)),
        (datetime(9999, 12, 31, 20), datetime.max),
    ):
        laid = layout(first, last, kind, 1, zone)
        assert [*laid.rows()] and all(map(laid.name, range(len(laid))))


def test_a_day_that_a_zone_left_out_is_empty():
    apia = ZoneInfo("Pacific/Apia")
    laid = layout(datetime(2011, 12, 29), datetime(2012, 1, 2), "day", 1, apia)
    names = [laid.name(place)[0] for place in range(len(laid))]
    assert laid.span(names.index("2011-12-30"))[0] == laid.span(names.index("2011-12-30"))[1]


def test_the_name_of_a_cell_is_its_span():
    def named(kind, units, last):
        return layout(START, last, kind, units).name(0)

    assert named("day", 1, START) == ("2023-03-01", "2023-03-01")
    assert named("hour", 6, START) == ("2023-03-01 00:00", "06:00")
    assert named("hour", 24, datetime(2030, 1, 1)) == ("2023-02-27", "2023-03-05")
    assert named("month", 1, START) == ("2023-03", "2023-03")
    assert named("month", 3, START) == ("2023-01-01", "2023-03-31")
    assert named("year", 1, START) == ("2023", "2023")


@given(st.lists(moments, max_size=8), st.sampled_from([*INTERVAL_TYPES]))
def test_dates_are_laid_out_by_what_lies_between_them(dates, kind):
    unit, units = step_of(dates)
    apart = [abs(a - b).total_seconds() for a in dates for b in dates if a != b]
    assert units == 1
    longer = [seconds for seconds in INTERVAL_TYPES.values() if seconds > INTERVAL_TYPES[unit]]
    if apart:
        assert INTERVAL_TYPES[unit] <= max(min(apart), 60)
        assert not longer or min(apart) < longer[0]


hours = st.integers(0, 60).map(lambda n: START + timedelta(hours=n))
spans = st.lists(hours, unique=True, max_size=12).map(
    lambda found: [*zip(sorted(found)[::2], sorted(found)[1::2], strict=False)]
)


def hours_of(found):
    return {
        start + timedelta(hours=n)
        for start, end in found
        for n in range(int((end - start) / timedelta(hours=1)))
    }


@given(spans, spans)
def test_what_spans_share_is_each_hour_that_both_have(some, others):
    assert hours_of(shared(some, others)) == hours_of(some) & hours_of(others)


@given(spans, st.lists(hours, min_size=2))
def test_what_spans_fill_is_counted_hour_by_hour(some, edges):
    edges = sorted(edges)
    found = [
        3600.0 * sum(begins <= hour < ends for hour in hours_of(some))
        for begins, ends in pairwise(edges)
    ]
    assert spread(some, edges) == found
