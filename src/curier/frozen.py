"""Frozen dataclasses with slots that are made in a moment.

``dataclasses`` writes six methods for each class and compiles them whenever it is imported. For those of the
client that takes as long as all else that is curier's own. Here one is written for each, ``__init__``; the
others are the same functions for all. To type checkers this is ``dataclasses.dataclass``, and to programs
too: ``fields``, ``replace``, ``asdict``, ``match``, pickling and copying are as they know them.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

__all__ = ["dataclass"]

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool = False) -> Any:
        """As ``dataclasses.dataclass``; ``frozen`` and ``slots`` are there to be read: they are True."""
        assert frozen
        assert slots
        return lambda cls: _made(cls, kw_only)


def _made(cls: type[T], kw_only: bool) -> type[T]:
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(cls)
    made.__dataclass_params__.frozen = True  # for who makes subclasses
    for function in _SHARED:
        if function.__name__ not in cls.__dict__:
            setattr(made, function.__name__, function)
    made.__init__ = _init(made)
    return made  # type: ignore[no-any-return]


class _Factory:
    """Stands in a signature for what is made anew each time."""

    def __repr__(self) -> str:
        return "<factory>"


def _init(made: Any) -> Any:
    """``__init__``, which sets each field by its slot."""
    known: dict[str, Any] = {"factory": _Factory()}
    plain, named, body = ["self"], list[str](), list[str]()
    for one in dataclasses.fields(made):
        name, default = one.name, ""
        known[f"set_{name}"] = getattr(made, name).__set__
        value = name
        if one.default is not dataclasses.MISSING:
            known[f"default_{name}"] = one.default
            default = f"=default_{name}"
        elif one.default_factory is not dataclasses.MISSING:
            known[f"make_{name}"] = one.default_factory
            default = "=factory"
            value = f"make_{name}() if {name} is factory else {name}"
        (named if one.kw_only else plain).append(f"{name}{default}")
        body.append(f"  set_{name}(self, {value})")
    if hasattr(made, "__post_init__"):
        body.append("  self.__post_init__()")
    parameters = ", ".join([*plain, *(["*", *named] if named else [])])
    body = body or ["  pass"]
    lines = [f"def make({', '.join(known)}):", f" def __init__({parameters}):", *body, " return __init__"]
    local: dict[str, Any] = {}
    exec("\n".join(lines), sys.modules[made.__module__].__dict__, local)
    init = local["make"](**known)
    init.__qualname__ = f"{made.__qualname__}.__init__"
    init.__annotations__ = {**{one.name: one.type for one in dataclasses.fields(made)}, "return": None}
    return init


def __repr__(self: Any) -> str:
    shown = ", ".join(
        f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr
    )
    return f"{type(self).__qualname__}({shown})"


def __eq__(self: Any, other: Any) -> bool:
    if self.__class__ is not other.__class__:
        return NotImplemented
    names = [one.name for one in dataclasses.fields(self) if one.compare]
    return [getattr(self, name) for name in names] == [getattr(other, name) for name in names]


def __hash__(self: Any) -> int:
    counted = [one for one in dataclasses.fields(self) if (one.compare if one.hash is None else one.hash)]
    return hash(tuple([getattr(self, one.name) for one in counted]))


def __setattr__(self: Any, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def __delattr__(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def __getstate__(self: Any) -> list[object]:
    return [getattr(self, one.name) for one in dataclasses.fields(self)]


def __setstate__(self: Any, state: list[object]) -> None:
    for one, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, one.name, value)


_SHARED: Final = (__repr__, __eq__, __hash__, __setattr__, __delattr__, __getstate__, __setstate__)
