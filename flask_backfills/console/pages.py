"""The pages: what a browser asks for and what it sends, as a blueprint of its own."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from datetime import datetime

from flask import Blueprint
from flask import redirect
from flask import render_template
from flask import request
from flask import Response
from flask import url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import generate_csrf
from werkzeug import exceptions as http

from .. import errors
from ..changes import actions
from ..changes.backfills import Saved
from ..changes.expansion import max_runs
from ..changes.replan import Preview
from ..host import Host
from ..host import host_of
from ..host import Served
from ..rules.lifecycle import STATUSES
from . import forms
from . import timeline
from .access import listable
from .access import may
from .guard import check_origin
from .guard import protect
from .guard import READS
from .guard import refusals
from .guard import require_secret
from .summaries import plan_of
from .summaries import summaries

#: When, who, and what was changed.
Change = tuple[datetime, str, str]

#: How many backfills a page of the list shows.
PAGE = 20

#: The permission that an action needs. All other actions need ``update``.
ASKS = {"delete": "delete"}


class ConsoleBlueprint(Blueprint):
    """Pages for the backfills of a blueprint. Users see only what ``authorize`` allows.

    The app needs a ``SECRET_KEY``: each form has a token that other sites can't know. Without
    one, registering the console raises a :exc:`RuntimeError`.

    :param blueprint: the :class:`BackfillBlueprint` to show. The console calls its
        ``authorize`` with ``list`` for each pipeline, and with ``detail``, ``update`` and
        ``delete``. The app answers a 401 or a redirect that ``authorize`` aborts with.
    :param history: a function from a backfill to its recorded changes, the newest first, as
        ``(moment, who, what)``.
    :param name: the blueprint's name. A second console in an app needs another name.
    :param url_prefix: as in :class:`flask.Blueprint`. All other options of that class are
        accepted too.
    """

    def __init__(
        self,
        blueprint: Served | Host,
        *,
        history: Callable[[t.Any], Iterable[Change]] | None = None,
        name: str = "console",
        url_prefix: str = "/backfills",
        **options: t.Any,
    ) -> None:
        super().__init__(
            name,
            __name__,
            url_prefix=url_prefix,
            template_folder="templates",
            static_folder="static",
            **options,
        )
        self.host = host_of(blueprint)
        self.history = history
        item = f"/<{self.host.converter}:backfill_id>"
        changes = ", ".join(actions.ACTIONS)
        both = ["GET", "POST"]
        self.add_url_rule("/", "list", self.list_view)
        self.add_url_rule(item, "detail", self.detail_view)
        self.add_url_rule(f"{item}/live", "live", self.live_view)
        self.add_url_rule(f"{item}/edit", "edit", self.edit_view, methods=both)
        self.add_url_rule(
            f"{item}/<any({changes}):action>", "action", self.action_view, methods=both
        )
        self.record(require_secret)
        self.before_request(check_origin)
        self.after_request(protect)
        # Not a 401 of authorize: who is not logged in is the app's to send to its login.
        for kind in (*refusals(), *errors.DATABASE_ERRORS):
            self.register_error_handler(kind, self._refused)

    # The routes

    def list_view(self) -> ResponseReturnValue:
        pipelines = listable(self.host)
        pipeline = request.args.get("pipeline") or None
        status = request.args.get("status")
        status = status if status in STATUSES else None
        page = max(request.args.get("page", 1, int), 1)
        asked = pipelines if pipeline is None else [one for one in pipelines if one == pipeline]
        offset = min((page - 1) * PAGE, 2**31)
        found, total = self.host.backfills.page(asked, status, offset, PAGE)
        return self._render(
            "list",
            backfills=summaries(self.host, found),
            pipelines=pipelines,
            pipeline=pipeline,
            status=status,
            statuses=STATUSES,
            page=page,
            pages=max(-(-total // PAGE), 1),
            total=total,
        )

    def detail_view(self, backfill_id: t.Any) -> ResponseReturnValue:
        backfill = self._find("detail", backfill_id)
        history = list(self.history(backfill)) if self.history else None
        return self._render("backfill", history=history, **self._live(backfill))

    def live_view(self, backfill_id: t.Any) -> ResponseReturnValue:
        return self._render("live", **self._live(self._find("detail", backfill_id)))

    def edit_view(self, backfill_id: t.Any) -> ResponseReturnValue:
        backfill = self._find("update", backfill_id)
        of = str(backfill.pipeline_uuid), backfill_id
        form = forms.Form(self.host.schema, self.host.backfills.show(backfill), request.form)
        if request.method in READS:
            return self._render_edit(backfill_id, form)
        try:
            if request.form.get("do") == "save":
                plan = _shown_plan()
                self.host.backfills.update(*of, form.sent(), if_plan_match=plan)
                return self._back(backfill_id)
            would, preview = self._preview(*of, form.sent())
        except errors.PlanMismatch:
            would, preview = self._preview(*of, form.sent())
            notice = "The plan has changed since you saw it. Nothing was saved. Check the new plan."
            return self._render_edit(backfill_id, form, would, preview, notice), 412
        except http.Conflict as refused:
            return self._render_edit(backfill_id, form, notice=refused.description), 409
        except (errors.Refused, forms.NotJSON) as refused:
            return self._render_edit(backfill_id, form.refused(refused.errors)), 422
        return self._render_edit(backfill_id, form, would, preview)

    def action_view(self, backfill_id: t.Any, action: str) -> ResponseReturnValue:
        backfill = self._find(ASKS.get(action, "update"), backfill_id)
        of = str(backfill.pipeline_uuid), backfill_id
        sent = None if action == "delete" else actions.sent(self.host.backfills, action)
        if request.method in READS:
            would, preview = self._preview(*of, sent) if sent else (None, None)
            return self._render(
                "action",
                action=action,
                backfill=summaries(self.host, [backfill])[0],
                plan=plan_of(would),
                strip=preview and timeline.of_plan(preview.entries),
            )
        if sent is None:
            self.host.backfills.delete(*of)
            return redirect(url_for(".list"), 303)
        self.host.backfills.update(*of, sent, if_plan_match=_shown_plan())
        return self._back(backfill_id)

    # What they share

    def _find(self, action: str, backfill_id: t.Any) -> t.Any:
        pipeline_uuid = self.host.allow_one(action, None, backfill_id)
        return self.host.backfills.find(pipeline_uuid, backfill_id)

    def _preview(
        self, pipeline_uuid: str, backfill_id: t.Any, sent: t.Any
    ) -> tuple[Saved, Preview]:
        # What is there, and what is wanted instead.
        preview = Preview(0, 2 * max_runs())
        update = self.host.backfills.update
        return update(pipeline_uuid, backfill_id, sent, preview=preview), preview

    def _live(self, backfill: t.Any) -> dict[str, t.Any]:
        """What of a backfill moves while it is looked at."""
        progress = self.host.backfills.progress
        failed = progress.page(backfill, "failed", 0, 10)[0] if progress else []
        pipeline_uuid = str(backfill.pipeline_uuid)
        possible = actions.possible(self.host.backfills, backfill)
        return {
            "backfill": summaries(self.host, [backfill])[0],
            "strip": progress and timeline.of_runs(progress.groups(backfill, timeline.CELLS)),
            "failed": self.host.run_table.schema.dump(failed, many=True) if failed else [],
            "may_edit": may(self.host, "update", pipeline_uuid),
            "actions": [
                a for a in possible if may(self.host, ASKS.get(a, "update"), pipeline_uuid)
            ],
        }

    def _render(self, template: str, **values: t.Any) -> str:
        return render_template(
            f"backfills_console/{template}.html",
            csrf_token=generate_csrf,
            does=timeline.DOES,
            **values,
        )

    def _render_edit(
        self,
        backfill_id: t.Any,
        form: forms.Form,
        would: Saved | None = None,
        preview: Preview | None = None,
        notice: str | None = None,
    ) -> str:
        backfill = self.host.backfills.find(None, backfill_id)
        return self._render(
            "edit",
            backfill=summaries(self.host, [backfill])[0],
            form=form,
            previewed=would is not None,
            plan=plan_of(would),
            strip=preview and timeline.of_plan(preview.entries),
            notice=notice,
        )

    def _back(self, backfill_id: t.Any) -> ResponseReturnValue:
        return redirect(url_for(".detail", backfill_id=backfill_id), 303)

    def _refused(self, error: Exception) -> ResponseReturnValue:
        refusal = errors.refusal(error)
        # What is not there, or not the user's, has no page to go back to.
        absent = isinstance(refusal, (http.NotFound, http.Forbidden))
        backfill_id = None if absent else (request.view_args or {}).get("backfill_id")
        page = self._render("refused", refusal=refusal, backfill_id=backfill_id)
        response = Response(page, refusal.code)
        for header, value in refusal.get_headers():
            if header == "Retry-After":
                response.headers[header] = value
        return response


def _shown_plan() -> str:
    # Without one the user has not seen what will happen.
    return request.form.get("plan", "")
