"""What a caller may send, what is stored, and what is not."""

import io
import json
import sqlite3
from contextlib import closing

import pytest
from conftest import about_sql
from conftest import LIST
from conftest import often
from conftest import URL
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from werkzeug.serving import DechunkedInput

pytestmark = about_sql

BAD_DATES = """next tuesday|07/17/2023||2023-02-30|2023-07-17T24:00:00|2016-12-31T23:59:60Z
|10000-01-01|0001-01-01T00:00:00+14:00|9999-12-31T23:59:59-14:00|2023-W29-1|20230717
|2023-07-17T10:00:00+25:00|2023-07-17 10:00:00.1234567""".replace("\n", "").split("|")
BAD = [
    *(("start_datetime", x) for x in [*BAD_DATES, 1689638165, True, []]),
    *(("interval_type", x) for x in ["Day", "DAY", "", 5, "fortnight", []]),
    *(("interval_units", x) for x in [0, -1, 2.5, True, "x", "", 10**30, 2**31, " 3", "1_0"]),
    *(("name", x) for x in ["x" * 300, "a\0b", "\ud800", "", 5, ["x"], None]),
    *(("variables", x) for x in [[], "x", 5, {"a\0": 1}, {"a": "\ud800"}, {"a": [float("nan")]}]),
    *(("status", x) for x in ["Running", "", 1, "done"]),
    ("pipeline_schedule_id", 2**31),
    ("nonsense", 1),
    ("\ud800", 1),
    ("id", 7),
    ("id", True),
    ("pipeline_uuid", "other"),
    ("created_at", "2020-01-01"),
    ("updated_at", None),
]


@pytest.mark.parametrize(("key", "value"), BAD, ids=lambda x: ascii(x)[:30])
def test_a_bad_value_is_named_and_changes_nothing(host, key, value):
    before = host.get()
    response = host.put({key: value, "metrics": {"a": 1}})
    assert response.status_code == 422
    assert list(response.json["error"]["errors"]) == [
        key.encode("utf-8", "backslashreplace").decode()
    ]
    assert host.get() == before


@pytest.mark.parametrize("number", ["1e400", "1" * 5000, "Infinity", "NaN"])
@pytest.mark.parametrize("key", ["interval_units", "variables"])
def test_numbers_that_python_can_not_hold_are_named(host, key, number):
    value = number if key == "interval_units" else f'{{"a": {number}}}'
    body = f'{{"backfill": {{"{key}": {value}}}}}'
    response = host.client.put(URL, data=body, content_type="application/json")
    assert response.status_code == 422
    assert list(response.json["error"]["errors"]) == [key]


DEEP = b'{"backfill": {"variables": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}}"
SHALLOWER = b'{"backfill": {"variables": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}}"
BODIES = [b"", b"{", b"[1]", b'"x"', b"null", b'{"backfill": null}', b'{"backfill": []}']
BODIES += [
    b'{"backfills": {}}',
    b'{"backfill": {}, "backfill": {}}',
    b'{"backfill": {"a": 1, "a": 2}}',
]
BODIES += [b'{"backfill": {"name": "\xff"}}', b'\xef\xbb\xbf{"backfill": {}}', DEEP, SHALLOWER]


@pytest.mark.parametrize("body", BODIES, ids=lambda x: ascii(x)[:40])
def test_a_malformed_body_is_a_400_that_says_why(host, body):
    response = host.client.put(URL, data=body, content_type="application/json")
    assert (response.status_code, response.json["error"]["code"]) == (400, 400)
    assert response.json["error"]["message"]


