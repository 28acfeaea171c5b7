"""A blog as tutorials have it: one module, Flask-Login, CSRFProtect, pages with a base template."""

import os

import flask_login
from flask import abort
from flask import Flask
from flask import redirect
from flask import render_template
from flask import request
from flask import url_for
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from jinja2 import DictLoader

from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills.console import ConsoleBlueprint

app = Flask(__name__)
app.config["SECRET_KEY"] = "dev"
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
app.jinja_loader = DictLoader(
    {
        "base.html": "<title>My blog</title>{{ current_user.name }}<p>{% block content %}{% endblock %}",
        "home.html": "{% extends 'base.html' %}{% block content %}Welcome{% endblock %}",
        "error.html": "{% extends 'base.html' %}{% block content %}Nothing here{% endblock %}",
        "login.html": "{% extends 'base.html' %}{% block content %}"
        '<form method="post"><input name="csrf_token" value="{{ csrf_token() }}"></form>'
        "{% endblock %}",
    }
)
db = SQLAlchemy(app)
csrf = CSRFProtect(app)
login = flask_login.LoginManager(app)
login.login_view = "log_in"


class User(flask_login.UserMixin, db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(80), unique=True)


class Backfill(BackfillMixin, db.Model):
    author = db.Column(db.String(80), default=lambda: flask_login.current_user.name)


class BackfillRun(BackfillRunMixin, db.Model):
    backfill_id = db.Column(db.ForeignKey("backfill.id"), nullable=False)


@login.user_loader
def load_user(user_id):
    return db.session.get(User, int(user_id))


def authorize(action, pipeline_uuid):
    return flask_login.current_user.is_authenticated or abort(401)


blueprint = BackfillBlueprint(Backfill, db.session, authorize=authorize, run_model=BackfillRun)


@blueprint.runner
def count_readers(run):
    return {"rows": 24}


@app.route("/")
def home():
    return render_template("home.html")


@app.route("/login", methods=["GET", "POST"])
def log_in():
    if request.method == "POST":
        user = User.query.filter_by(name=request.form["name"]).first_or_404()
        flask_login.login_user(user)
        return redirect(request.args.get("next") or url_for("home"))
    return render_template("login.html")


@app.errorhandler(404)
def page_not_found(error):
    return render_template("error.html"), 404


app.register_blueprint(blueprint)
app.register_blueprint(ConsoleBlueprint(blueprint))

with app.app_context():
    db.create_all()
    db.session.add(User(name="ann"))
    db.session.commit()
