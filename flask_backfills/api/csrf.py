"""Flask-WTF's CSRFProtect, which looks for the token of a form: the API takes no forms."""

from __future__ import annotations

import sys
import typing as t

from flask import current_app

#: The package of our views; a view that a host adds to the blueprint is not in it.
_OURS = f"{__name__.rpartition('.')[0]}."


def exempt(endpoint: str | None, values: dict[str, t.Any] | None) -> None:
    """Exempt the view of this request, before CSRFProtect looks at the request.

    A form of another site can't send JSON, and no other body is taken. This is done at each
    request, since a host may initialise the extension after it has registered the blueprint.
    """
    # Where Flask-WTF is not imported, nothing of it is in the way.
    wtf = sys.modules.get("flask_wtf.csrf")
    if wtf is None or endpoint is None:
        return
    protection = current_app.extensions.get("csrf")
    if not isinstance(protection, wtf.CSRFProtect):
        return
    view = current_app.view_functions[endpoint]
    if view.__module__.startswith(_OURS):
        protection.exempt(view)
