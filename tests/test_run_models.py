"""Run models and sessions of the host's own, and what works with each."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from datetime import timezone
from decimal import Decimal

import pytest
import sqlalchemy as sa
from conftest import about_sql
from conftest import Host
from conftest import takes_seconds
from conftest import URL
from conftest import wait_for
from sqlalchemy.orm import Session

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills import current_run
from flask_backfills.tables.mixins import Moment

pytestmark = about_sql

WEEK = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-07"}
WEEK |= {"interval_type": "day", "interval_units": 1}
START = {**WEEK, "status": "initial"}


@pytest.fixture
def joined(bare):
    """Both models load their relationships with every SELECT, and a run has a column more."""
    db = bare.db

    class Backfill(BackfillMixin, db.Model):
        __tablename__ = "backfill"
        runs = db.relationship("Run", lazy="joined", back_populates="backfill")

    class Run(BackfillRunMixin, db.Model):
        __tablename__ = "backfill_run"
        backfill_id = sa.Column(sa.ForeignKey("backfill.id"))
        note = sa.Column(sa.String(40))
        backfill = db.relationship("Backfill", lazy="joined", back_populates="runs")
        children = db.relationship("Child", lazy="joined")
        later = db.relationship("Child", viewonly=True)

    class Child(db.Model):
        id = sa.Column(sa.Integer, primary_key=True)
        run_id = sa.Column(sa.ForeignKey("backfill_run.id"))

    bare.serve(Backfill, run_model=Run)
    return bare


def test_models_that_join_their_relationships_are_worked_on(joined):
    joined.blueprint.runner(lambda run: {"rows": 1})
    joined.put(START)
    assert joined.recover() == 0
    joined.work(concurrency=2)
    assert (joined.get()["status"], joined.get()["metrics"]) == ("completed", {"rows": 7})
    assert joined.put({"status": "initial", "settings": {"reprocess": "all"}}).status_code == 200
    joined.claim()
    assert joined.recover() == 1
    assert joined.put({"status": "cancelled"}).status_code == 200


def test_a_runner_reads_relationships_and_sets_columns_of_its_run(joined):
    @joined.blueprint.runner
    def run(run):
        run.note = f"{run.backfill.name}, {len(run.later)}"
        if run.key.startswith("2023-03-02"):
            raise ValueError("not this one")

    joined.put(START)
    joined.work()
    notes = joined.stored("note")
    assert notes == ["old_name, 0", None, *["old_name, 0"] * 5]


@pytest.fixture
def old(bare):
    """A host whose run model has only the columns of before."""
    db = bare.db

    class Run(db.Model):
        __tablename__ = "backfill_run"
        id = sa.Column(sa.Integer, primary_key=True)
        backfill_id = sa.Column(sa.Integer)
        pipeline_uuid = sa.Column(sa.String(255))
        key = sa.Column(sa.String(255))
        execution_date = sa.Column(sa.DateTime)
        interval_end_datetime = sa.Column(sa.DateTime)
        status = sa.Column(sa.String(16), default="initial")
        attempt = sa.Column(sa.Integer, default=1)
        wanted = sa.Column(sa.Boolean, default=True)
        queued_at = sa.Column(sa.DateTime)
        started_at = sa.Column(sa.DateTime)
        completed_at = sa.Column(sa.DateTime)
        error = sa.Column(sa.Text)
        variables = sa.Column(sa.JSON(none_as_null=True))

    bare.serve(run_model=Run)
    return bare


def test_a_run_model_of_the_old_columns_is_worked_on(old):
    old.blueprint.runner(lambda run: {"rows": Decimal(1)})
    old.put({**START, "settings": {"max_attempts": 2}})
    old.work(concurrency=2)
    assert old.get()["status"] == "completed"
    assert old.get()["metrics"] == {"rows": 7}


def test_a_run_model_of_the_old_columns_loses_no_run(old):
    old.put({**START, "end_datetime": "2023-03-01"})
    for attempt in range(1, 4):
        [run] = old.claim()
        assert run.attempt == attempt
        # Its lease is an hour, since no worker can renew it.
        assert old.recover(None) == 0
        old.recover()
    [row] = old.rows()
    assert row["status"] == "failed" and "died" in row["error"]
    assert old.get()["status"] == "failed"


def test_a_run_model_of_the_old_columns_tries_again_at_once(old):
    old.put({**START, "end_datetime": "2023-03-01", "settings": {"max_attempts": 2}})
    [run] = old.claim()
    assert old.end(run, "failed")
    [again] = old.claim()
    assert again.attempt == 2 and old.end(again, "failed")
    assert old.get()["status"] == "failed"


def test_a_crash_before_what_follows_an_end_is_made_up_with_the_old_columns(old, monkeypatch):
    old.put({**START, "end_datetime": "2023-03-01"})
    [run] = old.claim()
    with monkeypatch.context() as patch:
        patch.setattr(type(old.blueprint.runs.upkeep), "roll_up", lambda self, *args: None)
        assert old.end(run)
    old.recover()
    assert old.get()["status"] == "completed"


@takes_seconds
def test_metrics_that_no_row_keeps_wait_for_who_has_the_backfill_locked(old):
    old.put({**START, "end_datetime": "2023-03-01"})
    [run] = old.claim()
    with old.app.app_context(), old.db.engine.connect() as other:
        other.execute(sa.text("UPDATE backfill SET name = 'other' WHERE id = 6"))
        threading.Timer(1.5, other.commit).start()
        assert old.end(run, "completed", {"rows": 1})
        wait_for(lambda: old.get()["name"] == "other")
    assert (old.get()["status"], old.get()["metrics"]) == ("completed", {"rows": 1})


class Aware(sa.types.TypeDecorator):
    """As SQLAlchemy's documentation has it, for databases that keep no time zone."""

    impl = Moment
    cache_ok = True

    def process_bind_param(self, value, dialect):
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("tzinfo is required")
        return value.astimezone(timezone.utc).replace(tzinfo=None)

    def process_result_value(self, value, dialect):
        return value and value.replace(tzinfo=timezone.utc)


