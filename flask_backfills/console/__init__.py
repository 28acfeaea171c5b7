"""The console: pages in the browser for the backfills of a blueprint (extra ``console``)."""

from .pages import Change as Change
from .pages import ConsoleBlueprint as ConsoleBlueprint
