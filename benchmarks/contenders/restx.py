"""flask-restx, whose models check by JSON Schema; what they can't say is checked by hand."""

from flask import Flask
from flask import request
from flask_restx import Api
from flask_restx import fields
from flask_restx import Resource

from .by_hand import CHECKS
from .common import FOLLOWS
from .common import INTERVALS
from .common import may
from .common import Refused
from .common import session_for
from .common import write


def create(url):
    app = Flask(__name__)
    session = session_for(url)
    api = Api(app, prefix="/api", validate=True)
    text = {"min_length": 1, "max_length": 255}
    attributes = {
        "name": fields.String(**text),
        "block_uuid": fields.String(**text),
        "pipeline_schedule_id": fields.Integer(),
        "interval_type": fields.String(enum=INTERVALS),
        "interval_units": fields.Integer(min=1),
        "status": fields.String(enum=FOLLOWS[None]),
        **{name: fields.Raw() for name in ("variables", "metrics", "settings")},
        **{name: fields.String() for name in CHECKS if name.endswith(("_at", "datetime"))},
    }
    backfill = api.model("Backfill", attributes, strict=True)
    body = api.model("Body", {"backfill": fields.Nested(backfill, required=True)})
    answer = api.model("Answer", {"backfill": fields.Raw()})

    @api.route("/pipelines/<pipeline_uuid>/backfills/<int:backfill_id>")
    class One(Resource):
        @api.expect(body)
        @api.marshal_with(answer)
        def put(self, pipeline_uuid, backfill_id):
            if not may(request.headers.get("X-API-KEY")):
                api.abort(401)
            try:
                sent = api.payload["backfill"]
                values = {key: CHECKS[key](value) for key, value in sent.items()}
                return {"backfill": write(session, pipeline_uuid, backfill_id, values)}
            except ValueError as error:
                api.abort(422, str(error))
            except Refused as refused:
                api.abort(refused.status, errors=refused.errors)
            finally:
                session.remove()

    return app
