"""What the operations work on."""

from __future__ import annotations

import asyncio
import time

from curier.loglines import logger, printable
from curier.server import Broker
from curier.web.backup_forms import BackupFile
from curier.web.endings import Endings
from curier.web.events import Hub
from curier.web.history import History
from curier.web.keeper import Keeper
from curier.web.lately import Sketch
from curier.web.past import Past
from curier.web.tokens import Known
from curier.web.undoing import Bin
from curier.web.walking import MOST_WALKS

log = logger("curier.web")


class Scene:
    """A broker that runs, and what the window has beside it."""

    def __init__(self, broker: Broker, keeper: Keeper | None = None, history: History | None = None) -> None:
        self.broker = broker
        self.keeper = keeper
        self.memory_limit = broker.core.host.most_memory()
        """Bytes; 0: not known. To ask for it takes longer than for all the rest of an overview."""
        self.history = history or History(broker)
        self.hub = Hub(lambda: broker.turn.clock.now())
        self.copying: asyncio.Task[BackupFile] | None = None  # the broker's state, for a backup
        self.draining: asyncio.Task[None] | None = None  # of a node of a cluster, which leaves
        self.endings = Endings(broker.turn.clock.now)
        self.looking = 0  # who ask for the fate of messages
        self.past = Past(broker)
        self.bin = Bin(time.monotonic)
        self.sketch = Sketch(broker.core)
        self.walks = asyncio.Semaphore(MOST_WALKS)
        """The turn of each walk over all clients or topics."""

    def audit(self, who: Known, action: str, **details: str | float) -> None:
        """Note in both logs that somebody changes something; none of the details may be a secret."""
        self.broker.acted(f"{who.name} ({who.role.name.lower()}) at {who.address}", action, **details)
        said = "".join(f", {name} {value!r}" for name, value in details.items() if value != "")
        log.info("%s at %s by the window: %s%s", who.name, who.address, action, printable(said))
