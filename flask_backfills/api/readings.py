"""What the OpenAPI document says of what is read beside backfills and runs: coverage, history, and
why something stands as it does."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..rules.coverage import KINDS
from ..rules.history import AGAIN
from ..rules.reasons import reason
from .answers import Document
from .answers import list_of
from .answers import object_of
from .answers import PAGE
from .answers import ref
from .answers import told
from .descriptions import Told

_ENDS: dict[str, tuple[str, t.Any]] = {
    "from": ("What it was before.", "old_name"),
    "to": ("What it was after.", "new_name"),
}
_PIECES = {
    "covered": "Where a run has completed.",
    "running": "Where a run is running.",
    "failed": "Where a run has failed and none has completed.",
    "gaps": "Where no run has completed and none is running. These name no backfill.",
    "overlaps": "Where two runs or more have completed.",
}


def coverage(
    backfill_id: Document, moment: Document, ends: Mapping[str, Told]
) -> dict[str, Document]:
    """What the backfills of a pipeline cover of a span.

    :param backfill_id: the type of their keys.
    :param moment: the type of the ends of a piece.
    :param ends: what is said about them.
    """
    piece = {
        **{name: told(moment, *about) for name, about in ends.items()},
        "backfills": told(
            {"type": "array", "items": backfill_id}, "The backfills that it is about.", [12]
        ),
    }
    pieces = {"type": "array", "items": ref("CoveragePiece")}
    lists = {kind: {**pieces, "description": _PIECES[kind]} for kind in KINDS}
    share = told(
        {"type": "number", "minimum": 0, "maximum": 1},
        "The completed part of the span, cut off after four digits: 1 says that nothing is"
        " missing.",
        0.93,
    )
    count: Document = {"type": "integer", "minimum": 0}
    counts = {kind: told(count, f"The pieces in `{kind}`.", 1) for kind in KINDS}
    metadata = {"counts": ref("CoverageCounts"), "next": PAGE["next"]}
    answer = {"coverage": ref("Coverage"), "metadata": ref("CoverageMetadata")}
    return {
        "Coverage": object_of({**lists, "share": share}, [*KINDS, "share"]),
        "CoverageAnswer": object_of(answer, answer),
        "CoverageCounts": object_of(counts, KINDS),
        "CoverageMetadata": object_of(metadata, metadata),
        "CoveragePiece": object_of(piece, piece),
    }


def history(event: Document) -> dict[str, Document]:
    """A page of the history of a backfill.

    :param event: what is shown of an event, whose changes are described here.
    """
    size: Document = {"type": "integer", "minimum": 0}
    sizes = {end: told(size, f"How many bytes `{end}` has as JSON.", 2_097_160) for end in _ENDS}
    change: Document = {end: told({}, what, example) for end, (what, example) in _ENDS.items()}
    which = f"Of a start that does not run again what has failed: {' or '.join(AGAIN)}."
    again = told({"type": "string"}, which, "all")
    words = {key: event["properties"]["changes"][key] for key in ("description", "examples")}
    properties = {**event["properties"], "changes": {**ref("Changes"), **words}}
    return {
        "Change": object_of({**change, "reprocess": again, "too_large": ref("ChangeSizes")}, _ENDS),
        "ChangeSizes": object_of(sizes),
        "Changes": {"type": "object", "additionalProperties": ref("Change")},
        "Event": {**event, "properties": properties},
        "History": list_of("history", "Event"),
    }


def reasons() -> dict[str, Document]:
    """Why a backfill or a run stands as it does."""
    example = reason("at_limit", at_once=3, limit=3)
    about = {
        "code": "Which situation it is. A code means the same for ever; there may be new ones.",
        "message": "What it is, with the decisive figure, for people.",
        "change": "What would change it, for people.",
    }
    found = {
        name: told({"type": "string"}, what, getattr(example, name)) for name, what in about.items()
    }
    why = {
        "type": "array",
        "items": ref("Reason"),
        "description": "At least one reason. What decides comes first.",
    }
    return {
        "Explain": object_of({"why": why}, ["why"]),
        "ExplainAnswer": object_of({"explain": ref("Explain")}, ["explain"]),
        "Reason": object_of(found, found),
    }
