"""A new backfill, or a copy of one: a form that shows the plan before anything is stored."""

from __future__ import annotations

import typing as t
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

import sqlalchemy as sa
from flask import request
from flask.typing import ResponseReturnValue
from werkzeug import exceptions as http

from .. import errors
from ..changes import once
from ..changes.backfills import Saved
from ..changes.expansion import max_runs
from ..changes.replan import Preview
from ..host import Host
from ..rules.lifecycle import refusal
from ..rules.sight import is_blank
from ..rules.window_words import known_days
from ..tables import columns
from ..tables import lists
from . import forms
from . import settings_form
from . import timeline
from .frame import Frame
from .guard import check_origin
from .guard import check_token
from .summaries import plan_of

#: The attributes that the form asks for at first.
FIRST = ("start_datetime", "end_datetime", "interval_units", "interval_type", "name", "variables")

#: What a copy has of its original beside them.
COPIED = (*FIRST, "block_uuid", "settings")

#: What only workers and actions write.
APART = ("status", "started_at", "completed_at", "failed_at", "metrics")

#: The words of the form in a URL, each with its attribute.
SHORT = {
    "start": "start_datetime",
    "end": "end_datetime",
    "every": "interval_units",
    "unit": "interval_type",
    "name": "name",
}

#: A pipeline where none is known, whatever type its column has.
ANY = "0"

#: What may be wrong with a pipeline that was not named.
_OF_PIPELINE: tuple[type[Exception], ...] = (http.HTTPException, *errors.DATABASE_ERRORS)

#: The shortest key that no two forms have.
_SHORTEST_KEY = 16

COPY = " (copy)"


class Draft(t.NamedTuple):
    """The form as it stands, and what is wrong with it."""

    pipeline: str
    form: forms.Form
    #: What marks the backfill that this form makes, so that it makes no second one.
    key: str
    pipeline_error: str = ""
    notice: str = ""


def create_view(frame: Frame) -> ResponseReturnValue:
    """The form, filled with what the URL says, or with what a backfill has."""
    host, args = frame.host, request.args
    original = frame.find("detail", args["from"]) if args.get("from") else None
    pipeline = args.get("pipeline", "")
    posted = _posted(host, {"interval_units": "1", "interval_type": "day"})
    if original is not None:
        pipeline = str(original.pipeline_uuid)
        posted = _copied(host, original)
    posted |= _posted(host, {name: args[word] for word, name in SHORT.items() if word in args})
    known = creatable(host, pipeline)
    if host.pipelines is not None and len(known) == 1:
        pipeline = pipeline or known[0]
    draft = Draft(pipeline, _form(host, posted), new_key(host))
    return _page(frame, draft, known)


def made_view(frame: Frame) -> ResponseReturnValue:
    """Show the plan; or store the backfill, if the plan is the one that was shown."""
    host, form = frame.host, request.form
    check_origin()
    creatable(host, "")
    check_token()
    pipeline = form.get("pipeline", "").strip()
    draft = Draft(pipeline, _form(host, form), _key_of(form, host))
    if is_blank(pipeline):
        return _without_pipeline(frame, draft)
    known = creatable(host, pipeline)
    do = form.get("do")
    stores = do in ("create", "start")
    try:
        sent = draft.form.sent()
        # What there is before: nothing.
        sent = sent(None) if callable(sent) else sent
        if stores and host.run_model is None:
            # There is no plan to be seen.
            return _store(frame, draft, sent, start=do == "start")
        would, preview = _previewed(host, pipeline, sent)
        if stores and form.get("plan") == would.tally.hash():
            return _store(frame, draft, sent, start=do == "start", plan=would.tally.hash())
    except (errors.UnknownPipeline, errors.KeyRefused, errors.Refused, forms.NotJSON) as refused:
        return _refused(frame, draft, known, refused)
    except (http.Conflict, errors.PlanMismatch, errors.BeyondScope) as refused:
        notice = str(refused.description)
        return _page(frame, draft._replace(notice=notice), known), refused.code or 409
    if not stores:
        return _page(frame, draft, known, would, preview)
    notice = frame.translate("Nothing was stored yet. This is the plan by now:")
    return _page(frame, draft._replace(notice=notice), known, would, preview), 412


def _without_pipeline(frame: Frame, draft: Draft) -> tuple[str, int]:
    """The form with all that is missing or wrong, beside the pipeline."""
    host, known = frame.host, creatable(frame.host, "")
    error = frame.translate("Choose a pipeline, or write the name of one.")
    draft = draft._replace(pipeline_error=error)
    try:
        sent = draft.form.sent()
        # Nothing is stored: any pipeline tells what is wrong with the rest.
        pipeline = known[0] if known else ANY
        _previewed(host, pipeline, sent(None) if callable(sent) else sent)
    except (errors.Refused, forms.NotJSON) as refused:
        return _refused(frame, draft, known, refused)
    except _OF_PIPELINE:
        # Nobody has named one yet.
        pass
    return _page(frame, draft, known), 422


def creatable(host: Host, pipeline: str) -> list[str]:
    """The pipelines in which the user may create backfills, as far as they are known.

    :param pipeline: the one that is meant; empty if any may be.
    :raises flask_backfills.errors.Forbidden: if the user may not in that one, or in none that
        there are.
    """
    if pipeline:
        host.allow("create", pipeline)
    fixed = host.pipelines is not None
    known = (
        [str(one) for one in host.pipelines()] if host.pipelines else lists.pipelines(host.table)
    )
    found = sorted(one for one in known if host.may("create", one))
    if not found and not pipeline:
        # Who is not logged in is told so. Others may know of a pipeline that we don't.
        with suppress(*(() if fixed and known else (errors.Forbidden,))):
            host.allow("create", known[0] if known else "")
    return found


