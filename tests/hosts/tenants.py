"""Software for many tenants: one subdomain each, behind a proxy, with Flask-Security-Too."""

import os

from flask import abort
from flask import Flask
from flask import g
from flask import render_template_string
from flask import request
from flask.json.provider import DefaultJSONProvider
from flask_login import current_user
from flask_security import Security
from flask_security import SQLAlchemyUserDatastore
from flask_security.models import fsqla_v3
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_backfills import any_of
from flask_backfills import api_key
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills.console import ConsoleBlueprint

db = SQLAlchemy()
fsqla_v3.FsModels.set_db_info(db)


class Role(db.Model, fsqla_v3.FsRoleMixin):
    pass


class User(db.Model, fsqla_v3.FsUserMixin):
    tenant: Mapped[str] = mapped_column(String(40))


class Backfill(BackfillMixin, db.Model):
    tenant: Mapped[str] = mapped_column(String(40), default=lambda: g.tenant)


class BackfillRun(BackfillRunMixin, db.Model):
    pass


class OwnJSON(DefaultJSONProvider):
    def response(self, *args, **told):
        return super().response(data=told or args[0])


def of_the_tenant(query):
    return query.where(Backfill.tenant == g.tenant) if "tenant" in g else query


def of_a_user(action, pipeline_uuid):
    if not current_user.is_authenticated:
        abort(401)
    return current_user.tenant == g.tenant


def error_page(error):
    code = getattr(error, "code", 500)
    return render_template_string("{{ request.host }} can't do that: {{ code }}", code=code), code


def create_app():
    app = Flask(__name__)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_proto=1)
    app.config.from_mapping(
        SECRET_KEY="dev",
        SQLALCHEMY_DATABASE_URI=os.environ["DATABASE_URL"],
        BACKFILLS_API_KEYS=["key of the tenants"],
        # Hashing takes long.
        SECURITY_PASSWORD_HASH="plaintext",
        SECURITY_PASSWORD_SCHEMES=["plaintext"],
        SECURITY_DEPRECATED_PASSWORD_SCHEMES=[],
        SECURITY_PASSWORD_SALT="salt",
    )
    db.init_app(app)
    store = SQLAlchemyUserDatastore(db, User, Role)
    Security(app, store)
    # After Flask-Security, which sets one too.
    app.json = OwnJSON(app)
    app.register_error_handler(Exception, error_page)

    @app.before_request
    def find_tenant():
        g.tenant = request.host.partition(".")[0]

    @app.get("/")
    def home():
        return {"tenant": g.tenant}

    @app.route("/<path:path>", methods=["GET", "POST", "PUT", "DELETE"])
    def catch_all(path):
        abort(404)

    blueprint = BackfillBlueprint(
        Backfill,
        db.session,
        authorize=any_of(api_key(), of_a_user),
        scope=of_the_tenant,
        run_model=BackfillRun,
        pipelines=lambda: ["nightly", "weekly"],
    )
    blueprint.runner(lambda run: {"rows": 24})
    app.register_blueprint(blueprint)
    app.register_blueprint(ConsoleBlueprint(blueprint))
    with app.app_context():
        db.create_all()
        store.create_user(email="ann@example.com", password="secret word", tenant="acme")
        db.session.commit()
    return app
