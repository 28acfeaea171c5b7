"""Nine small host apps, each written like the apps that people have: one journey through all."""

import gc
import importlib
import os
import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import field

import jwt
import pytest
import sqlalchemy as sa
from conftest import few
from conftest import lacking
from flask.cli import ScriptInfo
from pages import fields

# The env.py that Flask-Migrate makes asks for it first.
pytestmark = pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")

LIST = "/api/pipelines/nightly/backfills"
WINDOW = {"start_datetime": "2023-07-01", "end_datetime": "2023-07-03"}
WINDOW |= {"interval_type": "day", "interval_units": 1}
TOKEN = jwt.encode({"pipelines": ["nightly"]}, "a key of 32 bytes or more, at least", "HS256")


@dataclass
class Kind:
    """What a visitor has to know about a host; its file has the name that it has here."""

    #: What the requests of somebody who may have in their environment,
    sends: dict = field(default_factory=dict)
    #: and what somebody who may fills in on the page ``/login``.
    login: dict = field(default_factory=dict)
    #: What all requests have.
    everybody: dict = field(default_factory=dict)
    #: How the API and the console answer to those who may not.
    refusal: int = 401
    console: str | None = None
    console_refusal: int | None = None
    #: What stands on a page of the host's own, and what it says of one that it does not have.
    home: tuple[str, str] = ("/", "Welcome")
    missing: str = "<h1>Not Found</h1>"
    #: The host's own OpenAPI document, and one of its paths.
    document: tuple[str, str] | None = None
    #: How many runs the window has.
    runs: int = 3
    #: The commands that make its tables, if the app does not.
    setup: tuple[str, ...] = ()
    #: What it needs that the extra `test` lacks, and the Python that this needs.
    needs: str | None = None
    python: tuple[int, int] = (3, 10)


KINDS = {
    "blog": Kind(
        login={"name": "ann"},
        console="/backfills/",
        console_refusal=302,
        missing="<title>My blog</title>ann<p>Nothing here",
    ),
    "shop": Kind(
        sends={"HTTP_X_API_KEY": "key of the shop"},
        home=("/", '"visits"'),
        setup=("db init --multidb", "db migrate", "db upgrade"),
    ),
    "books": Kind(
        sends={"HTTP_AUTHORIZATION": "Basic YW5uOnNlY3JldCB3b3Jk"},
        console="/backfills/",
        console_refusal=401,
        home=("/docs", "Books"),
        missing='"message":"Not Found"',
        document=("/openapi.json", "/books"),
        needs="apiflask",
    ),
    "weather": Kind(
        sends={"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"},
        home=("/stations/", "[]"),
        missing='"status":"Not Found"',
        document=("/openapi.json", "/stations/"),
        needs="flask_smorest",
    ),
    "todo": Kind(
        sends={"HTTP_X_API_KEY": "key of the list"},
        home=("/", "Things to do"),
        missing='{"message": "The requested URL',
        document=("/swagger.json", "/todos/"),
        needs="flask_restx",
    ),
    "reading": Kind(
        needs="flask_sqlalchemy_lite",
        login={"name": "ann"},
        refusal=302,
        console="/backfills/",
        console_refusal=302,
    ),
    "ledger": Kind(
        sends={"REMOTE_USER": "ann"},
        console="/reruns/",
        console_refusal=401,
        home=("/", "The ledger of ann"),
        runs=2,
    ),
    "notes": Kind(
        needs="alchemical",
        sends={"HTTP_X_API_KEY": "key of the notes"},
        home=("/", '"notes"'),
        missing='"problem":"Not Found"',
    ),
    "tenants": Kind(
        login={"email": "ann@example.com", "password": "secret word"},
        everybody={"HTTP_X_FORWARDED_HOST": "acme.example.com"},
        console="/backfills/",
        console_refusal=302,
        home=("/", '{"data":{"tenant":"acme"}}'),
        missing="acme.example.com can't do that: 404",
        needs="flask_security",
        python=(3, 11),
    ),
}


