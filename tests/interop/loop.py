"""An event loop in a thread, for the peers that live in one."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.interop.peer import TIMEOUT

T = TypeVar("T")


class LoopThread:
    """Runs coroutines in a thread of its own; ``run`` waits for their result."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="peer's loop", daemon=True)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout: float = TIMEOUT) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    async def _cancel_all(self) -> None:
        """End what a library has left running."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        self.run(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(TIMEOUT)
        self.loop.close()
