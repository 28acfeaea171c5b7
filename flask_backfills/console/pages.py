"""The pages: what a browser asks for and what it sends, as a blueprint of its own."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from datetime import datetime
from functools import partial

from flask.typing import ResponseReturnValue

from ..auth import require_function
from ..changes import actions
from ..host import Host
from ..host import host_of
from ..host import Served
from .access import with_login
from .asking import act_view
from .asking import action_view
from .bulk import answer_view
from .bulk import question_view
from .coverage import coverage_view
from .coverage import fill_view
from .create import create_view
from .create import made_view
from .editing import edit_view
from .editing import save_view
from .frame import Frame
from .history import changes_of
from .history import undo_view
from .history import undone_view
from .list import list_view
from .progress import shown
from .run import RunURL
from .runs import add_runs

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
        if history is not None:
            require_function(history, "history", "backfill")
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
        self.shows(f"{item}/edit", "edit", partial(edit_view, self))
        self.changes(f"{item}/edit", "save", partial(save_view, self))
        self.shows(action, "action", partial(action_view, self))
        self.changes(action, "act", partial(act_view, self))
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
        self.add_url_rule(f"{item}/live", "live", self.reads(self.live_view))

    def detail_view(self, backfill_id: t.Any) -> ResponseReturnValue:
        backfill = self.find("detail", backfill_id)
        history = list(self.history(backfill)) if self.history else None
        changes = None if self.history else changes_of(self.host, backfill)
        return self.render("backfill", history=history, changes=changes, **shown(self, backfill))

    def live_view(self, backfill_id: t.Any) -> ResponseReturnValue:
        return self.render("live", **shown(self, self.find("detail", backfill_id)))
