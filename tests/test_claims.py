"""Which runs are handed out, in which order, and what that costs."""

import threading
from datetime import datetime
from itertools import pairwise
from statistics import median

import pytest
import sqlalchemy as sa
from conftest import about_sql
from conftest import few
from conftest import URL

pytestmark = about_sql

WEEK = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-07"}
WEEK |= {"interval_type": "day", "interval_units": 1}
START = {**WEEK, "status": "initial"}


def post(host, **sent):
    response = host.post({**START, **sent})
    assert response.status_code == 201, response.text
    return response.json["backfill"]["id"]


def test_the_highest_priority_comes_first_then_the_fewest_running_then_the_oldest(runner):
    old, new = post(runner), post(runner)
    low = post(runner, settings={"priority": -1})
    high = post(runner, settings={"priority": 5, "pipeline_run_limit": 2})
    order = [runner.claim()[0].backfill_id for _ in range(6)]
    assert order == [high, high, old, new, old, new]
    runner.put({"settings": {"priority": 6}}, f"{URL[:-1]}{low}")
    assert runner.claim()[0].backfill_id == low


@pytest.fixture
def three(runner):
    """Three backfills of two, two and seven runs."""
    two = {"end_datetime": "2023-03-02"}
    return [post(runner, **two), post(runner, **two), post(runner)]


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_a_backfill_that_is_locked_is_skipped(runner, three):
    first, second, third = three
    with runner.app.app_context(), runner.db.engine.begin() as other:
        other.execute(sa.text(f"SELECT id FROM backfill WHERE id = {second} FOR UPDATE"))
        found = runner.claim(limit=4)
    assert [run.backfill_id for run in found] == [first, first, third, third]
    assert all(runner.end(run) for run in found)


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("key", [None, 6])
def test_one_that_is_locked_for_a_moment_is_not_taken_for_one_without_runs(runner, key):
    """A worker would pause ever longer, and another one have all the runs."""
    runner.put(START)
    looks = []

    with runner.app.app_context(), runner.db.engine.connect() as other:
        other.execute(sa.text("SELECT id FROM backfill WHERE id = 6 FOR UPDATE"))

        def look(connection, cursor, statement, *rest):
            looks.append(statement) if "SKIP LOCKED" in statement else None
            if len(looks) == 2 and not other.closed:
                # Whoever had it locked is done before the second look.
                other.close()

        sa.event.listen(runner.db.engine, "before_cursor_execute", look)
        [run] = runner.claim(key)
        sa.event.remove(runner.db.engine, "before_cursor_execute", look)
    assert runner.end(run)


def test_a_backfill_that_can_not_be_handed_out_is_skipped_and_logged(runner, three, caplog, listen):
    first, second, third = three

    def refuse(mapper, connection, run):
        if run.backfill_id == second:
            raise RuntimeError("a listener of the host's")

    listen(runner.blueprint.host.run_model, "before_update", refuse)
    found = runner.claim(limit=4)
    assert [run.backfill_id for run in found] == [first, first, third, third]
    assert f"Backfill {second} is skipped: a listener of the host's" in caplog.text
    assert runner.get(f"{URL[:-1]}{second}")["status"] == "initial"


def test_what_the_host_has_in_its_session_is_not_lost_in_silence_by_a_claim(runner, three, listen):
    def refuse(mapper, connection, run):
        if run.backfill_id == three[0]:
            raise RuntimeError("a listener of the host's")

    listen(runner.blueprint.host.run_model, "before_update", refuse)
    with runner.app.app_context():
        runner.db.session.add(runner.model(pipeline_uuid="mine"))
        runner.db.session.flush()
        with pytest.raises(RuntimeError, match="of the host's"):
            runner.blueprint.runs.claim(limit=4)
    assert [run.backfill_id for run in runner.claim(limit=4)] == [three[1]] * 2 + [three[2]] * 2


def test_settings_that_no_one_could_hand_out_by_stop_nobody(runner):
    with runner.app.app_context():
        runner.db.session.add_all(
            runner.model(pipeline_uuid="p", status="initial", settings=settings)
            for settings in (
                *({"max_failures": 10**19}, {"pipeline_run_limit": 10**19}),
                *({"priority": 10**400}, {"priority": "x"}, {"paused": {}}, ["paused"], "paused"),
            )
        )
        runner.db.session.commit()
        keys = runner.db.session.scalars(sa.select(runner.model.id)).all()
        run_model = runner.blueprint.host.run_model
        row = {"key": "a", "execution_date": datetime(2023, 3, 1)}
        runner.db.session.add_all(run_model(**row, backfill_id=key) for key in keys if key != 6)
        runner.db.session.commit()
    mine = post(runner, settings={"priority": -1})
    found = runner.claim(limit=20)
    assert len(found) == 7 + 7 and found[-1].backfill_id == mine


# What it costs


def statements_of(host, function):
    host.statements.clear()
    found = function()
    return len(host.statements), found