def test_a_key_beside_backfill_is_named(host):
    response = host.client.put(URL, json={"backfill": {}, "api_keys": "x", "api_key": "y"})
    assert response.status_code == 422
    assert list(response.json["error"]["errors"]) == ["api_keys"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_another_content_type_is_a_415(host, kind):
    assert host.client.put(URL, data=b'{"backfill": {}}', content_type=kind).status_code == 415


def test_a_compressed_body_is_a_415(host):
    assert host.put({}, headers={"Content-Encoding": "gzip"}).status_code == 415


def test_a_body_over_the_limit_is_a_413(host):
    body = json.dumps({"backfill": {"variables": {"a": "x" * 5_000_000}}}).encode()
    response = host.client.put(URL, data=body, content_type="application/json")
    assert (response.status_code, response.json["error"]["code"]) == (413, 413)


def test_a_chunked_body_is_read_and_limited_too(host):
    host.app.config["BACKFILLS_MAX_CONTENT_LENGTH"] = 60
    for size, status in ((10, 200), (100, 413)):
        body = b'{"backfill": {"name": "%s"}}' % (b"x" * size)
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        response = host.client.put(
            URL,
            input_stream=io.BytesIO(body),
            content_type="application/json",
            environ_overrides=environ,
        )
        assert response.status_code == status


class NoChunk(Exception):
    """What a server has for chunks that are none."""


class Chunks(io.BytesIO):
    """A body whose server finds out while it is read."""

    def read(self, size=-1):
        raise NoChunk(size)


@pytest.mark.parametrize("end", [b"ZZ\r\nabc", b"ff\r\n{", b"-5\r\n", b"1\r\n{no end", b""])
@pytest.mark.parametrize("begin", [b"", b"1\r\n{\r\n"])
def test_chunks_that_are_malformed_or_cut_are_a_400(host, begin, end):
    for body in (DechunkedInput(io.BytesIO(begin + end)), Chunks()):
        told = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        told["wsgi.input"] = body
        sent = {"content_type": "application/json", "environ_overrides": told}
        for method, url in (("PUT", URL), ("POST", LIST)):
            response = host.client.open(url, method=method, **sent)
            assert (response.status_code, response.json["error"]["code"]) == (400, 400)
    assert host.read(LIST)["metadata"]["count"] == 1


@pytest.mark.parametrize("key", ["abc", "-1", "0", str(10**30), "6/", "6.0"])
def test_an_id_that_is_none_is_a_404_in_json(host, key):
    response = host.put({"name": "x"}, URL.removesuffix("6") + key)
    assert (response.status_code, response.json["error"]["type"]) == (404, "not_found")


@pytest.mark.parametrize("pipeline", ["x" * 10_000, "arwen%00", "other"])
def test_another_pipeline_is_a_404_and_changes_nothing(host, pipeline):
    before = host.get()
    response = host.put({"name": "x"}, URL.replace("arwen_starlight", pipeline))
    assert (response.status_code, response.json["error"]["code"]) == (404, 404)
    assert host.get() == before


def test_a_slash_in_a_pipeline_is_a_404(host):
    response = host.put({"name": "x"}, URL.replace("_", "%2F"))
    assert (response.status_code, response.json["error"]["type"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2023-07-17", "2023-07-17 00:00:00"),
        ("2023-07-17T23:56", "2023-07-17 23:56:00"),
        ("2023-07-17T23:56:05Z", "2023-07-17 23:56:05"),
        ("2023-07-17 23:56:05.5", "2023-07-17 23:56:05.500000"),
        ("2023-07-17 23:56:05.120000000", "2023-07-17 23:56:05.120000"),
        ("2023-07-17T23:56:05+02:00", "2023-07-17 21:56:05"),
        ("2023-07-17T23:56:05-0530", "2023-07-18 05:26:05"),
        (None, None),
    ],
)
def test_an_offset_is_converted_to_utc(host, sent, shown):
    assert host.put({"start_datetime": sent}).json["backfill"]["start_datetime"] == shown
    assert host.get()["start_datetime"] == shown


@pytest.mark.parametrize("units", ["3", 3.0, 3])
def test_whole_numbers_are_read_as_integers(host, units):
    assert host.put({"interval_units": units}).json["backfill"]["interval_units"] == 3


def test_all_errors_come_together(host):
    host.put({"start_datetime": "2023-07-17"})
    response = host.put({"interval_units": 0, "end_datetime": "2020-01-01", "x": 1, "id": 9})
    assert response.json["error"]["errors"].keys() == {"interval_units", "end_datetime", "x", "id"}
    assert response.json["error"]["type"] == "validation_error"


def test_start_and_end_are_checked_with_what_is_stored(host):
    host.put({"start_datetime": "2023-07-17", "end_datetime": "2023-07-18"})
    response = host.put({"start_datetime": "2023-07-19"})
    assert response.json["error"]["errors"] == {
        "start_datetime": ["Must be on or before end_datetime."]
    }
    assert host.put({"start_datetime": "2023-07-18"}).status_code == 200
    assert host.put({"start_datetime": "2023-07-19", "end_datetime": None}).status_code == 200


def test_nothing_in_the_query_is_dropped_in_silence(host):
    for query, key in (("name=x", "name"), ("dryrun=true", "dryrun"), ("dry_run=ja", "dry_run")):
        response = host.put({"name": "x"}, f"{URL}?{query}")
        assert response.json["error"]["errors"].keys() == {key}
    assert host.put({}, f"{URL}?dry_run=true&dry_run=false").status_code == 422
    assert host.put({}, f"{URL}?api_key=for-authorize").status_code == 200
    assert host.get()["name"] == "old_name"


def test_a_client_can_put_what_it_got(host):
    backfill = host.get()
    host.statements.clear()
    response = host.put(backfill)
    assert (response.status_code, response.json["backfill"]) == (200, backfill)
    assert host.put({"created_at": "2023-07-18T23:30:26.000Z"}).status_code == 200
    assert not [s for s in host.statements if s.startswith("UPDATE")]


def test_patch_means_the_same(host):
    assert host.client.patch(URL, json={"backfill": {"name": "x"}}).status_code == 200
    assert host.get()["name"] == "x"


def test_an_update_is_one_select_and_one_update(host):
    host.statements.clear()
    assert host.put({"name": "x", "variables": {"a": 1}}).status_code == 200
    assert [s.split()[0] for s in host.statements] == ["SELECT", "UPDATE"]


def test_true_is_not_one(host):
    host.put({"variables": {"a": 1}})
    host.put({"variables": {"a": True}})
    assert host.get()["variables"]["a"] is True


def test_if_match_guards_against_a_lost_update(host):
    first = host.client.get(URL).headers["ETag"]
    second = host.put({"name": "x"}, headers={"If-Match": first}).headers["ETag"]
    assert host.client.get(URL).headers["ETag"] == second != first
    # What workers report meanwhile is not in it, so a copy may be older than it says.
    assert host.client.get(URL, headers={"If-None-Match": second}).status_code == 200
    refused = host.put({"name": "y"}, headers={"If-Match": first})
    assert (refused.status_code, refused.json["error"]["code"]) == (412, 412)
    assert host.put({"name": "y"}, headers={"If-Match": ""}).status_code == 412
    assert host.get()["name"] == "x"
    assert host.put({"name": "y"}, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_locked_sqlite_file_is_a_503(host, database_url):
    with host.app.app_context():
        connection = host.db.session.connection().connection.driver_connection
        connection.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as other:
        other.execute("BEGIN IMMEDIATE")
        response = host.put({"name": "x"})
        other.rollback()
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert host.put({"name": "x"}).status_code == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted({key for key, _ in BAD if key.isascii()})) | st.text(max_size=5)


@settings(max_examples=often(100))
@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_whatever_is_sent_is_stored_or_refused_whole(host, sent):
    before = host.get()
    response = host.put(sent)
    after = host.get()
    assert response.status_code in (200, 400, 409, 422)
    if response.status_code == 200:
        assert {k: after[k] for k in sent if k in ("variables", "name")} == {
            k: v for k, v in sent.items() if k in ("variables", "name")
        }
    else:
        assert after == before


@settings(max_examples=often(200))
@given(st.binary(max_size=50))
def test_no_bytes_are_a_500(host, body):
    assert host.client.put(URL, data=body, content_type="application/json").status_code == 400


@pytest.mark.parametrize(
    ("sent", "url", "message"),
    [
        ({"backfill": {"nmae": "x"}}, URL, "Did you mean name?"),
        ({"backfill": {"endDatetime": None}}, URL, "Did you mean end_datetime?"),
        ({"backfill": {}, "backfil": {}}, URL, "Did you mean backfill?"),
        ({"backfill": {}}, f"{URL}?limit=1", "Did you mean _limit?"),
        ({"backfill": {}}, f"{URL}?dryrun=true", "Did you mean dry_run?"),
        ({"backfill": {"colour": 1}}, URL, "Unknown field."),
    ],
)
def test_a_name_that_is_almost_right_is_told_the_right_one(host, sent, url, message):
    response = host.client.put(url, json=sent)
    assert response.status_code == 422
    assert message in response.json["error"]["message"]
    [[told]] = response.json["error"]["errors"].values()
    assert told.endswith(message)
