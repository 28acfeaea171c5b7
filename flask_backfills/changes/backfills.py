"""The operations on backfills that the routes, the commands and the console share."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Iterable

from werkzeug.http import unquote_etag

from .. import errors
from .. import signals
from ..rules.idempotency import Mark
from ..rules.lifecycle import Transitions
from ..rules.plan import Tally
from ..runs.planned import Planned
from ..runs.progress import Progress
from ..tables.assign import Changes
from ..tables.backfill_table import BackfillTable
from ..tables.beside import change
from ..tables.event_table import EventTable
from ..tables.schema import BackfillSchema
from ..tables.session import is_pending
from . import history
from . import once
from .expansion import Expansion
from .flush import flush
from .new import new
from .notes import note
from .reading import Reading
from .reading import require_known
from .replan import follow
from .replan import Preview
from .replan import tell_plan
from .run_values import with_settings
from .run_values import wrong_variables
from .update import update

#: A function that says which pipelines exist.
Pipelines = Callable[[], Iterable[str]]

#: The values to write, or a function that makes them from the backfill once it is locked.
Sent = dict[str, t.Any] | Callable[[t.Any], dict[str, t.Any]]


class Saved(t.NamedTuple):
    """The result of a change: the backfill, and what the answer says about it."""

    backfill: t.Any
    changes: Changes
    shown: dict[str, t.Any]
    #: The plan of its runs; ``None`` if the change planned none.
    plan: Tally | None
    metadata: dict[str, t.Any] | None

    @property
    def tally(self) -> Tally:
        """The plan; where nothing was to be planned, the plan of nothing."""
        return self.plan or Tally(None)


class Backfills(Reading):
    """Reads and changes the backfills of one blueprint.

    Each change is one transaction. A signal is sent after the commit. These methods don't
    call ``authorize``: check first whether the caller may do it. A change that is refused
    raises an exception of :mod:`flask_backfills.errors`, and nothing is changed.

    :param planned: ``None``, as ``progress``, if backfills are only stored and never executed.
    """

    def __init__(
        self,
        table: BackfillTable,
        schema: BackfillSchema,
        transitions: Transitions | None,
        expansion: Expansion,
        planned: Planned | None,
        progress: Progress | None,
        pipelines: Pipelines | None = None,
        events: EventTable | None = None,
    ) -> None:
        super().__init__(table, schema, expansion, planned, progress, events)
        self.transitions = transitions
        self.pipelines = pipelines

    def create(
        self,
        pipeline_uuid: str,
        sent: dict[str, t.Any],
        *,
        idempotency_key: str | None = None,
        if_plan_match: str | None = None,
        preview: Preview | None = None,
    ) -> Saved:
        """Store a new backfill. The other arguments are those of :meth:`update`.

        :param idempotency_key: 1 to 200 characters of your choice. If the same values were
            sent with it before, the backfill of that time is returned as it is now, and
            nothing is stored. A preview neither uses it nor looks for it.
        :raises flask_backfills.errors.UnknownPipeline: if there is no such pipeline, as far as
            the blueprint's ``pipelines`` knows.
        :raises flask_backfills.errors.BeyondScope: if the blueprint's ``scope`` would hide it.
        :raises flask_backfills.errors.KeyRefused: for a key that was sent with other values, or
            that the model can't store.
        """
        if self.pipelines is not None:
            require_known(pipeline_uuid, self.pipelines())
        mark = None
        if idempotency_key is not None:
            mark = once.mark(self.table, pipeline_uuid, idempotency_key, sent)
            mark = mark if preview is None else None

        def create() -> Saved:
            if preview is not None:
                preview.clear()
            backfill, wrong = new(self.table, self.schema, pipeline_uuid, sent)
            self.table.session.add(backfill)
            if mark is not None:
                once.begin(backfill, mark)
            saved = self._save(backfill, sent, wrong, if_plan_match, preview, mark)
            if not self.table.is_visible(backfill):
                raise errors.BeyondScope()
            if preview is None:
                history.created(self.events, backfill, saved.shown)
            return saved

        while True:
            if mark is not None and (before := _made_before(self, pipeline_uuid, mark)):
                return before
            try:
                saved = change(self.table.database, create, keep=preview is None)
                break
            except once.MadeMeanwhile:
                continue  # By now, that is stored.
        if preview is None:
            signals.tell(self.table.session, self.schema, saved.backfill, saved.changes)
        else:
            # Some databases have assigned a key, which the rollback has freed.
            saved.shown[self.schema.fields["id"].data_key or "id"] = None
        return saved

    def update(
        self,
        pipeline_uuid: str,
        backfill_id: t.Any,
        sent: Sent,
        *,
        check: Callable[[t.Any], None] | None = None,
        if_plan_match: str | None = None,
        preview: Preview | None = None,
        reprocess: str | None = None,
        again: bool = False,
    ) -> Saved:
        """Write the values that were sent, and update the runs accordingly.

        :param check: called with the locked backfill before the change. It may raise an
            exception to refuse the change.
        :param if_plan_match: the hash of the expected plan. Another plan is refused.
        :param preview: if given, it is filled with the plan, and nothing is stored.
        :param reprocess: if this is a start, it counts instead of ``settings.reprocess``, for
            this start alone.
        :param again: if this is a retry, the backfill has started now, and no longer has an end.
        """

        def write() -> Saved:
            if preview is not None:
                preview.clear()
            # A preview changes nothing, and keeps nobody waiting while it plans.
            backfill = self.table.find(pipeline_uuid, backfill_id, lock=preview is None)
            if check is not None:
                check(backfill)
            values = sent(backfill) if callable(sent) else sent
            before = self.show(backfill) if self.events is not None else {}
            saved = self._save(backfill, values, {}, if_plan_match, preview, None, reprocess, again)
            if preview is None:
                then = saved.shown, saved.changes, saved.plan
                history.edited(self.events, self.schema, backfill, before, *then)
            return saved

        saved = change(self.table.database, write, keep=preview is None)
        if preview is None:
            signals.tell(self.table.session, self.schema, saved.backfill, saved.changes)
        return saved

    def delete(
        self,
        pipeline_uuid: str,
        backfill_id: t.Any,
        *,
        check: Callable[[t.Any], None] | None = None,
    ) -> dict[str, t.Any]:
        """Delete a backfill that has no active runs, together with its runs.

        :returns: the attributes of the deleted backfill, as in the API.
        """

        def delete() -> dict[str, t.Any]:
            backfill = self.table.find(pipeline_uuid, backfill_id, lock=True)
            if check is not None:
                check(backfill)
            shown = self.show(backfill)
            if self.planned is not None:
                if self.planned.are_active(backfill):
                    raise errors.StillActive()
                self.planned.delete(backfill)
            history.deleted(self.events, backfill, shown)
            self.table.session.delete(backfill)
            return shown

        if self.planned is not None:
            # Which workers are dead is told by the database's clock.
            self.table.database.synchronize()
        return change(self.table.database, delete)

    def _save(
        self,
        backfill: t.Any,
        sent: dict[str, t.Any],
        wrong: errors.Errors,
        if_plan_match: str | None,
        preview: Preview | None,
        mark: Mark | None = None,
        reprocess: str | None = None,
        again: bool = False,
    ) -> Saved:
        """Write the values and update the runs, within the caller's transaction.

        :param mark: what marks a new backfill with the key that it was sent with.
        """
        before = self.expansion.values(backfill) if self.planned is not None else {}
        if self.planned is not None:
            runs = self.planned.table
            sent, wrong_settings = with_settings(self.schema, runs, sent, backfill)
            wrong = {**wrong, **wrong_settings, **wrong_variables(self.schema, sent, backfill)}
        changes = update(backfill, sent, self.schema, self.transitions, wrong, again)
        if preview is None:
            flush(self.table, self.schema, backfill, sent)
        if mark is not None:
            once.take(self.table, backfill, mark)
        plan, sums = None, getattr(backfill, "metrics", None)
        if self.planned is not None:
            plan = _plan(self, self.planned, backfill, before, changes, preview, reprocess)
            if self.schema.key_of("metrics") in sent and getattr(backfill, "metrics", None) != sums:
                # Who replaces the sums has them stored as sent, whichever runs run again.
                backfill.metrics = sums
        if is_pending(self.table.session):
            # Of a preview only now: a row that is written is locked, and planning may take long.
            flush(self.table, self.schema, backfill, sent)
        # Shown before the commit, which expires what would have to be read again.
        saved = Saved(backfill, changes, self.show(backfill), plan, None)
        page = preview if self.planned is not None else None
        if plan is not None or page is not None:
            saved = saved._replace(metadata=tell_plan(saved.tally, page))
        if if_plan_match is not None:
            _check_plan(if_plan_match, saved)
        return saved


def _made_before(backfills: Backfills, pipeline_uuid: str, mark: Mark) -> Saved | None:
    """The answer of a request that was sent before; ``None`` if this is the first."""

    def look() -> Saved | None:
        backfill = once.made_before(backfills.table, pipeline_uuid, mark)
        return backfill and Saved(backfill, {}, backfills.show(backfill), None, None)

    return backfills.table.database.again(look, keep=False)


def _plan(
    backfills: Backfills,
    planned: Planned,
    backfill: t.Any,
    before: dict[str, t.Any],
    changes: Changes,
    preview: Preview | None,
    reprocess: str | None,
) -> Tally | None:
    """Let the runs follow what was changed, or fill the preview with what would be."""
    expansion = backfills.expansion
    with backfills.table.session.no_autoflush:
        plan = follow(planned, expansion, backfill, before, changes, preview, reprocess)
        if preview is not None:
            note(backfills.table, expansion, backfill, preview)
        if preview is not None and plan is not None:
            told = backfills.forecast(backfill, plan.statuses["initial"], preview.at_once)
            preview.forecast["forecast"] = told
    return plan


def _check_plan(named: str, saved: Saved) -> None:
    etag, _ = unquote_etag(named)
    if etag != saved.tally.hash():
        raise errors.PlanMismatch(saved.metadata or {"plan": None})
