"""Docstrings for compiled classes: mypyc leaves them out, and ``help`` is to say the same in both forms."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import ModuleType


def documented(thing: object, module: ModuleType) -> object:
    """``thing`` of ``module``; a compiled class with the docstring that its source has."""
    if not isinstance(thing, type) or thing.__doc__ or not module.__file__:
        return thing
    source = Path(module.__file__).parent / f"{module.__name__.rpartition('.')[2]}.py"
    if source.is_file():
        for node in ast.parse(source.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name == thing.__name__:
                thing.__doc__ = inspect.cleandoc(ast.get_docstring(node) or "")
    return thing
