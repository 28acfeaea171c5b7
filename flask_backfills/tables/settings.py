"""The settings of a row: checked when they are sent, and read as far as they are right."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from marshmallow import fields
from marshmallow import INCLUDE
from marshmallow import Schema
from marshmallow import validate
from marshmallow import ValidationError

from ..rules.settings import CHOICES
from ..rules.settings import NUMBERS
from ..rules.settings import SWITCHES


def _is_boolean(value: t.Any) -> None:
    if not isinstance(value, bool):
        raise ValidationError("Must be true or false.")


def _schema() -> Schema:
    known: dict[str, t.Any] = {}
    for name, (least, most) in NUMBERS.items():
        bounds = validate.Range(min=least, max=most)
        known[name] = fields.Integer(strict=True, allow_none=True, validate=bounds)
    for name, words in CHOICES.items():
        known[name] = fields.String(allow_none=True, validate=validate.OneOf(words))
    for name in SWITCHES:
        known[name] = fields.Raw(allow_none=True, validate=_is_boolean)
    return Schema.from_dict(known, name="SettingsSchema")(unknown=INCLUDE)


_SETTINGS = _schema()


def wrong_settings(settings: dict[str, t.Any]) -> dict[str, list[str]]:
    """What is wrong with each of the settings that decide something."""
    return _SETTINGS.validate(settings)


def settings_of(backfill: t.Any) -> Mapping[str, t.Any]:
    """The settings of a row that are right; what is stored may be older than the rules."""
    settings = getattr(backfill, "settings", None)
    if not isinstance(settings, dict):
        return {}
    wrong = wrong_settings(settings)
    return {k: v for k, v in settings.items() if k not in wrong and v is not None}
