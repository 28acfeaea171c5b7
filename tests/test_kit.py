"""What a host's own tests do with flask_backfills.testing, on each database."""

import os
import subprocess
import sys
from contextlib import contextmanager
from contextlib import ExitStack
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from fractions import Fraction
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import Host
from conftest import in_detail
from conftest import sqlite_alone
from flask import Flask
from flask import g
from sqlalchemy import event
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker
from sqlalchemy.orm import synonym

from flask_backfills import allow_anyone
from flask_backfills import backfill_finished
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills import BackfillSchema
from flask_backfills import current_run
from flask_backfills import errors
from flask_backfills.testing import Kit
from flask_backfills.worker import work

pytestmark = in_detail

ROOT = Path(__file__).parent.parent
UTC = timezone.utc
FAR = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))


@contextmanager
def undone(host):
    """The fixture of docs/testing.md that undoes a test: one connection, commits are savepoints."""
    theirs = host.db.session
    with host.app.app_context():
        engine = host.db.engine
    connection = engine.connect()
    transaction = connection.begin()
    host.db.session = scoped_session(
        sessionmaker(connection, join_transaction_mode="create_savepoint")
    )
    yield
    host.db.session.remove()
    transaction.rollback()
    connection.close()
    host.db.session = theirs


def begin_by_hand(host):
    """As SQLAlchemy says for SAVEPOINT on SQLite."""
    with host.app.app_context():
        engine = host.db.engine
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def leave_alone(connection, record):
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def begin(connection):
            connection.exec_driver_sql("BEGIN")


@pytest.fixture
def served(modelled, models):
    """A host with runs and a runner, whose session is found by a function."""
    _, model, run_model = models

    def blueprint(model, session, **options):
        return BackfillBlueprint(model, lambda: modelled.db.session, **options)

    begin_by_hand(modelled)
    modelled.serve(model, blueprint=blueprint, run_model=run_model)
    modelled.called = []

    @modelled.blueprint.runner
    def load(run):
        modelled.called.append(run.key)
        return {"rows": 24}

    return modelled


def days(*numbers):
    return [f"2023-07-{number:02}T00:00:00" for number in numbers]


@pytest.fixture
def kit(served):
    """In a test with an app context, whose session is the test's."""
    with served.app.app_context(), Kit(served.app) as kit:
        yield kit


@pytest.fixture(params=["alone", "context", "undone", "undone context"])
def anywhere(request, served):
    """With and without a context, and a transaction that undoes the test."""
    with ExitStack() as stack:
        if "undone" in request.param:
            stack.enter_context(undone(served))
        if "context" in request.param:
            stack.enter_context(served.app.app_context())
        yield stack.enter_context(Kit(served.app))
    # Nothing but the backfill from before the test, if it was undone.
    with served.app.app_context():
        counted = served.db.session.scalar(sa.select(sa.func.count(served.model.id)))
        assert (counted == 1) == ("undone" in request.param)


# Runs are performed


def test_all_runs_are_performed_in_the_thread_of_the_test(anywhere, served):
    made = anywhere.create("weather", variables={"depth": 2})
    assert (made.pipeline_uuid, made.status) == ("weather", "initial")
    done = anywhere.run_all()
    assert [run.key for run in done] == served.called == days(1, 2, 3)
    assert {run.status for run in done} == {"completed"}
    assert done[0].variables["ds"] == "2023-07-01" and done[0].variables["depth"] == 2
    made = anywhere.refresh(made)
    assert (made.status, made.metrics) == ("completed", {"rows": 72})
    assert anywhere.run_all() == []
    shown = served.client.get(f"/api/pipelines/weather/backfills/{made.id}").json["backfill"]
    assert (shown["status"], shown["metrics"]) == ("completed", {"rows": 72})


