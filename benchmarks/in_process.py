"""The same PUT in one process: rounds of each contender, interleaved, medians."""

import asyncio
import gc
import importlib
import io
import json
import statistics
import sys
import time

from contenders.common import KEY
from contenders.common import PATH

#: In the order of the table, the floor first.
CONTENDERS = {
    "bare": "bare Flask view (floor)",
    "by_hand": "by hand, ORM and isinstance",
    "ours": "Flask-Backfills",
    "marshmallow_view": "obvious marshmallow view",
    "smorest": "flask-smorest",
    "apiflask_view": "APIFlask",
    "restx": "flask-restx",
    "drf": "Django REST Framework",
    "fastapi_view": "FastAPI",
}
ROUNDS = 100
PUTS = 25


def body(number):
    """A change of four attributes, another one each time."""
    backfill = {
        "start_datetime": f"2023-07-{1 + number % 9:02} 23:56:05",
        "end_datetime": "2023-07-18 23:56:05",
        "name": f"name {number}",
        "variables": {"number": number, "env": "prod"},
    }
    return json.dumps({"backfill": backfill}).encode()


def wsgi(app):
    def put(sent):
        environ = {
            "REQUEST_METHOD": "PUT",
            "SCRIPT_NAME": "",
            "PATH_INFO": PATH,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(sent)),
            "HTTP_HOST": "localhost",
            "HTTP_X_API_KEY": KEY,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(sent),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        status = []
        answer = app(environ, lambda line, headers, exc_info=None: status.append(line))
        text = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        return status[0][:3], text

    return put


def asgi(app):
    loop = asyncio.new_event_loop()
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    headers.append((b"x-api-key", KEY.encode()))

    async def call(sent):
        told = []

        async def receive():
            return {"type": "http.request", "body": sent, "more_body": False}

        async def send(message):
            told.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "PUT",
            "scheme": "http",
            "path": PATH,
            "raw_path": PATH.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [*headers, (b"content-length", str(len(sent)).encode())],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
        }
        await app(scope, receive, send)
        return str(told[0]["status"]), told[1]["body"]

    return lambda sent: loop.run_until_complete(call(sent))


def compare(url_for, contenders=CONTENDERS, rounds=ROUNDS):
    """Microseconds a PUT, by contender: the medians of the rounds."""
    puts = {}
    for name in contenders:
        app = importlib.import_module(f"contenders.{name}").create(url_for(name))
        puts[name] = asgi(app) if name == "fastapi_view" else wsgi(app)
        status, text = puts[name](body(0))
        assert status == "200", (name, status, text)
        assert name == "bare" or json.loads(text)["backfill"]["name"] == "name 0", (name, text)
        for number in range(100):
            puts[name](body(number))
    taken = {name: [] for name in contenders}
    number = 0
    for _ in range(rounds):
        for name, put in puts.items():
            sent = [body(number + n) for n in range(PUTS)]
            number += PUTS
            gc.collect()
            begun = time.perf_counter()
            for one in sent:
                put(one)
            taken[name].append((time.perf_counter() - begun) / PUTS)
    return {name: statistics.median(times) * 1e6 for name, times in taken.items()}


if __name__ == "__main__":
    print(json.dumps(compare(lambda name: sys.argv[1].replace("NAME", name))))
