"""Settings of the site; `python scripts/build_docs.py` builds it. Nothing is fetched at build."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import recon  # noqa: E402

project = "ctxai"
author = "The ctxai maintainers"
project_copyright = "The ctxai maintainers, GPL-3.0-or-later"
version = release = recon.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery"]
templates_path = ["_templates"]
suppress_warnings = [
    "config.cache",  # the gallery's settings hold a function
]

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings tell types, shapes and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "_generated/gallery",
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "abort_on_example_error": True,
    "min_reported_time": 60,
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "ctxai"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
}
html_show_sourcelink = False
