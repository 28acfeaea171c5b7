"""Users log in with a form and are known by Flask-Login's cookie."""

from __future__ import annotations

from flask import abort
from flask import Blueprint
from flask import Flask
from flask import request
from flask_login import current_user
from flask_login import login_user
from flask_login import LoginManager
from werkzeug.security import check_password_hash

from .models import db
from .models import User

accounts = Blueprint("accounts", __name__)
login_manager = LoginManager()


@login_manager.user_loader
def load_user(user_id: str) -> User | None:
    return db.session.get(User, int(user_id))


def is_logged_in() -> bool:
    """Whether there is a user: at the terminal and in a worker, there is none."""
    return bool(current_user and current_user.is_authenticated)


@accounts.post("/login")
def login() -> str:
    user = db.session.scalar(db.select(User).filter_by(login=request.form["login"]))
    if user is None or not check_password_hash(user.password_hash, request.form["password"]):
        abort(401, "Wrong login or password.")
    login_user(user)
    return f"Hello, {user.login}."


def init_app(app: Flask) -> None:
    login_manager.init_app(app)
    app.register_blueprint(accounts)
