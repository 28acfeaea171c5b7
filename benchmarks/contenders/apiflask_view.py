"""APIFlask."""

from apiflask import abort
from apiflask import APIFlask
from flask import request

from .common import may
from .common import Refused
from .common import session_for
from .common import write
from .schemas import AnswerSchema
from .schemas import BodySchema


def create(url):
    app = APIFlask(__name__)
    session = session_for(url)

    @app.put("/api/pipelines/<pipeline_uuid>/backfills/<int:backfill_id>")
    @app.input(BodySchema, arg_name="body")
    @app.output(AnswerSchema)
    def update(pipeline_uuid, backfill_id, body):
        if not may(request.headers.get("X-API-KEY")):
            abort(401)
        try:
            return {"backfill": write(session, pipeline_uuid, backfill_id, body["backfill"])}
        except Refused as refused:
            abort(refused.status, extra_data={"errors": refused.errors})
        finally:
            session.remove()

    return app
