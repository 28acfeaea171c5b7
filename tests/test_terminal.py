"""What callers have written, and Ctrl-C, at the terminal of ``flask backfills``."""

import contextlib
import itertools
import json
import re
import unicodedata

import click
import pytest
import sqlalchemy as sa
from conftest import CI
from conftest import few
from conftest import Host
from conftest import LIST
from conftest import MOMENT
from conftest import on_a_terminal
from conftest import sqlite_alone
from flask.logging import default_handler
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import mapped_column

from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills.cli import Commands

pytestmark = sqlite_alone

NAMES = sorted(Commands(None).commands)

#: What moves the cursor, turns text around, or does not show: of each kind one.
HOSTILE = (
    "\x1b[2J\r\n\t\b\x7f\x85\x9b\u202e\u2066\u200d\ufeff\xad\u2028\u3164\u034f\ufe0f\U000e0041"
)

#: The same for a status, which has 16 characters.
ODD = "\x1b[2J\r\n\x7f\x9b\u202e\u200b\u3164"

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-12"}
WEEK |= {"interval_type": "day", "interval_units": 1}

#: What we ourselves draw with: a line that is replaced, and the colours of statuses.
DRAWN = re.compile(r"\r\x1b\[K|\r\n|\x1b\[(?:3[0-7]|0)m")


def obeyed(told):
    """The characters of a text that a terminal obeys or does not show, but for newlines."""
    return {
        char
        for char in told
        if unicodedata.category(char)[0] == "C"
        or unicodedata.category(char) in ("Zl", "Zp")
        or char in "\u3164\u034f\ufe0f"
    } - {"\n"}


@pytest.fixture(scope="module")
def keyed():
    """Models whose backfills have keys that are hostile too, and those keys."""
    db = SQLAlchemy()
    keys = (f"{number}{HOSTILE}" for number in itertools.count(1))

    class Backfill(BackfillMixin, db.Model):
        __tablename__ = "backfill"
        id = mapped_column(sa.String(80), primary_key=True, default=lambda: next(keys))

    class BackfillRun(BackfillRunMixin, db.Model):
        __tablename__ = "backfill_run"
        backfill_id = mapped_column(sa.String(80))

    return db, Backfill, BackfillRun, keys


@pytest.fixture
def hostile(sqlite_url, keyed):
    """A host whose rows have hostile text wherever text can be."""
    db, Backfill, BackfillRun, keys = keyed
    host = Host(sqlite_url, db)
    texts = {"pipeline_uuid": HOSTILE, "name": HOSTILE, "block_uuid": HOSTILE}
    objects = {key: {HOSTILE: [HOSTILE]} for key in ("variables", "metrics", "settings")}
    row = {**texts, **objects, "created_at": MOMENT, "updated_at": MOMENT}
    host.serve(Backfill, run_model=BackfillRun, seed={**row, "id": "seed"})
    host.app.json.ensure_ascii = False
    host.blueprint.generator(HOSTILE)(lambda _: [{"key": HOSTILE * 2}])

    @host.blueprint.runner
    def run(run):
        raise ValueError(HOSTILE)

    def add(status, *runs):
        """Store a backfill with a status, and runs with these. Return its id."""
        with host.app.app_context():
            key = next(keys)
            db.session.add(Backfill(**row, id=key, status=status))
            for number, word in enumerate(runs):
                db.session.add(
                    BackfillRun(
                        backfill_id=key,
                        key=f"{number}{HOSTILE}",
                        pipeline_uuid=HOSTILE,
                        status=word,
                        error=HOSTILE,
                        variables={HOSTILE: HOSTILE},
                    )
                )
            db.session.commit()
        return key

    host.add = add
    # It is not there while pytest has a handler of its own.
    host.app.logger.addHandler(default_handler)
    yield host
    host.app.logger.removeHandler(default_handler)
    host.close()


@pytest.fixture
def ids(hostile):
    """Of each status a backfill."""
    return [
        hostile.add("initial", "initial", "initial", "completed"),
        hostile.add("running", "running"),
        hostile.add(None),
        hostile.add(ODD, ODD),
        hostile.add("completed", "completed"),
        hostile.add("failed", "failed", ODD),
        hostile.add("cancelled"),
    ]


def parameters_of(host, name):
    group = host.blueprint.cli
    return group.get_command(click.Context(group), name).params


