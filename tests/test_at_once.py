"""Short runs on PostgreSQL, which end in one statement where nobody could tell the difference."""

import time

import pytest
import sqlalchemy as sa
from conftest import Host
from conftest import takes_seconds
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session

START = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-02", "interval_type": "day"}
START |= {"interval_units": 1, "status": "initial"}

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def is_an_end(statement, parameters):
    if not statement.startswith("UPDATE backfill_run") or not isinstance(parameters, dict):
        return False
    return "completed" in parameters.values()


@pytest.fixture
def ends(listen):
    """The ends of runs that a host's database gets: whether each commits itself."""
    heard = []

    def hear(host):
        def execute(connection, cursor, statement, parameters, *rest):
            if is_an_end(statement, parameters):
                heard.append(cursor.connection.autocommit)

        with host.app.app_context():
            listen(host.db.engine, "before_cursor_execute", execute)
        host.put(START)
        host.work()
        return heard

    return hear


def completed(host):
    return host.stored("status", "attempt") == [("completed", 1)] * 2


def test_a_short_run_that_leaves_nothing_ends_in_one_statement(own_runner, ends):
    own_runner.blueprint.runner(lambda run: {"rows": 1})
    assert ends(own_runner) == [True, True]
    assert completed(own_runner)
    assert own_runner.get()["metrics"] == {"rows": 2}


def test_its_connection_does_not_commit_what_comes_after_it(database_url, ends):
    host = Host(database_url, pool_size=3, max_overflow=0)
    host.serve(run_model=host.run_model())
    host.blueprint.runner(lambda run: None)
    assert ends(host) == [True, True]
    with host.app.app_context():
        for _ in range(3):
            host.db.session.add(host.model(pipeline_uuid="mine"))
            host.db.session.flush()
            host.db.session.rollback()
        assert host.db.session.query(host.model).filter_by(pipeline_uuid="mine").count() == 0
    host.close()


@pytest.mark.parametrize("what", ["reads", "adds", "flushes", "sets a column of the run"])
def test_what_a_function_leaves_is_committed_with_the_end(own_runner, ends, what):
    @own_runner.blueprint.runner
    def run(run):
        if what == "reads":
            own_runner.db.session.scalar(sa.text("SELECT 1"))
        elif what == "sets a column of the run":
            run.error = "mine"
        else:
            own_runner.db.session.add(own_runner.model(pipeline_uuid=run.key[:10]))
            if what == "flushes":
                own_runner.db.session.flush()

    assert ends(own_runner) == [False, False]
    assert completed(own_runner)


@pytest.mark.parametrize(
    "event",
    """after_begin after_commit before_commit do_orm_execute after_transaction_create
    after_transaction_end""".split(),
)
@pytest.mark.parametrize("of", ["class", "session"])
def test_a_host_that_listens_to_its_sessions_hears_of_each_end(own_runner, listen, ends, event, of):
    heard = []

    def hear(*args):
        heard.append(args)

    if of == "class":
        listen(own_runner.db.session, event, hear)

    @own_runner.blueprint.runner
    def run(run):
        if of == "session":
            sa.event.listen(own_runner.db.session(), event, hear)
        heard.clear()

    assert ends(own_runner) == [False, False]
    # Its session had begun one when it began to listen.
    assert heard or (of, event) == ("session", "after_transaction_create")


@pytest.mark.parametrize("event", ["begin", "commit"])
def test_a_host_that_listens_to_its_engine_hears_of_each_end(own_runner, listen, ends, event):
    heard = []
    with own_runner.app.app_context():
        listen(own_runner.db.engine, event, lambda *args: heard.append(args))
    own_runner.blueprint.runner(lambda run: heard.clear())
    assert ends(own_runner) == [False, False]
    assert heard