class Visit:
    """A host app that is served, with somebody who may and somebody who may not."""

    def __init__(self, kind, app):
        self.kind, self.app = kind, app
        self.commands = app.test_cli_runner()
        for command in kind.setup:
            self.command(command)
        self.stranger, self.client = app.test_client(), app.test_client()
        for client in (self.stranger, self.client):
            client.environ_base |= kind.everybody
        self.client.environ_base |= kind.sends
        if kind.login:
            page = self.client.get("/login").text
            tokens = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', page)
            filled = kind.login | {"csrf_token": "".join(tokens)}
            assert self.client.post("/login", data=filled).status_code == 302

    def command(self, command):
        done = self.commands.invoke(args=command.split())
        assert done.exit_code == 0, done.output
        return done.output

    def make(self, name):
        """Where a new backfill is."""
        sent = {"backfill": {"name": name, **WINDOW}}
        made = self.client.post(LIST, json=sent)
        assert made.status_code == 201, made.text
        return made.location


@pytest.fixture(scope="module", params=few(KINDS))
def visit(request, tmp_path_factory):
    """A host, found and loaded as ``flask --app hosts.<name>`` does it."""
    kind, name = KINDS[request.param], f"hosts.{request.param}"
    if sys.version_info < kind.python:
        pytest.skip(f"{kind.needs} needs a newer Python")
    if kind.needs:
        try:
            importlib.import_module(kind.needs)
        except ImportError:
            lacking(f'no {kind.needs}: it is in the extra "check"')
    # A host that was loaded before may be loaded again: its classes must be gone.
    gc.collect()
    folder = tmp_path_factory.mktemp(request.param)
    engines = set()

    def remember(connection):
        engines.add(connection.engine)

    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("DATABASE_URL", f"sqlite:///{folder}/host.db")
        patch.setenv("DATABASE_FOLDER", str(folder))
        # Alembic's would silence the loggers of other tests.
        patch.setattr("logging.config.fileConfig", lambda *args, **options: None)
        patch.setattr(sys, "path", list(sys.path))
        patch.chdir(os.path.dirname(__file__))
        sa.event.listen(sa.Engine, "engine_connect", remember)
        stack.callback(lambda: [engine.dispose() for engine in engines])
        stack.callback(sa.event.remove, sa.Engine, "engine_connect", remember)
        stack.callback(sys.modules.pop, name, None)
        yield Visit(kind, ScriptInfo(app_import_path=name).load_app())


def some(condition):
    """The hosts that have something."""
    names = few(name for name, kind in KINDS.items() if condition(kind))
    return pytest.mark.parametrize("visit", names, indirect=True)


def test_a_backfill_is_made_started_and_done(visit):
    url = visit.make("made and done")
    shown = visit.client.get(url).json["backfill"]
    assert (shown["name"], shown["pipeline_uuid"]) == ("made and done", "nightly")
    listed = visit.client.get(LIST).json
    assert shown in listed["backfills"] and listed["metadata"]["count"] >= 1
    start = {"backfill": {"status": "initial"}}
    dry = visit.client.put(f"{url}?dry_run=true", json=start).json["metadata"]
    assert dry["plan"]["add"] == visit.kind.runs
    assert visit.client.get(url).json["backfill"] == shown
    started = visit.client.put(url, json=start)
    assert (started.status_code, started.json["backfill"]["status"]) == (200, "initial")
    visit.command("backfills work --once")
    done = visit.client.get(url).json["backfill"]
    assert (done["status"], done["metrics"]) == ("completed", {"rows": 24 * visit.kind.runs})


def test_a_refusal_says_what_is_wrong_in_json_and_changes_nothing(visit):
    url = visit.make("refused")
    before = visit.client.get(url).json
    for sent, status, wrong in (
        ({"name": "new", "interval_units": 0, "no_such": 1}, 422, {"interval_units", "no_such"}),
        ({"name": "new", "status": "no such"}, 422, {"status"}),
    ):
        refused = visit.client.put(url, json={"backfill": sent})
        assert (refused.status_code, refused.json["error"]["code"]) == (status, status)
        assert refused.json["error"]["errors"].keys() == wrong
    for method, path, status, options in (
        ("PUT", url, 415, {"data": {"name": "new"}}),
        ("PUT", url, 400, {"data": "{", "content_type": "application/json"}),
        ("POST", url, 405, {"json": {}}),
        ("GET", f"{LIST}/9999", 404, {}),
        ("GET", f"{LIST}/no/such/path", 404, {}),
    ):
        refused = visit.client.open(path, method=method, **options)
        assert (refused.status_code, refused.json["error"]["code"]) == (status, status)
        assert refused.json.keys() == {"error"}
    assert visit.client.get(url).json == before


