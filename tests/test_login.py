"""Who may call: a key or a login, and where the console sends users who are not logged in."""

import asyncio
import functools
import logging
import re
import sys

import flask_login
import pytest
from conftest import lacking
from conftest import sqlite_alone
from conftest import URL
from flask import abort
from flask import redirect
from flask import request
from pages import serve_console
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import Unauthorized

from flask_backfills import all_of
from flask_backfills import allow_anyone
from flask_backfills import any_of
from flask_backfills import api_key
from flask_backfills import BackfillBlueprint
from flask_backfills import oauth_token
from flask_backfills.console import ConsoleBlueprint

pytestmark = sqlite_alone

PAGES = ("", "6", "6/edit", "6/start", "6/delete")
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def needs_login(action, pipeline_uuid):
    if not flask_login.current_user.is_authenticated:
        abort(401)
    return flask_login.current_user.id == "ann"


@pytest.fixture
def serve(modelled, models):
    """Serve an API and a console in an app with Flask-Login, and a page to log in."""
    _, model, run_model = models

    def serve(authorize=needs_login, **manager):
        app = modelled.app
        app.secret_key = "secret"
        modelled.serve(model, run_model=run_model, authorize=authorize)
        console = serve_console(modelled)
        login = flask_login.LoginManager(app)
        vars(login).update(manager)

        @login.user_loader
        def load(user_id):
            user = flask_login.UserMixin()
            user.id = user_id
            return user

        @app.get("/login")
        def login_page():
            return "please log in"

        @app.post("/login/<name>")
        def log_in(name):
            flask_login.login_user(load(name))
            return "welcome"

        return console

    return serve


def test_who_is_not_logged_in_gets_to_the_login_page_and_back(serve, modelled):
    console = serve(login_view="login_page")
    for path in PAGES:
        response = console.client.get(f"/backfills/{path}")
        assert response.status_code == 302
        assert response.location.startswith("/login?next=%2Fbackfills%2F")
        assert console.client.get(response.location).text == "please log in"
    for path in PAGES[2:]:
        assert console.client.post(f"/backfills/{path}").location.startswith("/login?next=")
    # A part of a page is none to come back to; and the API's callers are programs.
    assert console.client.get("/backfills/6/live").status_code == 401
    for response in (modelled.put({}), modelled.client.get(URL, headers=HTML)):
        assert (response.status_code, response.json["error"]["code"]) == (401, 401)
    console.client.post("/login/ann")
    console.get("6")


def test_who_is_logged_in_and_may_not_is_not_sent_to_log_in_again(serve):
    console = serve(any_of(api_key(), needs_login), login_view="login_page")
    console.client.post("/login/bob")
    console.get("", 200)
    for path in PAGES[1:]:
        console.get(path, 404)


def test_the_callback_of_the_login_manager_answers(serve):
    console = serve(unauthorized_callback=lambda: ("by the callback", 418))
    for path in PAGES:
        assert console.get(path, 418) == "by the callback"


@pytest.mark.parametrize("of", ["app", "console", "exception"])
def test_a_handler_for_a_401_goes_first(serve, modelled, of):
    console = serve(login_view="login_page")
    if of == "app":
        modelled.app.errorhandler(401)(lambda error: ("by the handler", 401))
    elif of == "exception":
        modelled.app.errorhandler(Unauthorized)(lambda error: ("by the handler", 401))
    else:
        # As the blueprint had it when it was registered.
        modelled.app.error_handler_spec["console"][401][Unauthorized] = lambda error: (
            "by the handler",
            401,
        )
    for path in PAGES:
        assert console.get(path, 401) == "by the handler"


def test_a_handler_for_every_error_does_not_go_before_the_login_page(serve, modelled):
    console = serve(login_view="login_page")
    modelled.app.errorhandler(HTTPException)(lambda error: ("oh no", error.code))
    assert console.client.get("/backfills/6").status_code == 302


