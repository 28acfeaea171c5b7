"""A view written by hand, with the ORM and isinstance checks: what an expert would write."""

from datetime import datetime
from datetime import timezone

from flask import Flask
from flask import jsonify
from flask import request

from .common import DATES
from .common import FOLLOWS
from .common import INTERVALS
from .common import may
from .common import Refused
from .common import session_for
from .common import write


def text(value):
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or "\0" in value:
        raise ValueError("Not a string of 1 to 255 characters.")
    return value


def moment(value):
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("Not a date.")
    found = datetime.fromisoformat(value.replace("Z", "+00:00"))
    return found.astimezone(timezone.utc).replace(tzinfo=None) if found.tzinfo else found


def units(value):
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError("Not an integer from 1.")
    return value


def an_object(value):
    if value is not None and not isinstance(value, dict):
        raise ValueError("Not an object.")
    return value


def one_of(words):
    def check(value):
        if value is not None and value not in words:
            raise ValueError(f"Must be one of: {', '.join(words)}.")
        return value

    return check


CHECKS = {
    "name": text,
    "block_uuid": text,
    "pipeline_schedule_id": units,
    "interval_type": one_of(INTERVALS),
    "interval_units": units,
    "status": one_of(FOLLOWS[None]),
    **dict.fromkeys(("variables", "metrics", "settings"), an_object),
    **dict.fromkeys(DATES, moment),
}


def create(url):
    app = Flask(__name__)
    session = session_for(url)

    @app.put("/api/pipelines/<pipeline_uuid>/backfills/<int:backfill_id>")
    def update(pipeline_uuid, backfill_id):
        if not may(request.headers.get("X-API-KEY")):
            return jsonify(error={"code": 401}), 401
        body = request.get_json()
        sent = body.get("backfill") if isinstance(body, dict) else None
        if not isinstance(sent, dict):
            return jsonify(error={"code": 400}), 400
        values, errors = {}, {}
        for key, value in sent.items():
            if key not in CHECKS:
                errors[key] = ["Unknown field."]
                continue
            try:
                values[key] = CHECKS[key](value)
            except ValueError as error:
                errors[key] = [str(error)]
        if errors:
            return jsonify(error={"code": 422, "errors": errors}), 422
        try:
            return jsonify(backfill=write(session, pipeline_uuid, backfill_id, values))
        except Refused as refused:
            return jsonify(error={"code": refused.status, "errors": refused.errors}), refused.status
        finally:
            session.remove()

    return app
