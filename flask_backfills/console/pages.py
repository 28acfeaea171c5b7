"""The pages: what a browser asks for and what it sends, as a blueprint of its own."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from datetime import datetime
from functools import partial

from flask import redirect
from flask import request
from flask import url_for
from flask.typing import ResponseReturnValue
from werkzeug import exceptions as http

from .. import errors
from ..changes import actions
from ..changes.backfills import Saved
from ..changes.replan import Preview
from ..host import Host
from ..host import host_of
from ..host import Served
from . import forms
from . import timeline
from .access import with_login
from .bulk import answer_view
from .bulk import question_view
from .coverage import coverage_view
from .coverage import fill_view
from .create import create_view
from .create import made_view
from .frame import ASKS
from .frame import Frame
from .history import changes_of
from .history import undo_view
from .history import undone_view
from .list import list_view
from .progress import shown
from .run import RunURL
from .runs import add_runs
from .summaries import plan_of
from .summaries import summaries

#: When, who, and what was changed.
Change = tuple[datetime, str, str]


class ConsoleBlueprint(Frame):
    """Pages for the backfills of a blueprint. Users see only what ``authorize`` allows.

    The app needs a ``SECRET_KEY``: each form has a token that other sites can't know. Without
    one, registering the console raises a :exc:`RuntimeError`.

    :param blueprint: the :class:`BackfillBlueprint` to show. The console calls its
        ``authorize`` with ``list`` for each pipeline, and with ``create``, ``detail``,
        ``update`` and ``delete``. If ``authorize`` aborts with a 401, the app's handler for it answers, or else
        its login manager (Flask-Login, Flask-Security-Too) sends the user to the login page.
    :param history: a function from a backfill to its recorded changes, the newest first, as
        ``(moment, who, what)``, instead of those of the blueprint's ``event_model``.
    :param run_url: a function from a run, a row of your run model, to the URL of its logs or
        ``None``. A URL of the web, or one relative to the page, is shown as a link.
    :param title: what the pages are called, in their titles and at their top.
    :param home_url: where the first link of each page leads, such as the start page of your app.
    :param translations: texts of the pages, each with the one that your users read instead.
    :param name: the blueprint's name. A second console in an app needs another name.
    :param url_prefix: as in :class:`flask.Blueprint`. All other options of that class are
        accepted too.
    """

    def __init__(
        self,
        blueprint: Served | Host,
        *,
        history: Callable[[t.Any], Iterable[Change]] | None = None,
        run_url: RunURL | None = None,
        name: str = "console",
        url_prefix: str = "/backfills",
        **options: t.Any,
    ) -> None:
        super().__init__(host_of(blueprint), name, url_prefix=url_prefix, **options)
        self.history = history
        item = "/<backfill_id>"
        action = f"{item}/<any({', '.join(actions.ACTIONS)}):action>"
        self.shows("/", "list", partial(list_view, self))
        # Below a path of its own, since the key of a backfill may be any word.
        self.shows("/pipeline/create", "create", partial(create_view, self))
        self.add_url_rule(
            "/pipeline/create", "made", with_login(partial(made_view, self)), methods=["POST"]
        )
        self.shows("/pipeline/bulk", "bulk", partial(question_view, self))
        self.add_url_rule(
            "/pipeline/bulk", "bulk_done", with_login(partial(answer_view, self)), methods=["POST"]
        )
        self.shows(item, "detail", self.detail_view)
        self.shows(f"{item}/edit", "edit", self.edit_view)
        self.changes(f"{item}/edit", "save", self.save_view)
        self.shows(action, "action", self.action_view)
        self.changes(action, "act", self.act_view)
        self.shows(f"{item}/undo", "undo", partial(undo_view, self))
        self.changes(f"{item}/undo", "undone", partial(undone_view, self))
        if host_of(blueprint).run_model is not None:
            add_runs(self, run_url)
            self.shows("/pipeline/coverage", "coverage", partial(coverage_view, self))
            self.add_url_rule(
                "/pipeline/coverage",
                "fill",
                with_login(partial(fill_view, self)),
                methods=["POST"],
            )
        # No page, so not one to come back to after a login.
        self.add_url_rule(f"{item}/live", "live", self.live_view)

    def detail_view(self, backfill_id: t.Any) -> ResponseReturnValue:
        backfill = self.find("detail", backfill_id)
        history = list(self.history(backfill)) if self.history else None
        changes = None if self.history else changes_of(self.host, backfill)
        return self.render("backfill", history=history, changes=changes, **shown(self, backfill))

    def live_view(self, backfill_id: t.Any) -> ResponseReturnValue:
        return self.render("live", **shown(self, self.find("detail", backfill_id)))

    def edit_view(self, backfill_id: t.Any) -> ResponseReturnValue:
        backfill = self.find("update", backfill_id)
        return self._render_edit(backfill_id, self._form(backfill))

    def save_view(self, backfill: t.Any, action: str) -> ResponseReturnValue:
        of, form = self.name_of(backfill), self._form(backfill)

        def check(locked: t.Any) -> None:
            form.check(self.host.backfills.show(locked))

        try:
            if request.form.get("do") == "save":
                plan = _shown_plan()
                self.host.backfills.update(*of, form.sent(), check=check, if_plan_match=plan)
                return self.back(of[1])
            would, preview = self.preview(*of, form.sent(), check=check)
        except errors.PlanMismatch:
            would, preview = self.preview(*of, form.sent())
            notice = "The plan has changed since you saw it. Nothing was saved. Check the new plan."
            return self._render_edit(of[1], form, would, preview, notice), 412
        except forms.Overtaken as refused:
            form = form.overtaken(refused.stored)
            return self._render_edit(of[1], form, notice=refused.description), 409
        except http.Conflict as refused:
            return self._render_edit(of[1], form, notice=refused.description), 409
        except (errors.Refused, forms.NotJSON) as refused:
            return self._render_edit(of[1], form.refused(refused.errors)), 422
        return self._render_edit(of[1], form, would, preview)

    def action_view(self, backfill_id: t.Any, action: str) -> ResponseReturnValue:
        backfill = self.find(ASKS.get(action, "update"), backfill_id)
        would, preview = None, None
        if action != "delete":
            sent = actions.sent(self.host.backfills, action)
            would, preview = self.preview(*self.name_of(backfill), sent)
        return self.render(
            "action",
            action=action,
            backfill=summaries(self.host, [backfill])[0],
            plan=plan_of(would),
            strip=preview and timeline.of_plan(preview.entries),
        )

    def act_view(self, backfill: t.Any, action: str) -> ResponseReturnValue:
        of = self.name_of(backfill)
        if action == "delete":
            self.host.backfills.delete(*of)
            return redirect(url_for(".list", did="delete"), 303)
        sent = actions.sent(self.host.backfills, action)
        self.host.backfills.update(*of, sent, if_plan_match=_shown_plan())
        return self.back(of[1], action)

    def _form(self, backfill: t.Any) -> forms.Form:
        shown = self.host.backfills.show(backfill)
        return forms.Form(self.host.schema, shown, request.form, self.host.local_window)

    def _render_edit(
        self,
        backfill_id: t.Any,
        form: forms.Form,
        would: Saved | None = None,
        preview: Preview | None = None,
        notice: str | None = None,
    ) -> str:
        backfill = self.host.backfills.find(None, backfill_id)
        return self.render(
            "edit",
            backfill=summaries(self.host, [backfill])[0],
            form=form,
            previewed=would is not None,
            plan=plan_of(would),
            strip=preview and timeline.of_plan(preview.entries),
            notice=notice,
        )


def _shown_plan() -> str:
    # Without one the user has not seen what will happen.
    return request.form.get("plan", "")
