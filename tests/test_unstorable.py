"""What one backfill's row can't hold, or holds and can't be read, stops no other and no end."""

import json
import logging

import pytest
import sqlalchemy as sa
from conftest import few
from conftest import LIST
from conftest import URL

from flask_backfills import BackfillEventMixin
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin

START = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-03", "interval_type": "day"}
START |= {"interval_units": 1, "status": "initial"}


class Text(sa.types.TypeDecorator):
    """A host's own JSON, in a column of text; some of it, it refuses to write or to read."""

    impl = sa.String(60)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        if isinstance(value, dict) and value.get("checksum", 0) > 2**64:
            raise TypeError("Integer exceeds 64-bit range")
        return None if value is None else json.dumps(value)

    def process_result_value(self, value, dialect):
        found = None if value is None else json.loads(value)
        if found == {"mine": "unreadable"}:
            raise LookupError("the key of this secret is gone")
        return found


def with_text(bare, name, *constraints):
    """A host whose backfills have one attribute in a column of text."""

    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        __table_args__ = constraints
        locals()[name] = sa.Column(name, Text())

    bare.serve(Backfill, run_model=bare.run_model())
    return bare


METRICS = {
    "too long": lambda run: {f"rows of {run.variables['ds']}": 1, "rows": 1},
    "refused by a CHECK": lambda run: {"rows": 5},
    "refused by the type": lambda run: {"checksum": 2**63},
}


@pytest.mark.parametrize("what", METRICS)
def test_sums_that_cannot_be_stored_cost_the_metrics_and_no_end(bare, caplog, what):
    checks = {
        "too long": "length(metrics) < 60",
        "refused by a CHECK": "metrics <> '{\"rows\": 10}'",
    }
    check = [sa.CheckConstraint(checks[what], name="sums")] if what in checks else []
    host = with_text(bare, "metrics", *check)
    host.blueprint.runner(METRICS[what])
    host.put(START)
    other = host.post({**START, "name": "other"}).headers["Location"]
    host.work()
    # A claim leaves what it can't hand out for the next: what is left would be left for ever.
    assert set(host.stored("status")) == {"completed"}
    assert host.stored("heartbeat_at") == [None] * 6
    assert (host.get()["status"], host.get(other)["status"]) == ("completed", "completed")
    stored = {
        "too long": {"rows of 2023-03-01": 1, "rows": 1},
        "refused by a CHECK": {"rows": 5},
        "refused by the type": {"checksum": 2**64},
    }
    assert host.get()["metrics"] == stored[what]
    told = [one.getMessage() for one in caplog.records if "can't be stored" in one.getMessage()]
    assert len([one for one in told if "metrics of backfill 6 lack" in one]) in (1, 2)


def write(host, words):
    """Write settings of backfill 6 past all that would refuse them."""
    with host.app.app_context():
        execute = host.db.session.connection().exec_driver_sql
        checks = host.db.engine.dialect.name == "mysql"
        if checks:
            execute("SET check_constraint_checks = 0")
        execute(f"UPDATE backfill SET settings = '{words}' WHERE id = 6")
        if checks:
            execute("SET check_constraint_checks = 1")
        host.db.session.commit()


SETTINGS = ["{broken", '{"mine": "unreadable"}', "[]", '"text"', "7", "null"]


@pytest.mark.parametrize("words", few(SETTINGS))
@pytest.mark.parametrize("of", ["text", "JSON"])
def test_settings_that_cannot_be_read_stop_their_own_backfill_alone(
    bare, lent, caplog, words, of, request
):
    host = lent() if of == "JSON" else with_text(bare, "settings")
    if (of, words) == ("JSON", "{broken") and "postgresql" in request.node.callspec.id:
        pytest.skip("its JSON is never broken")
    calls = []
    host.blueprint.runner(lambda run: calls.append(run.backfill_id))
    host.put(START)
    host.post({**START, "name": "other", "settings": {"priority": -1}})
    write(host, words)
    host.work()
    host.work()
    unreadable = words == "{broken" or (of == "text" and "unreadable" in words)
    assert sorted(calls) == ([7] * 3 if unreadable else [6] * 3 + [7] * 3)
    told = [one for one in caplog.records if "settings can't be read" in one.getMessage()]
    assert len(told) == unreadable
    assert all(one.levelno == logging.WARNING for one in told)


def test_runs_of_a_backfill_whose_settings_cannot_be_read_go_on_and_end(bare):
    host = with_text(bare, "settings")
    host.put(START)
    host.post({**START, "name": "other"})
    runs = host.claim(limit=4)
    assert {run.backfill_id for run in runs} == {6, 7}
    write(host, "{broken")
    with host.app.app_context():
        assert host.blueprint.runs.still_ours(runs) == {run.id for run in runs}
    for run in runs:
        assert host.end(run, "failed")
    assert host.stored("status").count("failed") == 4
    write(host, "{}")
    host.recover()
    host.blueprint.runner(lambda run: None)
    host.work()
    assert {one["status"] for one in host.read(LIST)["backfills"]} == {"failed"}
    assert host.get(URL)["status"] == "failed"


def test_a_run_whose_reason_cannot_be_stored_has_failed(bare):
    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        __table_args__ = (sa.CheckConstraint("error IS NULL"),)

    bare.serve(run_model=Run)
    bare.blueprint.runner(lambda run: 1 / 0)
    bare.put({**START, "end_datetime": START["start_datetime"]})
    bare.work()
    assert bare.stored("status", "error") == [("failed", None)]
    assert bare.get()["status"] == "failed"


@pytest.mark.parametrize("refused", ["finish", "begin"])
def test_runs_end_though_the_history_refuses_what_follows(bare, caplog, refused):
    class Event(BackfillEventMixin, bare.db.Model):
        __tablename__ = "backfill_event"
        __table_args__ = (sa.CheckConstraint(f"action <> '{refused}'"),)

    bare.serve(run_model=bare.run_model(), event_model=Event)
    bare.blueprint.runner(lambda run: {"rows": 1})
    bare.put(START)
    bare.work()
    shown = bare.get()
    assert (shown["status"], shown["metrics"]) == ("completed", {"rows": 3})
    actions = [one["action"] for one in bare.read(f"{URL}/history")["history"]]
    assert actions == [one for one in ("finish", "begin", "update") if one != refused]
    [told] = [one.getMessage() for one in caplog.records if "history of backfill 6" in one.message]
    assert "can't be stored" in told