def test_a_run_that_fails_is_tried_again_once_its_delay_has_passed(anywhere):
    made = anywhere.create(runs=1, settings={"max_attempts": 3, "retry_delay": 600})
    anywhere.fail_next(ConnectionError("502 upstream"))
    anywhere.fail_next("again")
    [run] = anywhere.run_all()
    assert (run.status, run.error, run.tries) == ("initial", "502 upstream", 1)
    anywhere.advance(seconds=599)
    assert anywhere.run_all() == []
    anywhere.advance(seconds=1)
    [run] = anywhere.run_all()
    assert (run.status, run.error) == ("initial", "again")
    anywhere.advance(minutes=10)
    assert anywhere.run_all() == []
    anywhere.advance(minutes=10)
    [run] = anywhere.run_all()
    assert (run.status, run.error) == ("completed", None)
    assert anywhere.refresh(made).status == "completed"


def test_runs_of_a_worker_that_died_are_taken_back_after_the_lease(anywhere, served):
    made = anywhere.create(runs=3)
    first, second = anywhere.lose_worker(runs=2)
    assert {first.status, second.status} == {"running"}
    assert [run.key for run in anywhere.run_all()] == days(3)
    anywhere.advance(seconds=60)
    assert anywhere.recover() == 0 and anywhere.run_all() == []
    anywhere.advance(seconds=1)
    assert [run.key for run in anywhere.run_all()] == days(1, 2)
    first, second, _ = anywhere.runs(made)
    assert (first.status, first.attempt, first.losses) == ("completed", 2, 1)
    assert anywhere.refresh(made).status == "completed"


def test_a_run_whose_workers_die_each_time_fails(anywhere):
    made = anywhere.create(runs=1)
    for times in (1, 2, 3):
        assert len(anywhere.lose_worker()) == 1
        anywhere.advance(seconds=61)
        assert anywhere.recover() == times // 3 + (times < 3)
    [run] = anywhere.runs(made)
    assert (run.status, run.error) == (
        "failed",
        "A worker died while it ran. It was interrupted 3 times so far.",
    )
    assert anywhere.refresh(made).status == "failed"


def test_runs_wait_for_the_end_of_their_interval(anywhere):
    anywhere.travel_to(datetime(2023, 7, 2, 23, 59))
    anywhere.create(settings={"only_ended": True})
    assert [run.key for run in anywhere.run_all()] == days(1)
    assert anywhere.advance(minutes=1) == datetime(2023, 7, 3, tzinfo=UTC) == anywhere.now
    assert [run.key for run in anywhere.run_all()] == days(2)
    anywhere.advance(days=365)
    assert [run.key for run in anywhere.run_all()] == days(3)


def test_the_settings_decide_what_runs(anywhere):
    few = anywhere.create(runs=9, settings={"max_failures": 2})
    anywhere.fail_next(times=9)
    assert [run.status for run in anywhere.run_all()] == ["failed", "failed"]
    assert anywhere.refresh(few).status == "failed"
    canary = anywhere.create(runs=9, settings={"canary": 2})
    anywhere.fail_next()  # The others are still to come.
    assert len(anywhere.run_all()) == 2
    assert anywhere.refresh(canary).settings["paused"] is True
    assert anywhere.run_all() == []
    anywhere.update(canary, settings={"canary": 2, "paused": False})
    urgent = anywhere.create(runs=2, settings={"priority": 5, "order": "backwards"})
    assert [run.backfill_id for run in anywhere.run_all(limit=3)] == [
        urgent.id,
        urgent.id,
        canary.id,
    ]


def test_a_generator_gives_the_runs(kit, served):
    @served.blueprint.generator("by_region")
    def by_region(backfill):
        for region in ("north", "south"):
            yield {"key": region, "region": region}

    kit.create(block_uuid="by_region")
    assert [run.variables["region"] for run in kit.run_all()] == ["north", "south"]


