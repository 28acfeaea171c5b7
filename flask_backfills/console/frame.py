"""What all pages share: how they are found, who may open and change them, how they are shown."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from functools import partial
from functools import wraps

from flask import Blueprint
from flask import redirect
from flask import render_template
from flask import request
from flask import Response
from flask import url_for
from flask.sansio.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import generate_csrf
from werkzeug import exceptions as http

from .. import errors
from ..changes.backfills import Saved
from ..changes.expansion import max_runs
from ..changes.replan import Preview
from ..host import Host
from ..rules.sight import seen
from ..tables import patience
from . import timeline
from . import times
from .access import warn_if_no_browser
from .access import with_login
from .body import limit_body
from .guard import check_origin
from .guard import check_token
from .guard import protect
from .guard import refusals
from .guard import require_secret
from .guard import token_name
from .links import pipeline_link
from .links import readable
from .summaries import time_left
from .wording import translator
from .wording import words

#: The permission that an action needs. All other actions need ``update``.
ASKS = {"delete": "delete"}

#: What a page says of what was just done.
DONE = {
    "saved": "Saved.",
    "created": "Created.",
    "start": "Started.",
    "pause": "Paused. What runs goes on.",
    "resume": "Resumed.",
    "retry": "The failed and cancelled runs wait again.",
    "cancel": "Cancelled.",
    "delete": "Deleted.",
    "undone": "The edit was undone.",
    "run-retry": "The run waits again.",
    "run-done": "The run is marked as done.",
    "run-cancel": "The run is cancelled.",
    "runs-retry": "The runs wait again.",
    "runs-done": "The runs are marked as done.",
    "runs-cancel": "The runs are cancelled.",
}

View = Callable[..., ResponseReturnValue]


class Frame(Blueprint):
    """A blueprint of pages over one host's backfills."""

    def __init__(
        self,
        host: Host,
        name: str,
        *,
        title: str = "Backfills",
        home_url: str | None = None,
        translations: Mapping[str, str] | None = None,
        **options: t.Any,
    ) -> None:
        # A path that is below no backfill: the key of one may be any word, such as "static".
        options.setdefault("static_url_path", "/pipeline/static")
        super().__init__(
            name, __name__, template_folder="templates", static_folder="static", **options
        )
        self.host = host
        self.title = title
        self.home_url = home_url
        #: Gives a text of the pages in the words of the host's users.
        self.translate = translator(translations or {})
        self.record(require_secret)
        self.record(self._warn)
        # Not before_request: before that, a host's own functions may read the form. And APIFlask's
        # /openapi.json fails if a blueprint of another kind has such a function.
        self.url_value_preprocessor(limit_body)
        self.after_request(protect)
        # Not a 401 of authorize: who is not logged in is the app's to send to its login.
        for kind in (*refusals(), *errors.DATABASE_ERRORS):
            self.register_error_handler(kind, self._refused)

    def shows(self, rule: str, endpoint: str, view: View) -> None:
        """Add a page, which changes nothing."""
        self.add_url_rule(rule, endpoint, with_login(self.reads(view)))

    def reads(self, view: View) -> View:
        """A view that changes nothing, which is called again if the database interrupts it."""

        @wraps(view)
        def read(**parts: t.Any) -> ResponseReturnValue:
            return patience.read(self.host.table.database.opener, partial(view, **parts))

        return read

    def changes(self, rule: str, endpoint: str, view: View) -> None:
        """Add a view for the form of a page.

        It is called with the backfill that the form changes, with ``action``, and with what else
        the path names. Who may not change it is refused before the form is read.
        """

        def change(backfill_id: t.Any, action: str = "edit", **parts: t.Any) -> ResponseReturnValue:
            check_origin()
            backfill = self.find(ASKS.get(action, "update"), backfill_id)
            check_token()
            return view(backfill, action, **parts)

        self.add_url_rule(rule, endpoint, with_login(change), methods=["POST"])

    def find(self, action: str, backfill_id: t.Any) -> t.Any:
        """A backfill for which the user is allowed to do something."""
        pipeline_uuid = self.host.allow_one(action, None, backfill_id)
        return self.host.backfills.find(pipeline_uuid, backfill_id)

    def preview(
        self, pipeline_uuid: str, backfill_id: t.Any, sent: t.Any, **options: t.Any
    ) -> tuple[Saved, Preview]:
        """What would be saved, and what would happen to the runs."""
        # What is there, and what is wanted instead.
        others, zone = self.host.may("list", pipeline_uuid), self.host.local_window.zone
        preview = Preview(0, 2 * max_runs(), others=others, zone=zone)
        update = self.host.backfills.update
        return update(pipeline_uuid, backfill_id, sent, preview=preview, **options), preview

    def name_of(self, backfill: t.Any) -> tuple[str, t.Any]:
        """The pipeline and the key of a backfill."""
        return str(backfill.pipeline_uuid), self.host.table.key_of(backfill)

    def render(self, template: str, **values: t.Any) -> str:
        return render_template(
            f"backfills_console/{template}.html",
            _=self.translate,
            ago=partial(times.ago, translate=self.translate),
            ago_words=times.words(self.translate),
            exact=times.exact,
            console_title=self.title,
            home_url=self.home_url,
            pipeline_link=partial(pipeline_link, self.host),
            may_read=readable(self.host),
            notice_of=self._notice(),
            csrf_token=generate_csrf,
            csrf_name=token_name(),
            does=timeline.DOES,
            time_left=partial(time_left, translate=self.translate),
            seen=seen,
            status_key=self.host.schema.key_of("status"),
            words=words,
            zone=self.host.local_window.zone,
            **values,
        )

    def back(
        self, of: tuple[str, t.Any], did: str = "saved", page: str = "detail", **values: t.Any
    ) -> ResponseReturnValue:
        """Go to a page of a backfill, and say there what was done; one of :data:`DONE`.

        Who may not see the backfill is told in the list: a page that is not there would say that
        nothing was done.

        :param of: the pipeline and the key of the backfill.
        """
        pipeline_uuid, key = of
        if not self.host.may("detail", pipeline_uuid):
            return redirect(url_for(".list", did=did), 303)
        return redirect(url_for(f".{page}", backfill_id=key, did=did, **values), 303)

    def _notice(self) -> str | None:
        """What was done on the page before."""
        # By a word in the URL: flashed messages are the host's, for its own pages.
        did = DONE.get(request.args.get("did", ""))
        return did and self.translate(did)

    def _warn(self, state: BlueprintSetupState) -> None:
        warn_if_no_browser(self.host, state)

    def _refused(self, error: Exception) -> ResponseReturnValue:
        refusal = errors.refusal(error)
        # What is not there, or not the user's, has no page to go back to.
        absent = isinstance(refusal, (http.NotFound, http.Forbidden))
        page = self.render(
            "refused",
            refusal=refusal,
            wrong=getattr(refusal, "errors", {}),
            backfill_id=None if absent else (request.view_args or {}).get("backfill_id"),
        )
        response = Response(page, refusal.code)
        for header, value in refusal.get_headers():
            if header == "Retry-After":
                response.headers[header] = value
        return response
