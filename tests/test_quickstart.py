"""The quickstart as a newcomer starts it."""

import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import takes_seconds


@pytest.fixture
def quickstart(tmp_path):
    """Start the quickstart, with a database of its own."""
    begun = []
    app = Path(__file__).parent.parent / "examples" / "quickstart" / "app.py"
    shutil.copy(app, tmp_path)

    def start(*args):
        command = [sys.executable, str(tmp_path / "app.py"), *args]
        pipe = subprocess.PIPE
        begun.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        return begun[-1]

    yield start
    for one in begun:
        one.kill()
        one.communicate()


def test_it_is_where_it_says(quickstart):
    told = quickstart("--port", "0").stdout.readline()
    [url] = re.findall(r"http://localhost:\d+/backfills/", told)
    with urllib.request.urlopen(url, timeout=30) as page:
        assert b"Temperatures of July" in page.read()


@takes_seconds
@pytest.mark.parametrize(("port", "named"), [(0, 6790), (6790, 6791), (65536, 6790)])
def test_a_port_that_it_can_not_have_is_told_before_where_it_is(quickstart, port, named):
    with ExitStack() as stack:
        if port < 2**16:
            # Another program may have it already.
            with suppress(OSError):
                other = stack.enter_context(socket.create_server(("127.0.0.1", port)))
                port = other.getsockname()[1]
        started = quickstart("--port", str(port))
        out, err = started.communicate(timeout=30)
    assert (started.returncode, out) == (1, "")
    assert err.startswith(f"Port {port} can't be used") and f"--port {named}" in err
