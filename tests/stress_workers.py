"""The worker processes of tests/stress.py: begun, ended by signals, and begun again."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

#: How long a worker may take to end after SIGTERM, beside what its longest run does.
PATIENCE = 12

#: How long a machine that is busy may take until a worker works.
LONGEST_START = 60

COMMAND = [sys.executable, "-m", "flask", "--app", "stress_host:working", "backfills", "work"]


class Workers:
    """Keeps a number of worker processes running, and ends one now and then."""

    def __init__(self, config, journal):
        self.dice = random.Random(f"{config['seed']}/workers")
        self.config = config
        self.journal = journal
        self.output = Path(config["folder"], "workers.log")
        self.processes = []
        self.watchers = []
        #: Those that were told to end, and when it is too long.
        self.leaving = {}
        #: Those that stand still, and until when.
        self.standing = {}

    def keep(self):
        """Note who has ended, and begin another in its place."""
        self.reap()
        staying = [one for one in self.processes if one.pid not in self.leaving]
        for _ in range(self.config["workers"] - len(staying)):
            self.begin()

    def begin(self):
        environment = {**os.environ, "STRESS": json.dumps(self.config)}
        command = [*COMMAND, "--concurrency", str(self.config["concurrency"])]
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=Path(__file__).parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.processes.append(process)
        # Noted at once, whatever else goes on: another may have its runs right after.
        watcher = threading.Thread(target=self.watch, args=[process], daemon=True)
        watcher.start()
        self.watchers.append(watcher)

    def watch(self, process):
        code = process.wait()
        self.journal.note("exit", pid=process.pid, code=code)

    def reap(self):
        now = time.monotonic()
        for process in list(self.processes):
            if process.poll() is not None:
                self.processes.remove(process)
            elif now > self.leaving.get(process.pid, float("inf")):
                self.journal.note("stubborn", pid=process.pid)
                process.kill()
                process.wait()
            elif now > self.standing.get(process.pid, float("inf")):
                del self.standing[process.pid]
                process.send_signal(signal.SIGCONT)
                self.journal.note("goes on", pid=process.pid)

    def at_work(self):
        """The processes that have executed something."""
        with open(self.config["journal"], encoding="utf-8") as file:
            return {json.loads(line)["pid"] for line in file if '"what": "begin"' in line}

    def get_going(self):
        """Begin them all, and wait for the first to work: how long that took."""
        begun = time.monotonic()
        while not self.at_work() and time.monotonic() - begun < LONGEST_START:
            self.keep()
            time.sleep(0.1)
        return time.monotonic() - begun

    def send(self, process, number):
        self.journal.note("signal", pid=process.pid, number=number)
        process.send_signal(number)

    def kill(self, process):
        """Kill -9, and note it once the process is gone."""
        self.send(process, signal.SIGKILL)
        process.wait()
        self.reap()

    def step(self):
        """End one at random: at once, when its runs have ended, or at a second signal.

        Or let it stand still for so long that its leases end, and go on as if nothing were.
        """
        self.reap()
        at_work = self.at_work()
        staying = [one for one in self.processes if one.pid not in self.leaving]
        # On a machine that is busy, none would ever get to work.
        staying = [one for one in staying if one.pid in at_work]
        if not staying:
            return
        process, how = self.dice.choice(staying), self.dice.random()
        if how < 0.5:
            self.kill(process)
        elif how < 0.6:
            self.stand(process)
        else:
            self.leave(process)
            if how > 0.85:
                time.sleep(self.dice.uniform(0.05, 0.5))
                if process.poll() is None:
                    self.send(process, signal.SIGTERM)

    def stand(self, process):
        if "stand" in self.config["without"] or process.pid in self.standing:
            return
        seconds = self.config["lease"] * self.dice.uniform(1.2, 2)
        self.standing[process.pid] = time.monotonic() + seconds
        self.journal.note("stands", pid=process.pid)
        process.send_signal(signal.SIGSTOP)

    def leave(self, process):
        self.leaving[process.pid] = time.monotonic() + PATIENCE + 2 * self.config["lease"]
        self.send(process, signal.SIGTERM)

    def end(self):
        """Tell all to stop, and wait until they have."""
        for process in self.processes:
            if process.pid not in self.leaving and process.poll() is None:
                self.leave(process)
        while self.processes:
            self.reap()
            time.sleep(0.05)
        for watcher in self.watchers:
            watcher.join(5)

    def abandon(self):
        """Whatever went wrong, leave no process behind."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.reap()
