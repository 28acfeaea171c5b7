"""What the OpenAPI document says about windows, which may be in the blueprint's time zone.

In each function, ``zone`` is that of windows; ``None`` if they are in UTC, without an offset.
"""

from __future__ import annotations

from datetime import datetime
from datetime import tzinfo

from ..rules import zones
from .descriptions import ABOUT
from .descriptions import ATTRIBUTES
from .descriptions import PARAMETERS
from .descriptions import Told

#: What is said of windows instead, where they are in the blueprint's zone.
_IN_ZONE = (
    " It is shown in the time zone {zone}, with the offset. Without an offset, what is sent is of"
    " this zone: a time that the clocks skip is as much later, one that comes twice is the first."
)
#: What is said of windows at the top.
_ABOUT = (
    "Windows are not: `start_datetime` and `end_datetime`, also those of coverage, are in the time"
    " zone {zone}. They are shown with its offset, as `{example}`, and without an offset they"
    " are of this zone."
)
_WINDOW = {
    "start_datetime": "The start of the window, and the date of the first run.",
    "end_datetime": "The end of the window. Must not be before `start_datetime`.",
}
_SPAN = {
    "start_datetime": "The start of the span.",
    "end_datetime": "The end of the span, which is not a part of it. Must be after"
    " `start_datetime`.",
}
_DATE = "The date of the run to explain, whether there is one or not. Not together with `key`."
_PIECE = {
    "start_datetime": ("Its start{zone}.", datetime(2023, 7, 10)),
    "end_datetime": ("Its end{zone}, not a part of it.", datetime(2023, 7, 14)),
}


def about(zone: tzinfo | None) -> str:
    """What the document says at the top."""
    if zone is None:
        return ABOUT
    told = _ABOUT.format(zone=zone, example=_example("start_datetime", zone))
    first, datetimes, *more = ABOUT.split("\n\n")
    return "\n\n".join([first, f"{datetimes} {told}", *more])


def attributes(counted: tzinfo, zone: tzinfo | None) -> dict[str, Told]:
    """What is said about the attributes of a backfill.

    :param counted: the zone in which days are counted.
    """
    description, example = ATTRIBUTES["interval_type"]
    told = {**ATTRIBUTES, "interval_type": (description.format(zone=counted), example)}
    if zone is not None:
        for name, what in _WINDOW.items():
            told[name] = what + _IN_ZONE.format(zone=zone), _example(name, zone)
    return told


def parameters(zone: tzinfo | None) -> dict[str, str]:
    """What is said about the parameters."""
    if zone is None:
        return PARAMETERS
    without = f" Without an offset it is of the time zone {zone}."
    told = {**_SPAN, "date": _DATE}
    return {**PARAMETERS, **{name: what + without for name, what in told.items()}}


def pieces(zone: tzinfo | None) -> dict[str, Told]:
    """What is said about the ends of a piece of coverage."""
    there = ", in UTC" if zone is None else f", in the time zone {zone} with the offset"
    return {
        name: (what.format(zone=there), str(day) if zone is None else zones.show(day, zone))
        for name, (what, day) in _PIECE.items()
    }


def _example(name: str, zone: tzinfo) -> str:
    return zones.show(datetime.fromisoformat(ATTRIBUTES[name][1]), zone)
