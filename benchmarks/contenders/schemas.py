"""The marshmallow schemas of those that use it."""

from datetime import timezone

from marshmallow import fields
from marshmallow import Schema
from marshmallow import validate

from .common import DATES
from .common import FOLLOWS
from .common import INTERVALS


def moment():
    return fields.NaiveDateTime(timezone=timezone.utc, allow_none=True)


BackfillSchema = Schema.from_dict(
    {
        "name": fields.String(validate=validate.Length(1, 255)),
        "block_uuid": fields.String(validate=validate.Length(1, 255), allow_none=True),
        "pipeline_schedule_id": fields.Integer(allow_none=True),
        "interval_type": fields.String(validate=validate.OneOf(INTERVALS), allow_none=True),
        "interval_units": fields.Integer(validate=validate.Range(min=1), allow_none=True),
        "status": fields.String(validate=validate.OneOf(FOLLOWS[None])),
        **{name: fields.Dict(allow_none=True) for name in ("variables", "metrics", "settings")},
        **{name: moment() for name in DATES},
    },
    name="BackfillSchema",
)


class BodySchema(Schema):
    backfill = fields.Nested(BackfillSchema(partial=True), required=True)


class AnswerSchema(Schema):
    backfill = fields.Dict()
