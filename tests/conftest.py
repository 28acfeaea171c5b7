from __future__ import annotations

import functools
import gc
import importlib.util
import os
import pty
import signal
import sqlite3
import sys
import threading
import time
import typing as t
import warnings
from collections import Counter
from contextlib import contextmanager
from contextlib import ExitStack
from contextlib import redirect_stdout
from datetime import datetime
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.cli import ScriptInfo
from flask_sqlalchemy import SQLAlchemy
from hypothesis import HealthCheck
from hypothesis import settings
from sqlalchemy import event
from werkzeug.routing import Rule

# The package is imported where it is used, so that test_architecture.py can name what is wrong
# when an import of the package fails.

LIST = "/api/pipelines/arwen_starlight/backfills"
URL = f"{LIST}/6"
MOMENT = datetime(2023, 7, 18, 23, 30, 26)

# For Schemathesis, which only the extra `check` brings; for a generated client; for type checkers;
# and the hosts, which test_host_apps.py imports.
collect_ignore = ["schemathesis_checks.py", "generated_client.py", "typed_host", "hosts"]

#: Each database and where in the environment its URL is; the tests empty it.
SERVERS = {"postgresql": "BACKFILLS_TEST_POSTGRESQL", "mariadb": "BACKFILLS_TEST_MARIADB"}

#: The dialect of each database, and the statements that were compiled for it.
KNOWN: dict[str, tuple[sa.Dialect, dict]] = {}

#: A machine that has all of it; there, nothing may be left out.
CI = os.environ.get("CI") == "true"

#: The databases that the tests run on: SQLite always, the servers where the environment names them.
DATABASES = [
    "sqlite",
    *(name for name, variable in SERVERS.items() if CI or variable in os.environ),
]


@event.listens_for(sa.Engine, "connect")
def forget_the_disk(connection, record):
    """Let SQLite not wait for the disk: no test pulls the plug."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


# Whoever runs the tests may like colours; the tests ask for them where they are about them.
for name in ("NO_COLOR", "FORCE_COLOR"):
    os.environ.pop(name, None)


def compile_routes_once() -> None:
    """Let Werkzeug compile each route once: most apps of the tests have the same.

    It writes a function for each route of each app, which takes longer than most tests. The
    function depends on the route's text alone, unless parts of it have defaults.
    """
    compile_anew = getattr(Rule, "_compile_builder", None)
    builders: dict[t.Any, t.Any] = {}

    def find(rule: t.Any, append_unknown: bool = True) -> t.Any:
        if rule.defaults:
            return compile_anew(rule, append_unknown)
        key = rule.rule, tuple(rule._trace), append_unknown
        if key not in builders:
            builders[key] = compile_anew(rule, append_unknown)
        return builders[key]

    if compile_anew is not None:
        Rule._compile_builder = find  # type: ignore[method-assign]


compile_routes_once()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell lets what it starts in the background do, and whatever that starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Apps and models are circles that nobody needs to look for all the time.
gc.set_threshold(5_000, 20, 50)

# A database takes its time, and each example puts right what it needs.
settings.register_profile(
    "flask_backfills",
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("flask_backfills")


def often(examples: int) -> int:
    """So many examples where all is tested; a fifth of them while one works."""
    return examples if CI else max(examples // 5, 5)


def few(cases: t.Iterable[t.Any]) -> list[t.Any]:
    """All cases where all is tested; each fourth of them while one works."""
    return [*cases][:: None if CI else 4]


#: For a test of processes or of waiting that takes so long that who works would not wait for it.
takes_seconds = pytest.mark.skipif(not CI, reason="it takes seconds: CI=true runs it")


#: For tests of what people see, in all detail: who works has the other tests of it.
in_detail = pytest.mark.skipif(not CI, reason="it is tested in detail: CI=true runs it")

#: For tests of what is the same on each database.
sqlite_alone = pytest.mark.sqlite_alone


#: For tests that are about SQL: of those on the servers, coverage watches these, and the oldest
#: releases run these.
about_sql = pytest.mark.about_sql

#: For what is calculated again and again: coverage, under which that takes four times as long,
#: sees the same lines in other tests.
unwatched = pytest.mark.unwatched


def pytest_collection_modifyitems(config, items):
    """Leave out what is the same on each database but for the first of them."""
    apart = [item for item in items if _is_the_same_elsewhere(item)]
    if apart:
        config.hook.pytest_deselected(items=apart)
        items[:] = [item for item in items if item not in set(apart)]


def _is_the_same_elsewhere(item) -> bool:
    return item.get_closest_marker("sqlite_alone") is not None and _is_on_a_server(item)


def _is_on_a_server(item) -> bool:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return params.get("database_url", "sqlite") != "sqlite"


def wait_for(condition: t.Callable[[], t.Any], seconds: float = 60, every: float = 0.05) -> t.Any:
    """What a condition gives, once that is something; it is asked every so many seconds."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(every)
    return found