def lines_of(host, name, ids, *flags):
    """What a command of the group may be told: each argument in turn, then each option."""
    # Whoever watches one that has not ended never ends.
    ids = ids[4:] if name == "watch" else ids
    values = ['variables={"a": 1}', f"name={HOSTILE}", f"{HOSTILE}=1", f"variables={{{HOSTILE}"]
    known = {"backfill_id": ids, "changes": values}
    parameters = parameters_of(host, name)
    options = {o.opts[0]: o.is_flag for o in parameters if isinstance(o, click.Option)}
    arguments = [
        [*known.get(one.name, []), HOSTILE] for one in parameters if one.opts[0] not in options
    ]
    flags = [flag for flag in ("--once", *flags) if flag in options]
    first = [found[0] for found in arguments]
    for place, found in enumerate(arguments):
        for one in found:
            line = [name, *flags, *first[:place], one, *first[place + 1 :]]
            yield from (line, [*line, "--json"] if "--json" in options else line)
    for option, is_flag in options.items():
        yield [name, *flags, *first, option, *([] if is_flag else [HOSTILE])]


@pytest.mark.parametrize("name", few(NAMES))
def test_nothing_that_callers_have_written_is_obeyed_by_a_terminal(hostile, ids, name):
    assert obeyed(HOSTILE) == set(HOSTILE) - set("\n[2J")
    runner = hostile.app.test_cli_runner()
    # The question first.
    for line in [*lines_of(hostile, name, ids), *lines_of(hostile, name, ids, "--yes")]:
        # With colors, since click leaves out the commonest sequences where there is no terminal.
        result = runner.invoke(args=["backfills", *line], input="n\n", color=True)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        out, err = result.stdout_bytes.decode(), result.stderr_bytes.decode()
        assert not obeyed(out) and not obeyed(err), line
        if "--json" in line:
            assert all(json.loads(one) for one in out.splitlines()), line


@pytest.mark.parametrize("name", few(NAMES))
def test_on_a_terminal_neither(hostile, ids, name):
    for line in itertools.islice(lines_of(hostile, name, ids, "--yes"), 0, None, 1 if CI else 4):
        with contextlib.suppress(click.ClickException):
            shown, _ = on_a_terminal(hostile.app, *line)
            assert not obeyed(DRAWN.sub("\n", shown)), line


@pytest.mark.parametrize(
    "line", [f"--{HOSTILE}", HOSTILE, f"show --{HOSTILE}", f"show 6 {HOSTILE}"]
)
def test_clicks_own_errors_are_printable(hostile, line):
    result = hostile.app.test_cli_runner().invoke(args=["backfills", *line.split(" ")], color=True)
    assert result.exit_code == 2 and not obeyed(result.stderr_bytes.decode())


def test_json_loses_nothing(hostile, ids):
    result = hostile.app.test_cli_runner().invoke(args=["backfills", "show", ids[0], "--json"])
    shown = json.loads(result.stdout)["backfill"]
    assert (shown["name"], shown["variables"]) == (HOSTILE, {HOSTILE: [HOSTILE]})


#: In which state a backfill is before a command does something; where there is none, waiting.
BEFORE = {
    "delete": "completed",
    "resume": "paused",
    "retry": "failed",
    "start": "completed",
    "watch": "completed",
}


@pytest.mark.parametrize("name", few(sorted({*NAMES} - {"work"})))
def test_ctrl_c_ends_a_command_with_130_and_changes_nothing(modelled, models, event_model, name):
    # ``work`` lets its runs end: see test_cli.py.
    host, allowed, state = modelled, [], BEFORE.get(name)
    host.serve(models[1], run_model=models[2], event_model=event_model)

    def interrupt(*args):
        if allowed:
            allowed[0] -= 1
            if allowed[0] < 0:
                raise KeyboardInterrupt

    def see():
        return host.read(LIST), host.stored("id", "status", "attempt")

    with host.app.app_context():
        sa.event.listen(host.db.engine, "before_cursor_execute", interrupt)
    settings = {"reprocess": "all", "paused": state == "paused"}
    url = host.post({**WEEK, "status": "initial", "settings": settings}).headers["Location"]
    for run in host.claim(limit=9) if state in ("completed", "failed") else []:
        host.end(run, state)
    given = {"backfill_id": [url.rsplit("/", 1)[1]], "pipeline_uuid": ["arwen_starlight"]}
    given |= {"changes": ["name=x", "end_datetime=2023-07-11"], "yes": ["--yes"]}
    given |= {"run_id": [str(host.stored("id")[0])], "make": ["--make", "cancel"]}
    given |= {"status": ["--status", "initial"]} if name == "runs" else {}
    given |= {"start": ["2023-07-01"], "end": ["2023-07-09"]}
    line = [name, *itertools.chain(*(given.get(o.name, []) for o in parameters_of(host, name)))]
    before = see()
    # During its first statement, then during its second, until it has done all.
    for statements in itertools.count():
        allowed.append(statements)
        result = host.app.test_cli_runner().invoke(args=["backfills", *line])
        if allowed.pop() >= 0:
            break
        assert (result.exit_code, result.stdout, result.stderr) == (130, "", "\n")
        assert see() == before
    assert result.exit_code == 0 and statements > 0
