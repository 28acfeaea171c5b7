"""Pages for people: the backfills of a blueprint, in a browser (extra ``console``)."""

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
from flask_wtf.csrf import validate_csrf
from werkzeug import exceptions as http
from wtforms.validators import ValidationError

from .. import actions
from .. import errors
from ..backfills import Saved
from ..blueprint import BackfillBlueprint
from ..expansion import max_runs
from ..lifecycle import ACTIVE
from ..lifecycle import STATUSES
from ..plan import Tally
from ..replan import Preview
from . import forms
from . import progress
from . import timeline

#: A moment, who it was, and what was changed.
Change = tuple[datetime, str, str]

#: Backfills of a page of the list.
PAGE = 20

#: What the pages may load: only their own files, and nothing inline.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)

#: What an action asks ``authorize`` for; the others ask for ``update``.
ASKS = {"delete": "delete"}


class Forged(http.Forbidden):
    description = "This form is too old or not from this page; nothing was changed. Try again."


class ConsoleBlueprint(Blueprint):
    """The pages over the backfills of a blueprint, for the users whom it lets in.

    The app needs a ``SECRET_KEY``, since users may be known by a cookie: each form has a
    token that another site does not know.

    :param blueprint: whose backfills these are. Its ``authorize`` is asked in the same way:
        ``list`` for each pipeline of the list, ``detail``, ``update`` and ``delete``; a 401
        or a redirect that it aborts with is the app's to answer.
    :param history: from a backfill to what the host has recorded of its changes, the newest
        first, as ``(moment, who, what)``.
    :param name: the blueprint's name; a second console in an app needs another.
    :param url_prefix: as in :class:`flask.Blueprint`, whose other options are taken too.
    """

    def __init__(
        self,
        blueprint: BackfillBlueprint,
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
        self.blueprint = blueprint
        self.history = history
        item = f"/<{blueprint.converter}:backfill_id>"
        changes = ", ".join(actions.ACTIONS)
        both = ["GET", "POST"]
        self.add_url_rule("/", "list", self.list_view)
        self.add_url_rule(item, "detail", self.detail_view)
        self.add_url_rule(f"{item}/live", "live", self.live_view)
        self.add_url_rule(f"{item}/edit", "edit", self.edit_view, methods=both)
        self.add_url_rule(
            f"{item}/<any({changes}):action>", "action", self.action_view, methods=both
        )
        self.before_request(_check_origin)
        self.after_request(_protect)
        # Not a 401 of authorize: who is not logged in is the app's to send to its login.
        for kind in (*_refusals(), *errors.DATABASE_REFUSALS):
            self.register_error_handler(kind, self._refused)

    # The routes

    def list_view(self) -> ResponseReturnValue:
        pipelines = self._pipelines()
        pipeline = request.args.get("pipeline") or None
        status = request.args.get("status")
        status = status if status in STATUSES else None
        page = max(request.args.get("page", 1, int), 1)
        asked = pipelines if pipeline is None else [one for one in pipelines if one == pipeline]
        offset = min((page - 1) * PAGE, 2**31)
        found, total = self.blueprint.backfills.page(asked, status, offset, PAGE)
        return self._render(
            "list",
            backfills=self._summaries(found),
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
        form = forms.Form(
            self.blueprint.schema, self.blueprint.backfills.show(backfill), request.form
        )
        if request.method == "GET":
            return self._render_edit(backfill_id, form)
        try:
            if request.form.get("do") == "save":
                plan = _shown_plan()
                self.blueprint.backfills.update(*of, form.sent(), if_plan_match=plan)
                return self._back(backfill_id)
            would, preview = self._preview(*of, form.sent())
        except errors.PlanMismatch:
            would, preview = self._preview(*of, form.sent())
            notice = "What would happen has changed meanwhile; nothing was saved."
            return self._render_edit(backfill_id, form, would, preview, notice), 412
        except http.Conflict as refused:
            return self._render_edit(backfill_id, form, notice=refused.description), 409
        except (errors.Refused, forms.NotJSON) as refused:
            return self._render_edit(backfill_id, form.refused(refused.errors)), 422
        return self._render_edit(backfill_id, form, would, preview)

    def action_view(self, backfill_id: t.Any, action: str) -> ResponseReturnValue:
        backfill = self._find(ASKS.get(action, "update"), backfill_id)
        of = str(backfill.pipeline_uuid), backfill_id
        sent = None if action == "delete" else actions.sent(self.blueprint.backfills, action)
        if request.method == "GET":
            would, preview = self._preview(*of, sent) if sent else (None, None)
            return self._render(
                "action",
                action=action,
                backfill=self._summaries([backfill])[0],
                plan=_plan(would),
                strip=preview and timeline.of_plan(preview.entries),
            )
        if sent is None:
            self.blueprint.backfills.delete(*of)
            return redirect(url_for(".list"), 303)
        self.blueprint.backfills.update(*of, sent, if_plan_match=_shown_plan())
        return self._back(backfill_id)

    # What they share

    def _find(self, action: str, backfill_id: t.Any) -> t.Any:
        pipeline_uuid = self.blueprint.allow_one(action, None, backfill_id)
        return self.blueprint.backfills.find(pipeline_uuid, backfill_id)

    def _may(self, action: str, pipeline_uuid: str) -> bool:
        try:
            return self.blueprint.authorize(action, pipeline_uuid) is True
        except http.HTTPException:
            return False

    def _pipelines(self) -> list[str]:
        """The pipelines whose backfills the user may list."""
        known = self.blueprint.table.pipelines()
        found = [pipeline_uuid for pipeline_uuid in known if self._may("list", pipeline_uuid)]
        if not found:
            # Who is not logged in is told so, and not shown an empty page.
            self.blueprint.authorize("list", known[0] if known else "")
        return found

    def _preview(
        self, pipeline_uuid: str, backfill_id: t.Any, sent: t.Any
    ) -> tuple[Saved, Preview]:
        # What is there, and what is wanted instead.
        preview = Preview(0, 2 * max_runs())
        update = self.blueprint.backfills.update
        return update(pipeline_uuid, backfill_id, sent, preview=preview), preview

    def _live(self, backfill: t.Any) -> dict[str, t.Any]:
        """What of a backfill moves while it is looked at."""
        runs = self.blueprint.backfills.runs
        failed = runs.page(backfill, "failed", 0, 10)[0] if runs else []
        pipeline_uuid = str(backfill.pipeline_uuid)
        possible = actions.possible(self.blueprint.backfills, backfill)
        return {
            "backfill": self._summaries([backfill])[0],
            "strip": runs and timeline.of_runs(progress.groups(runs, backfill, timeline.CELLS)),
            "failed": runs.run_schema.dump(failed, many=True) if runs else [],
            "may_edit": self._may("update", pipeline_uuid),
            "actions": [a for a in possible if self._may(ASKS.get(a, "update"), pipeline_uuid)],
        }

    def _summaries(self, backfills: list[t.Any]) -> list[dict[str, t.Any]]:
        """What is shown of backfills, with their counts and how long they still take."""
        counts = self.blueprint.backfills.count(backfills)
        return [
            self._summary(backfill, more) for backfill, more in zip(backfills, counts, strict=True)
        ]

    def _summary(self, backfill: t.Any, counts: dict[str, t.Any]) -> dict[str, t.Any]:
        shown = self.blueprint.backfills.show(backfill)
        statuses = counts.get("run_status_counts", {})
        active = shown["status"] in ACTIVE
        paused = active and (shown.get("settings") or {}).get("paused") is True
        waiting = sum(statuses.get(word, 0) for word in ACTIVE)
        left = None
        if active and waiting and not paused:
            left = timeline.left(waiting, progress.pace(self.blueprint.runs, backfill))
        return {
            **shown,
            "attributes": shown,
            "key": self.blueprint.table.key_of(backfill),
            "active": active,
            "paused": paused,
            "statuses": [(word, statuses.get(word, 0)) for word in STATUSES],
            "total": counts["total_run_count"],
            "ended": sum(statuses.values()) - waiting,
            "left": left,
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
        backfill = self.blueprint.backfills.find(None, backfill_id)
        return self._render(
            "edit",
            backfill=self._summaries([backfill])[0],
            form=form,
            previewed=would is not None,
            plan=_plan(would),
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


def _plan(saved: Saved | None) -> dict[str, t.Any] | None:
    """The counts of a plan that was previewed, and its hash, which is sent back to do it."""
    if saved is None:
        return None
    plan = saved.plan or Tally(None)
    return {"counts": plan.counts, "hash": plan.hash(), "any": any(plan.counts.values())}


def _shown_plan() -> str:
    # Without one the user has not seen what will happen.
    return request.form.get("plan", "")


def _refusals() -> Iterable[type[http.HTTPException]]:
    """Those that are raised here or by the package itself, each with its own words."""
    return (
        Forged,
        *(
            kind
            for kind in vars(errors).values()
            if isinstance(kind, type)
            and issubclass(kind, http.HTTPException)
            and kind.__module__ == errors.__name__
        ),
    )


def _check_origin() -> None:
    """Let in no change that another site's page has sent."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site not in (None, "same-origin"):
        raise Forged()
    if site is None and origin is not None and origin != request.host_url.rstrip("/"):
        raise Forged()
    try:
        validate_csrf(request.form.get("csrf_token"))
    except ValidationError:
        raise Forged() from None


def _protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype == "text/html":
        # Who may see it is asked each time.
        response.headers["Cache-Control"] = "private, no-cache"
    return response
