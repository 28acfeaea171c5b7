"""The session that a host hands over, and what the host itself has in it."""

import gc
import importlib
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from conftest import Host
from conftest import lacking
from conftest import LIST
from conftest import URL
from flask import Flask
from flask import g
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session
from sqlalchemy.orm import sessionmaker
from werkzeug.local import LocalProxy

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills.changes.replan import Preview
from flask_backfills.errors import NotFound
from flask_backfills.worker import work

ENGINE = sa.create_engine("sqlite://")

WINDOW = {"start_datetime": "2023-07-01", "end_datetime": "2023-07-03"}
WINDOW |= {"interval_type": "day", "interval_units": 1}


@pytest.mark.parametrize(
    "session",
    [Session(ENGINE), sessionmaker(ENGINE), Session, SQLAlchemy(), None, ENGINE, "db.session"],
    ids=lambda one: type(one).__name__,
)
def test_what_is_no_session_for_many_threads_is_refused_at_once(models, session):
    _, model, _ = models
    with pytest.raises(TypeError, match=r"such as lambda: db\.session"):
        BackfillBlueprint(model, session, authorize=allow_anyone)


async def later():
    raise AssertionError("nobody awaits it")


def test_a_session_that_would_have_to_be_awaited_is_refused_at_once(models):
    _, model, _ = models
    with pytest.raises(TypeError, match="the session must not be async"):
        BackfillBlueprint(model, later, authorize=allow_anyone)


@pytest.mark.parametrize("function", [lambda: Session(ENGINE), lambda: None, lambda: ENGINE])
def test_a_function_that_gives_no_session_of_this_request_is_refused(bare, function):
    bare.app.testing = True
    model = bare.mixin_model()
    bare.app.register_blueprint(BackfillBlueprint(model, function, authorize=allow_anyone))
    with pytest.raises(TypeError, match="pass a scoped session"):
        bare.app.test_client().get(URL)


def extension(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        lacking(f'no {name}: it is in the extra "check"')


def flask_sqlalchemy(app, url):
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app)
    return db.Model, lambda: db.session, lambda: db.engine


def scoped(app, url):
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app)
    return db.Model, db.session, lambda: db.engine


def proxied(app, url):
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app)
    return db.Model, LocalProxy(lambda: db.session), lambda: db.engine


def lite(app, url):
    app.config["SQLALCHEMY_ENGINES"] = {"default": url}
    db = extension("flask_sqlalchemy_lite").SQLAlchemy(app)

    class Model(DeclarativeBase):
        pass

    return Model, lambda: db.session, lambda: db.engine


def of_alchemical(app, url):
    app.config["ALCHEMICAL_DATABASE_URL"] = url
    alchemical = extension("alchemical.flask")
    db = alchemical.Alchemical(app)
    return alchemical.Model, lambda: db.session, db.get_engine


def plain(app, url):
    engine = sa.create_engine(url)
    session = scoped_session(sessionmaker(engine))
    app.teardown_appcontext(lambda error: session.remove())

    class Model(DeclarativeBase):
        pass

    return Model, session, lambda: engine


HOSTS = [flask_sqlalchemy, scoped, proxied, lite, of_alchemical, plain]


@pytest.mark.parametrize("make", HOSTS)
def test_backfills_are_stored_and_run_with_every_kind_of_session(make, sqlite_url):
    app = Flask("host")
    base, session, engine = make(app, sqlite_url)
    name = make.__name__

    class Backfill(BackfillMixin, base):
        __tablename__ = f"backfill_{name}"

    class Run(BackfillRunMixin, base):
        __tablename__ = f"run_{name}"

    blueprint = BackfillBlueprint(Backfill, session, authorize=allow_anyone, run_model=Run)
    blueprint.runner(lambda run: {"rows": 2})
    app.register_blueprint(blueprint)
    with app.app_context():
        base.metadata.create_all(engine())
    client = app.test_client()
    made = client.post(LIST, json={"backfill": {"name": "July", **WINDOW}})
    url = made.headers["Location"]
    assert client.put(url, json={"backfill": {"interval_units": 0}}).status_code == 422
    assert client.put(url, json={"backfill": {"status": "initial"}}).status_code == 200
    work(app, blueprint, once=True, concurrency=2)
    shown = client.get(url).json["backfill"]
    assert (shown["status"], shown["metrics"]) == ("completed", {"rows": 6})
    with app.app_context():
        engine().dispose()


def of_a_function(host):
    """The blueprint of a host that hands over a function which returns its session."""
    blueprint = BackfillBlueprint(
        host.mixin_model(), lambda: host.db.session, authorize=allow_anyone
    )
    host.app.register_blueprint(blueprint)
    host.model = blueprint.host.table.model
    host.fill()
    return blueprint


