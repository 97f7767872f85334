"""The scenario that only connects: how fast, and what each connection costs the broker."""

from __future__ import annotations

from curier.errors import ConnectionLost
from curier.loadgen.connection import Connection
from curier.loadgen.opening import Opener, resolve
from curier.loadgen.payload import clock
from curier.loadgen.result import Result
from curier.loadgen.work import Work, allow_files


class Connects(Work):
    """Connects ``plan.connections`` clients, ``plan.concurrency`` at a time, ``plan.rate`` a second at most;
    holds them ``plan.hold`` s.

    A latency is from the beginning of the TCP connection to CONNACK.
    """

    def run(self) -> Result:
        plan, result = self.plan, self.result
        allow_files(plan.connections)
        target = resolve(plan)
        clients = [
            Connection(plan, self.loop, f"bench-{plan.run:08x}-c{number}")
            for number in range(plan.connections)
        ]
        with self.loop:
            self.start_meters()
            began = clock()
            opener = Opener(self.loop, target, clients, plan.concurrency, plan.rate)
            try:
                opener.run(lambda: self.is_stopping, self._ready, self._report)
            except ConnectionLost as error:
                if not result.connected:
                    raise
                result.errors.append(str(error))
            result.seconds = (clock() - began) / 1e9
            self._hold()
            self.stop_meters()
            for client in clients:
                client.disconnect()
        return result

    def _ready(self, client: Connection) -> None:
        self.result.connected += 1
        self.result.connect_latency.add(clock() - client.began)

    def _report(self, done: int) -> None:
        self.progress("connecting", done / self.plan.connections)

    def _hold(self) -> None:
        """Keep the connections; one that ends is an error."""
        until = clock() + int(self.plan.hold * 1e9)
        while (now := clock()) < until and not self.is_stopping:
            self.loop.turn(min((until - now) / 1e9, 0.1))
            self.result.errors += [client.error for client in self.loop.take_reports() if client.error]
            self.progress("holding", 1 - (until - now) / 1e9 / self.plan.hold)
