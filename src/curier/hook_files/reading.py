"""One such file, run, and what it defines; whatever is wrong with it is told with file and line."""

from __future__ import annotations

import ast
import inspect
import logging
import os
import sys
from dataclasses import dataclass
from types import CodeType, ModuleType, TracebackType
from typing import Final

from curier.auth.base import Authenticator, Authorizer
from curier.broker.hooks import Hook, check_hook
from curier.errors import ConfigError

_log = logging.getLogger("curier.hook_files")

_KINDS: Final = (Hook, Authenticator, Authorizer)

_QUESTIONS: Final[dict[type, dict[str, tuple[str, ...]]]] = {
    Authenticator: {"authenticate": ("credentials",), "exchange": ("credentials", "state")},
    Authorizer: {"authorize": ("identity", "client_id", "action", "topic", "qos", "retain")},
}
"""What is awaited of these kinds, with what it is called with."""


@dataclass(frozen=True)
class Defined:
    """What a file defines, in its order; one object may be of several kinds."""

    hooks: tuple[Hook, ...] = ()
    authenticators: tuple[Authenticator, ...] = ()
    authorizers: tuple[Authorizer, ...] = ()


def read(path: str) -> Defined:
    """Run the file as a module of its own, and take what it defines.

    Every subclass of ``Hook``, ``Authenticator`` or ``Authorizer`` in it is called without arguments, unless
    the file itself makes objects of it at its top; then it is those. Names that begin with an underscore are
    left alone. Raises ``ConfigError``. Nothing is remembered of a file that is wrong.
    """
    path = os.path.abspath(path)
    tree, code = parsed(path)
    module = ModuleType(f"hook file {path}", "A hook file.")
    module.__file__ = path
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for it
    try:
        _call(path, exec, code, module.__dict__)
        return _defined(path, module, _lines(tree))
    except ConfigError:
        del sys.modules[module.__name__]
        if before is not None:
            sys.modules[module.__name__] = before
        raise


def parsed(path: str) -> tuple[ast.Module, CodeType]:
    """The file as Python understands it; nothing of it is run. Raises ``ConfigError``."""
    source = _source(path)
    try:
        tree = ast.parse(source, path)
        return tree, compile(tree, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno or 1}: {error.msg}") from error
    except ValueError as error:  # a NUL byte, before Python 3.12
        raise ConfigError(f"{path}: {error}") from error


def _source(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o002:
                _log.warning(
                    "%s may be written by every user of this machine, and is run as the broker", path
                )
            return file.read()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _call(path: str, what: object, *arguments: object, line: int | None = None) -> object:
    """The result of a call. Raises ``ConfigError`` with the line of the file where that went wrong, or
    ``line`` where it never came there.
    """
    assert callable(what)
    try:
        return what(*arguments)
    except (Exception, SystemExit) as error:
        found = _line_in(path, error.__traceback__) or line or 1
        raise ConfigError(f"{path}, line {found}: {type(error).__name__}: {error}") from error


def _line_in(path: str, trace: TracebackType | None) -> int | None:
    """The last line of the file that was on the way to an error."""
    found = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _lines(tree: ast.Module) -> dict[str, int]:
    """Where classes (``A``) and their methods (``A.b``) begin."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found[node.name] = node.lineno
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    found[f"{node.name}.{inner.name}"] = inner.lineno
    return found


def _defined(path: str, module: ModuleType, lines: dict[str, int]) -> Defined:
    named = [value for name, value in vars(module).items() if not name.startswith("_")]
    objects: list[object] = [value for value in named if isinstance(value, _KINDS)]
    made = {type(value) for value in objects}
    found: list[object] = []
    for value in named:
        if isinstance(value, type):
            is_own = issubclass(value, _KINDS) and value.__module__ == module.__name__
            if not is_own or value in made:
                continue
            value = _call(path, value, line=lines.get(value.__name__))
        elif not isinstance(value, _KINDS):
            continue
        if not any(value is other for other in found):
            _check(path, value, lines)
            found.append(value)
    if not found:
        raise ConfigError(f"{path}: it defines no Hook, Authenticator or Authorizer")
    return Defined(
        tuple(one for one in found if isinstance(one, Hook)),
        tuple(one for one in found if isinstance(one, Authenticator)),
        tuple(one for one in found if isinstance(one, Authorizer)),
    )


def _check(path: str, value: object, lines: dict[str, int]) -> None:
    """Raise ``ConfigError`` for what no broker could call."""
    try:
        if isinstance(value, Hook):
            check_hook(value)
        for kind, questions in _QUESTIONS.items():
            if isinstance(value, kind):
                for method, parameters in questions.items():
                    _check_question(value, method, parameters)
    except TypeError as error:
        name = str(error).split()[0]
        line = lines.get(name) or lines.get(type(value).__name__)
        where = path if line is None else f"{path}, line {line}"
        raise ConfigError(f"{where}: {error}") from error


def _check_question(value: object, method: str, parameters: tuple[str, ...]) -> None:
    name = f"{type(value).__name__}.{method}"
    function: object = getattr(value, method)
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{name} has to be a coroutine function: write async def {method}")
    try:
        inspect.signature(function).bind(*parameters)
    except TypeError as error:
        raise TypeError(f"{name} must take ({', '.join(parameters)}): {error}") from None