def test_moments_of_a_type_that_wants_a_time_zone_are_worked_on(bare):
    def moments(*names):
        return {name: sa.Column(Aware) for name in names}

    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        locals().update(moments("start_datetime", "end_datetime", "started_at", "completed_at"))

    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        locals().update(moments("execution_date", "interval_end_datetime", "started_at"))
        locals().update(moments("completed_at", "heartbeat_at", "available_at", "queued_at"))

    bare.serve(Backfill, run_model=Run)
    bare.blueprint.runner(lambda run: {"share": 1 / (run.attempt - 1)})
    settings = {"max_attempts": 2, "retry_delay": 0, "only_ended": True}
    shown = bare.put({**START, "settings": settings}).json["backfill"]
    assert shown["start_datetime"] == "2023-03-01 00:00:00+00:00"
    bare.claim()
    assert bare.recover() == 1
    bare.work()
    assert set(bare.stored("status", "attempt")) == {("completed", 2)}
    assert bare.get()["status"] == "completed"


def test_an_error_of_ours_is_cut_to_its_column(bare):
    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        error = sa.Column(sa.String(20))

    bare.serve(run_model=Run)
    bare.put({**START, "settings": {"run_timeout": 1}})
    late, _ = bare.claim(limit=2)
    bare.store(started_at=late.started_at - timedelta(seconds=5))
    bare.claim()
    assert bare.end(late) is False
    bare.recover()
    told = [error for error in bare.stored("error") if error]
    assert {error[:5] for error in told} == {"Took ", "A wor"}
    assert {len(error) for error in told} == {20}


def test_a_column_may_have_the_name_of_a_parameter(bare):
    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        new_status = sa.Column(sa.String(20))
        _new_error = sa.Column(sa.String(20))
        _held_worker = sa.Column(sa.String(20))
        now = sa.Column(sa.String(20))
        rows = sa.Column(sa.String(20))
        room = sa.Column(sa.String(20))
        of_run = sa.Column(sa.String(20))
        _of_run = sa.Column(sa.String(20))

    bare.serve(run_model=Run)
    bare.put(START)
    bare.blueprint.runner(lambda run: {"rows": 1})
    bare.work()
    bare.put({"end_datetime": "2023-03-08", "settings": {"reprocess": "all"}, "status": "initial"})
    bare.work()
    assert bare.get()["metrics"] == {"rows": 8}
    assert {row for name in ("rows", "of_run") for row in bare.stored(name)} == {None}


def test_a_run_model_that_knows_no_moments_is_worked_on(bare):
    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        __table_args__ = ()
        started_at = None
        heartbeat_at = None

    bare.serve(run_model=Run)
    bare.put(START)
    stopped, begun = [], threading.Event()

    @bare.blueprint.runner
    def run(run):
        begun.set()
        wait_for(lambda: current_run.stop_requested)
        stopped.append(run.key)

    runs = bare.blueprint.runs
    [first, second] = bare.claim(limit=2)
    with bare.app.app_context():
        runs.renew([first, second])
        assert runs.begin_late(first) and bare.end(first)
        assert not runs.begin_late(first) and runs.begin_late(second)
    assert bare.end(second)
    # Nothing is renewed, and a run is told to stop nevertheless.
    bare.app.config["BACKFILLS_LEASE"] = 0.3
    working = threading.Thread(target=bare.work)
    working.start()
    assert begun.wait(30)
    time.sleep(0.5)
    bare.put({"status": "cancelled"})
    working.join(60)
    assert len(stopped) == 1


