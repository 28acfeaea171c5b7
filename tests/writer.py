"""One of many writers, a process of its own: python tests/writer.py URL SEED UPDATES.

It knows nothing of the package, as a caller of its API.
"""

import http.client
import json
import random
import sys
from urllib.parse import urlsplit


def write(url, seed, updates):
    """Send updates that know of others only what they see, and print the answers."""
    address = urlsplit(url)
    dice = random.Random(seed)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    etag = None
    for _ in range(int(updates)):
        choices = {
            "start_datetime": f"2023-03-{dice.randint(1, 20):02} 00:00:00",
            "end_datetime": f"2023-03-{dice.randint(10, 30):02} 00:00:00",
            "interval_units": dice.randint(0, 9),
            "name": dice.choice("abcdefgh"),
            "status": dice.choice(["initial", "running", "completed", "failed", "cancelled"]),
            "variables": {"n": dice.randint(1, 99)},
        }
        sent = {key: choices[key] for key in dice.sample(sorted(choices), dice.randint(1, 3))}
        headers = {"Content-Type": "application/json"}
        if etag and dice.random() < 0.5:
            headers["If-Match"] = etag
        connection.request("PUT", address.path, json.dumps({"backfill": sent}), headers)
        response = connection.getresponse()
        told = json.loads(response.read())
        etag = response.headers.get("ETag", etag)
        print(json.dumps([sent, headers.get("If-Match"), response.status, etag, told]))


if __name__ == "__main__":
    write(*sys.argv[1:])
