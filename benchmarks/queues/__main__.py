"""Fills the queue of a contender anew: python -m queues NAME COUNT"""

import importlib
import sys

_, name, count = sys.argv
importlib.import_module(f"queues.{name}").fill(int(count))
