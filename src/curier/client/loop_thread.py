"""An event loop in a thread of its own, for clients that block."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from curier.client.publishing import FORKED
from curier.errors import MqttError

T = TypeVar("T")

OWN_THREAD: Final = "the client is called from its own thread, which would wait for itself"


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._lock = threading.Lock()  # nothing new comes behind the last turn of the loop
        self.is_stopped = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._main, name="curier", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        while left := asyncio.all_tasks(self.loop):  # of other threads, which wait for them
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(left))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    @property
    def is_forked(self) -> bool:
        """Is this process a fork? Then the thread is not in it, nor whoever would free the lock."""
        return self._pid != os.getpid()

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """What ``work`` returns or raises. Raises ``TimeoutError`` after ``timeout`` seconds."""
        if self.is_here():
            work.close()
            raise MqttError(OWN_THREAD)
        if self.is_forked:
            work.close()
            raise MqttError(FORKED)
        with self._lock:
            if self.is_stopped:
                work.close()
                raise MqttError("the client is closed")
            future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:  # by stopping: nobody else does
            raise MqttError("the client is closed") from None
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], None]) -> None:
        """Have ``function`` called there, soon. Raises ``MqttError`` where that cannot be any more."""
        if self.is_forked:
            raise MqttError(FORKED)
        with self._lock:
            if self.is_stopped:
                raise MqttError("the client is closed")
            self.loop.call_soon_threadsafe(function)

    def is_here(self) -> bool:
        """Is the calling thread this one?"""
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        """Stop the loop, and wait for the thread. What other threads wait for is cancelled."""
        if self.is_forked:
            return
        with self._lock:
            if not self.is_stopped:
                self.is_stopped = True
                self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
