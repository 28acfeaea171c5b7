"""A bare Flask view, the floor: JSON in, JSON out, no table."""

from flask import Flask
from flask import jsonify
from flask import request

SHOWN = dict.fromkeys("abcdefghijklmnopqr")


def create(url):
    app = Flask(__name__)

    @app.put("/api/pipelines/<pipeline_uuid>/backfills/<int:backfill_id>")
    def update(pipeline_uuid, backfill_id):
        return jsonify(backfill={**SHOWN, **request.get_json()["backfill"]})

    return app
