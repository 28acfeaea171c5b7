"""A backfill API for Flask apps: a blueprint that works with your own model."""

from .auth import all_of as all_of
from .auth import allow_anyone as allow_anyone
from .auth import any_of as any_of
from .auth import api_key as api_key
from .auth import oauth_token as oauth_token
from .blueprint import BackfillBlueprint as BackfillBlueprint
from .runner import current_run as current_run
from .signals import backfill_cancelled as backfill_cancelled
from .signals import backfill_finished as backfill_finished
from .signals import backfill_started as backfill_started
from .signals import backfill_updated as backfill_updated
from .tables.mixins import BackfillEventMixin as BackfillEventMixin
from .tables.mixins import BackfillMixin as BackfillMixin
from .tables.mixins import BackfillRunMixin as BackfillRunMixin
from .tables.schema import BackfillSchema as BackfillSchema