def test_a_session_of_the_hosts_own_class_commits_each_end(database_url, ends):
    commits = []

    class Outbox(Session):
        def commit(self):
            commits.append(self)
            super().commit()

    host = Host(database_url, SQLAlchemy(session_options={"class_": Outbox}))
    host.serve(run_model=host.run_model())
    host.blueprint.runner(lambda run: commits.clear())
    assert ends(host) == [False, False]
    assert commits
    host.close()


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_at_a_stricter_level_each_end_has_a_transaction_of_its_own(database_url, ends, level):
    host = Host(database_url, isolation_level=level)
    host.serve(run_model=host.run_model())
    host.blueprint.runner(lambda run: None)
    assert ends(host) == [False, False]
    assert completed(host)
    host.close()


@takes_seconds
def test_a_long_run_may_be_too_late(own_runner, ends):
    own_runner.put({"settings": {"run_timeout": 1}})
    own_runner.blueprint.runner(lambda run: time.sleep(1.2))
    assert ends(own_runner) == []
    assert own_runner.stored("status") == ["failed"] * 2


@pytest.mark.parametrize("how", ["is cut", "is refused"])
def test_where_that_statement_fails_a_transaction_follows(own_runner, listen, ends, how):
    failed = []

    def fail(connection, cursor, statement, *rest):
        if statement.startswith("UPDATE backfill_run") and cursor.connection.autocommit:
            failed.append(statement)
            if how == "is cut":
                cursor.connection.close()
            else:
                raise sa.exc.OperationalError("UPDATE", {}, Exception("the host's own"))

    with own_runner.app.app_context():
        listen(own_runner.db.engine, "before_cursor_execute", fail)
    own_runner.blueprint.runner(lambda run: {"rows": 1})
    assert ends(own_runner)[-1] is False
    assert len(failed) == 2
    assert completed(own_runner)
    assert own_runner.get()["metrics"] == {"rows": 2}


SET = "SET app.tenant = 'mine'"
LOCAL = "SELECT set_config('app.tenant', 'mine', true)"


def refuse(connection, options):
    if options.get("isolation_level") == "AUTOCOMMIT":
        raise ValueError("the host's own")


#: What a host does with the connections of its engine.
HOOKS = {
    "checkout": lambda driver, *rest: driver.cursor().execute(SET),
    "checkout, local": lambda driver, *rest: driver.cursor().execute(LOCAL),
    "connect": lambda driver, *rest: driver.cursor().execute(SET),
    "checkin": lambda driver, *rest: driver.cursor().execute(SET),
    "engine_connect": lambda connection: connection.exec_driver_sql(SET) and None,
    "begin": lambda connection: connection.exec_driver_sql(LOCAL) and None,
    "set_connection_execution_options": refuse,
}


@pytest.mark.parametrize("of", ["engine", "class"])
@pytest.mark.parametrize("how", HOOKS)
def test_what_a_hook_of_the_hosts_has_set_is_set_at_each_end(own_runner, listen, how, of):
    tenants, event = [], how.partition(",")[0]

    def execute(connection, cursor, statement, parameters, *rest):
        if is_an_end(statement, parameters):
            with cursor.connection.cursor() as asked:
                asked.execute("SELECT current_setting('app.tenant', true)")
                tenants.append(asked.fetchone()[0])

    with own_runner.app.app_context():
        engine = own_runner.db.engine
    of_pool = event in ("checkout", "connect", "checkin")
    of_class = sa.pool.Pool if of_pool else sa.engine.Connection
    target = engine if of == "engine" else of_class
    engine.dispose()
    listen(target, event, HOOKS[how])
    listen(engine, "before_cursor_execute", execute)
    own_runner.blueprint.runner(lambda run: None)
    own_runner.put({**START, "end_datetime": "2023-03-06"})
    own_runner.work(concurrency=2)
    assert own_runner.stored("status", "attempt") == [("completed", 1)] * 6
    assert engine.pool.checkedout() == 0
    # What is set at other moments is undone by the pool, as ever, if nobody commits first.
    if event in ("checkout", "engine_connect", "begin"):
        assert tenants == ["mine"] * 6


def test_threads_that_share_a_connection_end_their_runs_in_transactions(database_url, ends):
    host = Host(database_url, poolclass=sa.StaticPool)
    host.serve(run_model=host.run_model())
    host.blueprint.runner(lambda run: None)
    assert ends(host) == [False, False]
    assert completed(host)
    host.close()