def test_without_a_login_page_it_is_a_401(serve):
    console = serve()
    assert console.client.get("/backfills/6").status_code == 401


def test_without_a_login_manager_it_is_a_401(own_host):
    console = serve_console(own_host)
    own_host.blueprint.authorize = api_key()
    for path in PAGES:
        console.get(path, 401)


def test_flask_security_shows_its_login_page(bare):
    if sys.version_info < (3, 11):
        pytest.skip("Flask-Security-Too needs Python 3.11")
    try:
        import flask_security
        from flask_security.models import fsqla_v3
    except ImportError:
        lacking('no Flask-Security-Too: it is in the extra "check"')

    db, app = bare.db, bare.app
    app.secret_key = "secret"
    # Hashing takes long.
    app.config.update(SECURITY_PASSWORD_HASH="plaintext", SECURITY_PASSWORD_SCHEMES=["plaintext"])
    app.config.update(SECURITY_PASSWORD_SALT="salt", SECURITY_DEPRECATED_PASSWORD_SCHEMES=[])

    fsqla_v3.FsModels.set_db_info(db)

    class Role(db.Model, fsqla_v3.FsRoleMixin):
        pass

    class User(db.Model, fsqla_v3.FsUserMixin):
        pass

    def authorize(action, pipeline_uuid):
        if not flask_login.current_user.is_authenticated:
            abort(401)
        return True

    bare.serve(authorize=any_of(api_key(), authorize))
    console = serve_console(bare)
    store = flask_security.SQLAlchemyUserDatastore(db, User, Role)
    flask_security.Security(app, store)
    with app.app_context():
        store.create_user(email="ann@example.com", password="secret word")
        db.session.commit()
    response = console.client.get("/backfills/6/edit")
    assert (response.status_code, response.location) == (302, "/login?next=/backfills/6/edit")
    assert bare.put({}).json["error"]["code"] == 401
    page = console.client.get(response.location).text
    [token] = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    sent = {"email": "ann@example.com", "password": "secret word", "csrf_token": token}
    response = console.client.post("/login?next=/backfills/6/edit", data=sent)
    assert (response.status_code, response.location) == (302, "/backfills/6/edit"), response.text
    console.post("6/delete", console.form("6/delete"))


def refuse(status=None, **options):
    """A check that refuses everybody, in its own way."""

    def check(action, pipeline_uuid):
        if status == 302:
            abort(redirect("/login"))
        if status == 401:
            raise Unauthorized(**options)
        if status is not None:
            abort(status)
        return False

    return check


BASIC = WWWAuthenticate("Basic", {"realm": "x"})


def test_a_key_or_a_login_lets_in(serve, modelled):
    modelled.app.config["BACKFILLS_API_KEYS"] = ["k"]
    console = serve(any_of(api_key(), needs_login), login_view="login_page")
    assert modelled.client.get(URL, headers={"X-API-KEY": "k"}).status_code == 200
    response = modelled.client.get(URL)
    assert (response.status_code, response.headers["WWW-Authenticate"].strip()) == (401, "Apikey")
    assert "X-API-KEY" in response.json["error"]["message"]
    assert console.client.get("/backfills/6").status_code == 302
    console.client.post("/login/ann")
    assert modelled.put({"name": "new"}).status_code == 401
    assert console.client.put(URL, json={"backfill": {"name": "new"}}).status_code == 200


def test_the_first_check_that_lets_in_is_the_last_that_is_asked(runner):
    asked = []

    def check(name, answer):
        def check(action, pipeline_uuid):
            asked.append((name, action, pipeline_uuid))
            return answer

        return check

    runner.blueprint.authorize = any_of(check("a", 1), check("b", True), check("c", True))
    assert runner.client.get(URL).status_code == 200
    assert asked == [(name, "detail", "arwen_starlight") for name in "ab"]


