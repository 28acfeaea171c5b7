"""Every code block of the documentation and of the README, run as a reader would."""

import doctest
import inspect
import os
import re
import shlex
import string
import subprocess
import sys
from pathlib import Path

import curl
import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PARTS = re.compile(
    r"^<!-- given:(.*?)-->$|^(?:<!-- file: (\S+) -->\n\n)?```(python|pycon|console|json)\n(.*?)^```$",
    re.M | re.S,
)
OPTIONS = doctest.ELLIPSIS


class Given:
    """What a page says that the reader has already; each is made when it is asked for."""

    def __init__(self):
        self.extensions = []
        self.engines = []

    def namespace(self, names):
        """A namespace with just these in it."""
        app = Flask("yours")
        app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", SECRET_KEY="secret")
        namespace = {"app": app}
        if "db" in names:
            db = namespace["db"] = SQLAlchemy(app)
            self.extensions.append((app, db))
        if "Backfill" in names:

            class Backfill(BackfillMixin, db.Model):
                __tablename__ = "backfill"

            namespace["Backfill"] = Backfill
        if "BackfillRun" in names:

            class BackfillRun(BackfillRunMixin, db.Model):
                __tablename__ = "backfill_run"

            namespace["BackfillRun"] = BackfillRun
        if "blueprint" in names:
            namespace["blueprint"] = BackfillBlueprint(
                Backfill, db.session, authorize=allow_anyone, run_model=BackfillRun
            )
            if "client" in names:
                app.register_blueprint(namespace["blueprint"])
        if "client" in names:
            namespace["client"] = app.test_client()
        if "Backfill" in names:
            with app.app_context():
                db.create_all()
        return {"__name__": "yours", **{name: namespace[name] for name in names}}

    def keep(self, namespace):
        """Remember what a page has made itself."""
        made = namespace["app"], namespace.get("db")
        if "sqlalchemy" in made[0].extensions and made not in self.extensions:
            self.extensions.append(made)
        if "engine" in namespace:
            self.engines.append(namespace["engine"])

    def close(self):
        for app, db in self.extensions:
            with app.app_context():
                db.session.remove()
                self.engines.append(db.engine)
        for engine in self.engines:
            engine.dispose()


def parts(page):
    """The blocks of a page that can run, each with its line.

    ``given`` begins anew. ``file NAME`` is a part of a file of the reader's.
    """
    text = page.read_text()
    for found in PARTS.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        given, file, language, block = found.groups()
        if language is None:
            yield line, "given", given
        else:
            yield line, f"file {file}" if file else language, block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_code_block_runs(page, tmp_path, monkeypatch):
    # Where a page's own app has its files.
    monkeypatch.chdir(tmp_path)
    given = Given()
    namespace, variables, answered = {}, {}, None
    try:
        for line, language, block in parts(page):
            where = f"{page.name}, line {line}"
            if language == "given":
                namespace = given.namespace(re.findall(r"\w+", block))
            elif language == "python":
                exec(compile("\n" * line + block, str(page), "exec"), namespace)
            elif language == "pycon":
                test = doctest.DocTestParser().get_doctest(block, namespace, where, str(page), line)
                runner = doctest.DocTestRunner(optionflags=OPTIONS)
                told = []
                runner.run(test, out=told.append, clear_globs=False)
                namespace.update(test.globs)
                assert runner.failures == 0, "".join(told)
            elif language.startswith("file "):
                with open(language.removeprefix("file "), "a") as file:
                    file.write(f"{block}\n\n")
            elif language == "json":
                assert answered is not None, f"{where}: no curl before it"
                curl.check_json(block, answered)
            else:
                answered = run_commands(namespace.get("app"), block, where, variables)
            if "app" in namespace:
                given.keep(namespace)
        if list(tmp_path.glob("test_*.py")):
            run_tests(tmp_path)
    finally:
        given.close()


def run_tests(folder):
    """Run the tests that a page has written, and each of them."""
    written = "".join(file.read_text() for file in folder.glob("test_*.py")).count("\ndef test_")
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider"]
    # Those of this machine take longer to load than the tests.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert f"{written} passed in" in ended.stdout, ended.stdout + ended.stderr


#: A command after a ``$``, which may go on after a backslash, and what is printed below it.
COMMANDS = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.M)


def run_commands(app, block, where, variables):
    """Run the commands of a block, and compare what they print with what the page shows.

    :returns: what the last ``curl`` got, if it is not shown: the JSON below the block is that.
    """
    answered = None
    for command, expected in COMMANDS.findall(block):
        command = command.replace("\\\n", " ").removesuffix(" < /dev/null")
        name, equals, inner = re.fullmatch(r"(?:(\w+)(=))?(.*)", command).groups()
        if substituted := re.fullmatch(r"\$\((.*)\)", inner):
            inner = substituted[1]
        # Variables are put in last, as a shell does it: what they hold may have quotes.
        words = [string.Template(word).safe_substitute(variables) for word in shlex.split(inner)]
        program, *args = words
        if program == "flask":
            printed = app.test_cli_runner().invoke(args=args, input="").output
        elif program == "curl":
            printed = curl.answer(app.test_client(), args)
        elif equals:
            printed = program
        else:
            # What no app does: the page itself shows what it takes.
            continue
        if equals:
            variables[name] = printed
        elif program == "curl" and not expected:
            answered = printed
        else:
            checker = doctest.OutputChecker()
            assert checker.check_output(expected, printed, OPTIONS), (where, printed)
    return answered


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_the_parts_of_a_page_can_be_pasted_in_order_into_one_app(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = Given()
    # As somebody has who reads the README: an app of their own.
    namespace = given.namespace(["app", "db"])
    namespace["app"].config["BACKFILLS_API_KEYS"] = ["a key"]
    try:
        for number, (_, language, block) in enumerate(parts(ROOT / page)):
            if language == "given" and number:
                # From here on, it is about another app.
                break
            if language == "python":
                exec(block, namespace)
        app = namespace["app"]
        client = app.test_client()
        sent = {"start_datetime": "2023-07-01", "end_datetime": "2023-07-02"}
        sent |= {"interval_type": "day", "interval_units": 1, "status": "initial"}
        url, key = "/api/pipelines/weather/backfills", {"X-API-KEY": "a key"}
        made = client.post(url, json={"backfill": sent}, headers=key)
        assert made.status_code == 201, made.text
        result = app.test_cli_runner().invoke(args=["backfills", "work", "--once"])
        assert result.exit_code == 0, result.output
        assert client.get(made.location, headers=key).json["backfill"]["status"] == "completed"
        given.keep(namespace)
    finally:
        given.close()


def test_the_public_api_names_each_argument_of_the_blueprint():
    _, begun, table = (ROOT / "docs/api.md").read_text().partition("| argument |")
    table, _, _ = table.partition("\n\n")
    told = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.M)))
    assert begun and [*inspect.signature(BackfillBlueprint).parameters] == [*told, "options"]


def test_all_commands_install_the_same_way():
    # If only one is editable, it removes what the others have installed, under a running app.
    commands = re.compile(r"^ *(python3 -m venv .*)$", re.M)
    start, tests = commands.findall((ROOT / "README.md").read_text())
    assert commands.findall((ROOT / "docs/start.md").read_text()) == [start]
    form = 'python3 -m venv .venv && .venv/bin/pip install -q -e ".['
    assert start.startswith(form) and tests.startswith(form)


def test_the_pages_have_code_that_runs():
    languages = [language for page in PAGES for _, language, _ in parts(page)]
    assert all(languages.count(one) >= 3 for one in ("given", "python", "pycon", "console", "json"))
