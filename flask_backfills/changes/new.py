"""A new backfill: made by its model's own ``__init__``, and not stored yet."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa
from marshmallow import ValidationError

from .. import errors
from ..tables import columns
from ..tables import models
from ..tables.assign import REFUSALS
from ..tables.backfill_table import BackfillTable
from ..tables.schema import BackfillSchema


def new(
    table: BackfillTable, schema: BackfillSchema, pipeline_uuid: str, sent: dict[str, t.Any]
) -> tuple[t.Any, errors.Errors]:
    """Return a backfill that is not stored yet, and the errors that prevent storing it."""
    wrong = schema.missing_from(sent)
    pipeline = _pipeline(table, schema, pipeline_uuid, wrong)
    try:
        backfill = _made(schema, pipeline, sent, wrong)
    except REFUSALS as error:
        wrong["backfill"] = [str(error) or "Refused by the model."]
        backfill = _blank(schema)
    try:
        backfill.pipeline_uuid = pipeline
    except REFUSALS as error:
        wrong["pipeline_uuid"] = [str(error) or "Refused by the model."]
    return backfill, wrong


def _pipeline(
    table: BackfillTable, schema: BackfillSchema, pipeline_uuid: str, wrong: errors.Errors
) -> t.Any:
    try:
        schema.fields["pipeline_uuid"].deserialize(pipeline_uuid)
    except ValidationError as error:
        wrong["pipeline_uuid"] = error.messages
        return None
    pipeline = table.pipeline_of(pipeline_uuid)
    if pipeline is None:
        wrong["pipeline_uuid"] = ["No pipeline can have this name."]
    return pipeline


def _made(
    schema: BackfillSchema, pipeline: t.Any, sent: dict[str, t.Any], wrong: errors.Errors
) -> t.Any:
    """A backfill whose ``__init__`` got what it requires of what was sent."""
    mapper = schema.mapper
    needed = models.arguments(mapper.class_)
    if not needed:
        return mapper.class_()
    blank = _blank(schema)
    values, found = schema.read(sent, schema.show_only(sent, blank))
    if wrong or found.keys() - {"pipeline_uuid"}:
        return blank
    keys = {name: columns.mapped_as(mapper, name) or name for name in needed}
    of_pipeline = columns.mapped_as(mapper, "pipeline_uuid")
    given = {
        name: pipeline if key == of_pipeline else values.get(name) for name, key in keys.items()
    }
    backfill = mapper.class_(**given)
    for name, key in keys.items():
        if name in values and key in sa.inspect(backfill).dict:
            # Written with what else was sent: it is a change like any other.
            delattr(backfill, key)
    return backfill


def _blank(schema: BackfillSchema) -> t.Any:
    """A backfill made like a row that is read: enough to find what is wrong."""
    return schema.mapper.class_manager.new_instance()
