"""What disturbs the workers of tests/stress.py: owners who edit, others who look, lost connections.

Each is a thread with dice of its own, so that what it decides follows from the seed and from what
it sees.
"""

import random
import threading
import time
import traceback

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from stress_ledger import dialect_of
from stress_ledger import observer

URL = "/api/pipelines/stress/backfills"
ACTIVE = ("initial", "running")

#: The connections of a database that can be cut, and the statement that cuts one.
CUTS = {
    "postgresql": (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY pid",
        "SELECT pg_terminate_backend({})",
    ),
    "mysql": (
        "SELECT id FROM information_schema.processlist WHERE db = database()"
        " AND id <> connection_id() ORDER BY id",
        "KILL {}",
    ),
}


class Caller:
    """A client that notes what it is answered."""

    def __init__(self, app, journal):
        self.client = app.test_client()
        self.journal = journal

    def send(self, method, url, sent=None, others=False, **note):
        """
        :param others: whether it is of others, who may delete it meanwhile.
        """
        body = None if sent is None else {"backfill": sent}
        begun = time.time()
        try:
            response = self.client.open(url, method=method, json=body)
            status, told = response.status_code, response.json
        except Exception as error:
            told = "".join(traceback.format_exception(error))
            # What a server would turn into a page of its own: nothing may escape the app. But
            # when the host's own session can't be closed, the view has answered before.
            status = 503 if "do_teardown_appcontext" in told else 599
        why = told if status > 201 and status != 404 else None
        self.journal.note(
            "answer", method=method, sent=sent, status=status, told=why, others=others
        )
        if sent is not None and "settings" in sent and "incarnation" in note:
            limit = sent["settings"].get("pipeline_run_limit")
            ok, ended = status < 300, time.time()
            self.journal.note("limit", **note, limit=limit, ok=ok, sent=begun, answered=ended)
        return status, told


class Owner:
    """Makes backfills, edits them while they run, cancels, restarts and deletes them.

    A backfill has one owner, who therefore knows what it asks for.
    """

    def __init__(self, config, number, app, journal):
        self.dice = random.Random(f"{config['seed']}/owner/{number}")
        self.caller = Caller(app, journal)
        self.journal = journal
        self.made = (number + 1) * 1000
        #: By place, the backfill that is there: its URL and its incarnation.
        self.places = dict.fromkeys(range(config["places"]))

    def step(self):
        place = self.dice.choice(list(self.places))
        if self.places[place] is None:
            self.places[place] = self.create()
            return
        url, incarnation = self.places[place]
        status, told = self.caller.send("GET", url)
        if status != 200:
            return
        shown = told["backfill"]
        if shown["status"] in ACTIVE:
            self.edit(url, incarnation, shown)
        elif not self.again(url, incarnation, shown):
            # It stays as it is until the end, or is no longer there.
            self.places[place] = None

    def create(self):
        self.made += 1
        sent = {
            "name": f"stress {self.made}",
            "start_datetime": minute(0),
            "end_datetime": minute(self.dice.randint(4, 40)),
            "interval_type": "minute",
            "interval_units": 1,
            "status": "initial",
            "variables": {"incarnation": self.made, "edit": 0},
            "settings": self.settings(),
        }
        status, told = self.caller.send("POST", URL, sent, incarnation=self.made)
        if status != 201:
            return None
        self.plan(self.made, told["backfill"], True)
        return f"{URL}/{told['backfill']['id']}", self.made

    def settings(self):
        choices = {
            "pipeline_run_limit": [1, 2, 3, 5, None],
            "priority": [0, 0, 1, 2],
            "order": ["forwards", "backwards"],
            "reprocess": ["failed", "all"],
            "max_attempts": [1, 2, 3],
            "max_failures": [None, None, 3, 8],
        }
        chosen = {name: self.dice.choice(values) for name, values in choices.items()}
        return {**chosen, "paused": self.dice.random() < 0.2, "retry_delay": 1}

    def edit(self, url, incarnation, shown):
        what = self.dice.random()
        sent = {}
        if what < 0.3:
            sent = {"end_datetime": minute(self.dice.randint(4, 45))}
        elif what < 0.4:
            sent = {"start_datetime": minute(self.dice.randint(0, 3))}
        elif what < 0.45:
            sent = {"interval_units": self.dice.choice([1, 2])}
        elif what < 0.6:
            edit = self.dice.randint(1, 99)
            sent = {"variables": {"incarnation": incarnation, "edit": edit}}
        elif what < 0.85:
            sent = {"settings": self.settings()}
        else:
            sent = {"status": "cancelled"}
        self.put(url, incarnation, shown, sent)
        if "status" in sent and self.dice.random() < 0.5:
            # Somebody who thinks better of it, while the workers still work.
            self.put(url, incarnation, shown, {"status": "initial"})

    def again(self, url, incarnation, shown):
        """Start a backfill that has ended, or delete it, or leave it; whether it is of use yet."""
        what = self.dice.random()
        if what < 0.5:
            retry = shown["status"] == "failed" and self.dice.random() < 0.5
            sent = {"status": "running" if retry else "initial"}
            status, _ = self.put(url, incarnation, shown, sent)
            # A start that would run nothing is refused; then the settings are what it lacks.
            return status != 409 or self.put(url, incarnation, shown, {"settings": {}})[0] != 409
        if what < 0.7:
            status, _ = self.caller.send("DELETE", url)
            return status != 200
        return False

    def put(self, url, incarnation, shown, sent):
        status, told = self.caller.send("PUT", url, sent, incarnation=incarnation)
        if status == 200:
            starts = sent.get("status") in ACTIVE
            was_active = shown["status"] in ACTIVE
            self.plan(incarnation, told["backfill"], starts or was_active)
        elif status >= 500:
            # It may have been stored: whoever cut the connection cut the answer too.
            self.journal.note("planned", incarnation=incarnation, window=None)
        return status, told

    def plan(self, incarnation, shown, asked):
        """Note which window the runs follow; none where it isn't sure that they follow it."""
        window = [shown[name] for name in ("start_datetime", "end_datetime", "interval_units")]
        if asked and shown["status"] in ACTIVE:
            self.journal.note("planned", incarnation=incarnation, window=window)
        elif asked:
            self.journal.note("planned", incarnation=incarnation, window=None)


