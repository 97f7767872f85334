"""A program that has its own MQTT broker: no second process, no configuration file.

    python examples/embedded_broker.py                          # port 1883; --port names another
    mosquitto_sub -h 127.0.0.1 -p 1883 -t 'clock/#' -v          # in another terminal

The program publishes the time every second, and says who connects and what they publish.
"""

import argparse
import asyncio
from contextlib import suppress
from datetime import datetime

import curier
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.session.message import ApplicationMessage


class Doorkeeper(Hook):
    """Says who comes and goes, and keeps one topic for the program itself."""

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        """Called when a client has been let in."""
        print(f"{connection.client_id} is here", flush=True)

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        """Called when it is gone; ``why`` is in plain words."""
        print(f"{connection.client_id} has left: {why}", flush=True)

    def on_publish(self, connection: BrokerConnection | None, message: ApplicationMessage) -> int:
        """Called for every message; what it returns is the Reason Code, 0 to let it pass."""
        if message.topic.startswith(b"clock/"):  # what this program publishes itself does not come by here
            return curier.ReasonCode.NOT_AUTHORIZED
        who = connection.client_id if connection is not None else "the will of somebody who is gone"
        print(f"{who} says {message.payload.decode(errors='replace')!r}", flush=True)
        return curier.ReasonCode.SUCCESS


async def main(port: int) -> None:
    """Serve until cancelled."""
    async with curier.Broker(listen=[f"tcp://127.0.0.1:{port}"], hooks=[Doorkeeper()]) as broker:
        print(f"listening on {broker.urls[0]}", flush=True)
        while True:
            now = datetime.now().isoformat(timespec="seconds")
            broker.publish(curier.Message("clock/now", now.encode(), retain=True))
            await asyncio.sleep(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A program with its own MQTT broker.")
    parser.add_argument("--port", type=int, default=1883, help="0 takes a free one")
    with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        asyncio.run(main(parser.parse_args().port))
