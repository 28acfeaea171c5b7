"""One action for several backfills of the list: a question that counts, then each by itself."""

from __future__ import annotations

import typing as t

from flask import request
from flask import url_for
from flask.typing import ResponseReturnValue
from werkzeug import exceptions as http

from .. import errors
from ..changes import actions
from ..changes.replan import Preview
from .access import listable
from .asking import runs_of
from .frame import ASKS
from .frame import Frame
from .guard import check_origin
from .guard import check_token
from .list import asked
from .summaries import summaries
from .summaries import title_of

#: How many backfills one question is about.
MOST = 100

#: What an action does with one run or so many, which the question says.
RUNS = {
    "start": ("1 run waits for a worker then.", "{runs} runs wait for a worker then."),
    "pause": ("1 waiting run is held back.", "{runs} waiting runs are held back."),
    "resume": ("1 waiting run can start again.", "{runs} waiting runs can start again."),
    "retry": ("1 run waits for a worker again.", "{runs} runs wait for a worker again."),
    "cancel": (
        "1 run that has not ended is cancelled.",
        "{runs} runs that have not ended are cancelled.",
    ),
    "delete": ("1 run is deleted too.", "{runs} runs are deleted too."),
}

#: The question about one backfill or several, and what it is answered with.
ASKED = {
    "start": ("Start 1 backfill", "Start {count} backfills"),
    "pause": ("Pause 1 backfill", "Pause {count} backfills"),
    "resume": ("Resume 1 backfill", "Resume {count} backfills"),
    "retry": ("Retry 1 backfill", "Retry {count} backfills"),
    "cancel": ("Cancel 1 backfill", "Cancel {count} backfills"),
    "delete": ("Delete 1 backfill", "Delete {count} backfills"),
}

#: What a page says once it is done.
DONE = {
    "start": "Started {done} of {count}",
    "pause": "Paused {done} of {count}",
    "resume": "Resumed {done} of {count}",
    "retry": "Retried {done} of {count}",
    "cancel": "Cancelled {done} of {count}",
    "delete": "Deleted {done} of {count}",
}

#: What a form sends for a backfill: its name begins so, and ends with the key of the backfill.
PLAN = "plan-"


#: What stands in the way of one backfill, and of no other.
_REFUSED: tuple[type[Exception], ...] = (http.HTTPException, *errors.DATABASE_ERRORS)


class One(t.NamedTuple):
    """One of the backfills that were chosen."""

    key: str
    title: str
    #: Why nothing is, or was, done with it; ``None`` if nothing stands in the way.
    reason: str | None = None
    #: How many runs it is about.
    runs: int = 0
    #: The hash of the plan that the user sees.
    plan: str = ""
    #: Whether it has a page that the user may open.
    is_there: bool = True


def question_view(frame: Frame) -> ResponseReturnValue:
    """The question before anything is done."""
    listable(frame.host)
    action = _action(request.args.get("action", ""))
    keys = list(dict.fromkeys(request.args.getlist("chosen")))
    _check_count(keys)
    found = [_look(frame, action, key) for key in keys]
    possible = [one for one in found if one.reason is None]
    return frame.render(
        "bulk",
        action=action,
        possible=possible,
        refused=[one for one in found if one.reason is not None],
        done=None,
        **_texts(frame, action, possible),
        **_list_of(frame),
    )


def answer_view(frame: Frame) -> ResponseReturnValue:
    """Do it for each in a transaction of its own, and say how it went."""
    check_origin()
    listable(frame.host)
    check_token()
    action = _action(request.form.get("action", ""))
    plans = {
        name.removeprefix(PLAN): plan
        for name, plan in request.form.items()
        if name.startswith(PLAN)
    }
    _check_count(list(plans))
    found = [_do(frame, action, key, plan) for key, plan in plans.items()]
    done = [one for one in found if one.reason is None]
    page = frame.render(
        "bulk",
        action=action,
        possible=done,
        refused=[one for one in found if one.reason is not None],
        done=frame.translate(DONE[action], done=len(done), count=len(found)),
        **_texts(frame, action, []),
        **_list_of(frame),
    )
    return page, 200 if done or not found else 409


def _look(frame: Frame, action: str, key: str) -> One:
    """What an action would do with one backfill."""
    host = frame.host
    try:
        backfill = frame.find(ASKS.get(action, "update"), key)
    except http.HTTPException as refused:
        return _unseen(frame, key, refused)
    [summary] = summaries(host, [backfill], forecasts=0)
    one = One(key, summary["title"], is_there=host.may("detail", summary["pipeline"]))
    if reason := actions.refused(host.backfills, backfill, action):
        return one._replace(reason=reason)
    statuses = dict(summary["statuses"])
    if action == "delete":
        return one._replace(runs=sum(statuses.values()))
    of = frame.name_of(backfill)
    try:
        # No page of its entries: only how many there are.
        would = actions.act(host.backfills, of, action, preview=Preview(0, 0))
    except _REFUSED as refused:
        return one._replace(reason=_told(refused))
    return one._replace(runs=runs_of(action, statuses, would), plan=would.tally.hash())


def _do(frame: Frame, action: str, key: str, plan: str) -> One:
    host = frame.host
    try:
        backfill = frame.find(ASKS.get(action, "update"), key)
    except http.HTTPException as refused:
        return _unseen(frame, key, refused)
    shown = host.backfills.by_attribute(host.backfills.show(backfill))
    of = frame.name_of(backfill)
    one = One(key, title_of(key, shown.get("name")), is_there=host.may("detail", of[0]))
    try:
        if action == "delete":
            host.backfills.delete(*of)
            return one._replace(is_there=False)
        actions.act(host.backfills, of, action, if_plan_match=plan)
    except errors.PlanMismatch:
        told = "The plan has changed since you saw it. Nothing was changed."
        return one._replace(reason=frame.translate(told))
    except _REFUSED as refused:
        return one._replace(reason=_told(refused))
    return one


def _unseen(frame: Frame, key: str, refused: http.HTTPException) -> One:
    """One that is not there, or is not the user's: its name is not told."""
    title = frame.translate("Backfill {key}", key=key)
    return One(key, title, str(refused.description), is_there=False)


def _told(refused: Exception) -> str:
    refusal = errors.refusal(refused)
    wrong = getattr(refusal, "errors", {})
    told = [f"{key}: {' '.join(errors.flat(found))}" for key, found in wrong.items()]
    # A transition says the same in both.
    described = [one for one in told if str(refusal.description) not in one]
    return " ".join([str(refusal.description), *described])


def _action(word: str) -> str:
    if word not in actions.ACTIONS:
        raise errors.Refused({"action": [f"Must be one of: {', '.join(actions.ACTIONS)}."]})
    return word


def _check_count(keys: list[str]) -> None:
    if len(keys) > MOST:
        raise errors.Refused({"chosen": [f"Choose at most {MOST}."]})


def _texts(frame: Frame, action: str, possible: list[One]) -> dict[str, str]:
    """What the question says."""
    count, runs = len(possible), sum(one.runs for one in possible)
    told = RUNS[action][runs != 1]
    return {
        "question": frame.translate(ASKED[action][count != 1], count=count),
        "about_runs": frame.translate(told, runs=f"{runs:,}") if runs else "",
    }


def _list_of(frame: Frame) -> dict[str, t.Any]:
    """The list that the user came from."""
    query = asked().query
    return {"query": query, "list_url": url_for(".list", **query)}
