"""Workers, editors and what can go wrong, all at once; afterwards it is checked what was done.

    python tests/stress.py DATABASE_URL --seed 1 --seconds 60 [--isolation "REPEATABLE READ"]

It empties the database. Worker processes run backfills whose runner writes a table of the host,
while threads edit, cancel, restart and delete the backfills, workers are killed and connections
are cut. Then all that is left is worked off, and each line of the report is one check. The exit
status is 0 if nothing was wrong, 1 if something was, 2 if it could not be tried.

With ``--kills N``, a worker is killed at N random moments instead, with a check after each.
"""

import argparse
import faulthandler
import json
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter

import stress_ledger
from stress_chaos import ACTIVE
from stress_chaos import Caller
from stress_chaos import Cutter
from stress_chaos import Onlooker
from stress_chaos import Owner
from stress_chaos import Repeated
from stress_chaos import URL
from stress_checks import STATE
from stress_checks import violations
from stress_facts import executions
from stress_facts import notes
from stress_facts import read
from stress_host import create_app
from stress_host import Journal
from stress_host import NATURES
from stress_kills import kill_again_and_again
from stress_workers import Workers

#: What can be left out, to see whether it is the cause of something.
HAZARDS = [*NATURES, "kill", "stand", "cut", "edit", "look"]


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", metavar="DATABASE_URL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="how long it is disturbed")
    parser.add_argument(
        "--drain", type=float, help="how long the rest may take; default: 60, or six leases"
    )
    parser.add_argument("--isolation", help="of the host's engine; default: the database's")
    parser.add_argument("--snapshot", action="store_true", help="MariaDB: snapshot isolation")
    parser.add_argument("--workers", type=int, default=3, help="processes")
    parser.add_argument("--concurrency", type=int, default=3, help="runs at a time, of each")
    parser.add_argument("--owners", type=int, default=2, help="threads that edit")
    parser.add_argument("--places", type=int, default=3, help="backfills of each at a time")
    parser.add_argument("--lease", type=float, default=2.0, help="BACKFILLS_LEASE")
    parser.add_argument("--kills", type=int, help="only kill workers, so many times")
    parser.add_argument("--without", type=lambda v: v.split(","), default=[], metavar="A,B")
    parser.add_argument("--effects", type=int, default=1, help="not 1: a host that is wrong")
    parser.add_argument("--commits", action="store_true", help="a host that commits too early")
    parser.add_argument("--keep", action="store_true", help="leave the tables and the journal")
    config = vars(parser.parse_args(arguments))
    # The longest run takes longer than a lease, and may have to be done again.
    config["drain"] = config["drain"] or max(60, 6 * config["lease"])
    if unknown := {*config["without"]} - {*HAZARDS}:
        parser.error(f"--without: {', '.join(unknown)} is none of {', '.join(HAZARDS)}")
    config["folder"] = tempfile.mkdtemp(prefix="stress-")
    config["journal"] = os.path.join(config["folder"], "journal")
    return config


def prepare(config):
    """An empty database with the host's tables and the ledger; the app."""
    stress_ledger.drop(config["url"])
    app, db, _ = create_app(config)
    with app.app_context():
        db.create_all()
    stress_ledger.create(config["url"])
    # What the journal has, with less noise.
    for logger in (app.logger, logging.getLogger("sqlalchemy.pool")):
        logger.setLevel(logging.CRITICAL)
    return app


def disturb(config, app, journal, workers):
    """Let everybody do what they do for a while; how long a worker takes to start."""
    stop, threads = threading.Event(), []
    if "edit" not in config["without"]:
        for number in range(config["owners"]):
            owner = Owner(config, number, app, journal)
            threads.append(Repeated(owner, 0.02, 0.25, stop))
    if "look" not in config["without"]:
        threads.append(Repeated(Onlooker(config, 0, app, journal), 0.1, 0.5, stop))
    if "cut" not in config["without"] and not config["url"].startswith("sqlite"):
        threads.append(Repeated(Cutter(config, journal), 0.3, 1.5, stop))
    for thread in threads:
        thread.start()
    start = workers.get_going()
    end_workers(config, workers)
    stop.set()
    # On MariaDB, a request waits for the longest run that refers to its backfill.
    until = time.monotonic() + 30 + 2 * config["lease"]
    while any(thread.is_alive() for thread in threads) and time.monotonic() < until:
        # Who stands still may hold what a thread waits for.
        workers.reap()
        time.sleep(0.02)
    for thread in threads:
        if thread.is_alive() or thread.failure:
            told = repr(thread.failure) if thread.failure else "does not end"
            who = type(thread.who).__name__
            journal.note("answer", method=who, sent=None, status=0, told=told, others=False)
    return start


