"""The attributes of a backfill and of a run: one line each, tightened by the host's columns.

How each kind of attribute is read and shown stands in :mod:`.fields`.
"""

from __future__ import annotations

import typing as t
from datetime import tzinfo
from functools import cached_property

import sqlalchemy as sa
from marshmallow import fields
from marshmallow import missing
from marshmallow import RAISE
from marshmallow import Schema
from marshmallow import validate
from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA

from ..errors import Errors
from ..errors import text
from ..rules.lifecycle import STATUSES
from ..rules.names import unknown
from ..rules.sight import is_blank
from ..rules.window import INTERVAL_TYPES
from . import columns
from .fields import also
from .fields import AsColumn
from .fields import Choice
from .fields import COMPUTED
from .fields import JSONObject
from .fields import reachable
from .fields import same
from .fields import Text
from .fields import UTCDateTime
from .fields import WholeNumber

#: Of any kind, so that a host may replace it with a field of another kind.
Field: t.TypeAlias = "fields.Field[t.Any]"

#: What a GET shows beside the attributes, where it is asked to.
ADDED = {"forecast", "pipeline_run_dates", "run_status_counts", "total_run_count"}


class ModelSchema(Schema):
    """A schema whose fields follow the columns of the host's model.

    :param model: the host's model; an attribute that it does not map is shown as null.
    """

    def __init__(self, model: type[t.Any], **kwargs: t.Any) -> None:
        self.mapper = columns.mapper_of(model)
        super().__init__(**kwargs)

    def on_bind_field(self, field_name: str, field_obj: t.Any) -> None:
        """Tighten a field to the host's column."""
        if field_obj.dump_default is missing:
            field_obj.dump_default = None
        name = field_obj.attribute or field_name
        if name == "id" and columns.mapped_as(self.mapper, name) is None:
            name = field_obj.attribute = columns.key_attribute(self.mapper)
        column = columns.column_of(self.mapper, name)
        if column is None:
            return
        if not column.nullable:
            field_obj.allow_none = False
        if isinstance(field_obj, AsColumn):
            field_obj.follow(column)
        kind = columns.plain_type(column)
        if isinstance(field_obj, UTCDateTime):
            field_obj.aware = columns.is_aware(column)
        elif isinstance(field_obj, Choice) and isinstance(kind, sa.Enum):
            field_obj.narrow(kind)
        elif isinstance(field_obj, AsColumn) and kind is not column.type:
            # Its values are the host's own: they may be longer or shorter than what is stored.
            pass
        elif isinstance(field_obj, AsColumn) and isinstance(kind, sa.Enum):
            also(field_obj, validate.OneOf(kind.enums))
        elif isinstance(field_obj, (fields.String, AsColumn)) and isinstance(kind, sa.String):
            if kind.length:
                also(field_obj, validate.Length(max=kind.length))
        elif isinstance(field_obj, (fields.Integer, AsColumn)) and isinstance(kind, sa.Integer):
            least, most = columns.integer_range(column)
            also(field_obj, validate.Range(min=least, max=most))

    def get_attribute(self, obj: t.Any, attr: str, default: t.Any) -> t.Any:
        # As marshmallow does, less what only names with a dot in them need.
        if "." in attr:
            return super().get_attribute(obj, attr, default)
        return getattr(obj, attr, default)

    def word(self, attribute: str, value: t.Any) -> str | None:
        """The word for what a column holds, which may be an enum's member."""
        return t.cast("str | None", self.fields[attribute]._serialize(value, "", None))

    def is_word(self, model: type[t.Any], attribute: str, word: str) -> t.Any:
        """The criterion that a row of the model has a word, which its column may not know."""
        members = t.cast(Choice, self.fields[attribute]).members
        if word not in members or columns.column_of(self.mapper, attribute) is None:
            return sa.false()
        return getattr(model, attribute) == members[word]

    def member(self, attribute: str, word: str) -> t.Any:
        """What the column holds for a word."""
        return t.cast(Choice, self.fields[attribute]).members[word]


