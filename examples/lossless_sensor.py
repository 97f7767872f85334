"""A sensor that loses nothing: not without a network, not with kill -9, not with the broker away.

    python examples/lossless_sensor.py                    # a broker may come later
    curier broker                                         # now it is there
    curier sub -t 'sensor/#' -q 2 -c -i archive           # every reading, once

Each reading is on the disk, in the directory outbox/, before the program goes on. Kill it, start it again:
what it had measured and not delivered is sent first, in order. QoS 2 means that each arrives once, whoever
was killed when. A subscriber that is to miss nothing either needs a session that outlives its program, as
`-c -i archive` makes one; before it has subscribed for the first time, the broker knows of nobody to keep
readings for.
"""

import argparse
import asyncio
import json
import random
import sys
from contextlib import suppress
from datetime import UTC, datetime

import curier

MOST_WAITING = 100_000
"""Readings; one more, and the program ends with ``QueueFull`` rather than lose one without a word."""


async def main(url: str, name: str, outbox: str, interval: float) -> None:
    """Measure until cancelled."""
    connection = curier.connect(
        url,
        client_id=name,
        session=curier.Session.disk(outbox),
        retry_first_connect=True,  # no broker is no reason not to measure
        offline_messages=MOST_WAITING,
        reconnect=curier.Reconnect(longest=10),
    )
    async with connection as client:
        celsius = 20.0
        while True:
            celsius += random.uniform(-0.2, 0.2)  # read the real thing here
            reading = {"time": datetime.now(UTC).isoformat(), "celsius": round(celsius, 2)}
            client.publish_nowait(f"sensor/{name}", json.dumps(reading), qos=2)
            where = "sent" if client.is_connected else "kept"
            print(f"{where} {json.dumps(reading)}", flush=True)  # from here on it cannot be lost
            await asyncio.sleep(interval)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Publish readings, each of them exactly once.")
    parser.add_argument("--url", default="mqtt://127.0.0.1", help="where the broker is, or will be")
    parser.add_argument("--name", default="attic", help="of the sensor")
    parser.add_argument("--outbox", default="outbox", help="the directory for what is not delivered yet")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between two readings")
    options = parser.parse_args()
    try:
        with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
            asyncio.run(main(options.url, options.name, options.outbox, options.interval))
    except curier.MqttError as error:
        sys.exit(f"{error}")
