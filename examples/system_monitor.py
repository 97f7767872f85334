"""Machines that tell how they are, and a table of all of them: MQTT with real figures.

    pip install psutil
    curier broker                               # somewhere
    python examples/system_monitor.py           # on every machine; --url names the broker
    python examples/system_monitor.py watch     # anywhere: every machine, live; Ctrl-C ends it

Every machine publishes under monitor/NAME/. All topics are retained, so a watcher that comes later sees
the last figures at once. Each has the Quality of Service it needs:

    cpu, network        QoS 0   there is a new figure soon; one that gets lost is not worth a second try
    memory, disk,       QoS 1   somebody may wait for a threshold, so it has to arrive; twice does no harm
    temperature
    status              QoS 2   who counts how often machines come and go must not count one twice

The status is "here" or "gone". When the program ends it says "gone" itself; when it is killed, or the
machine loses power or network, the broker says it in its place: that is its will.
"""

import argparse
import asyncio
import json
import shutil
import socket
import sys
import time
from contextlib import suppress
from typing import Any

import psutil

import curier

ROOT = "monitor"
QOS = {"cpu": 0, "network": 0, "memory": 1, "disk": 1, "temperature": 1, "status": 2}
HERE, GONE = "here", "gone"

# ---- a machine and its figures ----


class Machine:
    """Reads the figures of this machine; rates are means since the last reading."""

    def __init__(self) -> None:
        psutil.cpu_percent()  # the first reading only sets the mark
        self.counters = psutil.net_io_counters()
        self.read_at = time.monotonic()

    def figures(self) -> dict[str, Any]:
        """The payload of each topic: objects are published as JSON, text and numbers as they are."""
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage("/")
        return {
            "cpu": {"percent": psutil.cpu_percent(), "load": round(psutil.getloadavg()[0], 2)},
            "memory": {
                "percent": memory.percent,
                "used": memory.total - memory.available,
                "total": memory.total,
            },
            "disk": {"percent": disk.percent, "used": disk.used, "total": disk.total},
            "network": self._network(),
            "temperature": temperature(),
        }

    def _network(self) -> dict[str, int]:
        now, counters = time.monotonic(), psutil.net_io_counters()
        seconds = max(now - self.read_at, 0.001)
        before, self.counters, self.read_at = self.counters, counters, now
        return {
            "received": round((counters.bytes_recv - before.bytes_recv) / seconds),
            "sent": round((counters.bytes_sent - before.bytes_sent) / seconds),
        }


def temperature() -> float | str:
    """The hottest sensor in °C, or "n/a": virtual machines have none, and some systems do not tell."""
    read = getattr(psutil, "sensors_temperatures", dict)
    found = [sensor.current for sensors in read().values() for sensor in sensors]
    return round(max(found), 1) if found else "n/a"


async def publish(options: argparse.Namespace) -> None:
    """Publish figures every ``interval`` seconds, ``count`` times or until Ctrl-C."""
    base = f"{ROOT}/{options.name}"
    will = curier.Will(
        curier.Message(f"{base}/status", GONE.encode(), curier.QoS(QOS["status"]), retain=True)
    )
    client = curier.connect(options.url, keep_alive=10, will=will)
    announcing = asyncio.create_task(announce(client, base))
    async with client:
        machine = Machine()
        sent = 0
        try:
            await asyncio.sleep(min(options.interval, 0.5))  # rates need a little time to be measured over
            while True:
                for name, figure in machine.figures().items():
                    payload = json.dumps(figure) if isinstance(figure, dict) else str(figure)
                    await client.publish(f"{base}/{name}", payload, qos=QOS[name], retain=True)
                sent += 1
                if sent == options.count:
                    break
                await asyncio.sleep(options.interval)
        finally:
            # After a DISCONNECT the broker forgets the will, so we say ourselves what it would have said.
            if client.is_connected:
                with suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        await client.publish(f"{base}/status", GONE, qos=QOS["status"], retain=True)
    await announcing


async def announce(client: curier.Client, base: str) -> None:
    """Say "here" on every connection: when the one before was lost, the broker has said "gone"."""
    async for event in client.events():
        if isinstance(event, curier.Connected):
            client.publish_nowait(f"{base}/status", HERE, qos=QOS["status"], retain=True)
            print(f"publishing {base}/... to {event.url}", flush=True)


# ---- a watcher and its table ----

COLUMNS = ("machine", "status", "cpu", "load", "memory", "disk", "received", "sent", "temperature")


