"""OWASP's API Security Top 10 (2023): each rule that applies, and the tests that show it."""

import json
import logging
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import LIST
from conftest import often
from conftest import URL
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from flask_backfills import api_key
from flask_backfills import BackfillMixin
from flask_backfills import oauth_token

TABLE = {
    "API1 object level authorization": [
        "test_another_pipeline_is_a_404_and_changes_nothing",
        "test_a_flat_path_tells_no_more_than_a_missing_one",
        "test_a_scope_hides_what_it_leaves_out",
        "test_a_scope_hides_from_lists_and_deletes_too",
    ],
    "API2 authentication": [
        "test_only_true_lets_in",
        "test_an_api_key_must_be_one_of_the_apps",
        "test_a_token_comes_by_cookie_or_header",
        "test_a_key_or_a_login_lets_in",
        "test_if_all_refuse_the_most_useful_refusal_is_the_answer",
        "test_a_check_that_would_have_to_be_awaited_is_refused",
        "test_secrets_are_in_no_log_repr_or_error",
    ],
    "API3 property level authorization": [
        "test_what_is_not_whitelisted_can_not_be_assigned",
        "test_a_bad_value_is_named_and_changes_nothing",
        "test_a_schema_of_the_host_closes_and_adds",
    ],
    "API4 resource consumption": [
        "test_a_body_over_the_limit_is_a_413",
        "test_a_chunked_body_is_read_and_limited_too",
        "test_a_malformed_body_is_a_400_that_says_why",
        "test_of_who_may_not_nothing_is_read",
        "test_a_form_that_is_too_long_is_not_parsed",
        "test_a_form_of_very_many_fields_is_not_parsed",
        "test_a_query_that_makes_no_sense_is_a_422",
        "test_more_runs_than_may_be_are_refused_with_both_figures",
        "test_a_generator_that_can_not_be_used_is_a_422",
        "test_a_value_made_to_keep_a_pattern_busy_is_refused",
    ],
    "API5 function level authorization": [
        "test_each_route_asks_for_its_own_action",
        "test_who_may_not_list_or_create_does_not",
        "test_only_what_the_user_may_is_shown_and_works",
    ],
    "API8 misconfiguration": [
        "test_no_error_shows_what_is_behind_it",
        "test_no_header_opens_the_api_to_other_sites",
        "test_another_content_type_is_a_415",
        "test_another_site_changes_nothing",
        "test_only_a_post_changes_something",
        "test_the_api_needs_no_token_of_the_apps_protection",
        "test_a_view_that_a_host_adds_to_the_blueprint_stays_protected",
        "test_tokens_are_off_only_where_the_app_is_tested",
        "test_pages_load_only_their_own_files",
        "test_names_are_text",
        "test_hidden_characters_are_spelled_out_on_every_page",
        "test_the_hosts_own_error_pages_stay",
        "test_it_is_off_unless_asked_for",
    ],
    "API9 inventory": ["test_the_document_is_valid_and_has_every_route"],
}


def test_every_test_of_the_table_is_there():
    code = "\n".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))
    assert {test for tests in TABLE.values() for test in tests} <= there


