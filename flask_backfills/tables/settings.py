"""The settings of a row: checked when they are sent, and read as far as they are right."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

import sqlalchemy as sa
from marshmallow import fields
from marshmallow import INCLUDE
from marshmallow import Schema
from marshmallow import validate
from marshmallow import ValidationError

from ..errors import text
from ..rules.names import HARDLY_BY_CHANCE
from ..rules.names import nearest
from ..rules.names import SLIPS
from ..rules.settings import CHOICES
from ..rules.settings import NUMBERS
from ..rules.settings import SETTINGS
from ..rules.settings import SWITCHES
from . import columns
from .fields import WholeNumber


def _is_boolean(value: t.Any) -> None:
    if not isinstance(value, bool):
        raise ValidationError("Must be true or false.")


def _schema() -> Schema:
    known: dict[str, t.Any] = {}
    for name, (least, most) in NUMBERS.items():
        bounds = validate.Range(min=least, max=most)
        known[name] = WholeNumber(allow_none=True, validate=bounds)
    for name, words in CHOICES.items():
        known[name] = fields.String(allow_none=True, validate=validate.OneOf(words))
    for name in SWITCHES:
        known[name] = fields.Raw(allow_none=True, validate=_is_boolean)
    return Schema.from_dict(known, name="SettingsSchema")(unknown=INCLUDE)


_SETTINGS = _schema()


def read_settings(settings: dict[str, t.Any]) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Settings as they are stored, and what is wrong with each that decides something."""
    try:
        found: t.Any = _SETTINGS.load(settings)
        return {key: found[key] for key in settings}, {}
    except ValidationError as error:
        return settings, error.normalized_messages()  # type: ignore[no-untyped-call]


def slips(settings: dict[str, t.Any]) -> dict[str, list[str]]:
    """What to say of the host's own settings whose names are almost those of ours."""
    own = [name for name in settings if name not in SETTINGS]
    if len(own) > SLIPS:
        return {}
    return {
        text(name): [f"Not a setting. Did you mean {near}?"]
        for name in own
        if (near := nearest(name, SETTINGS, HARDLY_BY_CHANCE)) is not None
    }


def settings_of(backfill: t.Any) -> Mapping[str, t.Any]:
    """The settings of a row that are right; what is stored may be older than the rules."""
    settings = getattr(backfill, "settings", None)
    if not isinstance(settings, dict):
        return {}
    settings, wrong = read_settings(settings)
    return {k: v for k, v in settings.items() if k not in wrong and v is not None}


class Unreadable(t.NamedTuple):
    """What a row has for settings that its column's type can't read."""

    error: Exception


class _Guarded(sa.types.TypeDecorator[t.Any]):
    """The type of a column, for a SELECT of many rows: what one holds must not stop the others."""

    impl = sa.types.NullType
    cache_ok = True

    def __init__(self, inner: t.Any) -> None:
        super().__init__()
        # The name of the argument too, by which SQLAlchemy tells one from another.
        self.inner = self.impl = inner

    def result_processor(self, dialect: sa.Dialect, coltype: t.Any) -> t.Any:
        read = super().result_processor(dialect, coltype)
        if read is None:
            return None

        def guarded(value: t.Any) -> t.Any:
            try:
                return read(value)
            except Exception as error:
                return Unreadable(error)

        return guarded


def readable(model: type[t.Any]) -> t.Any:
    """What a SELECT asks for the settings of many rows; those that can't be read come as
    :class:`Unreadable`, and a model without settings has null.
    """
    column = columns.column_of(columns.mapper_of(model), "settings")
    if column is None:
        return getattr(model, "settings", sa.null())
    return sa.type_coerce(column, _Guarded(column.type))