@pytest.mark.parametrize(
    ("checks", "api", "browser"),
    [
        ([refuse()], 403, 403),
        ([refuse(401), refuse()], 403, 403),
        ([refuse(401, www_authenticate=BASIC), refuse(403)], 403, 403),
        ([refuse(401), refuse(503), refuse(403)], 503, 503),
        ([refuse(302), refuse(404)], 404, 404),
        ([refuse(401), refuse(401, www_authenticate=BASIC)], "Basic", "Basic"),
        ([refuse(401), refuse(302)], 401, 302),
        ([refuse(302), refuse(401, www_authenticate=BASIC)], "Basic", 302),
        ([refuse(302)], 302, 302),
        ([any_of(refuse(401), refuse(302)), refuse(401)], 401, 302),
        ([all_of(allow_anyone, refuse(401)), refuse(302)], 401, 302),
    ],
)
def test_if_all_refuse_the_most_useful_refusal_is_the_answer(runner, checks, api, browser):
    runner.blueprint.authorize = any_of(*checks)
    for headers, wanted in (({}, api), ({"Accept": "*/*"}, api), (HTML, browser)):
        response = runner.client.get(URL, headers=headers)
        if wanted == "Basic":
            assert response.headers["WWW-Authenticate"].startswith("Basic")
            wanted = 401
        assert response.status_code == wanted


def test_a_login_by_redirect_opens_the_console(runner):
    runner.blueprint.authorize = any_of(api_key(), refuse(302))
    for path in PAGES:
        response = runner.client.get(f"/backfills/{path}", headers=HTML)
        assert (response.status_code, response.location) == (302, "/login")


async def later(*args):
    return True


class Later:
    async def __call__(self, *args):
        return True


@pytest.mark.parametrize("check", [later, Later(), functools.partial(later)])
@pytest.mark.parametrize("join", [any_of, all_of])
def test_a_check_that_would_have_to_be_awaited_is_refused(join, check):
    with pytest.raises(TypeError, match=f"a check of {join.__name__}.. must not be async"):
        join(allow_anyone, check)
    with pytest.raises(TypeError, match=r"oauth_token.. must not be async"):
        oauth_token(check)
    assert asyncio.run(later())


@pytest.mark.parametrize("join", [any_of, all_of])
def test_what_is_no_check_is_refused(join):
    with pytest.raises(TypeError, match=f"{join.__name__}.. needs at least one check"):
        join()
    with pytest.raises(TypeError, match="must be functions"):
        join(allow_anyone, True)


@pytest.mark.parametrize(
    ("authorize", "warns"),
    [
        (api_key(), True),
        (api_key(sources=("query", "header")), True),
        (all_of(api_key(), allow_anyone), True),
        (any_of(api_key(), api_key("OTHER_KEYS")), True),
        (any_of(all_of(allow_anyone, api_key()), api_key()), True),
        (any_of(api_key(), allow_anyone), False),
        (allow_anyone, False),
        (oauth_token(lambda token, action, pipeline_uuid: True), False),
    ],
)
def test_a_console_that_no_browser_can_open_is_told_in_the_log(
    modelled, models, caplog, authorize, warns
):
    _, model, _ = models
    modelled.app.secret_key = "secret"
    blueprint = BackfillBlueprint(model, modelled.db.session, authorize=authorize)
    modelled.app.register_blueprint(blueprint)
    with caplog.at_level(logging.WARNING):
        modelled.app.register_blueprint(ConsoleBlueprint(blueprint))
    told = [record.getMessage() for record in caplog.records]
    assert [("No browser can open the console" in one) for one in told] == [True] * warns


def test_a_subclass_decides_what_the_console_offers(modelled, models):
    class Blueprint(BackfillBlueprint):
        def allow(self, action, pipeline_uuid):
            if action != request.args.get("may", action):
                abort(403)

    _, model, _ = models
    modelled.serve(model, blueprint=Blueprint)
    console = serve_console(modelled)
    assert 'id="do-edit"' in console.get("6")
    assert "old_name" not in console.get("?may=detail", 403)