class Table:
    """What is known of every machine, as text. A payload that makes no sense shows as "?"."""

    def __init__(self) -> None:
        self.machines: dict[str, dict[str, str]] = {}
        self.heard: dict[str, float] = {}

    def add(self, topic: str, payload: bytes, is_old: bool) -> str:
        """Take one message; returns a line that tells it, or "" where it is none of ours."""
        levels = topic.split("/")
        if len(levels) != 3 or levels[2] not in QOS:
            return ""
        name, what = printable(levels[1]), levels[2]
        cells = cells_of(what, payload.decode(errors="replace"))
        self.machines.setdefault(name, {}).update(cells)
        if not is_old:  # a retained message does not say when it was sent
            self.heard[name] = time.monotonic()
        return f"{name}: {', '.join(f'{column} {cell}' for column, cell in cells.items())}"

    def lines(self) -> list[str]:
        """The table, machines by name; of one that is gone only that, and since when it is known."""
        rows: list[tuple[str, ...]] = [COLUMNS]
        for name, cells in sorted(self.machines.items()):
            if cells.get("status") == GONE:
                heard = self.heard.get(name)
                ago = "" if heard is None else f", {time.monotonic() - heard:.0f} s ago"
                cells = {"status": GONE + ago}
            rows.append((name, *(cells.get(column, "") for column in COLUMNS[1:])))
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]


def cells_of(what: str, payload: str) -> dict[str, str]:
    """The cells that one message fills."""
    try:
        if what == "cpu":
            figure = json.loads(payload)
            return {"cpu": f"{figure['percent']:.0f} %", "load": f"{figure['load']:.2f}"}
        if what in ("memory", "disk"):
            return {what: f"{json.loads(payload)['percent']:.0f} %"}
        if what == "network":
            figure = json.loads(payload)
            return {column: f"{size(figure[column])}/s" for column in ("received", "sent")}
        if what == "temperature":
            return {what: payload if payload == "n/a" else f"{float(payload):.1f} °C"}
    except (ValueError, TypeError, KeyError):
        return {"received": "?", "sent": "?"} if what == "network" else {what: "?"}
    return {what: printable(payload)}


def size(number: float) -> str:
    """Bytes for people: 3_500_000 is "3.3 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def printable(text: str) -> str:
    """At most 40 characters, none of which a terminal obeys: anybody may have sent this."""
    return "".join(c if c.isprintable() else "?" for c in text[:40])


async def watch(options: argparse.Namespace) -> None:
    """Show every machine until Ctrl-C: a table that stays in place, or lines where it goes to a file."""
    table = Table()
    height = 0
    is_terminal = sys.stdout.isatty()
    async with (
        curier.connect(options.url, keep_alive=10) as client,
        client.subscribe(f"{ROOT}/#", qos=2) as arriving,  # each comes with the QoS it was published with
    ):
        while True:
            if is_terminal:
                height = draw(table, height)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    async for message in arriving:
                        line = table.add(message.topic, message.payload, message.retain)
                        if line and not is_terminal:
                            print(time.strftime("%H:%M:%S"), line, flush=True)


def draw(table: Table, height: int) -> int:
    """Draw the table over the one before, which was ``height`` lines high; returns its own height."""
    columns, rows = shutil.get_terminal_size()
    lines = table.lines() if table.machines else ["no machine has told anything yet"]
    lines = [line[: columns - 1] for line in lines[: rows - 1]]  # a line that wraps would count as two
    back = f"\x1b[{height}A" if height else ""
    sys.stdout.write(back + "\x1b[J" + "".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    return len(lines)


# ---- both ----


def main() -> None:
    """Publish or watch."""
    parser = argparse.ArgumentParser(description="Publish how this machine is, or watch all machines.")
    parser.add_argument("command", nargs="?", choices=["publish", "watch"], default="publish")
    parser.add_argument("--url", default="mqtt://127.0.0.1", help="where the broker is")
    parser.add_argument(
        "--name", default=socket.gethostname(), help="of this machine; its host name if not given"
    )
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between two readings")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="stop after N readings; 0: never")
    options = parser.parse_args()
    options.name = "".join("-" if c in "/+#" else c for c in options.name)  # these mean something in topics
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run({"publish": publish, "watch": watch}[options.command](options))
    except curier.MqttError as error:
        sys.exit(f"{error}; a broker is started with: curier broker")


if __name__ == "__main__":
    main()
