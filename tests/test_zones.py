"""Windows in the time zone of the blueprint: on the wire, for runs, at the terminal, on pages."""

import json
import zoneinfo
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
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pages import Console
from pages import fields
from sqlalchemy.orm import synonym

from flask_backfills import BackfillMixin
from flask_backfills.rules.zones import moment_of
from flask_backfills.rules.zones import show

UTC = timezone.utc
YORK = ZoneInfo("America/New_York")
DAILY = {"interval_type": "day", "interval_units": 1}
COVERAGE = "/api/pipelines/arwen_starlight/coverage"
DOCUMENT = "/api/backfills/openapi.json"
#: Clocks that change by an hour, by half an hour, at midnight, by a day, and not at all.
ZONES = [
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Asia/Kathmandu",
]


@pytest.fixture
def york(lent):
    """A host whose windows are New York's on the wire."""
    return lent(timezone="America/New_York", local_datetimes=True, openapi=True)


def window(shown):
    return shown["start_datetime"], shown["end_datetime"]


def stored(host, backfill_id=6):
    """The window as it is stored: naive, in UTC."""
    with host.app.app_context():
        one = host.db.session.get(host.model, backfill_id)
        found = one.start_datetime, one.end_datetime
        host.db.session.remove()
    return found


def put_window(host, start, end, url=URL):
    response = host.put({"start_datetime": start, "end_datetime": end}, url)
    assert response.status_code == 200, response.text
    return response.json["backfill"]


# On the wire


def test_a_local_day_is_local_and_is_shown_with_its_offset(york):
    shown = put_window(york, "2023-03-01", "2023-04-01T00:00:00")
    assert window(shown) == ("2023-03-01 00:00:00-05:00", "2023-04-01 00:00:00-04:00")
    assert stored(york) == (datetime(2023, 3, 1, 5), datetime(2023, 4, 1, 4))
    assert window(york.get()) == window(shown)
    assert window(york.read(LIST)["backfills"][0]) == window(shown)


def test_an_offset_that_is_sent_is_converted(york):
    shown = put_window(york, "2023-03-01T05:00Z", "2023-03-01T12:30:00.250+02:00")
    assert window(shown) == ("2023-03-01 00:00:00-05:00", "2023-03-01 05:30:00.250000-05:00")


def test_a_time_that_the_clocks_skip_is_later_and_one_that_comes_twice_is_the_first(york):
    shown = put_window(york, "2023-03-12 02:30", "2023-11-05 01:30")
    assert window(shown) == ("2023-03-12 03:30:00-04:00", "2023-11-05 01:30:00-04:00")
    second = york.put({"end_datetime": "2023-11-05 01:30-05:00"}).json["backfill"]
    assert second["end_datetime"] == "2023-11-05 01:30:00-05:00"


def test_only_the_window_has_the_offset(york):
    sent = {"started_at": "2023-03-01 05:00", "completed_at": "2023-03-01T00:00-05:00"}
    shown = york.put(sent).json["backfill"]
    assert shown["started_at"] == shown["completed_at"] == "2023-03-01 05:00:00"
    assert shown["created_at"] == "2023-07-18 23:30:26"


def test_the_start_must_not_be_after_the_end_in_either_spelling(york):
    put_window(york, "2023-11-05 01:30-04:00", "2023-11-05 01:10-05:00")
    refused = york.put({"start_datetime": "2023-11-05 01:30-05:00"})
    assert refused.status_code == 422
    assert refused.json["error"]["errors"] == {
        "start_datetime": ["Must be on or before end_datetime."]
    }


def test_a_time_that_utc_does_not_have_is_refused(york):
    refused = york.put({"end_datetime": "9999-12-31 23:59"})
    assert refused.status_code == 422
    assert refused.json["error"]["errors"] == {
        "end_datetime": ["Not within the years 1 to 9999 in UTC."]
    }


@pytest.mark.parametrize(
    "options",
    [
        {"timezone": "America/New_York"},
        {"timezone": "UTC", "local_datetimes": True},
        {"local_datetimes": True},
    ],
)
def test_without_the_option_or_in_utc_windows_have_no_offset(lent, options):
    host = lent(**options)
    shown = put_window(host, "2023-03-01", "2023-03-02T00:00-05:00")
    assert window(shown) == ("2023-03-01 00:00:00", "2023-03-02 05:00:00")


