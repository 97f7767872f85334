"""Modules that a program may do without, loaded by whoever first asks for something in them.

asyncio imports ``ssl`` whether there is TLS or not, which is 4 MiB of memory. The command line puts that off.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any, Final

TLS: Final = "ssl", "asyncio.sslproto"

_lock: Final = RLock()


class Unloaded(ModuleType):
    """Becomes the module itself, in place, when something in it is asked for."""

    _is_loading = False

    def __getattr__(self, name: str) -> Any:
        with _lock:  # whoever asks in another thread meanwhile waits
            if type(self) is Unloaded and not self._is_loading:
                spec = self.__spec__
                assert spec is not None
                assert spec.loader is not None
                self._is_loading = True
                try:
                    spec.loader.exec_module(self)
                    self.__class__ = ModuleType  # type: ignore[assignment]
                finally:
                    del self._is_loading
        return object.__getattribute__(self, name)


def put_off(*names: str) -> None:
    """Let modules be imported without being loaded; those that are loaded already stay so."""
    for name in names:
        package = name.rpartition(".")[0]
        spec = _found(name, _found(package) if package else None)
        if spec is None or name in sys.modules:
            continue  # who imports it finds that out
        module = Unloaded(name)
        module.__spec__ = spec
        module.__loader__ = spec.loader
        module.__file__ = spec.origin
        module.__package__ = spec.parent
        sys.modules[name] = module


def _found(name: str, package: ModuleSpec | None = None) -> ModuleSpec | None:
    return PathFinder.find_spec(name, None if package is None else package.submodule_search_locations)
