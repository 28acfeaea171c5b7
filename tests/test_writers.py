"""Eight writers at once, over HTTP against gunicorn's four workers, on each database."""

import json
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from conftest import often
from conftest import takes_seconds
from conftest import wait_for
from processes import wsgi

from flask_backfills.rules.lifecycle import TRANSITIONS

HERE = Path(__file__).parent
LIST = "/api/pipelines/p/backfills"
PATH = f"{LIST}/1"


def answers(url):
    try:
        urllib.request.urlopen(url).close()
    except OSError:
        return False
    return True


@pytest.fixture
def server(database_url):
    """The address of a real server, with one backfill."""
    app = wsgi(database_url)
    db = app.extensions["sqlalchemy"]
    with app.app_context():
        db.create_all()
        made = app.test_client().post(LIST, json={"backfill": {"name": "a"}})
        assert made.headers["Location"] == PATH
        db.engine.dispose()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "4", "--bind", address]
    command += ["--chdir", str(HERE), f"processes:wsgi({database_url!r})"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as gunicorn:
        wait_for(lambda: answers(f"http://{address}{PATH}"))
        yield f"http://{address}{PATH}"
        gunicorn.terminate()
    with app.app_context():
        db.drop_all()
        db.engine.dispose()


@takes_seconds
def test_no_update_is_lost_or_breaks_a_rule(server, database_url):
    with urllib.request.urlopen(server) as response:
        first, etag = json.loads(response.read())["backfill"], response.headers["ETag"]
    # SQLite has one lock and no queue for it.
    updates = often(60) if database_url.startswith("sqlite") else 125
    command = [sys.executable, HERE / "writer.py", server]
    writers = [
        subprocess.Popen([*command, str(seed), str(updates)], stdout=subprocess.PIPE)
        for seed in range(8)
    ]
    answers = []
    for writer in writers:
        out, _ = writer.communicate(timeout=300)
        assert writer.returncode == 0
        answers += [json.loads(line) for line in out.splitlines()]
    statuses = Counter(status for _, _, status, _, _ in answers)
    assert statuses.total() == 8 * updates
    assert statuses.keys() == {200, 409, 412, 422}, statuses
    with urllib.request.urlopen(server) as response:
        last = json.loads(response.read())["backfill"]

    # Every answer of a version is the same row, and no version is missing.
    states, etags = {first["version"]: first}, {first["version"]: etag}
    told = {}
    for sent, if_match, status, etag, body in answers:
        if status == 200:
            shown = body["backfill"]
            version = shown["version"]
            assert states.setdefault(version, shown) == shown
            assert etags.setdefault(version, etag) == etag
            assert {key: shown[key] for key in sent} == sent
            told.setdefault(version, []).append((sent, if_match))
    assert sorted(states) == list(range(first["version"], last["version"] + 1))
    assert states[last["version"]] == last

    # In the order of the commits, each is the one before with what one caller sent.
    stamps = {"version", "updated_at", "started_at", "completed_at", "failed_at"}
    for version in range(first["version"] + 1, last["version"] + 1):
        before, after = states[version - 1], states[version]
        changed = {key for key in after if after[key] != before[key]} - stamps
        [writer] = [
            (sent, if_match)
            for sent, if_match in told[version]
            if changed <= sent.keys() and if_match in (None, etags[version - 1])
        ][:1]
        assert changed <= writer[0].keys()
        for _, if_match in told[version]:
            assert if_match in (None, etags[version - 1], etags[version])
        assert not (after["start_datetime"] and after["end_datetime"]) or (
            after["start_datetime"] <= after["end_datetime"]
        )
        assert after["interval_units"] is None or after["interval_units"] >= 1
        if after["status"] != before["status"]:
            assert after["status"] in TRANSITIONS[before["status"]]
