"""What a preview says about its window, and about other backfills that are at work there."""

from datetime import date
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from conftest import LIST
from conftest import often
from conftest import takes_seconds
from conftest import unwatched
from conftest import URL
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from sqlalchemy.orm import synonym

from flask_backfills.rules.notes import days_of_other_length
from flask_backfills.rules.notes import FEW
from flask_backfills.rules.notes import notes
from flask_backfills.rules.notes import Other
from flask_backfills.rules.notes import overlaps
from flask_backfills.rules.notes import Span
from flask_backfills.rules.notes import span_of
from flask_backfills.rules.window import Window

START = {"interval_type": "day", "interval_units": 1, "status": "initial"}
DRY = f"{LIST}?dry_run=true"


def days(start, end, **more):
    return {**START, "start_datetime": start, "end_datetime": end, **more}


def told(host, sent, url=DRY):
    response = host.client.post(url, json={"backfill": sent})
    assert response.status_code == 201, response.text
    return response.json["metadata"]["notes"]


def start(host, sent, url=LIST):
    response = host.post(sent, url)
    assert response.status_code == 201, response.text
    return response.json["backfill"]["id"]


# Other backfills


def test_each_active_backfill_that_overlaps_is_named(runner):
    waiting = start(runner, days("2023-07-01", "2023-07-10"))
    running = start(runner, days("2023-07-20", "2023-08-10"))
    assert runner.put({"status": "running"}, f"{LIST}/{running}").status_code == 200
    cancelled = start(runner, days("2023-07-01", "2023-07-31"))
    runner.put({"status": "cancelled"}, f"{LIST}/{cancelled}")
    runner.post({**days("2023-07-01", "2023-07-31"), "status": None})
    start(runner, days("2023-07-01", "2023-07-31"), "/api/pipelines/another/backfills")
    start(runner, days("2023-06-01", "2023-07-04"))
    start(runner, days("2023-08-01", "2023-08-05"))
    assert told(runner, days("2023-07-05", "2023-07-31")) == [
        f"Overlaps backfill {running} (running) from 2023-07-20 00:00:00 to 2023-08-01 00:00:00.",
        f"Overlaps backfill {waiting} (waiting) from 2023-07-05 00:00:00 to 2023-07-11 00:00:00.",
    ]


def test_the_last_run_of_each_goes_on_past_its_end(runner):
    weekly = start(runner, days("2023-07-03", "2023-07-10", interval_type="week"))
    hours = {"interval_type": "hour"}
    assert told(runner, days("2023-07-16T23:00", "2023-07-17", **hours)) == [
        f"Overlaps backfill {weekly} (waiting) from 2023-07-16 23:00:00 to 2023-07-17 00:00:00."
    ]
    assert told(runner, days("2023-07-17", "2023-07-18", **hours)) == []


def test_a_backfill_does_not_overlap_itself(runner):
    runner.put(days("2023-07-01", "2023-07-10"))
    answer = runner.put({"end_datetime": "2023-07-05"}, f"{URL}?dry_run=true")
    assert answer.json["metadata"]["notes"] == []
    # What is no plan has no notes.
    answer = runner.put({"name": "x"}, f"{URL}?dry_run=true")
    assert answer.json["metadata"]["notes"] == []
    assert "notes" not in runner.put({"end_datetime": "2023-07-05"}).json["metadata"]


def test_of_many_a_few_are_named_with_one_statement(runner):
    month = days("2023-07-01", "2023-07-31")

    def statements():
        runner.statements.clear()
        found = told(runner, month)
        return found, len(runner.statements)

    none, before = statements()
    assert none == []
    ids = [start(runner, month) for _ in range(FEW + 7)]
    found, after = statements()
    assert len(found) == FEW + 1 and found[-1] == "And 7 more."
    assert f"Overlaps backfill {ids[-1]} (waiting)" in found[0]
    assert after == before


def test_pipelines_that_are_only_alike_are_others(runner):
    for name in ("Arwen_Starlight", "arwen_starlight "):
        start(runner, days("2023-07-01", "2023-07-10"), f"/api/pipelines/{name}/backfills")
    assert told(runner, days("2023-07-01", "2023-07-10")) == []


def test_what_the_scope_hides_is_not_named(bare):
    hidden = []
    bare.serve(
        scope=lambda query: query.where(bare.model.id.not_in(hidden)), run_model=bare.run_model()
    )
    month = days("2023-07-01", "2023-07-31")
    first, second = start(bare, month), start(bare, month)
    assert len(told(bare, month)) == 2
    hidden.append(first)
    [one] = told(bare, month)
    assert one.startswith(f"Overlaps backfill {second} ")


