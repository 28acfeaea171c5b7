"""A list of things to do with Flask-RESTX: its document at /, its own handlers of errors."""

import os

from flask import Flask
from flask_restx import Api
from flask_restx import fields
from flask_restx import Resource
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import NoResultFound

from flask_backfills import api_key
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
app.config["BACKFILLS_API_KEYS"] = ["key of the list"]
db = SQLAlchemy(app)
api = Api(
    app,
    version="1.0",
    title="Things to do",
    doc="/",
    catch_all_404s=True,
    security="key",
    authorizations={"key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"}},
)
todos = api.namespace("todos", description="What there is to do")
shown = api.model("Todo", {"id": fields.Integer(readonly=True), "task": fields.String})


class Todo(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    task = db.Column(db.String(200), nullable=False)


class Backfill(BackfillMixin, db.Model):
    pass


class BackfillRun(BackfillRunMixin, db.Model):
    pass


@api.errorhandler
def unexpected(error):
    return {"message": "Sorry, that did not work."}, getattr(error, "code", 500)


@api.errorhandler(NoResultFound)
def nothing_to_do(error):
    return {"message": "There is nothing like that to do."}, 404


@todos.route("/")
class Todos(Resource):
    @todos.marshal_list_with(shown)
    def get(self):
        return Todo.query.all()

    @todos.expect(shown, validate=True)
    @todos.marshal_with(shown, code=201)
    def post(self):
        todo = Todo(task=api.payload["task"])
        db.session.add(todo)
        db.session.commit()
        return todo, 201


@todos.route("/<int:id>")
class OneTodo(Resource):
    @todos.marshal_with(shown)
    def get(self, id):
        return db.session.execute(db.select(Todo).filter_by(id=id)).scalar_one()


backfills = BackfillBlueprint(Backfill, db.session, authorize=api_key(), run_model=BackfillRun)


@backfills.runner
def remind(run):
    return {"rows": 24}


app.register_blueprint(backfills)

with app.app_context():
    db.create_all()