IDLE = {
    "paused": {"paused": True},
    "at its limit": {"pipeline_run_limit": 1},
    "that waits for its next try": {"max_attempts": 2, "retry_delay": 3600, "max_failures": 9},
    "that has failed too often": {"max_failures": 1},
}


@pytest.mark.parametrize("why", few(IDLE))
def test_a_claim_takes_as_many_statements_among_many_idle_backfills(runner, why):
    def idle(count):
        two = {"end_datetime": "2023-03-02", "settings": {**IDLE[why], "priority": 1}}
        if "try" in why:
            two["end_datetime"] = "2023-03-01"
        if "often" in why:
            two["end_datetime"] = "2023-03-03"
        keys = [post(runner, **two) for _ in range(count)]
        for key in keys if why != "paused" else ():
            with runner.app.app_context():
                runs = runner.blueprint.runs
                [run] = runs.claim(key)
                if "limit" not in why:
                    runs.claim(key)
                    runs.finish(run, "failed")

    runner.claim()
    idle(2)
    mine = post(runner)
    few, [first] = statements_of(runner, runner.claim)
    idle(20)
    many, [second] = statements_of(runner, runner.claim)
    assert first.backfill_id == second.backfill_id == mine
    assert many <= few


def test_a_run_costs_at_most_eight_statements_and_two_commits(runner):
    runner.blueprint.runner(lambda run: {"rows": 1})
    runner.put({**START, "interval_type": "hour", "end_datetime": "2023-03-02"})
    counts = {"statements": 0, "commits": 0}
    told = []

    def count(what, statement=""):
        # What the worker's keeper asks once a second is not the runs'; and MySQL's driver says
        # the level of a transaction by a statement, where others have a flag for it.
        own = "keeper" not in threading.current_thread().name
        if own and told and not statement.startswith("SET TRANSACTION"):
            counts[what] += 1

    with runner.app.app_context():
        engine = runner.db.engine
        sa.event.listen(engine, "before_cursor_execute", lambda *args: count("statements", args[2]))
        sa.event.listen(engine, "commit", lambda connection: count("commits"))

    def tell(run, status):
        told.append(dict(counts))

    runner.work(tell=tell)
    assert len(told) == 25
    # From the third run on, before the last. A worker that is slow for a moment looks in vain.
    each = list(pairwise(told[2:-1]))
    costs = [median(now[what] - before[what] for before, now in each) for what in counts]
    # MySQL says in a statement of its own which of the runs that have ended nobody has locked.
    most = 9 if engine.dialect.name in ("mysql", "mariadb") else 8
    assert (costs[0] <= most, costs[1] <= 2) == (True, True), costs


# Variables


def writes(host):
    of_runs = ("UPDATE backfill_run", "INSERT INTO backfill_run", "DELETE FROM backfill_run")
    return [one for one in host.statements if one.startswith(of_runs)]


def test_waiting_runs_store_no_variables_and_those_handed_out_do(runner):
    runner.put({**START, "variables": {"big": "x" * 1000}})
    assert runner.stored("variables") == [None] * 7
    assert runner.rows()[6]["variables"]["big"] == "x" * 1000
    [run] = runner.claim()
    assert (run.variables["big"], run.variables["ds"]) == ("x" * 1000, "2023-03-01")
    assert runner.stored("variables") == [run.variables, *[None] * 6]


def test_new_variables_write_no_run_and_reach_those_that_wait(runner):
    runner.put({**START, "variables": {"n": 1}})
    [first] = runner.claim()
    runner.statements.clear()
    response = runner.put({"variables": {"n": 2}})
    assert response.status_code == 200 and writes(runner) == []
    [second] = runner.claim()
    assert (first.variables["n"], second.variables["n"]) == (1, 2)
    assert [row["variables"]["n"] for row in runner.rows()] == [1, *[2] * 6]


def test_what_a_generator_gives_a_run_is_its_own_and_overrides_newer_variables(runner):
    runner.blueprint.generator("sources")(lambda backfill: [{"key": "a", "n": 7}, {"key": "b"}])
    runner.put({"block_uuid": "sources", "status": "initial", "variables": {"n": 1, "m": 1}})
    runner.put({"variables": {"n": 2, "m": 2}})
    found = {run.key: run.variables for run in runner.claim(limit=2)}
    assert (found["a"]["n"], found["a"]["m"], found["b"]["n"]) == (7, 2, 2)


def test_runs_of_a_backfill_whose_status_nobody_has_set_are_left_alone(runner, three):
    [run] = runner.claim(three[0])
    with runner.app.app_context():
        runner.db.session.get(runner.model, three[0]).status = None
        runner.db.session.commit()
    assert runner.end(run)
    runner.recover()
    with runner.app.app_context():
        model = runner.blueprint.host.run_model
        query = sa.select(model.status).where(model.backfill_id == three[0]).order_by(model.key)
        assert runner.db.session.scalars(query).all() == ["completed", "initial"]