def test_who_may_not_list_learns_of_no_other(bare):
    denied = set()
    bare.serve(authorize=lambda action, _: action not in denied, run_model=bare.run_model())
    month = days("2023-07-01", "2023-07-31")
    start(bare, month)
    assert len(told(bare, month)) == 1
    denied.add("list")
    assert told(bare, month) == []


@pytest.mark.parametrize("aware", [False, True])
def test_a_model_of_other_names_and_without_an_interval_is_read(bare, aware):
    class Rerun(bare.db.Model):
        key = sa.Column(sa.Integer, primary_key=True)
        flow = sa.Column(sa.String(50), nullable=False)
        since = sa.Column(sa.DateTime(timezone=aware))
        until = sa.Column(sa.DateTime(timezone=aware))
        interval_type = sa.Column(sa.String(8))
        interval_units = sa.Column(sa.Integer)
        status = sa.Column(sa.String(10))
        pipeline_uuid = synonym("flow")
        start_datetime = synonym("since")
        end_datetime = synonym("until")

    bare.serve(Rerun, run_model=bare.run_model(), seed={"flow": "p"})
    first = start(bare, days("2023-07-01", "2023-07-10"))
    with bare.app.app_context():
        # Stored without an interval, its end is all that is known.
        half = Rerun(pipeline_uuid="arwen_starlight", status="initial")
        half.since = datetime(2023, 7, 2, tzinfo=timezone.utc if aware else None)
        half.until = half.since + timedelta(days=1)
        bare.db.session.add(half)
        bare.db.session.flush()
        key = half.key
        bare.db.session.commit()
    assert told(bare, days("2023-07-01", "2023-07-31")) == [
        f"Overlaps backfill {key} (waiting) from 2023-07-02 00:00:00 to 2023-07-03 00:00:00.",
        f"Overlaps backfill {first} (waiting) from 2023-07-01 00:00:00 to 2023-07-11 00:00:00.",
    ]


def test_runs_of_a_generator_have_no_window_to_note(runner):
    runner.blueprint.generator("regions")(lambda backfill: [{"region": "north"}])
    start(runner, days("2023-07-01", "2023-07-10"))
    assert told(runner, days("2023-07-01", "2023-07-10T01:00", block_uuid="regions")) == []


MOMENTS = st.integers(0, 400).map(lambda hours: datetime(2023, 3, 1) + timedelta(hours=hours))
WINDOWS = st.builds(
    Window,
    MOMENTS,
    MOMENTS,
    st.sampled_from(["hour", "day", "week"]),
    st.integers(1, 5),
    st.sampled_from([timezone.utc, ZoneInfo("America/New_York")]),
    st.booleans(),
)


@unwatched
@settings(max_examples=often(200))
@given(WINDOWS, WINDOWS)
def test_two_windows_overlap_if_an_hour_is_in_runs_of_both(one, two):
    def hours(window):
        return {
            start + timedelta(hours=n)
            for start, end, _ in window.intervals()
            for n in range((end - start) // timedelta(hours=1))
        }

    found = overlaps(span_of(one), [Other("7", "initial", span_of(two))])
    both = sorted(hours(one) & hours(two))
    if not both:
        assert found == []
        return
    until = both[-1] + timedelta(hours=1)
    assert found == [f"Overlaps backfill 7 (waiting) from {both[0]} to {until}."]


# The window


@pytest.fixture
def in_oslo(lent):
    return lent(timezone="Europe/Oslo")


def test_days_on_which_the_clocks_change_are_told(in_oslo):
    spring = days("2023-03-24T23:00Z", "2023-03-27T22:00Z")
    assert told(in_oslo, spring) == ["26 March has 23 hours."]
    year = days("2022-12-31T23:00Z", "2024-12-30T23:00Z", interval_type="hour")
    assert told(in_oslo, year) == [
        "26 March 2023 has 23 hours.",
        "29 October 2023 has 25 hours.",
        "31 March 2024 has 23 hours.",
        "27 October 2024 has 25 hours.",
    ]


def test_a_start_that_is_no_midnight_in_the_zone_is_told(in_oslo):
    sent = days("2023-07-01", "2023-07-03")
    assert told(in_oslo, sent) == ["The start is 1 July 02:00 in Europe/Oslo."]
    # Hours are counted from any time.
    assert told(in_oslo, {**sent, "interval_type": "hour"}) == []


def test_an_end_that_is_left_out_is_told(lent):
    exclusive = lent(end="exclusive")
    assert told(exclusive, days("2023-07-01", "2023-07-31")) == ["31 July is not included."]


ZONES = st.sampled_from(
    "Europe/Oslo America/New_York Australia/Lord_Howe Africa/Casablanca Asia/Tehran"
    " America/Havana Pacific/Apia Asia/Kolkata America/Sao_Paulo UTC".split()
).map(ZoneInfo)


def ask(start, end, step="day", units=1, zone=timezone.utc, inclusive=True):
    start, end = (datetime.fromisoformat(one) for one in (start, end))
    return notes(Window(start, end, step, units, zone, inclusive))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("2023-07-01", "2023-07-31"), []),
        (("2023-07-01", "2023-07-31T23:59:59"), []),
        (("2023-07-01", "2023-07-31T23:59"), []),
        (("2023-07-01T00:00", "2023-07-01T00:01:59", "minute"), []),
        (
            ("2023-07-01", "2023-07-31", "week"),
            ["31 July is not included as a date: the last run goes from 29 July to 5 August."],
        ),
        (
            ("2023-12-01", "2023-12-31T07:30", "day", 7),
            [
                "31 December 07:30 is not included as a date: the last run goes from 29 December"
                " to 5 January 2024."
            ],
        ),
        (
            ("2023-01-31", "2023-04-30", "month"),
            [
                "Months without a 31st have their run on their last day: 28 February, 30 April.",
            ],
        ),
        (("2023-01-28", "2023-12-28", "month"), []),
        (("2023-01-31", "2023-03-31", "month", 2), []),
        (
            ("2024-02-29", "2030-02-28", "year"),
            [
                "Months without a 29th have their run on their last day: 28 February 2025,"
                " 28 February 2026, 28 February 2027, 28 February 2029, 28 February 2030."
            ],
        ),
        (
            ("2020-01-31", "2022-12-31", "month"),
            [
                "Months without a 31st have their run on their last day: 29 February 2020,"
                " 30 April 2020, 30 June 2020, 30 September 2020, 30 November 2020 and later ones."
            ],
        ),
        (("9999-12-30", "9999-12-31T23:59:59"), []),
        (("0001-01-01", "0001-01-03"), []),
    ],
)
def test_what_people_overlook_is_told(asked, said):
    assert ask(*asked) == said


