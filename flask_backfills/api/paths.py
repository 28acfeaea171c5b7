"""The paths of the routes, and what is answered there where no view is: JSON, too.

The app answers what no rule of ours matches, in its own way.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Iterable
from functools import cache

from flask import Blueprint
from flask import request
from flask import Response
from werkzeug.exceptions import MethodNotAllowed

from .csrf import exempt

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class Paths:
    """Adds rules to a blueprint, and remembers which methods each path has."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        blueprint.url_value_preprocessor(exempt)
        self.methods: defaultdict[str, set[str]] = defaultdict(set)

    def rule(
        self,
        path: str,
        endpoint: str,
        view: Callable[..., t.Any],
        methods: Iterable[str] = ("GET",),
    ) -> None:
        self.methods[path].update(methods)
        self._add(path, endpoint, view, methods)

    def close(self) -> None:
        """Answer the other methods of each path with a 405, and OPTIONS with those that it has."""
        for path, known in self.methods.items():
            endpoint = f"not_{'_'.join(sorted(known)).lower()}"
            self._add(path, endpoint, _others(frozenset(known)), {*METHODS, "OPTIONS"} - known)

    def missing(self, path: str, view: Callable[..., t.Any]) -> None:
        """Answer every method of a path with what a view raises."""
        self._add(path, "missing", view, [*METHODS, "OPTIONS"], strict_slashes=False)

    def _add(
        self,
        path: str,
        endpoint: str,
        view: Callable[..., t.Any],
        methods: Iterable[str],
        **options: t.Any,
    ) -> None:
        # Flask would tell of all methods that any rule has.
        options["provide_automatic_options"] = False
        self.blueprint.add_url_rule(path, endpoint, view, methods=list(methods), **options)


@cache
def _others(known: frozenset[str]) -> Callable[..., Response]:
    allowed = sorted({*known, "OPTIONS", *(("HEAD",) if "GET" in known else ())})

    def view(**parts: t.Any) -> Response:
        if request.method == "OPTIONS":
            return Response(headers={"Allow": ", ".join(allowed)})
        raise MethodNotAllowed(allowed)

    return view
