"""What a test gives to the kit: each mistake is a sentence with what was given and what is right."""

from __future__ import annotations

import math
import operator
import typing as t
from collections.abc import Mapping
from datetime import date
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from numbers import Integral
from numbers import Real

import sqlalchemy as sa

from ..host import Host
from ..runs import metrics as numbers
from ..tables import columns

#: What a test lets an attempt fail with: an exception, its class, or the text of one.
Failure = BaseException | type[BaseException] | str

#: What a sentence repeats as it is. The ``repr()`` of anything else may fail, or fill the page.
_PLAIN = (str, int, float, date, timedelta, type(None))


def backfill(host: Host, one: t.Any) -> t.Any:
    """A row of the host's backfills.

    :raises TypeError: for anything else.
    :raises ValueError: for one that was never stored.
    """
    return _stored(one, "a backfill", host.table.model)


def row(host: Host, one: t.Any) -> t.Any:
    """A row of the host's backfills or runs; raises as :func:`backfill`."""
    if host.run_model is None:
        return backfill(host, one)
    return _stored(one, "a backfill or a run", host.table.model, host.run_model)


def _stored(one: t.Any, wanted: str, *models: type) -> t.Any:
    if not isinstance(one, models):
        names = " or ".join(model.__name__ for model in models)
        raise TypeError(
            f"this must be {wanted}, not {said(one)}: give a row of {names}, such as create()"
            " returns"
        )
    if sa.inspect(one).identity is None:
        name = type(one).__name__
        raise ValueError(f"this {name} is not stored yet: flush the session, or use create()")
    return one


def count(name: str, number: t.Any, least: int = 0, most: float = math.inf) -> int:
    """A whole number within bounds.

    :param name: that of the argument.
    """
    try:
        found = operator.index(number)
    except TypeError:
        found = None
    if found is None or isinstance(number, bool):
        raise TypeError(f"{name} must be an integer, not {said(number)}")
    if not least <= found <= most:
        bounds = f"at least {least}" if found < least else f"at most {most}"
        raise ValueError(f"{name} must be {bounds}, not {found}")
    return found


def answer(name: str, value: t.Any, otherwise: str = "") -> bool:
    """Yes or no.

    :param otherwise: what was probably meant, as the end of the sentence.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {said(value)}{otherwise}")
    return value


def moment(when: t.Any) -> datetime:
    """A time, aware and in UTC.

    :raises ValueError: where it is beyond the years 1 to 9999 in UTC.
    """
    if not isinstance(when, datetime):
        raise TypeError(
            f"the time must be a datetime, such as datetime(2023, 7, 1, 12), not {said(when)}"
        )
    try:
        return columns.in_utc(when, True).astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(f"{when} must be within the years 1 to 9999, in UTC") from None


def later(now: datetime, **passed: t.Any) -> datetime:
    """The time after some days, hours, minutes and seconds, each of them a number."""
    for name, number in passed.items():
        if isinstance(number, bool) or not isinstance(number, Real):
            raise TypeError(f"{name} must be a number, not {said(number)}")
    try:
        # Of other numbers, such as those of numpy, timedelta knows nothing.
        counted = {
            name: int(number) if isinstance(number, Integral) else float(number)
            for name, number in passed.items()
        }
        for name, count in counted.items():
            if not math.isfinite(count):
                raise ValueError(f"{name} must be a finite number, not {count}")
        return now + timedelta(**counted)
    except OverflowError:
        told = ", ".join(f"{name}={_short(number)}" for name, number in passed.items() if number)
        raise ValueError(
            f"the time must stay within the years 1 to 9999: {told} is too much"
        ) from None


def _short(number: Real) -> str:
    try:
        return f"{float(number):g}"
    except OverflowError:
        return "a number of more than 300 digits"


def failure(error: t.Any) -> Failure:
    """What an attempt can raise."""
    if isinstance(error, type) and issubclass(error, BaseException):
        try:
            error()
        except TypeError:
            raise TypeError(
                f"{error.__name__} can't be made without arguments: give an exception, such as"
                f" {error.__name__}(...)"
            ) from None
        return error
    if not isinstance(error, (str, BaseException)):
        raise TypeError(f"the error must be an exception, its class or a text, not {said(error)}")
    return error


def result(status: t.Any, error: t.Any, metrics: t.Any) -> dict[str, t.Any] | None:
    """What a run is to have of its end.

    :returns: its metrics, as they can be stored.
    """
    words = ("initial", "running", "completed", "failed", "cancelled")
    if status not in words:
        raise ValueError(f"status must be one of {', '.join(words)}, not {said(status)}")
    for name, value, owner in (("error", error, "failed"), ("metrics", metrics, "completed")):
        if value is not None and status != owner:
            raise ValueError(f"only a {owner} run gets {name}=, not one that is {status}")
    if not isinstance(error, (str, type(None))):
        raise TypeError(f"error must be a text, such as 'no file yet', not {said(error)}")
    if not isinstance(metrics, (Mapping, type(None))):
        raise TypeError(f"metrics must be a dict, such as {{'rows': 24}}, not {said(metrics)}")
    return None if metrics is None else numbers.read(metrics)


def said(value: t.Any) -> str:
    """A value as a sentence names it.

    >>> said("text"), said([1]), said(ValueError)
    ("'text'", 'a value of the type list', 'the class ValueError')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, _PLAIN):
        return repr(value)
    return f"a value of the type {type(value).__name__}"