def end_workers(config, workers):
    """Keep the workers going for the time of the disturbance, and end one now and then."""
    until = time.monotonic() + config["seconds"]
    following = time.monotonic() + 2
    while time.monotonic() < until:
        workers.keep()
        if time.monotonic() > following and "kill" not in config["without"]:
            workers.step()
            following = time.monotonic() + workers.dice.uniform(0.5, 3)
        time.sleep(0.02)


def drain(config, app, journal, workers, start):
    """Let the workers do what is left, without disturbance, as long as something happens.

    :param start: how long a worker takes to start.
    """
    caller = Caller(app, journal)
    until = time.monotonic() + config["drain"]
    patience, seen, since = 6 + 4 * config["lease"] + 2 * start, None, time.monotonic()
    while time.monotonic() < until and time.monotonic() - since < patience:
        workers.keep()
        resume(caller)
        facts = read(config)
        if len(facts.ledger) != seen:
            seen, since = len(facts.ledger), time.monotonic()
        if not any(violations(facts, STATE).values()):
            return time.monotonic() - until + config["drain"]
        for _ in range(25):
            workers.reap()
            time.sleep(0.02)
    return None


def resume(caller):
    """Unpause what is active, or it would never end."""
    for status in ACTIVE:
        answered, told = caller.send("GET", f"{URL}?status={status}&_limit=100")
        for shown in told["backfills"] if answered == 200 else []:
            settings = shown["settings"] or {}
            if settings.get("paused"):
                sent = {"settings": {**settings, "paused": False}}
                note = {"incarnation": shown["variables"]["incarnation"]}
                caller.send("PUT", f"{URL}/{shown['id']}", sent, **note)


def report(config, facts, wrong, drained):
    """Print what was done and what was wrong of it."""
    found = executions(facts)
    signals = Counter(signal.Signals(note["number"]).name for note in notes(facts, "signal"))
    answers = Counter(note["status"] for note in notes(facts, "answer"))
    plain = [run for run in facts.runs if run.status == "failed" and "is " not in str(run.error)]
    print(f"{config['url'].split(':')[0]}, {config['isolation'] or 'default isolation'}", end="")
    print(f"{', snapshot' if config['snapshot'] else ''}, seed {config['seed']}")
    print(f"  backfills {dict(Counter(one.status for one in facts.backfills))}")
    print(f"  runs      {dict(Counter(one.status for one in facts.runs))}")
    print(f"  executed  {len(found)}, attempts up to {max((o.attempt for o in found), default=0)}")
    print(f"  signals   {dict(signals)}, stood still: {len(notes(facts, 'stands'))}", end="")
    print(f", connections cut: {len(notes(facts, 'cut'))}")
    print(f"  answers   {dict(sorted(answers.items()))}")
    print("  drained   " + ("in vain" if drained is None else f"after {drained:.1f} s"))
    for error, count in Counter(str(run.error)[:90] for run in plain).most_common(3):
        print(f"  failed    {count} with {error!r}")
    for error, count in logged(config).most_common(6):
        print(f"  logged    {count} times {error}")
    for name, lines in wrong.items():
        print(f"{'WRONG' if lines else 'ok   '} {name}{f': {len(lines)}' if lines else ''}")
        for line in lines[:5]:
            print(f"        {line[:300]}")


def logged(config):
    """The errors that the workers wrote, by their kind."""
    with open(os.path.join(config["folder"], "workers.log"), errors="replace") as file:
        found = (re.match(r"[\w.]+(Error|Exception|Exit)\b.{0,100}", line) for line in file)
        return Counter(re.sub(r"\d+", "N", one.group()) for one in found if one)


def stress(config, app, journal, workers):
    start = disturb(config, app, journal, workers)
    drained = drain(config, app, journal, workers, start)
    workers.end()
    facts = read(config)
    wrong = violations(facts)
    report(config, facts, wrong, drained)
    with open(os.path.join(config["folder"], "ledger"), "w") as file:
        file.writelines(f"{json.dumps(entry._asdict(), default=str)}\n" for entry in facts.ledger)
    if not executions(facts):
        print("nothing was executed", file=sys.stderr)
        return 2
    return 1 if any(wrong.values()) else 0


def main(arguments=None):
    config = parse(arguments)
    # Whatever hangs, this ends: first with a look at where, then by itself.
    most = config["seconds"] + config["drain"] + 180 + 40 * (config["kills"] or 0)
    faulthandler.dump_traceback_later(most, exit=True)
    journal = Journal(config["journal"])
    workers = Workers(config, journal)
    try:
        app = prepare(config)
        how = kill_again_and_again if config["kills"] else stress
        status = how(config, app, journal, workers)
    except BaseException:
        traceback.print_exc()
        status = 2
    finally:
        workers.abandon()
    if config["keep"] or status:
        print(f"journal, ledger and the workers' output: {config['folder']}")
    else:
        shutil.rmtree(config["folder"])
    if not config["keep"]:
        stress_ledger.drop(config["url"])
    sys.stdout.flush()
    # Threads that hang must not keep the process.
    os._exit(status)


if __name__ == "__main__":
    main()
