"""Kill -9 a worker at random moments of its work, and check after each what is there.

Nothing else disturbs it, so that what is wrong comes from the kill.
"""

import random
import time
from collections import Counter

from stress_chaos import Caller
from stress_chaos import minute
from stress_chaos import URL
from stress_checks import every_effect_is_of_its_run
from stress_checks import every_effect_is_there_once
from stress_checks import every_end_is_recorded_once
from stress_checks import HISTORY
from stress_checks import STATE
from stress_checks import violations
from stress_checks import what_raises_has_not_completed
from stress_facts import executions
from stress_facts import read

#: What must hold at any moment: nobody works any more, and nobody has taken over yet.
AT_ONCE = [
    every_effect_is_there_once,
    every_effect_is_of_its_run,
    every_end_is_recorded_once,
    what_raises_has_not_completed,
]

#: How long it may take until a worker has begun, or has done what another left.
PATIENCE = 30


def kill_again_and_again(config, app, journal, workers):
    config["without"] += ["exits", "cancels", "long", "poison"]
    dice = random.Random(f"{config['seed']}/kills")
    caller = Caller(app, journal)
    wrong, hit = Counter(), 0
    workers.begin()
    for number in range(config["kills"]):
        begun = len(executions(read(config)))
        start(caller, number, dice)
        until(config, lambda facts, begun=begun: len(executions(facts)) > begun)
        time.sleep(dice.uniform(0, 0.5))
        workers.kill(workers.processes[-1])
        facts = read(config)
        held = sum(run.status == "running" for run in facts.runs)
        hit += held > 0
        tell(number, f"killed with {held} runs", violations(facts, AT_ONCE), wrong)
        workers.begin()
        until(config, lambda facts: not any(violations(facts, STATE).values()))
        tell(number, "worked off", violations(read(config), STATE), wrong)
    workers.end()
    tell("end", "over all", violations(read(config), HISTORY), wrong)
    print(f"{config['kills']} kills, {hit} while runs were running; wrong: {dict(wrong)}")
    return 1 if wrong else 0


def start(caller, number, dice):
    sent = {
        "start_datetime": minute(0),
        "end_datetime": minute(11),
        "interval_type": "minute",
        "interval_units": 1,
        "status": "initial",
        "variables": {"incarnation": number + 1},
        "settings": {"pipeline_run_limit": dice.choice([1, 2, 3]), "max_attempts": 1},
    }
    caller.send("POST", URL, sent, incarnation=number + 1)


def until(config, condition):
    """Wait for something, or for long enough: then it is found to be wrong."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and not condition(read(config)):
        time.sleep(0.02)


def tell(number, what, found, wrong):
    print(f"kill {number}: {what}")
    for name, lines in found.items():
        wrong.update({name: len(lines)} if lines else {})
        for line in lines[:3]:
            print(f"  WRONG {name}: {line[:300]}")