def test_a_session_that_a_test_puts_in_place_of_the_hosts_is_used(bare):
    """The fixture that undoes a test at its end: one connection, commits are savepoints."""
    of_a_function(bare)
    theirs = bare.db.session
    with bare.app.app_context():
        connection = bare.db.engine.connect()
    if connection.dialect.name == "sqlite":
        # As SQLAlchemy says for SAVEPOINT: its driver would begin too late.
        connection.connection.driver_connection.isolation_level = None
        connection.exec_driver_sql("BEGIN")
    transaction = connection.begin_nested() if connection.in_transaction() else connection.begin()
    bare.db.session = scoped_session(
        sessionmaker(connection, join_transaction_mode="create_savepoint")
    )
    bare.client = bare.app.test_client()
    assert bare.put({"name": "new"}).status_code == 200
    assert bare.put({"name": "newer"}, f"{URL}?dry_run=true").status_code == 200
    assert bare.put({"name": 1}).status_code == 422
    assert bare.get()["name"] == "new"
    bare.db.session.remove()
    transaction.rollback()
    connection.close()
    bare.db.session = theirs
    assert bare.get()["name"] == "old_name"


def test_a_session_is_gone_with_its_request(own_host):
    """A busy host would otherwise keep hundreds, until Python looks for circles of garbage."""
    met = []

    @own_host.app.before_request
    def meet():
        met.append(weakref.ref(own_host.db.session()))

    gc.collect()
    gc.disable()
    try:
        own_host.put({"name": "new"})
        own_host.put({"name": 5})
        own_host.get()
        own_host.post({"name": "another"})
        assert [session() for session in met] == [None] * 4
    finally:
        gc.enable()


def test_a_first_request_that_has_read_needs_no_second_connection(database_url):
    """Many first requests at once would have all of a pool, and wait for more of it."""
    pool = {"poolclass": sa.QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 3}
    host = Host(database_url, **pool)
    host.app.before_request(lambda: host.db.session.get(host.model, 6) and None)
    host.serve()
    try:
        assert host.put({"name": "new"}).status_code == 200
    finally:
        host.close()


def test_what_a_host_has_written_before_anybody_looked_is_kept(bare):
    """Of a session's class, the first to be looked at is another thread's session."""
    blueprint = of_a_function(bare)

    @bare.app.before_request
    def write():
        bare.db.session.add(bare.model(pipeline_uuid="mine"))
        bare.db.session.flush()
        # Another request meanwhile, in a session of its own.
        with bare.app.app_context(), pytest.raises(NotFound):
            blueprint.backfills.update("elsewhere", 7, {}, preview=Preview(0, 1))

    @bare.app.after_request
    def commit(response):
        bare.db.session.commit()
        return response

    assert (
        bare.app.test_client().put(f"{URL}7", json={"backfill": {"name": "a"}}).status_code == 404
    )
    with bare.app.app_context():
        query = sa.select(bare.model.pipeline_uuid).order_by(bare.model.pipeline_uuid)
        assert bare.db.session.scalars(query).all() == ["arwen_starlight", "mine"]


def test_what_a_host_has_read_is_read_again_once_it_is_locked(own_host):
    """As one that looks up the backfill of each request, for its own rules."""

    @own_host.app.before_request
    def read():
        g.known = own_host.db.session.get(own_host.model, 6)
        with own_host.db.engine.begin() as other:
            other.execute(sa.update(own_host.model).values(name="theirs"))

    shown = own_host.put({"block_uuid": "mine"}).json["backfill"]
    assert (shown["name"], shown["block_uuid"]) == ("theirs", "mine")


# What the host has in the session


class Visits(Host):
    """A host that counts requests in the session, and commits it after each."""

    def serve(self, change, **options):
        class Visit(self.db.Model):
            __tablename__ = "visit"
            id = sa.Column(sa.Integer, primary_key=True)
            count = sa.Column(sa.Integer)

        self.visit = Visit

        @self.app.before_request
        def count():
            if change not in FIRST:
                g.visit = self.db.session.get(Visit, 1)
            change(self.db.session, Visit, g.get("visit"))

        @self.app.after_request
        def commit(response):
            self.db.session.commit()
            return response

        super().serve(run_model=self.run_model(), mage_routes=True, **options)
        with self.app.app_context():
            self.db.session.add(Visit(id=1, count=0))
            self.db.session.commit()

    @property
    def count(self):
        with self.app.app_context():
            return self.db.session.get(self.visit, 1).count


def pending(session, model, visit):
    visit.count += 1


def flushed(session, model, visit):
    visit.count += 1
    session.flush()


