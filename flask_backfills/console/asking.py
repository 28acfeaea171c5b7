"""The pages that ask before an action: what it will do, in numbers, and a button that says so."""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Mapping

from flask import redirect
from flask import request
from flask import url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from .. import errors
from ..changes import actions
from ..changes.backfills import Saved
from ..changes.replan import Preview
from ..rules.lifecycle import ACTIVE
from ..rules.lifecycle import STATUSES
from . import timeline
from .frame import ASKS
from .frame import Frame
from .guard import seen_plan
from .summaries import plan_of
from .summaries import summaries
from .wording import Translate

#: A text for no run that is known, for one, and for several.
Texts = tuple[str, str, str]

#: What is asked before each action.
QUESTIONS: dict[str, Texts] = {
    "start": ("Start {name}?", "Start 1 run of {name}?", "Start {count} runs of {name}?"),
    "again": (
        "Run all of {name} again?",
        "Run 1 run of {name} again?",
        "Run all {count} runs of {name} again?",
    ),
    "pause": (
        "Pause {name}?",
        "Pause {name}, with 1 waiting run?",
        "Pause {name}, with {count} waiting runs?",
    ),
    "resume": (
        "Resume {name}?",
        "Resume {name}, with 1 waiting run?",
        "Resume {name}, with {count} waiting runs?",
    ),
    "retry": ("Retry {name}?", "Retry 1 run of {name}?", "Retry {count} runs of {name}?"),
    "cancel": ("Cancel {name}?", "Cancel 1 run of {name}?", "Cancel {count} runs of {name}?"),
    "delete": (
        "Delete {name}?",
        "Delete {name} and its 1 run?",
        "Delete {name} and its {count} runs?",
    ),
}

#: What the button says that does it.
BUTTONS: dict[str, Texts] = {
    "start": ("Start", "Start 1 run", "Start {count} runs"),
    "again": ("Run all again", "Run 1 run again", "Run {count} runs again"),
    "pause": ("Pause", "Pause 1 run", "Pause {count} runs"),
    "resume": ("Resume", "Resume 1 run", "Resume {count} runs"),
    "retry": ("Retry", "Retry 1 run", "Retry {count} runs"),
    "cancel": ("Cancel the backfill", "Cancel 1 run", "Cancel {count} runs"),
    "delete": (
        "Delete the backfill",
        "Delete the backfill and 1 run",
        "Delete the backfill and {count} runs",
    ),
}

#: What a start that runs again what is completed does.
AGAIN = "Completed runs run again, too. Their results are replaced. A worker then executes them."

#: What a start or a retry does where there are runs already, by what it runs again.
RESTARTS = {
    "failed": "Failed and cancelled runs run again. Missing runs are added. The others stay.",
    "all": AGAIN,
    "none": "Missing runs are added. The others stay: settings.reprocess is none.",
}

#: The statuses of the runs that each action is about.
ABOUT = {"pause": ACTIVE, "resume": ACTIVE, "cancel": ACTIVE, "delete": STATUSES}

#: What takes something away.
DANGEROUS = ("cancel", "delete")


def action_view(frame: Frame, backfill_id: t.Any, action: str) -> ResponseReturnValue:
    backfill = frame.find(ASKS.get(action, "update"), backfill_id)
    again = _again(action, request.args.get("again"))
    if action == "delete":
        return _render(frame, backfill, action, None, None)
    try:
        would, preview = _preview(frame, backfill, action, again)
    except errors.NothingToRun:
        if again or action != "start":
            raise
        # All is completed: what is left to want is to run it again.
        would, preview = _preview(frame, backfill, action, "all")
        return _render(frame, backfill, "again", would, preview, nothing_left=True)
    return _render(frame, backfill, "again" if again else action, would, preview)


def act_view(frame: Frame, backfill: t.Any, action: str) -> ResponseReturnValue:
    of = frame.name_of(backfill)
    if action == "delete":
        frame.host.backfills.delete(*of)
        return redirect(url_for(".list", did="delete"), 303)
    again = _again(action, request.form.get("again"))
    with seen_plan() as plan:
        actions.act(frame.host.backfills, of, action, if_plan_match=plan, reprocess=again)
    return frame.back(of, action)


def _again(action: str, asked: str | None) -> str | None:
    """What a start runs again, if it is not as the settings say: all, and only this once."""
    return "all" if action == "start" and asked == "all" else None


def _preview(
    frame: Frame, backfill: t.Any, action: str, again: str | None
) -> tuple[Saved, Preview]:
    sent = actions.sent(frame.host.backfills, action)
    return frame.preview(*frame.name_of(backfill), sent, reprocess=again)


def _render(
    frame: Frame,
    backfill: t.Any,
    asked: str,
    would: Saved | None,
    preview: Preview | None,
    nothing_left: bool = False,
) -> str:
    [shown] = summaries(frame.host, [backfill])
    there = dict(shown["statuses"])
    counts: list[tuple[str, int]] = [(word, there[word]) for word in ABOUT.get(asked, ())]
    if would is not None:
        count = runs_of(asked, there, would)
    else:
        # With those that are kept as history.
        progress = frame.host.backfills.progress
        count = progress.page(backfill, None, 0, 1)[1] if progress else 0
    if asked == "retry" and preview is not None:
        again = Counter(
            one.run.status for one in preview.entries if one.run and one.action == "redo"
        )
        counts = [(word, again[word]) for word in STATUSES]
    completed = preview and sum(one.action == "keep" for one in preview.entries if one.wanted)
    texts = {"count": count, "name": shown["title"], "translate": frame.translate}
    name = Markup("<bdi>{}</bdi>").format(shown["title"])
    return frame.render(
        "action",
        action="start" if asked == "again" else asked,
        again=asked == "again",
        nothing_left=nothing_left,
        # Of a start that leaves out what is completed, the other one.
        offers_again=asked == "start" and bool(completed),
        backfill=shown,
        question=_counted(QUESTIONS[asked], **texts),
        heading=_counted(QUESTIONS[asked], **{**texts, "name": name}),
        told=_told(asked, there, would),
        button=_counted(BUTTONS[asked], **texts),
        danger=asked in DANGEROUS,
        counts=counts,
        plan=plan_of(would),
        strip=preview and timeline.of_plan(preview.entries),
    )


def _told(asked: str, there: Mapping[str, int], would: Saved | None) -> str:
    """What an action does, in a sentence."""
    which = would and would.tally.reprocess
    if which and any(there.values()):
        return RESTARTS[which]
    return timeline.DOES["start" if asked == "again" else asked]


def runs_of(action: str, statuses: Mapping[str, int], would: Saved) -> int:
    """How many runs an action is about: those that wait after it, or that it holds or cancels.

    :param statuses: how many runs have each status before it.
    """
    if would.plan is not None:
        return would.plan.statuses["initial"]
    return sum(statuses[word] for word in (ACTIVE if action == "cancel" else ("initial",)))


def _counted(texts: Texts, count: int, name: t.Any, translate: Translate) -> str:
    """The one of three texts that is for so many runs."""
    return translate(texts[min(count, 2)], count=f"{count:,}", name=name)