class Onlooker:
    """Plans and does not apply it, counts, and reads pages of runs."""

    def __init__(self, config, number, app, journal):
        self.dice = random.Random(f"{config['seed']}/onlooker/{number}")
        self.caller = Caller(app, journal)

    def step(self):
        status, told = self.caller.send("GET", f"{URL}?_limit=20")
        if status != 200 or not told["backfills"]:
            return
        url = f"{URL}/{self.dice.choice(told['backfills'])['id']}"
        sent = {"end_datetime": minute(self.dice.randint(4, 45))}
        # It may be deleted meanwhile, which is no fault.
        look = self.dice.choice(["runs", "count", "dry"])
        if look == "runs":
            self.caller.send("GET", f"{url}/runs?_limit=50", others=True)
        elif look == "count":
            self.caller.send("GET", f"{url}?include_run_count=true", others=True)
        else:
            self.caller.send("PUT", f"{url}?dry_run=true", sent, others=True)


class Cutter:
    """Cuts a connection of whom it may meet."""

    def __init__(self, config, journal):
        self.dice = random.Random(f"{config['seed']}/cutter")
        self.engine = observer(config["url"])
        self.journal = journal

    def step(self):
        list_them, cut = CUTS[dialect_of(self.engine)]
        with self.engine.connect() as connection:
            found = list(connection.execute(text(list_them)).scalars())
            if found:
                one = self.dice.choice(found)
                try:
                    connection.execute(text(cut.format(one)))
                except SQLAlchemyError:
                    # It went by itself.
                    return
                self.journal.note("cut", connection=one)


class Repeated(threading.Thread):
    """Lets one step after the other, with pauses, until it is told to stop."""

    def __init__(self, who, shortest, longest, stop):
        super().__init__(daemon=True)
        self.who, self.pauses, self.stop = who, (shortest, longest), stop
        self.failure = None

    def run(self):
        while not self.stop.wait(self.who.dice.uniform(*self.pauses)):
            try:
                self.who.step()
            except Exception as error:
                self.failure = error
                raise


def minute(number):
    return f"2023-03-01 00:{number:02}:00"
