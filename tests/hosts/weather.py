"""A service of weather data with flask-smorest, whose callers have a JWT."""

import os

import jwt
import marshmallow as ma
from flask import Flask
from flask.views import MethodView
from flask_smorest import Api
from flask_smorest import Blueprint
from flask_sqlalchemy import SQLAlchemy

from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills import oauth_token

db = SQLAlchemy()
stations = Blueprint("stations", __name__, url_prefix="/stations", description="All stations")


class Station(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(80), nullable=False)


class Backfill(BackfillMixin, db.Model):
    pass


class BackfillRun(BackfillRunMixin, db.Model):
    pass


class StationSchema(ma.Schema):
    id = ma.fields.Int(dump_only=True)
    name = ma.fields.String(required=True)


@stations.route("/")
class Stations(MethodView):
    @stations.response(200, StationSchema(many=True))
    def get(self):
        return db.session.query(Station).all()

    @stations.arguments(StationSchema)
    @stations.response(201, StationSchema)
    def post(self, new):
        station = Station(**new)
        db.session.add(station)
        db.session.commit()
        return station


def create_app():
    app = Flask(__name__)
    app.config.from_mapping(
        API_TITLE="Weather",
        API_VERSION="v1",
        OPENAPI_VERSION="3.0.3",
        OPENAPI_URL_PREFIX="/",
        JWT_KEY="a key of 32 bytes or more, at least",
        SQLALCHEMY_DATABASE_URI=os.environ["DATABASE_URL"],
    )
    db.init_app(app)

    def verify(token, action, pipeline_uuid):
        try:
            claims = jwt.decode(token, app.config["JWT_KEY"], algorithms=["HS256"])
        except jwt.InvalidTokenError:
            return False
        return pipeline_uuid in claims["pipelines"]

    # Its routes are not below smorest's, which has an Api of its own.
    backfills = BackfillBlueprint(
        Backfill, db.session, authorize=oauth_token(verify), run_model=BackfillRun
    )
    backfills.runner(measure)
    Api(app).register_blueprint(stations)
    app.register_blueprint(backfills)
    with app.app_context():
        db.create_all()
    return app


def measure(run):
    return {"rows": 24}