def test_runs_are_performed_in_the_session_of_the_test(kit, served):
    session = served.db.session()
    seen = []

    @served.blueprint.runner
    def load(run):
        seen.append(run)
        assert sa.inspect(run).session is session and served.db.session() is session
        assert current_run.stop_requested is False
        served.db.session.get(served.model, run.backfill_id).name = "by the runner"

    made = kit.create(runs=1)
    [before] = kit.runs(made)
    [after] = kit.run_all()
    # The rows that the test has are not left behind.
    assert before is after is seen[0] and after.status == "completed"
    assert (made.name, made.status) == ("by the runner", "completed")
    assert sa.inspect(made).session is sa.inspect(after).session is session


def test_without_a_context_each_run_has_its_own_as_in_a_worker(served):
    seen = []

    @served.blueprint.runner
    def load(run):
        assert "seen" not in g
        g.seen = True
        seen.append(served.db.session())

    with Kit(served.app) as kit:
        kit.create(runs=2)
        kit.run_all()
    assert len({id(one) for one in seen}) == 2


def test_what_a_run_leaves_uncommitted_is_undone_when_it_fails(kit, served):
    @served.blueprint.runner
    def load(run):
        served.db.session.get(served.model, run.backfill_id).name = "half done"
        served.db.session.flush()
        raise ValueError("no")

    made = kit.create(runs=1)
    assert [run.error for run in kit.run_all()] == ["no"]
    assert made.name == "Test 1"


def test_what_a_runner_raises_can_be_raised_in_the_test(kit, served):
    @served.blueprint.runner
    def load(run):
        raise ZeroDivisionError(run.key)

    made = kit.create()
    with pytest.raises(ZeroDivisionError, match=r"2023-07-01"):
        kit.run_all(reraise=True)
    assert [run.status for run in kit.runs(made)] == ["failed", "initial", "initial"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, pytest.fail.Exception])
def test_what_is_for_the_test_and_not_for_the_run_reaches_the_test(kit, served, raised):
    @served.blueprint.runner
    def load(run):
        raise raised("stop")

    made = kit.create()
    with pytest.raises(raised):
        kit.run_all()
    assert [run.status for run in kit.runs(made)] == ["failed", "initial", "initial"]
    kit.fail_next(SystemExit)
    [run] = kit.run_all(limit=1)
    assert (run.status, run.error) == ("failed", "SystemExit")


@pytest.mark.parametrize("error", [OSError, OSError(), "OSError"])
def test_the_class_of_an_error_is_as_good_as_one(kit, error):
    kit.create(runs=1)
    kit.fail_next(error)
    [run] = kit.run_all()
    assert (run.status, run.error) == ("failed", "OSError")


@pytest.mark.parametrize("half", [0.5, Fraction(1, 2)])
def test_time_passes_by_numbers_of_any_type(kit, half):
    before = kit.now
    assert kit.advance(hours=half) == before + timedelta(minutes=30)


def test_a_runner_can_be_told_to_stop(anywhere, served):
    made = anywhere.create(runs=4, settings={"max_attempts": 2, "retry_delay": 600})
    asked = []

    @served.blueprint.runner
    def load(run):
        for part in range(5):
            asked.append(run.key)
            if current_run.stop_requested:
                if run.key == days(1)[0]:
                    return {"parts": part}
                raise RuntimeError(f"stopped at part {part}")
        return {"parts": 5}

    # The worker that is told to stop does this attempt, and no other.
    anywhere.stop_next()
    [run] = anywhere.run_all()
    # What it returns counts.
    assert (run.status, run.metrics) == ("completed", {"parts": 0})
    anywhere.stop_next(after=3)
    [run] = anywhere.run_all()
    assert (run.status, run.error) == ("initial", "stopped at part 3")
    assert asked == days(1, 2, 2, 2, 2)
    # What is planned comes in its order, each for one attempt.
    anywhere.fail_next("502 upstream")
    anywhere.stop_next(after=4)
    errors = [run.error for run in anywhere.run_all()]
    assert errors == ["502 upstream", "stopped at part 4"]
    assert anywhere.run_all() == []
    anywhere.advance(minutes=10)
    assert len(anywhere.run_all()) == 3
    assert anywhere.refresh(made).status == "completed"