def _not_blank(sent: str) -> None:
    # An empty one has a message of its own.
    if sent and is_blank(sent):
        raise ValidationError("Must not be blank.")


class BackfillSchema(ModelSchema):
    """Says which attributes of a backfill may be written, and how they are shown.

    Subclass it to add an attribute, or to make one read-only (``dump_only=True``).

    :param model: your model. The limits of its columns apply. An attribute that the model
        does not map is shown as null and can't be written.
    """

    class Meta:
        unknown = RAISE

    #: The zone of windows on the wire; ``None`` if they are in UTC, without an offset.
    window_zone: tzinfo | None = None

    id: Field = AsColumn(dump_only=True)
    block_uuid: Field = AsColumn(allow_none=True)
    completed_at: Field = UTCDateTime(allow_none=True)
    created_at: Field = UTCDateTime(dump_only=True)
    end_datetime: Field = UTCDateTime(allow_none=True)
    failed_at: Field = UTCDateTime(allow_none=True)
    interval_type: Field = Choice(INTERVAL_TYPES, allow_none=True)
    interval_units: Field = WholeNumber(allow_none=True, validate=validate.Range(min=1))
    metrics: Field = JSONObject(allow_none=True)
    name: Field = Text(validate=[validate.Length(min=1), _not_blank])
    pipeline_schedule_id: Field = AsColumn(allow_none=True)
    pipeline_uuid: Field = AsColumn(dump_only=True, validate=reachable)
    settings: Field = JSONObject(allow_none=True)
    start_datetime: Field = UTCDateTime(allow_none=True)
    started_at: Field = UTCDateTime(allow_none=True)
    # Workers and filters look up its words: no field of another kind has them.
    status: Choice = Choice(STATUSES)
    updated_at: Field = UTCDateTime(dump_only=True)
    variables: Field = JSONObject(allow_none=True)

    def __init__(self, model: type[t.Any], **kwargs: t.Any) -> None:
        mapper = columns.mapper_of(model)
        declared = BackfillSchema._declared_fields.keys() & type(self)._declared_fields.keys()
        # What is not mapped, and what can be read alone: expressions, and what is generated.
        closed = {name for name in declared - {"id"} if not columns.is_written(mapper, name)}
        kwargs["dump_only"] = {*kwargs.get("dump_only", ()), *closed}
        if not hasattr(model, "settings"):
            kwargs["exclude"] = {*kwargs.get("exclude", ()), *(declared & {"settings"})}
        super().__init__(model, **kwargs)

    def missing_from(self, sent: dict[str, t.Any]) -> Errors:
        """The errors for required attributes that a new backfill does not have."""
        needed = []
        for name, field in self.fields.items():
            column = columns.column_of(self.mapper, field.attribute or name)
            if column is None or field.dump_only or column.nullable or column.primary_key:
                continue
            if column.default is None and column.server_default is None:
                needed.append(field.data_key or name)
        return {
            key: ["Missing data for required field."] for key in needed if sent.get(key) is None
        }

    @cached_property
    def defaulted(self) -> dict[str, str]:
        """The names on the wire of what a request or a default fills in a new row, by attribute."""
        return {
            attribute: self.keys[attribute]
            for attribute, column in self.columns.items()
            if column is not None
            and (column.default is not None or column.server_default is not None)
            and self.keys[attribute] not in self.closed
        }

    @cached_property
    def moments(self) -> dict[str, sa.Column[t.Any]]:
        """The columns of datetimes, by attribute."""
        return {
            attribute: column
            for attribute, column in self.columns.items()
            if column is not None and isinstance(columns.plain_type(column), sa.DateTime)
        }

    @cached_property
    def columns(self) -> dict[str, sa.Column[t.Any] | None]:
        """The columns by attribute; ``None`` where it is none."""
        return {attribute: columns.column_of(self.mapper, attribute) for attribute in self.keys}

    @cached_property
    def keys(self) -> dict[str, str]:
        """The names on the wire, by attribute of the model."""
        return {
            field.attribute or name: field.data_key or name for name, field in self.fields.items()
        }

    @cached_property
    def closed(self) -> dict[str, Field]:
        """The fields that can't be written, by their names on the wire."""
        return {f.data_key or name: f for name, f in self.fields.items() if f.dump_only}

    def key_of(self, attribute: str) -> str:
        """The name on the wire of an attribute of the model."""
        return self.keys.get(attribute, attribute)

    def show_only(self, keys: t.Iterable[str], backfill: t.Any) -> dict[str, t.Any]:
        """What :meth:`dump` shows of a backfill under some of its keys."""
        found = ((key, *self._by_key[key]) for key in keys if key in self._by_key)
        return {
            key: field.serialize(name, backfill, accessor=self.get_attribute)
            for key, name, field in found
        }

    @cached_property
    def _by_key(self) -> dict[str, tuple[str, Field]]:
        return {f.data_key or name: (name, f) for name, f in self.dump_fields.items()}

    def shows(self, attribute: str, value: t.Any, shown: t.Any) -> bool:
        """Whether a value of an attribute is shown as ``shown``."""
        field = self._by_attribute[attribute]
        if isinstance(field, COMPUTED):
            return False
        return same(field._serialize(value, attribute, None), shown)

    @cached_property
    def _by_attribute(self) -> dict[str, Field]:
        return {field.attribute or name: field for name, field in self.fields.items()}

    def read(
        self, sent: dict[str, t.Any], shown: dict[str, t.Any]
    ) -> tuple[dict[str, t.Any], Errors]:
        """The values of what was sent, by attribute, and what is wrong with the rest.

        A key that comes back as it is shown asks for nothing, so that a client can always PUT
        what it GOT. So does what a GET adds beside the attributes.
        """
        errors: Errors = {}
        asked: dict[str, t.Any] = {}
        for key, value in sent.items():
            if key in shown and same(value, shown[key]):
                continue
            if key in ADDED and key not in self._by_key:
                continue
            if key not in self.closed:
                asked[key] = value
            elif not _echoes(self.closed[key], value, shown.get(key)):
                errors[key] = ["Read-only: may only be sent back unchanged."]
        try:
            values = self.load(asked, partial=True)
        except ValidationError as error:
            values = error.valid_data if isinstance(error.valid_data, dict) else {}
            messages = error.normalized_messages()  # type: ignore[no-untyped-call]
            known = self.keys.values()
            # What a validator of the host's whole schema says has a key of its own.
            told = unknown([k for k in messages if k not in known and k != SCHEMA], known)
            errors.update({text(key): found for key, found in {**messages, **told}.items()})
        if not isinstance(values, dict):
            raise TypeError(f"{type(self).__name__} must load a dictionary, not {values!r}")
        # Also in a host's own fields, which may be of any kind.
        for attribute, value in values.items():
            if refusal := columns.refusal(self.columns.get(attribute), value):
                errors[self.key_of(attribute)] = [refusal]
        return values, errors


class RunSchema(ModelSchema):
    """The attributes of a run, as the API shows them."""

    id = AsColumn()
    attempt = WholeNumber()
    backfill_id = AsColumn()
    completed_at = UTCDateTime()
    error = Text()
    execution_date = UTCDateTime()
    interval_end_datetime = UTCDateTime()
    key = Text()
    pipeline_uuid = AsColumn()
    started_at = UTCDateTime()
    status = Choice(STATUSES)
    variables = JSONObject()


def _echoes(field: t.Any, value: t.Any, shown: t.Any) -> bool:
    if isinstance(field, COMPUTED):
        return False
    # The same moment in another spelling is the same value.
    try:
        return same(field._serialize(field.deserialize(value), "", None), shown)
    except ValidationError:
        return False
