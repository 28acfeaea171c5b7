"""How the pages show a moment: as it is, or how long ago it was, with the exact one beside it."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

from markupsafe import escape
from markupsafe import Markup

from .wording import Translate

#: Units of a span, the longest first, with the texts for one and for several of them.
UNITS = (
    (timedelta(days=365), "{count} year", "{count} years"),
    (timedelta(days=30), "{count} month", "{count} months"),
    (timedelta(days=1), "{count} day", "{count} days"),
    (timedelta(hours=1), "{count} hour", "{count} hours"),
    (timedelta(minutes=1), "{count} minute", "{count} minutes"),
    (timedelta(seconds=1), "{count} second", "{count} seconds"),
)


def moment_of(told: datetime | str) -> datetime:
    """A moment with its offset, from one as the API shows it. Without an offset it is in UTC."""
    moment = datetime.fromisoformat(told) if isinstance(told, str) else told
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment


def exact(told: datetime | str | None) -> Markup:
    """A moment to the second, which a script may show in the reader's own zone."""
    return Markup() if told is None else _element(moment_of(told), None)


def ago(told: datetime | str | None, translate: Translate, now: datetime | None = None) -> Markup:
    """How long ago a moment was, or in how long it will be; the exact one on hover.

    >>> then, now = datetime(2023, 7, 1), datetime(2023, 7, 3, tzinfo=timezone.utc)
    >>> print(ago(then, str.format, now))
    <time datetime="2023-07-01T00:00:00+00:00" title="2023-07-01 00:00:00 UTC">2 days ago</time>
    """
    if told is None:
        return Markup()
    moment = moment_of(told)
    return _element(moment, relative(moment, now or datetime.now(timezone.utc), translate))


def words(translate: Translate) -> dict[str, t.Any]:
    """The texts of :func:`relative`, for the script that goes on with it while a page is open."""
    return {
        "units": [
            [unit // timedelta(seconds=1), translate(one), translate(several)]
            for unit, one, several in UNITS
        ],
        "past": translate("{span} ago"),
        "future": translate("in {span}"),
        "now": translate("now"),
    }


def relative(moment: datetime, now: datetime, translate: Translate) -> str:
    """How long before or after now a moment is."""
    apart = now - moment
    for unit, one, several in UNITS:
        if count := abs(apart) // unit:
            span = translate(one if count == 1 else several, count=count)
            return translate("{span} ago" if moment < now else "in {span}", span=span)
    return translate("now")


def _element(moment: datetime, text: str | None) -> Markup:
    shown = shown_in_its_zone(moment)
    title = Markup("" if text is None else ' title="{}"').format(shown)
    iso = moment.isoformat(timespec="seconds")
    inner = escape(shown.removesuffix(" UTC") if text is None else text)
    return Markup('<time datetime="{}"{}>{}</time>').format(iso, title, inner)


def shown_in_its_zone(moment: datetime) -> str:
    """A moment as people read it: that of UTC without fractions, others with their offset."""
    if not moment.utcoffset():
        return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    return moment.isoformat(sep=" ", timespec="seconds")