MOMENTS = st.builds(
    lambda day, offset: day + offset,
    # Around the days on which the clocks of the zones change, and anywhere.
    st.one_of(
        st.sampled_from(
            [
                datetime(2023, 3, 12),
                datetime(2023, 11, 5),
                datetime(2023, 3, 26),
                datetime(2023, 10, 29),
                datetime(2023, 4, 2),
                datetime(2018, 11, 4),
                datetime(2018, 2, 18),
                datetime(2011, 12, 30),
                datetime(1850, 1, 1),
            ]
        ),
        st.datetimes(datetime(1000, 1, 2), datetime(9000, 1, 1)),
    ),
    st.timedeltas(timedelta(days=-1), timedelta(days=2)),
)


@pytest.mark.parametrize("zone", ZONES)
def test_a_client_may_put_and_post_what_it_got(lent, zone):
    host = lent(timezone=zone, local_datetimes=True)

    @settings(max_examples=often(20))
    @given(st.lists(MOMENTS, min_size=2, max_size=2).map(sorted))
    @example([datetime(2023, 11, 5, 5, 30), datetime(2023, 11, 5, 6, 30)])
    def check(moments):
        put_window(host, *(f"{moment}Z" for moment in moments))
        before = host.client.get(URL)
        assert stored(host) == tuple(moments)
        got = before.json["backfill"]
        shown = window(got)
        assert [datetime.fromisoformat(one).astimezone(UTC) for one in shown] == [
            moment.replace(tzinfo=UTC) for moment in moments
        ]
        etag = before.headers["ETag"]
        for spelling in (got, dict(zip(("start_datetime", "end_datetime"), shown, strict=True))):
            answer = host.put(spelling, headers={"If-Match": etag})
            assert answer.status_code == 200, answer.text
            assert answer.headers["ETag"] == etag
        other = [datetime.fromisoformat(one).isoformat("T") for one in shown]
        assert put_window(host, *other) == got
        assert stored(host) == tuple(moments)
        sent = {key: got[key] for key in ("start_datetime", "end_datetime")}
        made = host.post(sent).json["backfill"]
        assert window(made) == shown and stored(host, made["id"]) == tuple(moments)

    check()


def test_an_edit_names_the_version_that_was_shown(york):
    put_window(york, "2023-03-01", "2023-04-01")
    etag = york.client.get(URL).headers["ETag"]
    put_window(york, "2023-03-02", "2023-04-01")
    late = york.put({"end_datetime": "2023-05-01"}, headers={"If-Match": etag})
    assert late.status_code == 412
    etag = york.client.get(URL).headers["ETag"]
    assert york.put({"end_datetime": "2023-05-01"}, headers={"If-Match": etag}).status_code == 200


def test_the_dates_of_a_preview_begin_with_the_local_day(york):
    put_window(york, "2023-03-11", "2023-03-13")
    york.put(DAILY)
    shown = york.get(f"{URL}?include_preview_runs=true")
    assert [one["ds"] for one in shown["pipeline_run_dates"]] == [
        "2023-03-11",
        "2023-03-12",
        "2023-03-13",
    ]
    assert shown["pipeline_run_dates"][0]["execution_date"] == "2023-03-11 05:00:00"
    sent = {"status": "initial", "end_datetime": "2023-03-12"}
    would = york.client.put(f"{URL}?dry_run=true", json={"backfill": sent}).json
    assert would["backfill"]["end_datetime"] == "2023-03-12 00:00:00-05:00"
    assert would["metadata"]["notes"] == ["12 March has 23 hours."]


def test_a_dry_run_notes_other_backfills_in_the_zone(york):
    put_window(york, "2023-03-11", "2023-03-13")
    york.put({**DAILY, "status": "initial"})
    day = {"start_datetime": "2023-03-11", "end_datetime": "2023-03-11", "status": "initial"}
    would = york.client.post(f"{LIST}?dry_run=true", json={"backfill": {**DAILY, **day}}).json
    told = "from 2023-03-11 00:00:00-05:00 to 2023-03-12 00:00:00-05:00."
    assert told in would["metadata"]["notes"][0]


