"""What must hold when tests/stress.py has ended. Each check returns what is wrong, in words."""

from collections import Counter
from collections import defaultdict

from stress_facts import counts
from stress_facts import dates
from stress_facts import ended_processes
from stress_facts import executions
from stress_facts import history
from stress_facts import incarnation_of
from stress_facts import lapses
from stress_facts import lease_of
from stress_facts import life
from stress_facts import limit_at
from stress_facts import notes
from stress_facts import SLACK
from stress_facts import taken_back
from stress_host import amount_of
from stress_host import HOPELESS
from stress_host import nature_of

ACTIVE = ("initial", "running")

#: Every change of a run's status that a plan, a worker or a cancel may make.
MOVES = {
    ("initial", "running"),
    ("initial", "cancelled"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "cancelled"),
    ("running", "initial"),
    ("completed", "initial"),
    ("failed", "initial"),
    ("cancelled", "initial"),
}


def every_wanted_run_has_ended(facts):
    for run in facts.runs:
        if run.status == "running":
            yield f"run {run.id} ({run.key}, attempt {run.attempt}) is running, and nobody has it"
        elif run.status == "initial" and run.wanted:
            yield f"run {run.id} ({run.key}, attempt {run.attempt}) is waiting"


def no_cancelled_run_is_held(facts):
    for run in facts.runs:
        if run.status == "cancelled" and run.completed_at is None:
            yield f"run {run.id} was cancelled, and its worker never let go of it"


def every_effect_is_there_once(facts):
    """As often as the ledger has an end of that attempt, whatever became of the run since."""
    there = Counter((effect.run_id, effect.attempt) for effect in facts.effects)
    ended = Counter(
        (entry.run_id, entry.new_attempt)
        for entries in life(facts).values()
        for entry in entries
        if entry.new_status == "completed"
    )
    for run in facts.runs:
        found, own = there[run.id, run.attempt], int(run.status == "completed")
        if found != own:
            yield f"run {run.id} is {run.status}: {found} effects of attempt {run.attempt}"
    for run, attempt in sorted(there.keys() | ended.keys()):
        if there[run, attempt] != ended[run, attempt]:
            of = f"attempt {attempt} of run {run}"
            yield f"{of}: {there[run, attempt]} effects, completed {ended[run, attempt]} times"


def every_effect_is_of_its_run(facts):
    """A late worker may otherwise end a run that has got the id of another."""
    backfills = {backfill.id: incarnation_of(backfill) for backfill in facts.backfills}
    runs = {run.id: (run.backfill_id, run.key) for run in facts.runs}
    for effect in facts.effects:
        if (effect.backfill_id, effect.key) != runs.get(effect.run_id):
            yield f"effect {effect.id} is of {effect.key}, and its run of another"
        elif effect.incarnation != backfills.get(effect.backfill_id):
            yield f"effect {effect.id} is of a backfill that was deleted"


def every_end_is_recorded_once(facts):
    for run, entries in life(facts).items():
        ends = Counter(e.new_attempt for e in entries if e.new_status in ("completed", "failed"))
        for attempt, count in ends.items():
            if count > 1:
                yield f"attempt {attempt} of run {run} has ended {count} times"
        for entry in entries:
            move = (entry.old_status, entry.new_status)
            if move not in MOVES and move[0] != move[1]:
                yield f"run {run} went from {move[0]} to {move[1]}"


def metrics_equal_the_effects(facts):
    """The sum over the completed runs that are wanted.

    What else may be in it: runs that had completed and are no longer wanted, were dropped, or
    were run again and did not complete.
    """
    by_backfill = defaultdict(list)
    for run in facts.runs:
        by_backfill[run.backfill_id].append(run)
    ledger = history(facts)
    for backfill in facts.backfills:
        runs = by_backfill[backfill.id]
        sure = {run.key for run in runs if run.status == "completed" and run.wanted}
        entries = ledger[backfill.id]
        once = {entry.run_key for entry in entries if entry.new_status == "completed"} - sure
        for name, value in (("amount", amount_of), ("runs", lambda *run: 1)):
            least = sum(value(incarnation_of(backfill), key) for key in sure)
            most = least + sum(value(incarnation_of(backfill), key) for key in once)
            found = (backfill.metrics or {}).get(name, 0)
            if not least <= found <= most:
                of = f"backfill {backfill.id} ({backfill.status})"
                yield f"{of}: metrics {name} is {found}; its effects: {least} to {most}"


def no_backfill_is_active_with_nothing_to_do(facts):
    left = {run.backfill_id for run in facts.runs if run.status in ACTIVE}
    for backfill in facts.backfills:
        if backfill.status in ACTIVE and backfill.id not in left:
            yield f"backfill {backfill.id} is {backfill.status}, and all its runs have ended"


def no_backfill_has_ended_with_something_to_do(facts):
    left = Counter(run.backfill_id for run in facts.runs if run.status in ACTIVE)
    for backfill in facts.backfills:
        if backfill.status not in ACTIVE and left[backfill.id]:
            yield f"backfill {backfill.id} is {backfill.status}, and {left[backfill.id]} runs left"


def every_backfill_ended_as_its_runs_did(facts):
    failed = Counter(run.backfill_id for run in facts.runs if run.wanted and run.status == "failed")
    for backfill in facts.backfills:
        if backfill.status == "completed" and failed[backfill.id]:
            yield f"backfill {backfill.id} is completed, and {failed[backfill.id]} runs failed"
        if backfill.status == "failed" and not failed[backfill.id]:
            yield f"backfill {backfill.id} is failed, and none of its runs"


