"""The same PUT over gunicorn, with wrk: requests a second, rounds interleaved."""

import contextlib
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from contenders.common import KEY
from contenders.common import PATH
from contenders.common import session_for
from in_process import body

HERE = Path(__file__).parent
SECONDS = 4
ROUNDS = 3

SCRIPT = """
local number = 0
request = function()
  number = number + 1
  local body = string.format('{"backfill": {"name": "name %%d", "variables": {"n": %%d}, '
    .. '"start_datetime": "2023-07-1%%d 23:56:05", "end_datetime": "2023-07-28"}}',
    number, number, number %% 9)
  return wrk.format("PUT", "%(path)s", {["Content-Type"] = "application/json",
    ["X-API-KEY"] = "%(key)s"}, body)
end
done = function(summary, latency, requests)
  print("failed " .. summary.errors.status + summary.errors.timeout)
end
"""


@contextlib.contextmanager
def served(name, url):
    """Two workers of gunicorn with a contender."""
    session_for(url).get_bind().dispose()  # before two workers do it at once
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", address]
    if name == "fastapi_view":
        command += ["--worker-class", "uvicorn_worker.UvicornWorker"]
    command += ["--chdir", str(HERE), f"serve:app({name!r}, {url!r})"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as gunicorn:
        try:
            wait_for(address)
            yield f"http://{address}"
        finally:
            gunicorn.terminate()


def wait_for(address):
    headers = {"Content-Type": "application/json", "X-API-KEY": KEY}
    for _ in range(100):
        request = urllib.request.Request(f"http://{address}{PATH}", body(0), headers, method="PUT")
        try:
            urllib.request.urlopen(request).close()
            return
        except OSError as error:
            refused = error
            time.sleep(0.1)
    raise RuntimeError("gunicorn does not answer") from refused


def compare(url_for, contenders):
    """Requests a second, by contender: the medians of the rounds."""
    rates = {name: [] for name in contenders}
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % {"path": PATH, "key": KEY})
        script.flush()
        for _ in range(ROUNDS):
            for name in contenders:
                with served(name, url_for(name)) as address:
                    command = ["wrk", "-t1", "-c4", f"-d{SECONDS}s", "-s", script.name, address]
                    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                if "failed 0" not in out:
                    print(f"not all requests of {name} succeeded:\n{out}", file=sys.stderr)
                rates[name].append(float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]))
    return {name: statistics.median(found) for name, found in rates.items()}


if __name__ == "__main__":
    print(compare(lambda name: os.environ["BACKFILLS_TEST_POSTGRESQL"], sys.argv[1:]))