def lacking(what: str, **options: t.Any) -> t.NoReturn:
    """Skip what needs something that this machine lacks; under CI, which has all of it, fail."""
    if CI:
        pytest.fail(what)
    pytest.skip(what, **options)


def on_a_terminal(app: Flask, *args: str) -> tuple[str, t.Any]:
    """What ``flask backfills ...`` shows on a terminal, and its exit code."""
    ours, theirs = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(ours, 1024):
                seen.append(part)
        except OSError:
            # So Linux tells that the other side was closed.
            pass

    reading = threading.Thread(target=read)
    reading.start()
    with open(theirs, "w") as terminal, redirect_stdout(terminal):
        code = app.cli.main(
            ["backfills", *args],
            prog_name="flask",
            obj=ScriptInfo(create_app=lambda: app),
            standalone_mode=False,
        )
    reading.join()
    os.close(ours)
    return b"".join(seen).decode(), code


@functools.cache
def server_url(name: str) -> str:
    """A server's database; for one of several processes of tests a new one beside it."""
    url = os.environ.get(SERVERS[name])
    if url is None:
        lacking(f"no {name}: {SERVERS[name]} is not set to an empty database")
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return url
    own = f"{sa.make_url(url).database}_{worker}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {own}"))
        connection.execute(sa.text(f"CREATE DATABASE {own}"))
    engine.dispose()
    return sa.make_url(url).set(database=own).render_as_string(hide_password=False)


def engine_for(url: str) -> sa.Engine:
    """An engine that has compiled what those before it have, of the same database's kind."""
    engine = sa.create_engine(url)
    engine.dialect, compiled = KNOWN.setdefault(engine.dialect.name, (engine.dialect, {}))
    engine.update_execution_options(compiled_cache=compiled)
    return engine


