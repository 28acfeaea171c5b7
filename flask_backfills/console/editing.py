"""The pages of an edit: the form, then its plan and what it changes, and then it is saved."""

from __future__ import annotations

import typing as t

from flask import request
from flask.typing import ResponseReturnValue
from werkzeug import exceptions as http

from .. import errors
from ..changes.backfills import Saved
from ..changes.replan import Preview
from . import differences
from . import forms
from . import settings_form
from . import timeline
from .frame import Frame
from .summaries import plan_of
from .summaries import summaries

#: What is told where a plan would be another one by now.
OTHER_PLAN = "The plan has changed since you saw it. Nothing was saved. Check the new plan."


def edit_view(frame: Frame, backfill_id: t.Any) -> ResponseReturnValue:
    backfill = frame.find("update", backfill_id)
    return _render(frame, backfill_id, _form(frame, backfill))


def save_view(frame: Frame, backfill: t.Any, action: str) -> ResponseReturnValue:
    backfills = frame.host.backfills
    of, form = frame.name_of(backfill), _form(frame, backfill)
    before: dict[str, t.Any] = {}

    def check(locked: t.Any) -> None:
        before.update(backfills.show(locked))
        form.check(before)

    try:
        if request.form.get("do") == "save":
            # Without a plan the user has not seen what will happen.
            plan = request.form.get("plan", "")
            backfills.update(*of, form.sent(), check=check, if_plan_match=plan)
            return frame.back(of)
        would, preview = frame.preview(*of, form.sent(), check=check)
    except errors.PlanMismatch:
        would, preview = frame.preview(*of, form.sent(), check=check)
        told = _differences(frame, before, would)
        return _render(frame, of[1], form, would, preview, told, OTHER_PLAN), 412
    except forms.Overtaken as refused:
        form = form.overtaken(refused.stored)
        return _render(frame, of[1], form, notice=refused.description), 409
    except http.Conflict as refused:
        return _render(frame, of[1], form, notice=refused.description), 409
    except (errors.Refused, forms.NotJSON) as refused:
        return _render(frame, of[1], form.refused(refused.errors)), 422
    return _render(frame, of[1], form, would, preview, _differences(frame, before, would))


def _form(frame: Frame, backfill: t.Any) -> forms.Form:
    host = frame.host
    shown, names = host.backfills.show(backfill), settings_form.named(host)
    inclusive = host.inclusive if host.run_model is not None else None
    return forms.Form(host.schema, shown, request.form, host.local_window, names, inclusive)


def _differences(
    frame: Frame, before: dict[str, t.Any], would: Saved
) -> list[differences.Difference]:
    show, key_of = frame.host.local_window.show, frame.host.schema.key_of
    return differences.between(show(before), show(would.shown), {key_of("updated_at")})


def _render(
    frame: Frame,
    backfill_id: t.Any,
    form: forms.Form,
    would: Saved | None = None,
    preview: Preview | None = None,
    changed: list[differences.Difference] | None = None,
    notice: str | None = None,
) -> str:
    backfill = frame.host.backfills.find(None, backfill_id)
    return frame.render(
        "edit",
        backfill=summaries(frame.host, [backfill])[0],
        form=form,
        previewed=would is not None,
        plan=plan_of(would),
        strip=preview and timeline.of_plan(preview.entries),
        changed=changed or [],
        notice=notice,
    )