def test_coverage_is_asked_and_told_in_the_zone(york):
    put_window(york, "2023-03-11", "2023-03-13")
    york.put({**DAILY, "status": "initial"})
    for run in york.claim(limit=1):
        york.end(run)

    def told(start, end):
        query = {"start_datetime": start, "end_datetime": end}
        found = york.client.get(COVERAGE, query_string=query)
        assert found.status_code == 200, found.text
        return found.json["coverage"]

    covered, gaps = (told("2023-03-11", "2023-03-13")[kind] for kind in ("covered", "gaps"))
    assert [window(one) for one in covered] == [
        ("2023-03-11 00:00:00-05:00", "2023-03-12 00:00:00-05:00")
    ]
    assert [window(one) for one in gaps] == [
        ("2023-03-12 00:00:00-05:00", "2023-03-13 00:00:00-04:00")
    ]
    assert told("2023-03-11T05:00Z", "2023-03-13 00:00:00-04:00")["gaps"] == gaps
    span = {"start_datetime": "2023-03-12 03:00", "end_datetime": "2023-03-12 02:30"}
    assert york.client.get(COVERAGE, query_string=span).status_code == 200


def test_coverage_stays_in_utc_without_the_option(lent):
    host = lent(timezone="America/New_York")
    found = host.read(f"{COVERAGE}?start_datetime=2023-03-11&end_datetime=2023-03-12")["coverage"]
    assert [window(one) for one in found["gaps"]] == [
        ("2023-03-11 00:00:00", "2023-03-12 00:00:00")
    ]


@takes_seconds
def test_the_document_has_the_format_that_is_shown(york):
    document = york.client.get(DOCUMENT).json
    validate(document)
    put_window(york, "2023-03-01", "2023-03-01 00:00:00.5")

    def check(component, value):
        Draft202012Validator(
            {**document, "$ref": f"#/components/schemas/{component}"},
        ).validate(value)

    check("BackfillAnswer", york.read(URL))
    span = "start_datetime=2023-03-11&end_datetime=2023-03-12"
    check("CoverageAnswer", york.read(f"{COVERAGE}?{span}"))
    schemas = document["components"]["schemas"]
    for schema in (schemas["Backfill"], schemas["CoveragePiece"]):
        for name in ("start_datetime", "end_datetime"):
            told = schema["properties"][name]
            assert "America/New_York" in told["description"]
            Draft202012Validator(told).validate(told["examples"][0])
            assert not Draft202012Validator(told).is_valid("2023-03-01 00:00:00")
    assert schemas["Backfill"]["properties"]["created_at"].get("pattern") is None
    sent = schemas["BackfillUpdate"]["properties"]["start_datetime"]
    assert "America/New_York" in sent["description"]
    asked = document["paths"]["/pipelines/{pipeline_uuid}/coverage"]["get"]["parameters"]
    told = {one["name"]: one["description"] for one in asked}
    assert "America/New_York" in told["start_datetime"] and "UTC" not in told["end_datetime"]
    assert "America/New_York" in document["info"]["description"]


def test_the_document_of_utc_says_nothing_of_zones(lent):
    document = lent(timezone="America/New_York", openapi=True).client.get(DOCUMENT).json
    shown = document["components"]["schemas"]["Backfill"]["properties"]["start_datetime"]
    assert shown["description"].endswith("in UTC.") and "pattern" not in shown
    assert "America/New_York" not in document["info"]["description"]


