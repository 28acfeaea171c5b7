"""The tutorial, as a reader does it: its files, its commands in a shell, a server that is running."""

import doctest
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import curl
import pytest
from conftest import takes_seconds
from conftest import wait_for
from test_docs import COMMANDS
from test_docs import OPTIONS

ROOT = Path(__file__).parent.parent
BLOCKS = re.compile(r"^```(python|console|json)\n(.*?)^```$|into `(\w+\.py)`:$", re.M | re.S)

pytestmark = [
    takes_seconds,
    pytest.mark.skipif(not shutil.which("curl"), reason="it needs curl"),
]


@pytest.fixture
def shell(tmp_path):
    """Run a command in the reader's folder, with this Python and the package of this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # As a reader's Flask: it finds app.py by its name.
    environment = {name: found for name, found in environment.items() if name[:6] != "FLASK_"}
    python = shlex.quote(sys.executable)
    begun = []

    def run(command, background=False):
        command = re.sub(
            "^flask ", f"{python} -m flask ", re.sub("^python ", f"{python} ", command)
        )
        options = {"cwd": tmp_path, "env": environment, "text": True}
        if background:
            silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            begun.append(subprocess.Popen(["bash", "-c", f"exec {command}"], **options, **silent))
            return ""
        done = subprocess.run(
            ["bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if " -m flask " in command else None,
            timeout=120,
            **options,
        )
        return done.stdout

    yield run
    for one in begun:
        one.kill()
        one.wait()


def test_each_step_of_the_tutorial(shell, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    server = f"http://localhost:{port}"
    page = (ROOT / "docs/tutorial.md").read_text()
    file = answered = None
    for language, block, named in BLOCKS.findall(page):
        if named:
            file = tmp_path / named
        elif language == "python":
            # What is to be replaced may as well come later: the last runner counts.
            with open(file, "a") as opened:
                opened.write(block + "\n\n")
        elif language == "json":
            curl.check_json(block, answered)
        else:
            for command, expected in COMMANDS.findall(block):
                if curl.SERVER in command and answered is None:
                    shell(f"flask run --port {port}", background=True)
                    wait_for(lambda: is_there(port))
                printed = shell(command.replace(curl.SERVER, server).replace("curl ", "curl -s "))
                if command.startswith("curl"):
                    answered = printed
                else:
                    checker = doctest.OutputChecker()
                    assert checker.check_output(expected, printed, OPTIONS), (command, printed)
    # What the page says of the browser.
    for path, said in (("", ("July 2023", "Three days")), ("1", ("July 2023", "31"))):
        with urllib.request.urlopen(f"{server}/backfills/{path}", timeout=30) as shown:
            text = shown.read().decode()
        assert all(word in text for word in said)


def is_there(port):
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0
