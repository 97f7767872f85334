"""Docstrings for the pages of reference/: what they name has to be there, or the site is not made."""

from __future__ import annotations

import builtins
import re
from importlib import import_module
from inspect import getmodule, getsource

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

FACES = ("curier", "curier.auth", "curier.permissions", "curier.testing", "curier.trace")
"""What is documented as ours is what these modules export."""

LITERAL = re.compile(r"(?<!`)``([A-Z][a-z]\w*(?:\.\w+)?(?:\(\))?|[a-z_]\w*\(\)|curier(?:\.\w+)+)``(?!`)")
"""A name of a class, of what is called, or of ours, as docstrings write it."""

log = logging.getLogger(__name__)


def public_names() -> dict[str, str]:
    """Where a class or function is defined, and the name it is known by."""
    found: dict[str, str] = {}
    for face in FACES:
        module = import_module(face)
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if str(getattr(thing, "__module__", "")).startswith("curier") and hasattr(thing, "__qualname__"):
                found.setdefault(f"{thing.__module__}.{thing.__qualname__}", f"{face}.{name}")
    return found


PUBLIC = public_names()


def find(name: str) -> object | None:
    """What a dotted name stands for, or nothing."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing: object = import_module(".".join(parts[:cut]))
            for part in parts[cut:]:
                if isinstance(thing, type) and not hasattr(thing, part) and sets(thing, part):
                    return part
                thing = getattr(thing, part)
        except (ImportError, AttributeError):
            continue
        return thing
    return None


def sets(kind: type, attribute: str) -> bool:
    """Whether the instances of a class have an attribute that the class has not."""
    try:
        return re.search(rf"\bself\.{attribute}\b", getsource(kind)) is not None
    except (OSError, TypeError):
        return False


def lookup(name: str, documented: str, owner: object) -> str | None:
    """The public name for what a docstring names; empty: it has no place here; None: it is not there."""
    name = name.removesuffix("()")
    parts = documented.split(".")
    module = getattr(getmodule(owner), "__name__", "")
    class_ = str(getattr(owner, "__qualname__", "")).partition(".")[0]
    places = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    for place in (*places, f"{module}.{class_}", module, *FACES, "builtins"):
        thing = find(f"{place}.{name}") if place.strip(".") else None
        if thing is not None:
            defined = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
            if defined in PUBLIC:
                return PUBLIC[defined]
            return f"{place}.{name}" if place in PUBLIC.values() else ""
    return "" if name in ("None", "True", "False") or find(name) is not None else None


def process(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Code by its indentation, and names by what they are."""
    out: list[str] = []
    for line in lines:
        if line.startswith("    ") and out and not out[-1].strip():
            if not any(one.startswith("    ") for one in out[-2:-1]):
                out += [".. code-block:: python", ""]
            out.append(line)
            continue

        def named(literal: re.Match[str]) -> str:
            target = lookup(literal[1], name, thing)
            if target is None:
                log.warning("%s names %s, which is not there", name, literal[1], location=name)
            return f":py:obj:`{literal[1]} <{target}>`" if target else literal[0]

        out.append(LITERAL.sub(named, line))
    lines[:] = out


def missing(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """A reference to where a public thing is defined leads to it; one to what has no page is its text."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].partition("[")[0]  # an alias comes with its parameters
    if target in PUBLIC:
        domain = env.get_domain("py")
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", PUBLIC[target], node, content)
    if node["reftype"] == "class":  # out of an annotation, whose names mypy knows: docstrings have "obj"
        return content
    return content if hasattr(builtins, target) or find(target) is not None else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", process)
    app.connect("missing-reference", missing)
    return {"parallel_read_safe": True}
