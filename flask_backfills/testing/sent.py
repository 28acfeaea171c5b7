"""What a backfill of a test has that the test does not name: values that its model can store."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from datetime import date
from datetime import datetime
from datetime import timedelta

import sqlalchemy as sa

from ..host import Host
from ..tables import columns

#: The first day of a window, in the zone of the blueprint.
FIRST = date(2023, 7, 1)

#: More days a window can't have.
MOST = (date.max - FIRST).days

#: The pipeline, where the blueprint does not say which there are.
PIPELINE = "tests"

#: What a required attribute of the host's own gets, by the Python type of its column.
PLAIN: dict[t.Any, t.Any] = {str: "test", int: 1, float: 1.0, bool: False, dict: {}, list: []}


def pipeline(host: Host) -> str:
    """The first pipeline that there is."""
    if host.pipelines is None:
        return PIPELINE
    return next((str(one) for one in host.pipelines()), PIPELINE)


def backfill(
    host: Host, name: str, runs: int, start: bool, given: Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """The values of a new backfill, by their names on the wire.

    :param name: unless another is given.
    :param runs: how many days the window has, unless one of its ends is given.
    :param start: whether its runs wait, where the blueprint has runs.
    :param given: by attribute, as the test names them.
    """
    last = FIRST + timedelta(days=runs - 1 if host.inclusive else runs)
    usual: dict[str, t.Any] = {"name": name, "interval_type": "day", "interval_units": 1}
    if not given.keys() & {"start_datetime", "end_datetime"}:
        usual |= {"start_datetime": FIRST, "end_datetime": last}
    if start and host.run_model is not None:
        usual["status"] = "initial"
    usual = {name: value for name, value in usual.items() if _is_written(host, name)}
    sent = {host.schema.key_of(name): wire(value) for name, value in (usual | {**given}).items()}
    return {**_required(host, sent), **sent}


def wire(value: t.Any) -> t.Any:
    """A value as a request has it: a datetime as a text."""
    return value.isoformat() if isinstance(value, (date, datetime)) else value


def _is_written(host: Host, attribute: str) -> bool:
    key = host.schema.key_of(attribute)
    return host.schema.columns.get(attribute) is not None and key not in host.schema.closed


def _required(host: Host, sent: dict[str, t.Any]) -> dict[str, t.Any]:
    """Something plain for what the model requires, and neither the test nor a default gives."""
    missing = host.schema.missing_from(sent)
    attributes = {key: attribute for attribute, key in host.schema.keys.items()}
    found = {}
    for key in missing:
        column = host.schema.columns[attributes[key]]
        kind = None if column is None else columns.plain_type(column)
        if isinstance(kind, sa.Enum):
            found[key] = kind.enums[0]
        elif (python := getattr(kind, "python_type", None)) in PLAIN:
            found[key] = PLAIN[python]
    return found
