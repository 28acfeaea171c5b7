"""How the documentation is built: sphinx-build -W docs docs/_build."""

import importlib.metadata

from pygments.lexers.data import JsonLexer
from pygments.token import Comment
from pygments.token import Error

project = "Flask-Backfills"
release = importlib.metadata.version("Flask-Backfills")
copyright = "2026 The Flask-Backfills authors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpicky = False

# The button copies what a reader types, and not what is answered.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"

html_theme = "furo"
html_title = f"Flask-Backfills {release}"
html_static_path = ["_static"]
html_copy_source = False


class ShortenedJson(JsonLexer):
    """JSON in which ``...`` stands for what is left out."""

    def get_tokens_unprocessed(self, text):
        for at, kind, value in super().get_tokens_unprocessed(text):
            yield at, Comment if kind is Error and value == "." else kind, value


def setup(app):
    app.add_lexer("json", ShortenedJson)
