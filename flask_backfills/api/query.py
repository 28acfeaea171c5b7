"""The query parameters of each route."""

from __future__ import annotations

import typing as t
from datetime import tzinfo
from functools import cache

from flask import Request
from marshmallow import fields
from marshmallow import Schema
from marshmallow import validate
from marshmallow import validates_schema
from marshmallow import ValidationError

from .. import errors
from ..auth import CREDENTIALS
from ..rules import names
from ..rules.lifecycle import STATUSES
from ..tables.fields import Text
from ..tables.fields import UTCDateTime
from ..tables.fields import WholeNumber
from ..tables.zoned import Span

#: What Mage's own callers send with every request: credentials, which ``authorize`` may read,
#: and whether they want the HTTP status of an error, which they always get.
LET_THROUGH = {*CREDENTIALS, "_http_error_codes"}


class Query(Schema):
    """No parameters."""


class Page(Query):
    limit = WholeNumber(data_key="_limit", load_default=20, validate=validate.Range(1, 100))
    offset = WholeNumber(data_key="_offset", load_default=0, validate=validate.Range(0, 2**31 - 1))


class WhatIf(Page):
    at_once = WholeNumber(load_default=None, validate=validate.Range(1, 1000))


class Detail(WhatIf):
    include_forecast = fields.Boolean(load_default=False)
    include_run_count = fields.Boolean(load_default=False)
    include_preview_runs = fields.Boolean(load_default=False)


class List(Page):
    include_run_count = fields.Boolean(load_default=False)
    status = Text(load_default=None, allow_none=False, validate=validate.OneOf(STATUSES))


class ListAnywhere(List):
    pipeline_uuid = Text(required=True)


class RunList(Page):
    status = Text(load_default=None, allow_none=False, validate=validate.OneOf(STATUSES))


class RunUpdate(Query):
    dry_run = fields.Boolean(load_default=False)


class RunsUpdate(RunUpdate):
    status = Text(required=True, validate=validate.OneOf(STATUSES))


class Coverage(Page, Span):
    """A page of what is covered of a span."""


class Explain(Query):
    key = Text(load_default=None, allow_none=False)
    date = UTCDateTime(load_default=None, allow_none=False)

    @validates_schema
    def _names_one_run(self, asked: dict[str, t.Any], **more: t.Any) -> None:
        if asked["key"] is not None and asked["date"] is not None:
            raise ValidationError("Send key or date, not both.", "date")


class MageRuns(Page):
    backfill_id = Text(required=True)
    status = Text(load_default=None, validate=validate.OneOf([*STATUSES, "last_run_failed"]))


class Change(WhatIf):
    dry_run = fields.Boolean(load_default=False)


# One of each for all requests, and what it reads where nothing was sent.
@cache
def _made(schema: type[Query], zone: tzinfo | None) -> Query:
    made = schema()
    for field in made.fields.values():
        if isinstance(field, UTCDateTime):
            field.zone = zone
    return made


_defaults: t.Any = cache(lambda schema: _made(schema, None).load({}))


def read(request: Request, schema: type[Query], zone: tzinfo | None = None) -> dict[str, t.Any]:
    """Return the query parameters of a request.

    :param zone: the zone of datetimes without an offset; ``None`` for UTC.
    :raises flask_backfills.errors.Refused: for unknown parameters, for repeated parameters,
        and for values that are not valid.
    """
    lists = request.args.lists() if request.query_string else ()
    sent = {key: found for key, found in lists if key not in LET_THROUGH}
    wrong: errors.Errors = {
        errors.text(key): ["Given more than once."] for key, found in sent.items() if len(found) > 1
    }
    try:
        if not sent:
            return {**_defaults(schema)}
        values = _made(schema, zone).load({key: found[0] for key, found in sent.items()})
    except ValidationError as error:
        messages = error.normalized_messages()  # type: ignore[no-untyped-call]
        known = [field.data_key or name for name, field in _made(schema, zone).fields.items()]
        told = names.unknown([key for key in messages if key not in known], known)
        wrong.update({**messages, **told})
    if wrong:
        raise errors.QueryRefused(wrong)
    return t.cast("dict[str, t.Any]", values)