@pytest.mark.parametrize("aware", [False, True])
def test_columns_of_other_names_and_kinds_are_shown_in_the_zone(bare, aware):
    class Rerun(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        since = sa.Column(sa.DateTime(timezone=aware))
        start_datetime = synonym("since")

    bare.serve(Rerun, timezone="America/New_York", local_datetimes=True)
    shown = put_window(bare, "2023-03-01", "2023-03-02")
    assert window(shown) == ("2023-03-01 00:00:00-05:00", "2023-03-02 00:00:00-05:00")
    assert bare.put(shown).json["backfill"] == shown == bare.get()


# The variables of runs


@pytest.mark.parametrize("local_datetimes", [False, True])
def test_two_hours_of_one_name_have_different_starts(lent, local_datetimes):
    host = lent(timezone="America/New_York", local_datetimes=local_datetimes)
    hours = {"interval_type": "hour", "interval_units": 1, "status": "initial"}
    put_window(host, "2023-11-05T05:30Z", "2023-11-05T06:30Z")
    host.put({**hours, "variables": {"interval_start_local": "mine"}})
    runs = [run.variables for run in host.claim(limit=2)]
    assert [(one["ds"], one["hr"], one["interval_start_local"]) for one in runs] == [
        ("2023-11-05", "01", "2023-11-05 01:30:00-04:00"),
        ("2023-11-05", "01", "2023-11-05 01:30:00-05:00"),
    ]
    assert runs[0]["interval_start_datetime"] == "2023-11-05 05:30:00"
    shown = host.get(f"{URL}?include_preview_runs=true")["pipeline_run_dates"]
    assert shown == runs == [row["variables"] for row in host.rows()]


def test_in_utc_runs_have_no_local_start(runner):
    put_window(runner, "2023-11-05", "2023-11-06")
    runner.put({**DAILY, "status": "initial"})
    assert "interval_start_local" not in runner.rows()[0]["variables"]


# At the terminal


@pytest.fixture(params=[False, True])
def flask(lent, request):
    """Run ``flask backfills ...`` in a host of New York, whatever is on the wire."""
    host = lent(timezone="America/New_York", local_datetimes=request.param)

    def run(*args, code=0):
        result = host.app.test_cli_runner().invoke(args=["backfills", *args])
        assert result.exit_code == code, result.output
        return result.output

    run.host = host
    return run


def lines(output):
    """Lines of keys and values, whatever the width of the keys."""
    return [" ".join(line.split()) for line in output.splitlines()]


WINDOW_IN_MARCH = "2023-03-11 00:00:00-05:00", "2023-03-13 00:00:00-04:00"


def test_commands_read_and_show_the_window_in_the_zone(flask):
    made = flask(
        "create",
        "arwen_starlight",
        "start_datetime=2023-03-11",
        "end_datetime=2023-03-13T04:00Z",
        "interval_type=day",
        "interval_units=1",
        "--json",
    )
    made = json.loads(made)["backfill"]
    assert window(made) == WINDOW_IN_MARCH
    key = str(made["id"])
    assert stored(flask.host, made["id"]) == (datetime(2023, 3, 11, 5), datetime(2023, 3, 13, 4))
    # Whole days of the zone are told as days.
    assert " to ".join(end[:10] for end in WINDOW_IN_MARCH) in flask("list")
    assert window(json.loads(flask("list", "--json"))["backfills"][0]) == WINDOW_IN_MARCH
    assert "start_datetime 2023-03-11 00:00:00-05:00" in lines(flask("show", key))
    assert window(json.loads(flask("show", key, "--json"))["backfill"]) == WINDOW_IN_MARCH
    told = flask("preview", key, "end_datetime=2023-03-12", "status=initial")
    assert "2023-03-12T05:00:00  2023-03-12 05:00:00  add" in told and "DATE (UTC)" in told
    would = json.loads(flask("preview", key, "end_datetime=2023-03-12", "--json"))["backfill"]
    assert would["end_datetime"] == "2023-03-12 00:00:00-05:00"
    told = lines(flask("update", key, "end_datetime=2023-03-12"))
    assert "end_datetime 2023-03-12 00:00:00-05:00" in told
    assert "start_datetime 2023-03-11 00:00:00-05:00" in lines(flask("start", key))
    cancelled = json.loads(flask("cancel", key, "--yes", "--json"))["backfill"]
    assert cancelled["end_datetime"] == "2023-03-12 00:00:00-05:00"
    watched = json.loads(flask("watch", key, "--json", code=2))["backfill"]
    assert watched["end_datetime"] == "2023-03-12 00:00:00-05:00"
    deleted = json.loads(flask("delete", key, "--yes", "--json"))["backfill"]
    assert deleted["start_datetime"] == "2023-03-11 00:00:00-05:00"


def test_a_command_may_write_what_a_command_has_shown(flask):
    put_window(flask.host, "2023-11-05T05:30Z", "2023-11-05T06:30:00.25Z")
    before = flask.host.get()
    shown = json.loads(flask("show", "6", "--json"))["backfill"]
    assert window(shown) == ("2023-11-05 01:30:00-04:00", "2023-11-05 01:30:00.250000-05:00")
    for text in (str, json.dumps):
        sent = [f"{key}={text(shown[key])}" for key in ("start_datetime", "end_datetime")]
        flask("update", "6", *sent)
        assert flask.host.get() == before


def test_the_gaps_of_a_local_window_are_filled(flask):
    span = "--gaps-of", "2023-03-11", "2023-03-13"
    steps = "interval_type=day", "interval_units=1"
    made = json.loads(flask("create", "arwen_starlight", *span, *steps, "--json"))["backfill"]
    assert window(made) == WINDOW_IN_MARCH


def test_commands_refuse_what_the_api_refuses(flask):
    told = flask("update", "6", "start_datetime=soon", "color=red", code=1)
    assert "start_datetime: Not an ISO 8601 date" in told and "color: Unknown field." in told
    told = flask("update", "6", "end_datetime=9999-12-31 23:59", code=1)
    assert "end_datetime: Not within the years 1 to 9999 in UTC." in told
    put_window(flask.host, "2023-03-11T00:00Z", "2023-03-12T00:00Z")
    assert flask.host.put({"end_datetime": None}).status_code == 200
    shown = json.loads(flask("update", "6", "start_datetime=null", "--json"))["backfill"]
    assert window(shown) == (None, None)


def test_other_backfills_are_noted_in_the_zone(flask):
    steps = "interval_type=day", "interval_units=1"
    days = "start_datetime=2023-03-01", "end_datetime=2023-03-03"
    flask("create", "arwen_starlight", *days, *steps, "status=initial")
    put_window(flask.host, "2023-03-03T05:00Z", "2023-03-04T05:00Z")
    flask.host.put(DAILY)
    told = "from 2023-03-03 00:00:00-05:00 to 2023-03-04 00:00:00-05:00."
    assert told in flask("preview", "6")


def test_in_utc_commands_show_no_offset(runner):
    put_window(runner, "2023-03-11", "2023-03-13")
    run = runner.app.test_cli_runner().invoke
    shown = run(args=["backfills", "show", "6"]).output
    assert "start_datetime 2023-03-11 00:00:00" in lines(shown) and "time zone" not in shown
    told = run(args=["backfills", "preview", "6", "interval_type=day", "interval_units=1"]).output
    assert "(UTC)" not in told


# On pages


@pytest.fixture(params=[False, True])
def there(lent, request):
    """A host of New York, whatever is on the wire."""
    return lent(timezone="America/New_York", local_datetimes=request.param)


@pytest.fixture
def console(there):
    return Console(there)


def edit(console, **changed):
    """The form that is sent to save what a user has changed, after a look at the plan."""
    form = console.form("6/edit") | {f"new-{key}": text for key, text in changed.items()}
    return {**fields(console.post("6/edit", {**form, "do": "preview"}, 200).text), "do": "save"}


def test_pages_show_the_window_in_the_zone(console, there):
    put_window(there, "2023-03-11T05:00Z", "2023-03-13T04:00Z")
    there.put(DAILY)
    for path in ("", "6", "6/live"):
        assert "11-13 Mar 2023, daily" in console.get(path)
    attributes = console.get("6/live")
    assert all(one in attributes for one in WINDOW_IN_MARCH)
    note = "The window is in the time zone America/New_York. Other times are in UTC."
    assert all(note in console.get(path) for path in ("6", "6/edit", "6/start"))
    form = console.form("6/edit")
    assert (form["new-start_datetime"], form["new-end_datetime"]) == WINDOW_IN_MARCH
    page = console.get("6/edit")
    # Said once, at the start: the end beside it says whether it is included.
    assert page.count("Times are in America/New_York unless you add an offset.") == 1
    assert page.count("Times are in UTC unless you add an offset.") == 3


def test_a_form_reads_local_times_and_those_with_an_offset(console, there):
    console.post("6/edit", edit(console, start_datetime="2023-03-11", end_datetime="2023-03-13"))
    assert stored(there) == (datetime(2023, 3, 11, 5), datetime(2023, 3, 13, 4))
    console.post("6/edit", edit(console, end_datetime="2023-03-13T00:00Z"))
    assert stored(there)[1] == datetime(2023, 3, 13)
    console.post("6/edit", edit(console, end_datetime="", started_at="2023-03-13"))
    assert stored(there) == (datetime(2023, 3, 11, 5), None)
    assert there.get()["started_at"] == "2023-03-13 00:00:00"


@pytest.mark.parametrize("hour", ["05:30:00.25", "06:30:00.25"])
def test_a_form_sends_back_what_it_shows_without_moving_anything(console, there, hour):
    put_window(there, f"2023-11-05T{hour}Z", f"2023-11-05T{hour}Z")
    before = there.client.get(URL)
    console.post("6/edit", edit(console))
    assert there.client.get(URL).headers["ETag"] == before.headers["ETag"]
    # What a user has typed as it is shown asks for nothing either.
    shown = console.form("6/edit")["new-start_datetime"]
    form = edit(console, start_datetime=shown.replace(" ", "T"), name="new")
    console.post("6/edit", form)
    assert there.get() | {"name": "", "updated_at": ""} == before.json["backfill"] | {
        "name": "",
        "updated_at": "",
    }
    assert there.get()["name"] == "new"


def test_what_somebody_else_has_stored_is_told_in_the_zone(console, there):
    put_window(there, "2023-03-11T05:00Z", "2023-03-13T04:00Z")
    form = edit(console, end_datetime="2023-03-20", name="mine")
    there.put({"end_datetime": "2023-03-14T04:00Z"})
    page = console.post("6/edit", form, 409).text
    assert 'Somebody else has stored: <span class="stored"><bdi>2023-03-14 00:00:00-04:00' in page
    assert stored(there)[1] == datetime(2023, 3, 14, 4)
    form = fields(console.post("6/edit", {**fields(page), "do": "preview"}, 200).text)
    console.post("6/edit", {**form, "do": "save"})
    assert stored(there)[1] == datetime(2023, 3, 20, 4)
    # Whatever else somebody has changed meanwhile stays.
    form = edit(console, name="hers")
    there.put({"end_datetime": "2023-03-14T04:00Z"})
    console.post("6/edit", form)
    assert stored(there)[1] == datetime(2023, 3, 14, 4) and there.get()["name"] == "hers"


def test_a_time_that_can_not_be_is_told_at_its_field(console):
    form = console.form("6/edit") | {"new-end_datetime": "9999-12-31 23:59", "do": "preview"}
    page = console.post("6/edit", form, 422).text
    assert 'id="field-end_datetime-error"><bdi>Not within the years 1 to 9999 in UTC.' in page


def test_pages_note_other_backfills_in_the_zone(console, there):
    put_window(there, "2023-03-11T05:00Z", "2023-03-13T04:00Z")
    there.put(DAILY)
    sent = {"start_datetime": "2023-03-11T05:00Z", "end_datetime": "2023-03-11T05:00Z"}
    there.post({**DAILY, **sent, "status": "initial"})
    told = "from 2023-03-11 00:00:00-05:00 to 2023-03-12 00:00:00-05:00."
    assert told in console.get("6/start")


def test_pages_of_utc_show_no_offset(runner):
    put_window(runner, "2023-03-11", "2023-03-13")
    page = Console(runner).get("6")
    assert "11-13 Mar 2023" in page and "2023-03-11 00:00:00" in page and "time zone" not in page
    assert "Times are in UTC unless" in Console(runner).get("6/edit")


# Moments, in a second way


@unwatched
@settings(max_examples=often(1_000))
@example(ZoneInfo("America/Chicago"), datetime(1, 1, 1, 5, 50, 40))
@given(
    st.sampled_from(sorted(zoneinfo.available_timezones())).map(ZoneInfo),
    st.datetimes(),
)
def test_what_is_shown_is_the_moment_and_is_read_as_it(zone, moment):
    shown = datetime.fromisoformat(show(moment, zone))
    assert shown.astimezone(UTC).replace(tzinfo=None) == moment
    offset = shown.utcoffset()
    assert offset % timedelta(minutes=1) == timedelta(0)
    if timedelta(days=2) < moment - datetime.min < datetime.max - datetime.min - timedelta(days=2):
        there = moment.replace(tzinfo=UTC).astimezone(zone)
        assert abs(there.utcoffset() - offset) <= timedelta(seconds=30)


@settings(max_examples=often(200))
@given(
    st.sampled_from(ZONES).map(ZoneInfo),
    st.sampled_from([(2023, 3, 12), (2023, 11, 5), (2018, 11, 4), (2018, 2, 18), (2011, 12, 30)]),
    st.integers(-1, 2),
    st.integers(0, 24 * 12),
)
def test_a_local_time_is_found_as_by_looking_at_each_moment(zone, day, days, five):
    there = datetime(*day) + timedelta(days=days, minutes=5 * five)
    # Each moment at which it may be this time, whatever the zone.
    first = there - timedelta(hours=30)
    moments = [first + timedelta(minutes=5 * k) for k in range(60 * 12 + 1)]
    clocks = [m.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None, fold=0) for m in moments]
    if there in clocks:
        expected = moments[clocks.index(there)]
    else:
        after = next(k for k, clock in enumerate(clocks) if clock > there)
        # As long after the change as it is after what the clocks would have shown then.
        would = clocks[after - 1] + timedelta(minutes=5)
        expected = moments[after] + (there - would)
    assert moment_of(there, zone) == expected
