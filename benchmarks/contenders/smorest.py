"""flask-smorest."""

from flask import Flask
from flask import request
from flask_smorest import abort
from flask_smorest import Api
from flask_smorest import Blueprint

from .common import may
from .common import Refused
from .common import session_for
from .common import write
from .schemas import AnswerSchema
from .schemas import BodySchema


def create(url):
    app = Flask(__name__)
    app.config.update(API_TITLE="Backfills", API_VERSION="1", OPENAPI_VERSION="3.0.3")
    session = session_for(url)
    blueprint = Blueprint("backfills", __name__, url_prefix="/api")

    @blueprint.route("/pipelines/<pipeline_uuid>/backfills/<int:backfill_id>", methods=["PUT"])
    @blueprint.arguments(BodySchema)
    @blueprint.response(200, AnswerSchema)
    def update(body, pipeline_uuid, backfill_id):
        if not may(request.headers.get("X-API-KEY")):
            abort(401)
        try:
            return {"backfill": write(session, pipeline_uuid, backfill_id, body["backfill"])}
        except Refused as refused:
            abort(refused.status, errors=refused.errors)
        finally:
            session.remove()

    Api(app).register_blueprint(blueprint)
    return app
