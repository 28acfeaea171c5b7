"""For the tests of a host: its runs performed in the test's own thread, and time that stands still.

Nothing here needs pytest but :mod:`.plugin`, which has the fixture.
"""

from .kit import Kit as Kit
