"""How Sphinx makes the site of these pages: `make site`. What is said here is about the site only.

The pages are plain Markdown that reads as well where code is hosted. Its navigation is the lists of index.md.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

project = "curier"
author = "The curier authors"
copyright = author
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "faces"]
root_doc = "index"
nitpicky = True
python_maximum_signature_line_length = 100
highlight_language = "none"

autodoc_default_options = {
    "members": True,
    "inherited-members": "BaseException, int, tuple",
    "member-order": "bysource",
}
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

myst_heading_anchors = 5
myst_links_external_new_tab = False

html_theme = "furo"
html_title = "curier"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style = "friendly"
pygments_dark_style = "github-dark"

BORROWED = {
    "project/readme": "README.md",
    "project/changes": "CHANGELOG.md",
    "project/contributing": "CONTRIBUTING.md",
    "project/home-assistant": "packaging/home-assistant/README.md",
    "project/weaknesses": "SECURITY.md",
}
"""Pages whose text is a file above docs: they have to be where the site is made from."""

LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)")
ENTRY = re.compile(r"^- \[([^\]]+)\]\(([^)#\s]+)\)", re.MULTILINE)


def target_of(there: Path, here: Path) -> str:
    """A link to a file, from a page: to a page that borrows its text where there is one."""
    for page, name in BORROWED.items():
        if there == DOCS.parent / name:
            there = DOCS / f"{page}.md"
    return os.path.relpath(there, here)


def navigation(text: str) -> str:
    """The lists of the front page as the site's navigation: a heading with links is a part of it."""
    parts = []
    for part in text.split("\n## ")[1:]:
        entries = "\n".join(f"{title} <{page.removesuffix('.md')}>" for title, page in ENTRY.findall(part))
        parts.append(
            f"\n```{{toctree}}\n:hidden:\n:caption: {part.partition(chr(10))[0]}\n\n{entries}\n```\n"
        )
    return text + "".join(parts)


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put in what a page borrows, and let its links lead to pages."""
    here = (DOCS / docname).parent
    written = DOCS.parent if docname in BORROWED else here
    if docname in BORROWED:
        source[0] = (DOCS.parent / BORROWED[docname]).read_text(encoding="utf-8")
        app.env.note_dependency(DOCS.parent / BORROWED[docname])
    source[0] = LINK.sub(lambda link: target_of(Path(os.path.normpath(written / link[1])), here), source[0])
    if docname == root_doc:
        source[0] = navigation(source[0])


def speak(app: Sphinx, pagename: str, templatename: str, context: dict[str, object], doctree: object) -> None:
    """Say which language a page is in: its folder's, if that is named so."""
    if pagename.startswith("ro/"):
        context["language"] = "ro"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read)
    app.connect("html-page-context", speak)
    app.add_lexer("haproxy", TextLexer)
