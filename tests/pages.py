"""A browser without JavaScript, for the tests of the console."""

import html
import re

from flask_backfills.console import ConsoleBlueprint


class Console:
    """A browser without JavaScript: it reads forms and sends them as they stand."""

    def __init__(self, host):
        self.client = host.app.test_client()

    def get(self, path, status=200):
        response = self.client.get(f"/backfills/{path}")
        assert response.status_code == status, response.text
        return response.text

    def form(self, path):
        """The fields of the form of a page, as they are sent when nothing is touched."""
        return fields(self.get(path))

    def post(self, path, data, status=303, **options):
        response = self.client.post(f"/backfills/{path}", data=data, **options)
        assert response.status_code == status, response.text
        return response


def serve_console(host, **options):
    host.app.secret_key = "secret"
    host.app.register_blueprint(ConsoleBlueprint(host.blueprint, **options))
    return Console(host)


def fields(page):
    page = page[page.index('<form method="post"') :]
    found = {}
    for tag, attributes, inner in re.findall(
        r"<(input|textarea|select)\b([^>]*)>(?:\n?([^<]*(?:<option.*?)?)</(?:textarea|select)>)?",
        page,
        re.DOTALL,
    ):
        values = dict(re.findall(r'([\w-]+)="([^"]*)"', attributes))
        if values.get("type") == "checkbox" and not re.search(r"\bchecked\b", attributes):
            continue
        text = values.get("value", "") if tag == "input" else inner
        if tag == "select":
            # An option's text stands for its value where it has none.
            chosen = re.search(r"""<option selected(?: value="([^"]*)")?>([^<]*)""", inner)
            text = (chosen.group(1) or chosen.group(2)) if chosen else ""
        found[values["name"]] = html.unescape(text)
    return found


def labels(page, kind="cell"):
    return re.findall(rf'class="{kind} is-(\w+)" title="([^"]*)"', page)
