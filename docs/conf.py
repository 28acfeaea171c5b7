"""How the documentation is built: sphinx-build -W docs docs/_build."""

import importlib.metadata

project = "Flask-Backfills"
release = importlib.metadata.version("Flask-Backfills")
copyright = "the authors of Flask-Backfills"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpicky = False

html_theme = "furo"
html_title = f"Flask-Backfills {release}"
html_static_path = ["_static"]
html_copy_source = False