def executed(session, model, visit):
    session.execute(sa.update(model).values(count=model.count + 1))


def sent_as_text(session, model, visit):
    session.execute(sa.text("UPDATE visit SET count = count + 1"))


def sent_as_text_with_columns(session, model, visit):
    statement = sa.text("UPDATE visit SET count = count + 1")
    session.execute(statement.columns(id=sa.Integer))


def first_of_all(session, model, visit):
    session.execute(sa.update(model).values(count=model.count + 1))


def in_bulk(session, model, visit):
    session.bulk_update_mappings(model, [{"id": 1, "count": visit.count + 1}])


#: Changes before which nothing is read, so that they begin the transaction.
FIRST = [first_of_all]

CHANGES = [pending, flushed, executed, sent_as_text, sent_as_text_with_columns, in_bulk, *FIRST]


@pytest.fixture(params=CHANGES)
def visits(request, database_url):
    host = Visits(database_url)
    host.serve(request.param)
    yield host
    host.close()


#: Each with its status: what is refused or only read.
ASKED = [
    (404, "put", "/api/pipelines/arwen_starlight/backfills/77", {"name": "a"}),
    (404, "put", "/api/backfills/77", {"name": "a"}),
    (404, "get", "/api/pipelines/elsewhere/backfills/6", None),
    (404, "delete", "/api/pipelines/arwen_starlight/backfills/77", None),
    (422, "put", URL, {"name": 5}),
    (422, "put", URL, {"start_datetime": "2023-07-02", "end_datetime": "2023-07-01"}),
    (422, "post", LIST, {"status": "unknown"}),
    (409, "put", f"{URL}?_limit=1", {"status": "initial", **WINDOW, "name": "taken"}),
    (200, "put", f"{URL}?dry_run=true", {"status": "initial", **WINDOW}),
    (201, "post", f"{LIST}?dry_run=true", {"name": "b", **WINDOW}),
    (200, "get", URL, None),
    (200, "get", f"{URL}?include_run_count=true&include_preview_runs=true", None),
    (200, "get", f"{URL}/runs", None),
    (200, "get", LIST, None),
]


def test_what_the_host_has_changed_survives_what_is_refused_or_read(visits):
    with visits.app.app_context():
        visits.db.session.execute(sa.text("CREATE UNIQUE INDEX one_name ON backfill (name)"))
        visits.db.session.add(visits.model(pipeline_uuid="p", name="taken"))
        visits.db.session.commit()
    before = visits.count
    for number, (status, method, url, sent) in enumerate(ASKED, start=1):
        body = None if sent is None else {"backfill": sent}
        answer = getattr(visits.client, method)(url, json=body)
        assert (answer.status_code, visits.count - before) == (status, number), (url, answer.text)
    headers = {"If-Match": '"another"', "If-Plan-Match": '"another"'}
    for header, value in headers.items():
        assert visits.put({"name": "c"}, headers={header: value}).status_code == 412
    assert visits.count - before == len(ASKED) + 2
    assert visits.get()["name"] == "old_name"
    assert visits.read(LIST)["metadata"]["count"] == 1
    assert visits.stored("id") == []


def test_one_commit_stores_what_the_host_and_what_a_caller_has_changed(visits):
    assert visits.put({"status": "initial", **WINDOW}).status_code == 200
    assert (visits.count, len(visits.stored("id"))) == (1, 3)
    assert visits.put({"status": "cancelled"}).status_code == 200
    assert visits.client.delete(URL).status_code == 200
    made = visits.post({"name": "new"})
    assert (made.status_code, visits.count) == (201, 4)
    assert visits.read(LIST)["metadata"]["count"] == 1


def test_what_a_host_undoes_after_a_refusal_leaves_nothing(database_url):
    host = Visits(database_url)
    host.serve(flushed)
    host.app.after_request_funcs[None].clear()
    try:
        assert host.put({"name": 5}).status_code == 422
        assert (host.count, host.get()["name"]) == (0, "old_name")
    finally:
        host.close()


def test_a_host_that_only_reads_first_keeps_nobody_from_trying_again(database_url):
    """As with Flask-Login, which reads the user; then two at once are both stored."""
    host = Visits(database_url)
    host.serve(lambda *rest: None)
    together = threading.Barrier(4)

    def write(number):
        client = host.app.test_client()
        url = client.post(LIST, json={"backfill": WINDOW}).headers["Location"]
        together.wait()
        own = client.put(url, json={"backfill": {"status": "initial"}}).status_code
        shared = client.put(URL, json={"backfill": {"variables": {"by": number}}}).status_code
        return own, shared

    try:
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(write, range(4))) == {(200, 200)}
        assert len(host.stored("id")) == 12
    finally:
        host.close()
