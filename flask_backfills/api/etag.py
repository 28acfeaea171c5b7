"""The ETag of a backfill, and whether an edit is of the version that it names.

It has two parts: what people edit, and all that is shown. Workers report metrics and timestamps
while a backfill is running, and an edit of something else need not wait until they are silent.
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from hashlib import sha1

from werkzeug.datastructures import ETags

from ..answering import encoder
from ..host import Host

#: What workers report, where there are runs.
REPORTED = ("metrics", "started_at", "completed_at", "failed_at")


def etag(host: Host, shown: t.Mapping[str, t.Any]) -> str:
    """The ETag of a backfill as it is shown."""
    follows = {*_reported(host), host.schema.key_of("updated_at")}
    edited = dict(shown)
    reported = {key: edited.pop(key) for key in follows if key in edited}
    encode = encoder().encode
    digest = sha1(_bytes(encode(edited)))
    first = digest.hexdigest()
    digest.update(_bytes(encode(reported)))
    return f"{first[:20]}-{digest.hexdigest()[:20]}"


def matches(
    host: Host,
    named: ETags,
    shown: t.Mapping[str, t.Any],
    sent: Collection[str] | None = None,
) -> bool:
    """Whether If-Match names the version of a backfill.

    :param sent: the keys of an edit. Only one that writes what workers report has to name what
        they have reported last.
    """
    now = etag(host, shown)
    if named.contains(now):
        return True
    reported = _reported(host)
    if sent is None or not reported or not reported.isdisjoint(sent):
        return False
    edited = now.partition("-")[0]
    # Of an empty tag, Werkzeug makes None.
    return any(one.partition("-")[0] == edited for one in named if one)


def _reported(host: Host) -> set[str]:
    if host.run_model is None:
        return set()
    return {host.schema.key_of(name) for name in REPORTED}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