class Host:
    """A host app with one backfill in a database of its own."""

    def __init__(self, url: str, db: SQLAlchemy | None = None, **engine: t.Any) -> None:
        self.app = Flask("host")
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine
        self.db = db or SQLAlchemy()
        self.db.init_app(self.app)
        self.statements: list[str] = []
        #: The file of an SQLite database that was filled, which takes longer than to copy it.
        self.filled: bytes | None = None

    def mixin_model(self) -> t.Any:
        from flask_backfills import BackfillMixin

        class Backfill(BackfillMixin, self.db.Model):  # type: ignore[name-defined]
            __tablename__ = "backfill"

        return Backfill

    def run_model(self) -> t.Any:
        from flask_backfills import BackfillRunMixin

        class BackfillRun(BackfillRunMixin, self.db.Model):  # type: ignore[name-defined]
            __tablename__ = "backfill_run"

        return BackfillRun

    def event_model(self) -> t.Any:
        from flask_backfills import BackfillEventMixin

        class BackfillEvent(BackfillEventMixin, self.db.Model):  # type: ignore[name-defined]
            __tablename__ = "backfill_event"

        return BackfillEvent

    def register(self, model: t.Any = None, *, blueprint: t.Any = None, **options: t.Any) -> None:
        from flask_backfills import allow_anyone
        from flask_backfills import BackfillBlueprint

        self.model = model or self.mixin_model()
        options.setdefault("authorize", allow_anyone)
        blueprint = blueprint or BackfillBlueprint
        self.blueprint = blueprint(self.model, self.db.session, **options)
        self.app.register_blueprint(self.blueprint)

    def serve(self, model: t.Any = None, *, seed: dict | None = None, **options: t.Any) -> None:
        self.register(model, **options)
        self.fill(seed)
        self.open()

    def fill(self, seed: dict | None = None) -> None:
        """Make the tables, and one backfill in them."""
        if seed is None:
            seed = {"id": 6, "pipeline_uuid": "arwen_starlight", "name": "old_name"}
            seed |= {"created_at": MOMENT, "updated_at": MOMENT}
        with self.app.app_context():
            self.db.create_all()
            self.db.session.add(self.model(**seed))
            if self.db.engine.dialect.name == "postgresql" and seed.get("id") == 6:
                # Its sequence does not see keys that come from elsewhere.
                self.db.session.flush()
                self.db.session.execute(sa.text("SELECT setval('backfill_id_seq', 6)"))
            self.db.session.commit()
            self.db.session.remove()

    def open(self) -> None:
        """Be ready for requests, and count the statements from now on."""
        with self.app.app_context():
            event.listen(self.db.engine, "before_cursor_execute", self._count)
        self.statements.clear()
        self.client = self.app.test_client()

    @contextmanager
    def lent(self, url: str) -> t.Iterator[Host]:
        """The host over a database of its own, to one of the tests that share it."""
        parts, config = dict(vars(self.blueprint.host)), dict(self.app.config)
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        with self.app.app_context():
            self.db.engines[None] = engine_for(url)
        if not url.startswith("sqlite"):
            self.fill()
        else:
            file = Path(str(sa.make_url(url).database))
            if self.filled is None:
                self.fill()
                self.filled = file.read_bytes()
            file.write_bytes(self.filled)
        self.open()
        yield self
        self.close()
        vars(self.blueprint.host).update(parts)
        self.blueprint.host.generators.clear()
        self.app.config.clear()
        self.app.config.update(config)

    def _count(self, conn, cursor, statement, *rest: t.Any) -> None:
        self.statements.append(statement)

    def put(self, sent: dict, url: str = URL, **options: t.Any) -> t.Any:
        return self.client.put(url, json={"backfill": sent}, **options)

    def get(self, url: str = URL) -> dict:
        return self.read(url)["backfill"]

    def read(self, url: str) -> dict:
        response = self.client.get(url)
        assert response.status_code == 200, response.text
        return response.json

    def post(self, sent: dict, url: str = LIST, **options: t.Any) -> t.Any:
        return self.client.post(url, json={"backfill": sent}, **options)

    def claim(self, *args: t.Any, **kwargs: t.Any) -> list:
        with self.app.app_context():
            return self.blueprint.runs.claim(*args, **kwargs)

    def finish(self, run: t.Any, *args: t.Any, **kwargs: t.Any) -> bool:
        with self.app.app_context():
            return self.blueprint.runs.finish(run.id, *args, **kwargs)

    def end(self, run: t.Any, status: str = "completed", *args: t.Any) -> bool:
        """End a run as its own worker does, who knows it as it was claimed."""
        with self.app.app_context():
            return self.blueprint.runs.finish(run, status, *args)

    def recover(self, seconds: float | None = 0) -> int:
        """Take back the runs of workers that were silent for some seconds; ``None``: a lease."""
        with self.app.app_context():
            age = None if seconds is None else timedelta(seconds=seconds)
            return self.blueprint.runs.recover(older_than=age)

    def work(self, **options: t.Any) -> None:
        """Work like the command until nothing is left to do."""
        from flask_backfills.worker import work

        work(self.app, self.blueprint, **{"once": True, **options})

    def stored(self, *names: str) -> list[t.Any]:
        """Columns of all runs as they are stored, by key."""
        model = self.blueprint.host.run_model
        with self.app.app_context():
            found = [getattr(model, name) for name in names]
            query = sa.select(*found).order_by(model.backfill_id, model.key)
            rows = self.db.session.execute(query).all()
            self.db.session.remove()
        return [row[0] if len(names) == 1 else tuple(row) for row in rows]

    def store(self, **values: t.Any) -> None:
        """Write columns of all runs, as no worker does."""
        with self.app.app_context():
            model = self.blueprint.host.run_model
            self.db.session.execute(sa.update(model).values(**values))
            self.db.session.commit()

    def rows(self, url: str = URL) -> list[dict]:
        """The runs of a backfill, all pages."""
        found, more = [], True
        while more:
            page = self.read(f"{url}/runs?_limit=100&_offset={len(found)}")
            found += page["runs"]
            more = page["metadata"]["next"]
        return found

    def statuses(self, url: str) -> dict:
        """How many runs of a backfill have each status."""
        return self.get(f"{url}?include_run_count=true")["run_status_counts"]

    def wait_less_for_a_lock(self) -> None:
        """Wait one second for SQLite's lock, and not its five."""

        def wait_less(connection, *rest: t.Any) -> None:
            connection.execute("PRAGMA busy_timeout = 1000")

        with self.app.app_context():
            event.listen(self.db.engine, "checkout", wait_less)

    def close(self) -> None:
        with self.app.app_context():
            self.db.session.remove()
            for name, engine in self.db.engines.items():
                # A file is the test's own, and its folder is cleared away.
                if engine.dialect.name != "sqlite":
                    self.db.drop_all(name)
                engine.dispose()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    # Processes of tests send their reports as UTF-8, which half of a surrogate pair in a log is not.
    report.sections = [
        (name, content.encode(errors="backslashreplace").decode())
        for name, content in report.sections
    ]
    return report