def every_planned_run_is_there(facts):
    """Compared with the window, as long as the last edit of it was one that plans."""
    planned = {note["incarnation"]: note["window"] for note in notes(facts, "planned")}
    keys = defaultdict(set)
    for run in facts.runs:
        if run.wanted:
            keys[run.backfill_id].add(str(run.execution_date)[:19])
    for backfill in facts.backfills:
        window = [backfill.start_datetime, backfill.end_datetime, backfill.interval_units]
        ended = backfill.status in ("completed", "failed")
        if ended and planned.get(incarnation_of(backfill)) == window:
            missing = dates(*window) ^ keys[backfill.id]
            if missing:
                yield f"backfill {backfill.id} lacks or has too many: {sorted(missing)[:3]}"


def what_raises_has_not_completed(facts):
    incarnations = {backfill.id: incarnation_of(backfill) for backfill in facts.backfills}
    for run in facts.runs:
        nature = nature_of(facts.config, incarnations.get(run.backfill_id), run.key)
        if run.status == "completed" and nature in HOPELESS:
            yield f"run {run.id} ({run.key}) is completed, and {nature}"


def the_limit_is_kept(facts):
    """At each begin, by the clocks of the runs: a process that was killed has stopped then."""
    limits = defaultdict(list)
    for note in notes(facts, "limit"):
        limits[note["incarnation"]].append(note)
    lost = taken_back(facts)
    going = defaultdict(list)
    for one in executions(facts):
        others = [o for o in going[one.incarnation] if counts(o, lost) > one.begin]
        going[one.incarnation] = [*others, one]
        most = limit_at(limits[one.incarnation], min(one.claimed, one.begin) - 1, one.begin)
        if len(others) + 1 > most:
            keys = ", ".join(f"{o.key} ({o.attempt})" for o in [*others, one])
            yield f"incarnation {one.incarnation}: limit {most}, at once {keys}"


def no_run_is_executed_twice_at_once(facts):
    lease, lost = lease_of(facts), taken_back(facts)
    by_run = defaultdict(list)
    for one in executions(facts):
        for other in by_run[one.incarnation, one.key]:
            over = [e for e in lost[other.run, other.attempt] if e.at - (e.seen or 0) >= lease]
            if other.stop > one.begin + SLACK and not any(e.at <= one.begin + SLACK for e in over):
                seconds = min(one.stop, other.stop) - one.begin
                of = f"{one.key} of incarnation {one.incarnation}"
                yield f"{of}: attempts {other.attempt} and {one.attempt}, {seconds:.2f} s at once"
        by_run[one.incarnation, one.key].append(one)


def no_worker_that_lives_loses_its_lease(facts):
    """Unless it stood still, or was told to stop and gives its runs back."""
    told = {note["pid"]: note["at"] for note in notes(facts, "signal")}
    for one, entry in lapses(facts):
        # Whose connection was cut has no lock any more that says that it lives.
        if not one.undone and one.begin + SLACK < entry.at < one.stop - SLACK:
            if told.get(one.pid, float("inf")) > entry.at:
                after = entry.at - one.begin
                yield f"run {one.run} ({one.key}) was taken back after {after:.1f} s of its work"


def no_end_is_lost_while_its_worker_lives(facts):
    """Whoever waits for the lease to tell what a worker knew works twice.

    What a worker gives back itself is the same attempt.
    """
    for one, entry in lapses(facts):
        expired = entry.new_status == "initial" and entry.at - (entry.seen or 0) >= lease_of(facts)
        taken = expired and entry.new_attempt != entry.old_attempt
        # To record it takes a moment.
        if taken and not one.undone and one.stop + SLACK < entry.at < one.exit - SLACK:
            yield f"run {one.run} ({one.key}) returned {entry.at - one.stop:.1f} s before that"


def workers_end_only_when_told(facts):
    """By a signal, or by a run that kills its process; and then soon."""
    told = {note["pid"] for note in notes(facts, "signal")}
    killed = {
        one.pid
        for one in executions(facts)
        if nature_of(facts.config, one.incarnation, one.key) == "poison"
    }
    for note in notes(facts, "exit"):
        if note["pid"] not in told | (killed if note["code"] == -9 else set()):
            yield f"worker {note['pid']} ended by itself with {note['code']}"
    for note in notes(facts, "stubborn"):
        yield f"worker {note['pid']} did not end in time after SIGTERM"
    for pid in {one.pid for one in executions(facts)} - ended_processes(facts).keys():
        yield f"worker {pid} has not ended"


def requests_are_answered(facts):
    for note in notes(facts, "answer"):
        fine = (200, 201, 409, 503, 404 if note["others"] else 200)
        if note["status"] not in fine:
            yield f"{note['method']} {note['sent']}: {note['status']} {note['told']}"


STATE = [
    every_wanted_run_has_ended,
    no_cancelled_run_is_held,
    every_effect_is_there_once,
    every_effect_is_of_its_run,
    every_end_is_recorded_once,
    metrics_equal_the_effects,
    no_backfill_is_active_with_nothing_to_do,
    no_backfill_has_ended_with_something_to_do,
    every_backfill_ended_as_its_runs_did,
    every_planned_run_is_there,
    what_raises_has_not_completed,
]

HISTORY = [
    the_limit_is_kept,
    no_run_is_executed_twice_at_once,
    no_worker_that_lives_loses_its_lease,
    no_end_is_lost_while_its_worker_lives,
    workers_end_only_when_told,
    requests_are_answered,
]


def violations(facts, checks=(*STATE, *HISTORY)):
    """What is wrong, by the name of each check."""
    return {check.__name__.replace("_", " "): list(check(facts)) for check in checks}
