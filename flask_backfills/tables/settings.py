"""The settings of a row: checked when they are sent, and read as far as they are right."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

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