def test_who_may_not_call_changes_nothing(visit):
    url = visit.make("of somebody else")
    for method, path in (("GET", LIST), ("POST", LIST), ("PUT", url), ("DELETE", url)):
        refused = visit.stranger.open(path, method=method, json={"backfill": {"name": "mine"}})
        assert refused.status_code == visit.kind.refusal
        if refused.status_code >= 400:
            assert refused.json["error"]["code"] == refused.status_code
    assert visit.client.get(url).json["backfill"]["name"] == "of somebody else"


def test_the_hosts_own_pages_and_errors_stay_its_own(visit):
    path, told = visit.kind.home
    home = visit.client.get(path)
    assert (home.status_code, told in home.text) == (200, True), home.text
    missing = visit.client.get("/no/such/page")
    assert (missing.status_code, visit.kind.missing in missing.text) == (404, True), missing.text
    for response in (visit.client.post("/"), visit.client.get("/api"), missing):
        assert '"error":{"code"' not in response.text.replace(" ", "")


@pytest.mark.parametrize("visit", ["shop"], indirect=True)
def test_what_the_host_commits_after_each_request_is_its_own(visit):
    url = visit.make("visited")
    before = visit.client.get("/").json["visits"]
    sent = {"name": "new", "status": "no such"}
    assert visit.client.put(url, json={"backfill": sent}).status_code == 422
    assert visit.client.get(url).json["backfill"]["name"] == "visited"
    assert visit.client.get("/").json["visits"] == before + 3


@pytest.mark.parametrize("visit", ["tenants"], indirect=True)
def test_tenants_do_not_see_each_others_backfills(visit):
    url = visit.make("of acme")
    api_key = {"X-API-KEY": "key of the tenants"}
    elsewhere = {"X-Forwarded-Host": "other.example.com"}
    other = api_key | elsewhere
    assert visit.stranger.get(url, headers=api_key).json["backfill"]["name"] == "of acme"
    assert visit.stranger.get(LIST, headers=other).json["backfills"] == []
    assert visit.stranger.put(url, json={"backfill": {}}, headers=other).status_code == 404
    assert visit.client.get(LIST, headers=elsewhere).status_code == 403
    unknown = visit.client.post(LIST.replace("nightly", "nighty"), json={"backfill": {}})
    assert (unknown.status_code, "Did you mean nightly?" in unknown.text) == (404, True)


@some(lambda kind: kind.document)
def test_the_hosts_own_document_is_served(visit):
    path, own = visit.kind.document
    document = visit.client.get(path)
    assert (document.status_code, own in document.json["paths"]) == (200, True)
    assert not [path for path in document.json["paths"] if "backfills" in path]


@some(lambda kind: kind.console)
def test_the_console_opens_for_who_may(visit):
    url = visit.make("seen in the console")
    page = visit.client.get(visit.kind.console)
    assert (page.status_code, "seen in the console" in page.text) == (200, True)
    one = visit.kind.console + url.rsplit("/", 1)[1]
    assert visit.client.get(one).status_code == 200
    form = fields(visit.client.get(f"{one}/start").text)
    started = visit.client.post(f"{one}/start", data=form)
    assert (started.status_code, started.location) == (303, f"{one}?did=start")
    assert visit.client.get(url).json["backfill"]["status"] == "initial"
    for path in (visit.kind.console, one):
        refused = visit.stranger.get(path)
        assert refused.status_code == visit.kind.console_refusal
        if refused.status_code == 302:
            assert refused.location.startswith("/login?next=")
    missing = visit.client.get(f"{visit.kind.console}9999")
    assert (missing.status_code, missing.mimetype) == (404, "text/html")
    assert visit.kind.missing not in missing.text


def test_the_commands_list_what_there_is(visit):
    url = visit.make("listed")
    [line] = [line for line in visit.command("backfills list").splitlines() if " listed " in line]
    assert re.match(rf"{url.rsplit('/', 1)[1]} +nightly +listed ", line)