def test_a_run_that_takes_too_long_fails(kit, served):
    @served.blueprint.runner
    def load(run):
        kit.advance(seconds=11 if run.variables["ds"] == "2023-07-02" else 9)

    made = kit.create(settings={"run_timeout": 10})
    kit.run_all()
    assert [run.status for run in kit.runs(made)] == ["completed", "failed", "completed"]


def test_a_backfill_that_a_worker_would_skip_is_an_error(kit):
    made = kit.create()

    def refuse(session, flush_context, instances):
        if made in session.dirty:
            raise RuntimeError("the host's own event is broken")

    event.listen(sa.inspect(made).session, "before_flush", refuse)
    with pytest.raises(RuntimeError, match="the host's own event is broken"):
        kit.run_all()


def test_signals_are_sent_and_the_runner_is_the_hosts_again(kit, served):
    runner, told = served.blueprint.run_function, []

    def tell(app, backfill, **kwargs):
        told.append(backfill.status)

    with backfill_finished.connected_to(tell, served.app):
        kit.create(runs=1)
        kit.fail_next()
        kit.run_all()
    assert told == ["failed"]
    assert served.blueprint.run_function is runner


# Time


@sqlite_alone
def test_what_a_test_registers_is_not_there_for_the_next_one(served):
    own = served.blueprint.host.runner
    with Kit(served.app):
        served.blueprint.runner(lambda run: None)
        served.blueprint.generator("left_over")(lambda backfill: [])
    assert served.blueprint.host.runner is own
    assert "left_over" not in served.blueprint.host.generators


