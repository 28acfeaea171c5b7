"""A service of books with APIFlask, with tokens and a document of its own."""

import os

from apiflask import APIFlask
from apiflask import HTTPBasicAuth
from apiflask import Schema
from apiflask.fields import Integer
from apiflask.fields import String
from apiflask.validators import Length
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from werkzeug.exceptions import Unauthorized

from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills.console import ConsoleBlueprint


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
auth = HTTPBasicAuth()


class Book(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


class Backfill(BackfillMixin, db.Model):
    __tablename__ = "backfills"


class BackfillRun(BackfillRunMixin, db.Model):
    __tablename__ = "backfill_runs"


class BookIn(Schema):
    title = String(required=True, validate=Length(1, 80))


class BookOut(Schema):
    id = Integer()
    title = String()


@auth.verify_password
def verify(username, password):
    return username if (username, password) == ("ann", "secret word") else None


@auth.login_required
def logged_in():
    return True


def authorize(action, pipeline_uuid):
    answer = logged_in()
    if answer is not True:
        # It is the response that asks for the password.
        raise Unauthorized(www_authenticate=answer.www_authenticate)
    return True


def create_app():
    app = APIFlask(__name__, title="Books", version="1.0")
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    app.secret_key = "dev"
    db.init_app(app)

    @app.get("/books/<int:book_id>")
    @app.output(BookOut)
    def get_book(book_id):
        return db.get_or_404(Book, book_id)

    @app.post("/books")
    @app.input(BookIn)
    @app.output(BookOut, 201)
    def create_book(json_data):
        book = Book(**json_data)
        db.session.add(book)
        db.session.commit()
        return book

    blueprint = BackfillBlueprint(
        Backfill, db.session, authorize=authorize, run_model=BackfillRun, openapi=True
    )
    blueprint.runner(lambda run: {"rows": 24})
    app.register_blueprint(blueprint)
    app.register_blueprint(ConsoleBlueprint(blueprint))
    with app.app_context():
        db.create_all()
    return app
