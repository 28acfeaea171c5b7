"""What the user of a page may do, as the host's ``authorize`` says."""

from __future__ import annotations

from werkzeug import exceptions as http

from ..host import Host


def may(host: Host, action: str, pipeline_uuid: str) -> bool:
    """Whether to offer something; it is asked again when it is done."""
    try:
        return host.authorize(action, pipeline_uuid) is True
    except http.HTTPException:
        return False


def listable(host: Host) -> list[str]:
    """The pipelines whose backfills the user may list."""
    known = host.table.pipelines()
    found = [pipeline_uuid for pipeline_uuid in known if may(host, "list", pipeline_uuid)]
    if not found:
        # Who is not logged in is told so, and not shown an empty page.
        host.authorize("list", known[0] if known else "")
    return found
