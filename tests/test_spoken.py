"""Moments and intervals in people's words, against slower ways to count them."""

from calendar import monthrange
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from zoneinfo import ZoneInfo

import pytest
from conftest import often
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from flask_backfills.rules import spoken
from flask_backfills.rules.window import INTERVAL_TYPES
from flask_backfills.rules.window_words import say_step

ZONES = [timezone.utc, *map(ZoneInfo, ("America/New_York", "Asia/Kathmandu", "Asia/Beirut"))]

nows = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1))
zones = st.sampled_from(ZONES)
counts = st.integers(0, 40)


def there(moment, zone):
    return moment.replace(tzinfo=timezone.utc).astimezone(zone)


def day_before(day, unit, count):
    """A calendar day so many units before another one, found step by step."""
    year, month = day.year, day.month
    for _ in range(count * {"month": 1, "year": 12}.get(unit, 0)):
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    day = day.replace(year=year, month=month, day=min(day.day, monthrange(year, month)[1]))
    for _ in range(count * {"day": 1, "week": 7}.get(unit, 0)):
        day -= timedelta(days=1)
    return day


@settings(max_examples=often(200))
@given(nows, zones, counts, st.sampled_from(["day", "week", "month", "year"]))
def test_calendar_units_ago_are_the_first_moment_of_that_day(now, zone, count, unit):
    found = spoken.moment(f"{count} {unit}s ago", now, zone)
    day = day_before(there(now, zone).date(), unit, count)
    assert there(found, zone).date() == day
    assert there(found - timedelta(seconds=1), zone).date() < day


@settings(max_examples=often(200))
@given(nows, zones, counts, st.sampled_from([("hour", 3600), ("minute", 60)]))
def test_hours_and_minutes_ago_are_elapsed_and_begin_there(now, zone, count, unit):
    name, seconds = unit
    found = spoken.moment(f"{count} {name}s ago", now, zone)
    before = now - timedelta(seconds=count * seconds)
    assert timedelta(0) <= before - found < timedelta(seconds=seconds)
    clock = there(found, zone)
    assert (clock.second, clock.microsecond) == (0, 0)
    assert name == "minute" or clock.minute == 0


@settings(max_examples=often(100))
@given(nows, zones)
def test_words_and_numbers_mean_the_same(now, zone):
    def moment(text):
        return spoken.moment(text, now, zone)

    assert moment("today") == moment("0 days ago") == moment(" TODAY ")
    assert moment("yesterday") == moment("a day ago") == moment("1  Days   ago")
    assert moment("tomorrow") - moment("today") >= timedelta(hours=23)
    assert moment("now") == moment("0 minutes ago") <= now
    assert moment("an hour ago") == moment("1 hour ago")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2 ago",
        "-1 days ago",
        "2 fortnights ago",
        "2.5 days ago",
        "\u0662 days ago",
        "9999999999 days ago",
        "yesterday noon",
        "2023-07-18",
    ],
)
def test_other_text_is_no_moment(text):
    assert spoken.moment(text, datetime(2026, 11, 29), timezone.utc) is None


@pytest.mark.parametrize("unit", INTERVAL_TYPES)
def test_before_the_year_1_there_is_no_moment(unit):
    with pytest.raises(OverflowError):
        spoken.moment(f"999999999 {unit}s ago", datetime(2026, 11, 29), timezone.utc)
        # So many minutes are only 1,900 years.
        spoken.moment(f"999999999 {unit}s ago", datetime(1026, 11, 29), timezone.utc)


@given(st.sampled_from([*INTERVAL_TYPES]), st.integers(1, 10**6))
def test_an_interval_is_read_as_it_is_told(kind, units):
    told = say_step(kind, units).removeprefix("every ").replace(",", "")
    assert spoken.interval(told) == (kind, units)


@pytest.mark.parametrize("text", ["", "2", "fortnight", "2 days ago", "-1 day", "1.5 hours"])
def test_other_text_is_no_interval(text):
    assert spoken.interval(text) is None
