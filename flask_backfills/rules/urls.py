"""Which URLs may be links: those that lead somewhere, and none that a browser would run."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)

#: Browsers leave these out of a URL, so that they could hide what it is.
_LEFT_OUT = re.compile(r"[\x00-\x1f\x7f]")


def link(url: object) -> str | None:
    r"""A URL if it is one of the web, or relative to the page; otherwise ``None``.

    >>> link("https://logs.example/7"), link("/logs/7"), link("../logs?run=7")
    ('https://logs.example/7', '/logs/7', '../logs?run=7')
    >>> link("javascript:alert(1)"), link("java\tscript:alert(1)"), link(" data:text/html,x")
    (None, None, None)
    >>> link(None), link("")
    (None, None)
    """
    found = url.strip() if isinstance(url, str) else ""
    if not found or _LEFT_OUT.search(found):
        return None
    scheme = _SCHEME.match(found)
    return found if scheme is None or scheme[0].lower() in ("http:", "https:") else None