def _store(
    frame: Frame, draft: Draft, sent: dict[str, t.Any], *, start: bool, plan: str | None = None
) -> ResponseReturnValue:
    host, pipeline = frame.host, draft.pipeline
    values = {**sent, **_started(host)} if start else sent
    saved = host.backfills.create(
        pipeline,
        values,
        idempotency_key=draft.key or None,
        # What is not started has no runs yet.
        if_plan_match=plan if start else None,
    )
    did = "start" if start and _started(host) else "created"
    return frame.back((pipeline, host.table.key_of(saved.backfill)), did)


def _previewed(host: Host, pipeline: str, sent: dict[str, t.Any]) -> tuple[Saved, Preview]:
    """What a start would do."""
    others, zone = host.may("list", pipeline), host.local_window.zone
    preview = Preview(0, max_runs(), others=others, zone=zone)
    values = {**sent, **_started(host)}
    return host.backfills.create(pipeline, values, preview=preview), preview


def _refused(frame: Frame, draft: Draft, known: list[str], refused: t.Any) -> tuple[str, int]:
    """The same form, with what is wrong at its fields."""
    if isinstance(refused, errors.UnknownPipeline):
        return _page(frame, draft._replace(pipeline_error=str(refused.description)), known), 422
    if isinstance(refused, errors.KeyRefused):
        told = "This form has made a backfill already. Create another one with the same button."
        draft = draft._replace(key=new_key(frame.host), notice=frame.translate(told))
        return _page(frame, draft, known), 422
    wrong = dict(refused.errors)
    of_pipeline = wrong.pop(frame.host.schema.key_of("pipeline_uuid"), [])
    draft.form.refused(wrong)
    told = draft.pipeline_error or " ".join(errors.flat(of_pipeline))
    return _page(frame, draft._replace(pipeline_error=told), known), 422


def _page(
    frame: Frame,
    draft: Draft,
    known: list[str],
    would: Saved | None = None,
    preview: Preview | None = None,
) -> str:
    host = frame.host
    found = draft.form.by_attribute
    fields = {name: field for name, field in found.items() if name not in APART}
    more = [field for name, field in fields.items() if name not in (*FIRST, forms.SETTINGS)]
    today = datetime.now(host.zone).date()
    return frame.render(
        "create",
        draft=draft,
        fields=fields,
        more=more,
        is_open=any(field.text or field.errors for field in more),
        other_errors=draft.form.other_errors,
        pipelines=known,
        is_fixed=host.pipelines is not None,
        presets=known_days(today, host.inclusive),
        may_start=bool(_started(host)),
        has_runs=host.run_model is not None,
        plan=plan_of(would),
        strip=preview and timeline.of_plan(preview.entries),
    )


def _form(host: Host, posted: Mapping[str, str]) -> forms.Form:
    # Nothing is stored yet: what has a text was changed.
    inclusive = host.inclusive if host.run_model is not None else None
    names = settings_form.named(host)
    return forms.Form(host.schema, {}, posted, host.local_window, names, inclusive)


def _started(host: Host) -> dict[str, str]:
    """What a create sends to start what it creates; nothing where that is not possible."""
    writable = {f.attribute or name for name, f in host.schema.load_fields.items()}
    transitions = host.transitions
    if "status" not in writable:
        return {}
    if transitions is not None and refusal(transitions, None, "initial") is not None:
        return {}
    return {host.schema.key_of("status"): "initial"}


def _posted(host: Host, values: Mapping[str, str]) -> dict[str, str]:
    """What a form sends for the texts of attributes."""
    return {f"new-{host.schema.key_of(name)}": text for name, text in values.items()}


def _copied(host: Host, original: t.Any) -> dict[str, str]:
    """What a form sends for a copy, which is not paused."""
    shown = host.backfills.by_attribute(host.backfills.show(original))
    values = {name: shown[name] for name in COPIED if shown.get(name) is not None}
    if isinstance(values.get("settings"), dict):
        values["settings"] = {k: v for k, v in values["settings"].items() if k != "paused"}
    if isinstance(values.get("name"), str):
        values["name"] = _name_of_copy(host, values["name"])
    keyed = {host.schema.key_of(name): value for name, value in values.items() if value != {}}
    # As text, with the window in the zone.
    form = forms.Form(host.schema, keyed, {}, host.local_window, settings_form.named(host))
    return {f"new-{field.key}": field.text for field in form.fields if field.text}


def _name_of_copy(host: Host, name: str) -> str:
    column = columns.column_of(host.table.mapper, "name")
    kind = None if column is None else columns.plain_type(column)
    length = kind.length if isinstance(kind, sa.String) else None
    return name + COPY if length is None else name[: max(length - len(COPY), 0)] + COPY[-length:]


def _key_of(form: Mapping[str, str], host: Host) -> str:
    """What the form was given to mark its backfill; another one where that was tampered with."""
    key, new = form.get("key", ""), new_key(host)
    return key if key.isascii() and key.isalnum() and len(key) <= len(new) else new


def new_key(host: Host) -> str:
    """What marks the backfill that a form makes; empty where the model can't hold it."""
    longest = once.longest(host.table)
    return uuid.uuid4().hex[:longest] if longest >= _SHORTEST_KEY else ""