def test_the_zone_decides_which_day_it_is():
    apia, york = ZoneInfo("Pacific/Apia"), ZoneInfo("America/New_York")
    assert ask("2011-12-28T10:00", "2012-01-01T10:00", zone=apia) == [
        "30 December 2011 does not exist in Pacific/Apia."
    ]
    assert ask("2023-03-01", "2023-03-05", zone=york) == [
        "The start is 28 February 19:00 in America/New_York."
    ]
    found = ask("2000-01-01T05:00", "2020-01-01T05:00", zone=york)
    assert len(found) == FEW + 1 and found[-1] == "And later days do not have 24 hours."
    for moments in (("0001-01-01", "0001-01-09"), ("9999-12-20", "9999-12-31")):
        for zone in (apia, york):
            assert len(ask(*moments, zone=zone)) <= 2


@unwatched
@takes_seconds
@settings(max_examples=often(60))
@given(st.dates(date(1950, 1, 1), date(2060, 1, 1)), st.integers(0, 24 * 500), ZONES)
def test_days_of_other_lengths_are_found_as_by_looking_at_each_hour(day, hours, zone):
    start = datetime.combine(day, datetime.min.time())
    span = Span(start, start + timedelta(hours=hours))
    seen = {}
    moment = start - timedelta(days=2)
    while moment < span.end + timedelta(days=2):
        there = moment.replace(tzinfo=timezone.utc).astimezone(zone)
        seen.setdefault(there.date(), []).append(moment)
        moment += timedelta(minutes=10)
    expected = [
        (day, len(moments) / 6)
        for day, moments in seen.items()
        if len(moments) != 144 and moments[-1] >= span.start and moments[0] < span.end
    ]
    ours = [*days_of_other_length(span, zone)]
    assert [one for one in ours if one[1]] == expected
    assert {day for day, hours in ours if not hours} <= {date(2011, 12, 30)}


# Where people see them


def test_the_command_shows_the_notes(runner):
    key = start(runner, days("2023-07-01", "2023-07-31"))
    made = runner.post({**days("2023-07-30", "2023-07-31T12:00"), "status": None})
    preview = ["backfills", "preview", str(made.json["backfill"]["id"])]
    shown = runner.app.test_cli_runner().invoke(args=preview).output.splitlines()
    assert shown[:3] == [
        "The plan: 2 to add.",
        f"Overlaps backfill {key} (waiting) from 2023-07-30 00:00:00 to 2023-08-01 00:00:00.",
        "31 July 12:00 is not included as a date: the last run goes from 31 July to 1 August.",
    ]


def test_the_page_before_a_start_shows_the_notes(runner):
    key = start(runner, days("2023-07-01", "2023-07-31"))
    made = runner.post({**days("2023-07-30", "2023-07-31"), "status": None})
    page = runner.client.get(f"/backfills/{made.json['backfill']['id']}/start").text
    assert f"Overlaps backfill {key} (waiting) from 2023-07-30 00:00:00" in page