def test_what_is_not_whitelisted_can_not_be_assigned(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        owner = sa.Column(sa.String(20), default="host")

    bare.serve(Backfill)
    for key in ("owner", "_sa_instance_state", "metadata", "query", "__class__", "pipeline"):
        for response in (bare.put({key: "x"}), bare.post({key: "x"})):
            assert (response.status_code, list(response.json["error"]["errors"])) == (422, [key])
    for key in ("id", "pipeline_uuid", "created_at", "updated_at"):
        assert bare.put({key: "7"}).status_code == 422
    with bare.app.app_context():
        assert set(bare.db.session.scalars(sa.select(Backfill.owner))) == {"host"}


def test_secrets_are_in_no_log_repr_or_error(bare, caplog):
    caplog.set_level(logging.DEBUG)
    secrets = ["s3cret-key", "s3cret-token", "s3cret-name"]
    bare.app.config["BACKFILLS_API_KEYS"] = secrets[0]

    def verify(token, action, pipeline):
        return False

    bare.serve(authorize=api_key())
    headers = {"X-API-KEY": secrets[0]}
    answers = [
        bare.put({"name": secrets[2] * 40}, headers=headers),
        bare.put({"name": secrets[2], "x": 1}, headers={"X-API-KEY": secrets[1]}),
        bare.put({"name": [secrets[2]]}, headers=headers),
    ]
    bare.blueprint.host.authorize = oauth_token(verify)
    answers.append(bare.put({"name": secrets[2]}, headers={"OAUTH-TOKEN": secrets[1]}))
    assert [answer.status_code for answer in answers] == [422, 401, 422, 403]
    seen = [caplog.text, repr(bare.blueprint), repr(api_key()), repr(oauth_token(verify))]
    seen += [answer.text + str(answer.headers) for answer in answers]
    assert not [secret for secret in secrets for text in seen if secret in text]


@pytest.mark.parametrize(
    "value", ["2023-07-17T10:00:00." + "0" * 500_000 + "x", "1" * 500_000, "-" * 500_000]
)
def test_a_value_made_to_keep_a_pattern_busy_is_refused(host, value):
    sent = {"start_datetime": value, "interval_units": value}
    assert host.put(sent).status_code in (413, 422)


def test_no_error_shows_what_is_behind_it(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        __table_args__ = (sa.UniqueConstraint("name", name="one_of_a_name"),)

    bare.app.debug = True
    bare.serve(Backfill)
    bare.post({"name": "taken"})
    answers = [
        bare.put({"name": "taken"}),
        bare.put({"name": "x" * 300, "status": 1}),
        bare.client.put(URL, data=b"{", content_type="application/json"),
        bare.client.get(f"{LIST}/abc"),
    ]
    assert [answer.status_code for answer in answers] == [409, 422, 400, 404]
    behind = ("Traceback", 'File "', "SELECT", "UPDATE", "sqlalchemy", "one_of_a_name", "site-pack")
    for answer in answers:
        assert answer.json["error"]["message"]
        assert not [word for word in behind if word in answer.text]


def test_no_header_opens_the_api_to_other_sites(host):
    for method in ("GET", "PUT", "OPTIONS"):
        headers = {"Origin": "https://elsewhere.example"}
        response = host.client.open(URL, method=method, json={"backfill": {}}, headers=headers)
        assert not [name for name in response.headers.keys() if name.startswith("Access-Control")]


NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**30), 1e308])
ANY = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=15,
)
KNOWN = """id block_uuid completed_at created_at end_datetime failed_at interval_type
interval_units metrics name pipeline_schedule_id pipeline_uuid start_datetime started_at status
updated_at variables settings""".split()
NEAR = st.sampled_from(["initial", "day", "2023-03-01", "2023-03-01T10:00:00+02:00", 1, 2, {}])


@settings(max_examples=often(80))
@given(
    st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=5), ANY | NEAR, max_size=6) | ANY,
    st.sampled_from(["PUT", "POST"]),
    st.sampled_from(["", "?dry_run=true"]),
)
def test_any_json_is_stored_exactly_or_refused_whole(runner, sent, method, query):
    url = (LIST if method == "POST" else URL) + query
    before, count = runner.get(), runner.read(LIST)["metadata"]["count"]
    body = json.dumps({"backfill": sent})
    response = runner.client.open(url, method=method, data=body, content_type="application/json")
    assert response.status_code in (200, 201, 400, 409, 422), response.text
    stored = response.status_code < 300 and not query
    assert runner.read(LIST)["metadata"]["count"] == count + (stored and method == "POST")
    if not stored:
        assert runner.get() == before
        return
    shown = runner.get(response.headers.get("Location", URL))
    assert shown == response.json["backfill"]
    for key in sent.keys() & {"name", "block_uuid", "variables", "metrics", "settings", "status"}:
        # 1 and 1.0 are the same number to JSON.
        assert json.loads(json.dumps(shown[key])) == json.loads(json.dumps(sent[key]))
