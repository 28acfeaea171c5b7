"""The obvious marshmallow view: a schema, load, write, dump."""

from flask import Flask
from flask import jsonify
from flask import request
from marshmallow import ValidationError

from .common import may
from .common import Refused
from .common import session_for
from .common import write
from .schemas import BackfillSchema


def create(url):
    app = Flask(__name__)
    session = session_for(url)

    @app.put("/api/pipelines/<pipeline_uuid>/backfills/<int:backfill_id>")
    def update(pipeline_uuid, backfill_id):
        if not may(request.headers.get("X-API-KEY")):
            return jsonify(error={"code": 401}), 401
        try:
            values = BackfillSchema(partial=True).load(request.get_json()["backfill"])
            return jsonify(backfill=write(session, pipeline_uuid, backfill_id, values))
        except ValidationError as error:
            return jsonify(error={"code": 422, "errors": error.messages}), 422
        except Refused as refused:
            return jsonify(error={"code": refused.status, "errors": refused.errors}), refused.status
        finally:
            session.remove()

    return app
