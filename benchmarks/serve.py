"""For gunicorn: one contender."""

import importlib


def app(name, url):
    return importlib.import_module(f"contenders.{name}").create(url)
