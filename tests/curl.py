"""The commands of curl that the pages show, without a server: a test client sends what they send."""

import argparse
import doctest
import json
import re

#: Where the pages say that the app is.
SERVER = "http://localhost:5000"

OPTIONS = doctest.ELLIPSIS


def parser():
    found = argparse.ArgumentParser()
    found.add_argument("url")
    found.add_argument("-X", dest="method")
    found.add_argument("-H", dest="headers", action="append", default=[])
    found.add_argument("-d", dest="data")
    found.add_argument("-i", dest="headed", action="store_true")
    found.add_argument("-s", dest="silent", action="store_true")
    found.add_argument("-o", dest="output")
    found.add_argument("-w", dest="written")
    return found


def answer(client, arguments):
    """What ``curl`` prints, called with a list of arguments."""
    args = parser().parse_args(arguments)
    assert args.url.startswith(SERVER), args.url
    headers = [line.split(": ", 1) for line in args.headers]
    # What curl itself says of data.
    if args.data is not None and "content-type" not in {name.lower() for name, _ in headers}:
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    method = args.method or ("GET" if args.data is None else "POST")
    response = client.open(
        args.url.removeprefix(SERVER), method=method, headers=headers, data=args.data
    )
    if args.written:
        [name] = re.findall(r"^%header\{(.*)\}$", args.written)
        return response.headers[name]
    if not args.headed:
        return response.text
    lines = [f"{name}: {value}" for name, value in response.headers]
    return "\n".join([f"HTTP/1.1 {response.status}", *lines, "", response.text])


def check_json(expected, text):
    """Compare an answer with one that a page shows: indented, and with ``...`` for what it leaves out."""
    shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    assert doctest.OutputChecker().check_output(expected, shown, OPTIONS), (expected, shown)
