"""Pages for people: the backfills of a blueprint, in a browser (extra ``console``)."""

from .pages import Change as Change
from .pages import ConsoleBlueprint as ConsoleBlueprint
