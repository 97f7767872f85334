"""The event loop of a program that is nothing but a broker; see ``selector``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from selectors import BaseSelector
from typing import TYPE_CHECKING, TypeVarTuple, cast

from curier.net.selector import Selector

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

Ts = TypeVarTuple("Ts")


class Loop(asyncio.SelectorEventLoop):
    """Tells its selector when there is something to do that no descriptor shows."""

    def __init__(self) -> None:
        self.selector = Selector()
        super().__init__(cast(BaseSelector, self.selector))

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self.selector.is_called = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.selector.is_called = True
        return super().call_at(when, callback, *args, context=context)

    def add_prompt_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """As ``add_reader``, but called as soon as the descriptor is known to be ready, and not by way of
        the loop's queue. ``remove_reader`` ends it.
        """

        def call() -> None:
            try:
                callback()
            except Exception as error:
                self.call_exception_handler({"message": f"an error in {callback!r}", "exception": error})

        self.add_reader(fd, callback)
        self.selector.prompt[fd] = call

    def remove_reader(self, fd: FileDescriptorLike) -> bool:
        if isinstance(fd, int):
            self.selector.prompt.pop(fd, None)
        return super().remove_reader(fd)

    def stop(self) -> None:
        self.selector.is_called = True
        super().stop()