def watching() -> t.Any:
    """What measures the coverage, if anything does."""
    return "coverage" in sys.modules and sys.modules["coverage"].Coverage.current()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Let coverage look away where it would see the same lines again, since it takes its time."""
    watched = watching()
    if not watched or not _is_unwatched(item):
        return (yield)
    watched.stop()
    try:
        return (yield)
    finally:
        watched.start()


def _is_unwatched(item) -> bool:
    if item.get_closest_marker("unwatched") is not None:
        return True
    return _is_on_a_server(item) and item.get_closest_marker("about_sql") is None


def pytest_sessionfinish():
    """Store what coverage has seen: a process of pytest-xdist that takes ten seconds to end is killed.

    It would look for garbage first, which takes that long after thousands of tests.
    """
    watched = watching()
    if watched and "PYTEST_XDIST_WORKER" in os.environ:
        with warnings.catch_warnings():
            # Who has seen nothing of the package says so at the end.
            warnings.simplefilter("ignore")
            watched.save()
        gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """Say why tests were skipped, each reason once."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, count in Counter(report.longrepr[2] for report in skipped).items():
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path}/host.db"


@pytest.fixture(params=DATABASES)
def database_url(request, sqlite_url):
    """Each database in turn."""
    if request.param == "sqlite":
        return sqlite_url
    return server_url(request.param)


@pytest.fixture
def bare(database_url):
    """A host that serves nothing yet."""
    host = Host(database_url)
    yield host
    host.close()


@pytest.fixture(scope="session")
def models():
    """The models of many hosts, since to make them takes longer than most tests."""
    host = Host("sqlite://")
    return host.db, host.mixin_model(), host.run_model()


@pytest.fixture(scope="session")
def event_model(models):
    """The event model of many hosts."""
    host = Host("sqlite://", models[0])
    return host.event_model()


@contextmanager
def of_models(url: str, db: SQLAlchemy) -> t.Iterator[Host]:
    """A host that serves nothing yet, with models that others have too."""
    host = Host(url, db)
    with host.app.app_context():
        db.engines[None] = engine_for(url)
    yield host
    host.close()


@pytest.fixture
def modelled(database_url, models):
    """A host that serves nothing yet, with the models of many."""
    with of_models(database_url, models[0]) as host:
        yield host


@pytest.fixture(scope="session")
def shared(models, tmp_path_factory):
    """The hosts that tests share, by their database and what they serve.

    To make a host takes longer than most tests.
    """
    from flask_backfills.console import ConsoleBlueprint

    db, model, run_model = models

    @functools.cache
    def find(database: str, runs: bool = True, **options: t.Any) -> Host:
        host = Host(f"sqlite:///{tmp_path_factory.mktemp('never')}/used.db", db)
        host.app.secret_key = "secret"
        host.register(model, run_model=run_model if runs else None, **options)
        host.app.register_blueprint(ConsoleBlueprint(host.blueprint))
        return host

    return find


@pytest.fixture
def lent(shared, database_url):
    """Serve with these options; no test may change the app."""
    with ExitStack() as stack:

        def lend(**options: t.Any) -> Host:
            host = shared(sa.make_url(database_url).drivername, **options)
            return stack.enter_context(host.lent(database_url))

        yield lend


@pytest.fixture
def host(lent):
    return lent(runs=False)


@pytest.fixture
def runner(lent):
    """A host whose backfills have runs."""
    return lent()


@pytest.fixture
def own_host(modelled, models):
    """Like ``host``, with an app of its own, which a test may change."""
    _, model, _ = models
    modelled.serve(model)
    return modelled


@pytest.fixture
def own_runner(modelled, models):
    """Like ``runner``, with an app of its own: to change it, or for threads that outlive a test."""
    _, model, run_model = models
    modelled.serve(model, run_model=run_model)
    return modelled


@pytest.fixture
def listen():
    """Listen to an event of SQLAlchemy's until the test ends: models are shared."""
    heard = []

    def begin(*args: t.Any) -> None:
        event.listen(*args)
        heard.append(args)

    yield begin
    for args in heard:
        event.remove(*args)


@pytest.fixture
def example():
    """Import an example's module by its path under examples/."""

    def load(path: str) -> t.Any:
        file = Path(__file__).parent.parent / "examples" / path
        spec = importlib.util.spec_from_file_location(file.parent.name, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
