"""What is known when tests/stress.py has ended: the tables, the ledger and the journal, as rows."""

import json
import typing as t
from collections import defaultdict
from collections import namedtuple
from datetime import datetime
from datetime import timedelta

from sqlalchemy import text
from stress_ledger import observer

#: Seconds that two clocks, or a process that ends and who sees it, may be apart.
SLACK = 0.3


class Facts(t.NamedTuple):
    config: dict
    backfills: list
    runs: list
    effects: list
    ledger: list
    #: What the processes noted.
    journal: list


class Execution(t.NamedTuple):
    """One call of the runner."""

    pid: int
    run: int
    incarnation: int
    key: str
    attempt: int
    claimed: float
    begin: float
    #: When it returned, or its process ended; infinity if it is still going on.
    stop: float
    #: The longest that a short sleep took too long.
    late: float
    #: When its process has ended; infinity if it goes on.
    exit: float
    #: Whether the database has undone its work, so that it has no end.
    undone: bool


def read(config):
    """All facts, as they are now."""
    tables = {}
    engine = observer(config["url"])
    with engine.connect() as connection:
        for name in ("backfill", "backfill_run", "effect", "ledger"):
            found = connection.execute(text(f"SELECT * FROM {name} ORDER BY id")).mappings()
            row = namedtuple(name, found.keys())
            tables[name] = [row(**{k: decoded(k, v) for k, v in one.items()}) for one in found]
    engine.dispose()
    with open(config["journal"], encoding="utf-8") as file:
        journal = [json.loads(line) for line in file]
    return Facts(config, *tables.values(), journal)


def decoded(name, value):
    """A JSON column as an object on each database, a truth as such, a moment as text."""
    if name in ("variables", "settings", "metrics") and isinstance(value, str):
        return json.loads(value)
    if name == "wanted":
        return bool(value)
    if name in ("start_datetime", "end_datetime"):
        return None if value is None else str(value)[:19]
    return value


def notes(facts, what):
    return [note for note in facts.journal if note["what"] == what]


def incarnation_of(backfill):
    return (backfill.variables or {}).get("incarnation")


def ended_processes(facts):
    """When each process that has ended did so."""
    return {note["pid"]: note["at"] for note in notes(facts, "exit")}


def executions(facts):
    """Each call of the runner, in the order of their begins."""
    ends = {note["number"]: note for note in notes(facts, "end")}
    exits = ended_processes(facts)
    cuts = [(note["connection"], note["at"]) for note in notes(facts, "cut")]
    found = []
    for note in notes(facts, "begin"):
        end = ends.get(note["number"], {})
        gone = exits.get(note["pid"], float("inf"))
        stop = end.get("at", gone)
        claimed = note["claimed"] or note["at"] - 2
        # Be it that nobody has seen it before the end.
        cut = any(one == end.get("connection") and note["at"] < at < stop for one, at in cuts)
        undone = end.get("undone", False) or cut
        of_run = (note[name] for name in ("pid", "run", "incarnation", "key", "attempt"))
        found.append(
            Execution(*of_run, claimed, note["at"], stop, end.get("late", 0), gone, undone)
        )
    return sorted(found, key=lambda one: one.begin)


def history(facts):
    """The ledger by backfill, of those that are there: an id that was freed may come again."""
    entries = defaultdict(list)
    for entry in facts.ledger:
        if entry.new_status == "gone" and entry.run_id is None:
            entries.pop(entry.backfill_id, None)
        else:
            entries[entry.backfill_id].append(entry)
    return entries


def life(facts):
    """The ledger by run, of those that are there."""
    entries = defaultdict(list)
    for entry in facts.ledger:
        if entry.new_status == "gone":
            entries.pop(entry.run_id, None)
        else:
            entries[entry.run_id].append(entry)
    return entries


def taken_back(facts):
    """By run and attempt, the entries that took a run from its worker because it seemed lost.

    A run that was lost for good has failed, and its runner did not end it. One that was
    cancelled while it ran stays cancelled, and its worker no longer has it. One that is no
    longer wanted is cancelled, but not before the lease is over.
    """
    lease = lease_of(facts)
    found = defaultdict(list)
    for entry in facts.ledger:
        move = (entry.old_status, entry.new_status)
        if move[0] == "running" and move[1] in ("initial", "running", "failed"):
            found[entry.run_id, entry.old_attempt].append(entry)
        elif move[0] == move[1] in ("initial", "cancelled") and not is_retried(entry):
            # Of a worker that had it before it was started again, and perhaps cancelled again.
            for attempt in range(1, entry.old_attempt + 1):
                found[entry.run_id, attempt].append(entry)
        elif move == ("running", "cancelled") and is_late(entry, lease) and not entry.left_open:
            found[entry.run_id, entry.old_attempt].append(entry)
    return found


def is_retried(entry):
    return entry.old_attempt != entry.new_attempt


def is_late(entry, lease):
    """Whether the worker had been silent for a lease."""
    return entry.at - (entry.seen or entry.at) >= lease


def counts(one, lost):
    """Until when an execution counts: it stops, or its run is handed to another."""
    return min([one.stop, *(e.at for e in lost[one.run, one.attempt] if e.at > one.begin)])


def limit_at(changes, since, until):
    """The highest limit that may have been in force between two moments."""
    # Before the first, there was no backfill.
    there, possible = [(changes[0]["limit"] if changes else None) or float("inf")], []
    for change in changes:
        limit = change["limit"] or float("inf")
        if change["sent"] > until:
            break
        if change["ok"] and change["answered"] < since:
            there, possible = [limit], []
        else:
            possible.append(limit)
    return max(there + possible)


def lease_of(facts):
    return facts.config["lease"]


def dates(start, end, units):
    at, found = datetime.fromisoformat(start), set()
    while at <= datetime.fromisoformat(end):
        found.add(str(at))
        at += timedelta(minutes=units)
    return found


def claims(facts):
    """By run, the entries that handed it to a worker, the oldest first."""
    found = defaultdict(list)
    for entry in facts.ledger:
        if entry.new_status == "running" and entry.old_status != "running":
            found[entry.run_id].append(entry)
    return found


def claim_of(handed_out, one):
    """The entry of the claim that an execution follows: the last before it began."""
    before = [entry for entry in handed_out[one.run] if entry.at <= one.begin]
    return before[-1] if before else None


def lapses(facts):
    """Each execution whose run was taken back since it began, though its machine went on.

    A run that was given back is handed out again as the same attempt: what took it from the
    second worker was not taken from the first.
    """
    lease, lost, found = lease_of(facts), taken_back(facts), executions(facts)
    handed_out = claims(facts)
    stood = [(one.pid, one.begin, one.stop) for one in found if one.late > lease / 3]
    going = {}
    for note in facts.journal:
        if note["what"] == "stands":
            going[note["pid"]] = note["at"]
        elif note["what"] in ("goes on", "exit") and note["pid"] in going:
            stood.append((note["pid"], going.pop(note["pid"]), note["at"]))
    # Who stands may hold what others need: SQLite's one lock, or gaps of an index of MariaDB's.
    alone = facts.config["url"].startswith(("sqlite", "mysql"))
    for one in found:
        claim = claim_of(handed_out, one)
        for entry in lost[one.run, one.attempt]:
            near = (pid for pid, a, b in stood if a - lease < entry.at < b + lease)
            if entry.at > one.begin and not any(alone or pid == one.pid for pid in near):
                last = [other for other in handed_out[one.run] if other.at <= entry.at]
                if claim is None or last[-1] is claim:
                    yield one, entry
