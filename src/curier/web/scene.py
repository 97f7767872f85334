"""What the operations work on."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from curier.loglines import logger, printable
from curier.server import Broker
from curier.web import forms
from curier.web.events import Hub
from curier.web.history import History
from curier.web.tokens import Known
from curier.web.undoing import Bin
from curier.web.walking import MOST_WALKS

log = logger("curier.web")


class Keeper(Protocol):
    """Whoever runs the broker, as far as the window may ask it: for its settings, and to read them again."""

    def settings(self) -> list[forms.SettingRow]:
        """All settings, as they hold now."""

    def check(self) -> list[str]:
        """What would be wrong if they were read again now; in a thread."""

    async def reload(self) -> str:
        """Read them again; what has changed, in words. Raises ``ConfigError``, and nothing has."""

    def log_levels(self) -> dict[str, str]:
        """How much is logged of each topic."""

    def set_log_level(self, topic: str, level: str) -> None:
        """Log so much of a topic, of all for "", until the broker ends or its settings are read again."""


class Scene:
    """A broker that runs, and what the window has beside it."""

    def __init__(self, broker: Broker, keeper: Keeper | None = None) -> None:
        self.broker = broker
        self.keeper = keeper
        self.history = History(broker)
        self.hub = Hub(lambda: broker.turn.clock.now())
        self.looking = 0  # who ask for the fate of messages
        self.bin = Bin(time.monotonic)
        self.walks = asyncio.Semaphore(MOST_WALKS)
        """The turn of each walk over all clients or topics."""

    def audit(self, who: Known, action: str, **details: str | float) -> None:
        """Note in both logs that somebody changes something; none of the details may be a secret."""
        self.broker.acted(f"{who.name} ({who.role.name.lower()}) at {who.address}", action, **details)
        said = "".join(f", {name} {value!r}" for name, value in details.items() if value != "")
        log.info("%s at %s by the window: %s%s", who.name, who.address, action, printable(said))