def test_a_backfill_without_settings_or_metrics_is_worked_on(bare):
    class Plain(bare.db.Model):
        __tablename__ = "backfill"
        id = sa.Column(sa.Integer, primary_key=True)
        pipeline_uuid = sa.Column(sa.String(50))
        start_datetime = sa.Column(sa.DateTime)
        end_datetime = sa.Column(sa.DateTime)
        interval_type = sa.Column(sa.String(16))
        interval_units = sa.Column(sa.Integer)
        status = sa.Column(sa.String(16))

    bare.serve(
        Plain, seed={"id": 6, "pipeline_uuid": "arwen_starlight"}, run_model=bare.run_model()
    )
    bare.blueprint.runner(lambda run: {"rows": 1})
    assert bare.put(START).status_code == 200
    bare.work()
    assert bare.get()["status"] == "completed"


@pytest.mark.parametrize("kind", [sa.Text, sa.PickleType])
def test_settings_in_a_column_of_another_type_pause_and_put_first(bare, kind):
    class Packed(sa.types.TypeDecorator):
        impl = kind
        cache_ok = True

        def process_bind_param(self, value, dialect):

            return json.dumps(value)

        def process_result_value(self, value, dialect):

            return value and json.loads(value)

    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        settings = sa.Column(Packed)

    bare.serve(Backfill, run_model=bare.run_model())
    keys = {}
    for name, settings in {
        "plain": None,
        "paused": {"paused": True},
        "first": {"priority": 1, "pipeline_run_limit": 1},
    }.items():
        keys[bare.post({**START, "settings": settings}).json["backfill"]["id"]] = name
    found = [keys[run.backfill_id] for run in bare.claim(limit=99)]
    assert found == ["first", *["plain"] * 7]


def test_an_engine_that_can_not_roll_back_is_refused_and_nothing_is_changed(database_url, caplog):
    host = Host(database_url, isolation_level="AUTOCOMMIT")
    host.serve(run_model=host.run_model())
    answers = [host.put(START, url).status_code for url in (URL, f"{URL}?dry_run=true")]
    stored = host.stored("id")
    host.close()
    assert (answers, stored) == ([500, 500], [])
    assert "AUTOCOMMIT" in caplog.text


@pytest.fixture
def memory():
    """A host whose threads share one connection, that of SQLite's memory."""
    host = Host("sqlite://", connect_args={"check_same_thread": False}, poolclass=sa.StaticPool)
    host.serve(run_model=host.run_model())
    yield host
    host.close()


def test_several_threads_of_a_database_in_memory_count_right(memory):
    memory.put({**START, "interval_type": "hour", "interval_units": 3})

    def work(_):
        count = 0
        while found := memory.claim():
            count += memory.end(found[0], "completed", {"rows": 1})
        return count

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(work, range(4)))
    assert sum(counts) == 49
    assert (memory.get()["status"], memory.get()["metrics"]) == ("completed", {"rows": 49})


def test_a_worker_of_a_database_in_memory_does_one_run_at_a_time(memory):
    memory.blueprint.runner(lambda run: {"rows": 1})
    memory.put(START)
    with pytest.raises(ValueError, match="concurrency"):
        memory.work(concurrency=4)
    memory.work()
    assert memory.get()["metrics"] == {"rows": 7}


def test_a_worker_of_a_database_in_memory_for_each_thread_is_refused():
    host = Host("sqlite://")
    with host.app.app_context():
        host.db.engines[None] = sa.create_engine("sqlite://")
    host.serve(run_model=host.run_model())
    host.put(START)
    with pytest.raises(ValueError, match="StaticPool"):
        host.work()
    assert set(host.stored("status")) == {"initial"}
    host.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_one_session_for_all_threads_is_refused(bare):
    with pytest.raises(TypeError, match="scoped"):
        BackfillBlueprint(
            bare.mixin_model(), Session(), authorize=allow_anyone, run_model=bare.run_model()
        )


@pytest.mark.parametrize(
    ("engine", "concurrency", "why"),
    [
        ({"pool_size": 2, "max_overflow": 1}, 1, None),
        (
            {"pool_size": 2, "max_overflow": 1},
            2,
            "has 3 connections, and a concurrency of 2 needs 4",
        ),
        ({"pool_size": 1, "max_overflow": -1}, 9, None),
        ({"poolclass": sa.NullPool}, 9, None),
        ({"poolclass": sa.StaticPool}, 1, None),
        ({"poolclass": sa.StaticPool}, 2, "one connection for all threads"),
    ],
)
def test_a_worker_needs_a_connection_for_each_run_and_two_more(
    sqlite_url, engine, concurrency, why
):
    host = Host(sqlite_url, **engine)
    host.serve(run_model=host.run_model())
    host.blueprint.runner(lambda run: None)
    command = ["backfills", "work", "--once", "--concurrency", str(concurrency)]
    result = host.app.test_cli_runner().invoke(args=command)
    assert result.exit_code == (1 if why else 0) and (why or "Working on") in result.output
    if why:
        with pytest.raises(ValueError, match=why):
            host.work(concurrency=concurrency)
    host.close()
