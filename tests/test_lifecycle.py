"""Statuses, their transitions and their timestamps."""

import itertools

import pytest
from conftest import URL

from flask_backfills.rules.lifecycle import STATUSES
from flask_backfills.rules.lifecycle import TRANSITIONS


@pytest.mark.parametrize(("old", "new"), [*itertools.product([None, *STATUSES], STATUSES)])
def test_only_allowed_transitions_are_taken(bare, old, new):
    bare.serve(seed={"id": 6, "pipeline_uuid": "arwen_starlight", "status": old})
    before = bare.get()
    response = bare.put({"status": new, "name": "x"})
    if new == old or new in TRANSITIONS[old]:
        assert (response.status_code, bare.get()["status"]) == (200, new)
    else:
        assert response.status_code == 409
        [message] = response.json["error"]["errors"]["status"]
        assert ", ".join(TRANSITIONS[old]) in message
        assert bare.get() == before


def test_entering_a_status_stamps_it(host):
    started = host.put({"status": "running"}).json["backfill"]["started_at"]
    failed = host.put({"status": "failed"}).json["backfill"]
    assert started and failed["failed_at"] and failed["started_at"] == started
    assert host.put({"status": "running"}).json["backfill"]["started_at"] == started
    assert host.put({"status": "completed"}).json["backfill"]["completed_at"]
    again = host.put({"status": "initial"}).json["backfill"]
    assert (again["completed_at"], again["failed_at"]) == (None, None)
    assert again["started_at"] > started


def test_a_timestamp_in_the_same_request_wins(host):
    sent = {"status": "completed", "completed_at": "2020-01-01"}
    assert host.put(sent).json["backfill"]["completed_at"] == "2020-01-01 00:00:00"


def test_null_is_only_an_echo(host):
    assert host.put({"status": None}).status_code == 200
    host.put({"status": "running"})
    assert host.put({"status": None}).status_code == 422


def test_a_host_may_have_no_transitions(bare):
    bare.serve(transitions=None)
    host = bare
    assert host.put({"status": "completed"}).status_code == 200
    assert host.client.put(URL, json={"backfill": {"status": "running"}}).status_code == 200


def test_a_refused_transition_is_told_with_the_other_errors(host):
    host.put({"status": "completed"})
    response = host.put({"status": "running", "interval_units": 0})
    assert response.status_code == 422
    assert response.json["error"]["errors"].keys() == {"status", "interval_units"}