def test_time_stands_still_until_it_is_moved_and_goes_on_after_the_test(served):
    clock = served.blueprint.host.table.database.clock
    with served.app.app_context():
        served.blueprint.runs.claim()
    known = clock.is_known, clock.is_old
    with Kit(served.app) as kit:
        before = kit.now
        assert abs(datetime.now(UTC) - before) < timedelta(minutes=5)
        assert kit.advance(days=1000, hours=1) == before + timedelta(days=1000, hours=1)
        assert kit.run(status="running").started_at == kit.now.replace(tzinfo=None)
        berlin = datetime(2030, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
        assert kit.travel_to(berlin) == datetime(2030, 1, 1, tzinfo=UTC)
        assert kit.now.tzinfo is UTC
    assert (clock.is_known, clock.is_old) == known
    [run] = served.claim() or [None]
    assert run is None  # It is the one that is running.
    assert abs(served.blueprint.host.run_table.now() - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_worker_beside_the_kit_has_its_time(served):
    with Kit(served.app) as kit:
        made = kit.create(runs=1, settings={"max_attempts": 2, "retry_delay": 3600})
        kit.fail_next()
        kit.run_all()
        kit.advance(hours=1)
        work(served.app, served.blueprint, once=True)
        assert kit.refresh(made).status == "completed"


def test_a_test_that_undoes_itself_may_be_isolated_more_strictly(database_url):
    host = Host(database_url, isolation_level="SERIALIZABLE")
    begin_by_hand(host)

    def blueprint(model, session, **options):
        return BackfillBlueprint(model, lambda: host.db.session, **options)

    host.serve(blueprint=blueprint, run_model=host.run_model())
    host.blueprint.runner(lambda run: {"rows": 1})
    try:
        with undone(host), Kit(host.app) as kit:
            made = kit.create()
            kit.lose_worker()
            kit.advance(hours=1)
            assert len(kit.run_all()) == 3
            assert kit.refresh(made).metrics == {"rows": 3}
        assert host.stored("id") == []
    finally:
        host.close()


# Backfills and runs are made


def test_a_backfill_is_made_as_a_request_makes_it(kit):
    made = kit.create(start=False)
    assert (made.name, made.pipeline_uuid, made.status) == ("Test 1", "tests", None)
    assert kit.runs(made) == []
    other = kit.create(
        "p", start_datetime=datetime(2024, 1, 1), end_datetime="2024-01-01 05:00", name="x"
    )
    assert other.name == "x" and len(kit.runs(other)) == 1
    hours = kit.update(other, interval_type="hour")
    assert hours is other and len(kit.runs(other)) == 6
    with pytest.raises(errors.Refused, match=r"interval_units.*greater than or"):
        kit.create(interval_units=0)
    with pytest.raises(errors.Refused, match="Unknown field"):
        kit.update(made, colour="red")


def test_a_run_is_made_in_the_way_in_which_it_comes_to_be(anywhere, served):
    made = anywhere.create(runs=4)
    assert anywhere.run(made).key == days(1)[0]
    failed = anywhere.run(made, "failed", error="502 upstream")
    assert (failed.status, failed.error, failed.tries) == ("failed", "502 upstream", 1)
    done = anywhere.run(made, "completed", metrics={"rows": 7})
    assert (done.key, done.metrics) == (days(2)[0], {"rows": 7})
    gone = anywhere.run(made, "cancelled")
    assert (gone.key, gone.status) == (days(3)[0], "cancelled")
    running = anywhere.run(made, "running", worker="mine")
    assert (running.status, running.worker) == ("running", "mine")
    assert running.variables["ds"] == "2023-07-04"
    assert served.called == []
    assert [run.status for run in anywhere.runs(made)] == [
        "failed",
        "completed",
        "cancelled",
        "running",
    ]
    assert anywhere.refresh(made).metrics == {"rows": 7}
    alone = anywhere.run(status="failed", error="no")
    assert anywhere.runs(made)[0].backfill_id != alone.backfill_id and alone.error == "no"


def test_a_run_that_cant_be_so_says_why(kit):
    paused = kit.create(runs=1, settings={"paused": True})
    with pytest.raises(RuntimeError, match=r"can begin now\. .*paused"):
        kit.run(paused, "running")
    done = kit.create(runs=1)
    kit.run(done, "completed")
    with pytest.raises(RuntimeError, match=r"no run of the backfill waits\. Completed: 1 run\."):
        kit.run(done)
    with pytest.raises(ValueError, match=r"status must be one of initial, .*, not 'done'"):
        kit.run(done, "done")
    with pytest.raises(TypeError, match="has no attribute 'colour'"):
        kit.run(colour="red")


def test_a_row_that_is_gone_is_told(kit, served):
    made = kit.create(start=False)
    served.blueprint.backfills.delete("tests", made.id)
    with pytest.raises(LookupError, match=r"Backfill \d+ is not stored any more"):
        kit.refresh(made)


# Apps of other kinds


@pytest.fixture
def other(bare):
    """Serve models of the test's own, and give a kit in a context."""
    with ExitStack() as stack:

        def serve(*blueprints):
            for blueprint in blueprints:
                bare.app.register_blueprint(blueprint)
            with bare.app.app_context():
                bare.db.create_all()
            stack.enter_context(bare.app.app_context())
            return stack.enter_context(Kit(bare.app))

        yield serve


def test_what_a_model_requires_has_a_value(other, bare):
    from marshmallow import fields

    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        team = sa.Column(sa.String(20), nullable=False)
        size = sa.Column(sa.Integer, nullable=False)
        kind = sa.Column(sa.Enum("big", "small", name="kind"), nullable=False)
        name = sa.Column(sa.String(10), nullable=False)

    class Schema(BackfillSchema):
        team = fields.String()
        size = fields.Integer()
        kind = fields.String()

    kit = other(
        BackfillBlueprint(
            Backfill,
            bare.db.session,
            authorize=allow_anyone,
            schema=Schema,
            pipelines=lambda: ["land", "sea"],
        )
    )
    made = kit.create(size=7)
    assert (made.pipeline_uuid, made.team, made.size, made.kind) == ("land", "test", 7, "big")
    assert made.status is None  # Without a run model, nothing can be started.
    with pytest.raises(RuntimeError, match="pass run_model= to BackfillBlueprint"):
        kit.run_all()
    with pytest.raises(RuntimeError, match="pass run_model= to BackfillBlueprint"):
        kit.run()


def test_models_with_other_names_and_few_columns_work(other, bare):
    class Rerun(bare.db.Model):
        __tablename__ = "rerun"
        number = sa.Column(sa.Integer, primary_key=True)
        pipeline_uuid = sa.Column(sa.String(20), nullable=False)
        begin = sa.Column(sa.DateTime)
        start_datetime = synonym("begin")
        end_datetime = sa.Column(sa.DateTime)
        interval_type = sa.Column(sa.String(16))
        interval_units = sa.Column(sa.Integer)
        status = sa.Column(sa.String(16))

    class Part(bare.db.Model):
        __tablename__ = "part"
        number = sa.Column(sa.Integer, primary_key=True)
        of = sa.Column(sa.Integer, nullable=False)
        backfill_id = synonym("of")
        key = sa.Column(sa.String(80), nullable=False)
        status = sa.Column(sa.String(16), nullable=False)
        execution_date = sa.Column(sa.DateTime)
        __table_args__ = (sa.UniqueConstraint("of", "key"),)

    blueprint = BackfillBlueprint(
        Rerun, bare.db.session, authorize=allow_anyone, run_model=Part, end="exclusive"
    )
    blueprint.runner(lambda run: None)
    kit = other(blueprint)
    made = kit.create(runs=2)
    kit.fail_next()
    assert [run.status for run in kit.run_all()] == ["failed", "completed"]
    assert made.status == "failed"
    assert kit.run(status="running").status == "running"


def test_an_app_with_several_blueprints_names_one(other, bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"

    class BackfillRun(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"

    class Rerun(BackfillMixin, bare.db.Model):
        __tablename__ = "rerun"

    class RerunRun(BackfillRunMixin, bare.db.Model):
        __tablename__ = "rerun_run"

    made = [
        BackfillBlueprint(
            model, bare.db.session, authorize=allow_anyone, run_model=run_model, name=name
        )
        for name, model, run_model in (
            ("backfills", Backfill, BackfillRun),
            ("reruns", Rerun, RerunRun),
        )
    ]
    for one in made:
        one.runner(lambda run: None)
    made[1].url_prefix = "/reruns"
    kit = other(*made)
    with pytest.raises(RuntimeError, match=r"several blueprints .* backfills\.of\('backfills'\)"):
        kit.create()
    with pytest.raises(RuntimeError, match="no BackfillBlueprint named 'runs', only"):
        kit.of("runs")
    reruns = kit.of("reruns")
    rerun = reruns.create(runs=1, settings={"max_attempts": 2, "retry_delay": 5})
    assert type(rerun) is Rerun
    assert kit.of("backfills").run_all() == []
    reruns.fail_next()
    assert len(reruns.run_all()) == 1 and reruns.run_all() == []
    kit.advance(seconds=5)
    assert [type(run) for run in reruns.run_all()] == [RerunRun]
    assert Kit(bare.app, "reruns").blueprint is made[1]


def test_what_is_missing_is_named_with_its_cure(own_runner):
    with pytest.raises(RuntimeError, match="has no BackfillBlueprint: register it where the app"):
        Kit(Flask("empty"))
    with pytest.raises(TypeError, match="must be your Flask app, not None"):
        Kit(None)
    with Kit(own_runner.app) as kit:
        kit.create()
        own_runner.blueprint.host.runner = None
        with pytest.raises(RuntimeError, match=r"register a function with @blueprint\.runner"):
            kit.run_all()


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        (lambda kit, _: kit.of([]), RuntimeError, r"no BackfillBlueprint named \[\]"),
        (lambda kit, _: kit.advance(days="10"), TypeError, "days must be a number, not '10'"),
        (lambda kit, _: kit.advance(hours=True), TypeError, "hours must be a number, not True"),
        (lambda kit, _: kit.advance(days=float("nan")), ValueError, "a finite number, not nan"),
        (lambda kit, _: kit.advance(days=10**7), ValueError, r"1 to 9999: days=1e\+07 is too"),
        (lambda kit, _: kit.advance(days=10**10), ValueError, r"1 to 9999: days=1e\+10 is too"),
        (lambda kit, _: kit.travel_to("2023-07-01"), TypeError, r"a datetime, .*not '2023-07-01'"),
        (lambda kit, _: kit.travel_to(kit.now.date()), TypeError, r"a datetime, .*not datetime.da"),
        (lambda kit, _: kit.travel_to(FAR), ValueError, "within the years 1 to 9999, in UTC"),
        (lambda kit, _: kit.create(runs="3"), TypeError, "runs must be an integer, not '3'"),
        (lambda kit, _: kit.create(runs=0), ValueError, "runs must be at least 1, not 0"),
        (lambda kit, _: kit.create(runs=10**9), ValueError, r"at most 29\d+, not 1000000000"),
        (lambda kit, _: kit.create(start="2023-07-01"), TypeError, r"True or False, .*datetime="),
        (lambda kit, _: kit.update(None), TypeError, r"a backfill, not None: .*create\(\) returns"),
        (lambda kit, made: kit.update(kit.runs(made)[0]), TypeError, "not a value of the type"),
        (lambda kit, made: kit.update(type(made)), TypeError, "a backfill, not the class"),
        (lambda kit, made: kit.update(type(made)()), ValueError, "is not stored yet: flush"),
        (lambda kit, _: kit.refresh(5), TypeError, "a backfill or a run, not 5: give a row of"),
        (lambda kit, _: kit.runs(None), TypeError, "this must be a backfill, not None: give"),
        (lambda kit, _: kit.run("failed"), TypeError, "this must be a backfill, not 'failed'"),
        (lambda kit, made: kit.run(made, []), ValueError, "status must be one of initial, "),
        (lambda kit, made: kit.run(made, error="x"), ValueError, "only a failed run gets error="),
        (
            lambda kit, made: kit.run(made, "failed", metrics={}),
            ValueError,
            "only a completed run gets metrics=, not one that is failed",
        ),
        (
            lambda kit, made: kit.run(made, "failed", error=ValueError("x")),
            TypeError,
            "error must be a text, .*not a value of the type ValueError",
        ),
        (
            lambda kit, made: kit.run(made, "completed", metrics=[1]),
            TypeError,
            "metrics must be a dict, .*not a value of the type list",
        ),
        (
            lambda kit, made: kit.run(made, "completed", metrics={"rows": float("inf")}),
            ValueError,
            "the metric rows is not a finite number",
        ),
        (lambda kit, _: kit.run_all("2"), TypeError, "limit must be an integer, not '2'"),
        (lambda kit, _: kit.run_all(True), TypeError, "limit must be an integer, not True"),
        (lambda kit, _: kit.run_all(-1), ValueError, "limit must be at least 0, not -1"),
        (lambda kit, _: kit.run_all(reraise=1), TypeError, "reraise must be True or False, not 1"),
        (lambda kit, _: kit.fail_next(times=-1), ValueError, "times must be at least 0, not -1"),
        (lambda kit, _: kit.fail_next(3), TypeError, "an exception, its class or a text, not 3"),
        (
            lambda kit, _: kit.advance(days=10**400),
            ValueError,
            "days=a number of more than 300 digits is too much",
        ),
        (lambda kit, _: kit.fail_next(int), TypeError, "or a text, not the class int"),
        (lambda kit, _: kit.fail_next(UnicodeDecodeError), TypeError, "without arguments: give"),
        (lambda kit, _: kit.stop_next(-1), ValueError, "after must be at least 0, not -1"),
        (lambda kit, _: kit.lose_worker(1.5), TypeError, "runs must be an integer, not 1.5"),
        (lambda kit, _: kit.lose_worker(-1), ValueError, "runs must be at least 0, not -1"),
    ],
)
@sqlite_alone
def test_what_a_test_gets_wrong_is_a_sentence_and_changes_nothing(kit, wrong, error, told):
    made, now = kit.create(), kit.now
    with pytest.raises(error, match=told):
        wrong(kit, made)
    assert kit.now == now
    assert [run.status for run in kit.runs(made)] == ["initial"] * 3
    assert [run.status for run in kit.run_all()] == ["completed"] * 3


def test_a_block_in_a_block_leaves_no_clock_that_stands_still(served):
    clock = served.blueprint.host.table.database.clock
    before = dict(vars(clock))
    with Kit(served.app) as kit:
        for inner in (kit, kit.of("backfills")):
            with pytest.raises(RuntimeError, match="Leave this one out"), inner:
                pass
        assert kit.run(status="running").started_at == kit.now.replace(tzinfo=None)
        with Kit(served.app) as other:
            other.advance(days=1)
    assert vars(clock) == before
    with pytest.raises(RuntimeError, match=r"with Kit\(app\) as backfills"):
        kit.advance(days=1)
    with kit:
        kit.advance(days=1)
    assert vars(clock) == before


# In a run of pytest


CONFTEST = """
import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_backfills import BackfillBlueprint, BackfillMixin, BackfillRunMixin, allow_anyone

pytest_plugins = ["flask_backfills.testing.plugin"]
"""

APP = """
@pytest.fixture
def app():
    app = Flask("host")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(app)

    class Backfill(BackfillMixin, db.Model):
        pass

    class BackfillRun(BackfillRunMixin, db.Model):
        pass

    blueprint = BackfillBlueprint(
        Backfill, db.session, authorize=allow_anyone, run_model=BackfillRun
    )
    blueprint.runner(lambda run: {"rows": 1})
    app.register_blueprint(blueprint)
    with app.app_context():
        db.create_all()
    yield app
    with app.app_context():
        db.engine.dispose()
"""

TESTS = """
def test_runs(backfills):
    made = backfills.create()
    backfills.run_all()
    assert backfills.refresh(made).metrics == {"rows": 3}

def test_alone(backfills):
    assert backfills.create().id == 1
"""


def pytest_in(folder, *args, **files):
    """What pytest says in a folder with these files."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    # Those of this machine take longer to load than the tests.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *args]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_plugin_is_loaded_by_its_name(tmp_path):
    ended = pytest_in(tmp_path, conftest=CONFTEST + APP, test_it=TESTS)
    assert ended.returncode == 0 and "2 passed" in ended.stdout, ended.stdout + ended.stderr
    (tmp_path / "conftest.py").write_text(CONFTEST.replace("pytest_plugins", "nothing") + APP)
    ended = pytest_in(tmp_path)
    assert "fixture 'backfills' not found" in ended.stdout
    ended = pytest_in(tmp_path, "-p", "flask_backfills.testing.plugin")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_plugin_says_what_it_lacks(tmp_path):
    without = APP.replace("app.register_blueprint", "str")
    ended = pytest_in(tmp_path, conftest=CONFTEST, test_it=TESTS)
    assert "needs a fixture `app` of yours" in ended.stdout and "2 errors" in ended.stdout
    ended = pytest_in(tmp_path, conftest=CONFTEST + without)
    assert "the fixture `backfills`: the app has no BackfillBlueprint" in ended.stdout


def test_nothing_but_the_fixture_needs_pytest():
    code = """
import sys
sys.modules["pytest"] = sys.modules["_pytest"] = None
import flask_backfills
assert not any(name.startswith("flask_backfills.testing") for name in sys.modules)
from flask_backfills.testing import Kit

"""
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
