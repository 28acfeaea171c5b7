"""Why a backfill or a run stands as it does: the code, the sentence, what would change it. No I/O.

Which reason holds is decided elsewhere, such as by the claim; here is only how it is told.
"""

from __future__ import annotations

import typing as t
from datetime import datetime

#: By code, the sentence and what would change it. A code means the same for ever.
REASONS: dict[str, tuple[str, str]] = {
    # The backfill as a whole.
    "not_started": ("Not started.", "Start it: send the status initial."),
    "completed": (
        "Completed: {completed:runs}.",
        "Start it again: that adds missing runs. settings.reprocess says which others run again.",
    ),
    "failed": (
        "Failed: {failed} of {total:runs} failed.",
        "Retry it, try single runs again, or mark them as done.",
    ),
    "gave_up": (
        "It gave up: {failed:runs} failed, and settings.max_failures is {most}.",
        "Retry it, or start it with a higher settings.max_failures.",
    ),
    "cancelled": ("Cancelled: {cancelled} of {total:runs} cancelled.", "Start it again."),
    "other_status": ("Has the status {status}, of which no rule says anything.", "Another status."),
    "moving": (
        "Moves: {moving:runs} running, {waiting} waiting, {ended} of {total} ended.",
        "Nothing to do.",
    ),
    "lease_over": (
        "Waits: of {silent:runs}, the worker was silent for {seconds} seconds or more.",
        "A worker that looks for runs takes them back.",
    ),
    "canary_ended": (
        "Canary: {chosen_ended} of {chosen} ended, {chosen_failed} failed.",
        "Look at these runs. To go on with the rest, resume it: set settings.paused to false.",
    ),
    "paused": (
        "Waits: settings.paused is true.",
        "Resume it: set settings.paused to false.",
    ),
    "max_failures": (
        "Ends as failed: {failed:runs} failed, and settings.max_failures is {most}.",
        "A higher settings.max_failures.",
    ),
    "at_limit": (
        "Waits: {at_once} of {limit} run at once.",
        "A run that ends, or a higher settings.pipeline_run_limit.",
    ),
    "canary": (
        "Waits for the canary: {chosen_ended} of {chosen} ended, {chosen_failed} failed.",
        "They end; then the backfill pauses itself. settings.canary set to null lifts it.",
    ),
    "next_try": (
        "Waits: {count:runs} between two attempts, the next one at {at}.",
        "That moment. settings.retry_delay counts for attempts that fail from now on.",
    ),
    "not_ended": (
        "Waits: {count:runs} whose interval has not ended, the next one at {at}.",
        "That moment, or settings.only_ended set to false.",
    ),
    "held": (
        "Waits: {count:runs} of which a worker is still at an earlier attempt.",
        "The worker leaves it, or is silent for {seconds} seconds.",
    ),
    "others_first": (
        "Waits for a worker: {due:runs} may start, after those of {others:backfills}.",
        "A worker that is free, or a higher settings.priority.",
    ),
    "no_worker": (
        "Waits for a worker: {due:runs} may start, and no worker has taken a run for {seconds}"
        " seconds.",
        "Start one: flask backfills work",
    ),
    "ready": ("Waits for a worker: {due:runs} may start.", "A worker that is free."),
    "ending": (
        "Ends: no run is waiting or running.",
        "The next worker that looks for runs ends the backfill.",
    ),
    # One run that there is.
    "turn": ("Waits: before it, the backfill has {before:runs} to start.", "They begin."),
    "queued": (
        "Waits in the message queue since {at}.",
        "A worker that takes its message. If the message is lost, it is sent again.",
    ),
    "run_running": ("Running since {at}, as attempt {attempt}.", "It ends, or is cancelled."),
    "run_silent": (
        "Its worker was silent for {seconds} seconds or more.",
        "A worker that looks for runs takes it back.",
    ),
    "run_completed": ("Completed at {at}.", "Try it again: set its status to initial."),
    "run_failed": (
        "Failed at {at}, as attempt {attempt}: {error}",
        "Try it again, or mark it as done.",
    ),
    "run_cancelled": ("Cancelled at {at}.", "Try it again, or mark it as done."),
    "run_stopping": (
        "Its status is {status}, but its worker is still at it.",
        "The worker leaves it, or is silent for {seconds} seconds.",
    ),
    "dropped": (
        "No longer needed, and kept as history: {status}.",
        "A window, or a generator, that asks for it.",
    ),
    # One date of which there is no run.
    "no_window": (
        "The window is not complete, or has no dates.",
        "Set its start, end and interval.",
    ),
    "before_start": ("Before the start of the window, {at}.", "An earlier start_datetime."),
    "after_end": ("After the last date of the window, {at}.", "A later end_datetime."),
    "off_grid": (
        "Between two dates of the window. The run of {at} covers it.",
        "Ask for that run, or change the start or the interval.",
    ),
    "covered": (
        "Skipped: completed in {where}.",
        "settings.skip_covered set to false.",
    ),
    "not_planned": (
        "A date of the window, but no run is planned.",
        "Start the backfill: a start adds the runs that are missing.",
    ),
    "not_given": (
        "The generator {name} has given no run of this date.",
        "A generator that gives one, and a change or a start that plans the runs again.",
    ),
}


class Reason(t.NamedTuple):
    """Why something is as it is."""

    code: str
    message: str
    #: What would change it.
    change: str


def reason(code: str, **figures: t.Any) -> Reason:
    """Tell a reason with its decisive figures.

    >>> reason("at_limit", at_once=3, limit=3).message
    'Waits: 3 of 3 run at once.'
    >>> reason("turn", before=1200).message
    'Waits: before it, the backfill has 1,200 runs to start.'

    :param figures: those that the sentences name; moments are naive and in UTC.
    """
    shown = {name: _Figure(value) for name, value in figures.items()}
    message, change = (sentence.format(**shown) for sentence in REASONS[code])
    return Reason(code, message, change)


class _Figure:
    """A number with what is counted, a moment, or a word."""

    def __init__(self, value: t.Any) -> None:
        self.value = value

    def __format__(self, of: str) -> str:
        if isinstance(self.value, datetime):
            return f"{self.value.replace(microsecond=0).isoformat(sep=' ')} UTC"
        if not isinstance(self.value, int):
            return "an unknown time" if self.value is None else str(self.value)
        of = of[:-1] if self.value == 1 else of
        return f"{self.value:,} {of}".rstrip()
