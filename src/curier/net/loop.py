"""The event loop of a program that is nothing but a broker; see ``selector``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from selectors import BaseSelector
from typing import TypeVarTuple, cast

from curier.net.selector import Selector

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

    def stop(self) -> None:
        self.selector.is_called = True
        super().stop()
