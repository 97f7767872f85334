"""What one message costs a client: CPU of its process for publishing and receiving, beside other clients.

    python -m bench.client [--messages N] [--rounds N] [--only WORD] [--mosquitto]

Each figure is CPU time of the client's process (user and system, microseconds) for each message of 64 bytes,
the best of all rounds: published with at most 100 unfinished, or received at the given QoS. Every client is a
process of its own, all take turns against one broker: curier, or mosquitto if asked for. MQTT 3.1.1, which
all of them speak (at QoS 2 curier has 19 unfinished there, not 100); curier is there with 5.0, blocking (at
QoS 0 publishing one by one), and with uvloop where that is installed. Settings are the defaults but for the
window.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import IO, Any

import curier
from curier.codec.encode import encode
from curier.codec.packets import Connect, Publish

PAYLOAD = b"x" * 64
TOPIC = "bench/topic"
WINDOW = 100
AHEAD = 2000  # messages sent that the receiver has not reported; more, and a queue might overflow
WARM_UP = 2000  # messages before the clock is read


class Clock:
    """CPU time of this process between the first message that counts and the last."""

    def __init__(self, messages: int) -> None:
        self.messages = messages
        self.count = 0
        self.began = 0.0

    def one(self) -> bool:
        """One more message; True: it was the last."""
        self.count += 1
        if self.count % 1000 == 0:
            print("more", flush=True)
        if self.count == WARM_UP:
            self.began = time.process_time()
        return self.count == self.messages + WARM_UP

    def report(self) -> None:
        print((time.process_time() - self.began) / self.messages * 1e6, flush=True)


def ready() -> None:
    """The subscription stands: messages may come."""
    print("ready", flush=True)


# ---- the clients; each publishes, or receives and prints "ready" before ----


async def curier_publish(port: int, qos: int, messages: int, **settings: Any) -> None:
    async with curier.connect(f"mqtt://127.0.0.1:{port}", client_id="bench", **settings) as client:
        pairs = [(TOPIC, PAYLOAD)]
        await client.publish_many(pairs * WARM_UP, qos=qos, window=WINDOW)
        began = time.process_time()
        await client.publish_many((pairs[0] for _ in range(messages)), qos=qos, window=WINDOW)
        print((time.process_time() - began) / messages * 1e6, flush=True)


async def curier_receive(port: int, qos: int, messages: int, **settings: Any) -> None:
    clock = Clock(messages)
    async with (
        curier.connect(f"mqtt://127.0.0.1:{port}", client_id="bench", **settings) as client,
        client.subscribe(TOPIC, qos=qos) as stream,
    ):
        ready()
        async for _ in stream:
            if clock.one():
                break
        clock.report()


def blocking_publish(port: int, qos: int, messages: int, **settings: Any) -> None:
    with curier.connect_sync(f"mqtt://127.0.0.1:{port}", client_id="bench", **settings) as client:
        pairs = [(TOPIC, PAYLOAD)]
        client.publish_many(pairs * WARM_UP, qos=qos, window=WINDOW)
        began = time.process_time()
        if qos:
            client.publish_many((pairs[0] for _ in range(messages)), qos=qos, window=WINDOW)
        else:  # one by one
            for _ in range(messages):
                client.publish(TOPIC, PAYLOAD)
            client.publish(TOPIC, PAYLOAD, qos=1)  # behind which they have left
        print((time.process_time() - began) / messages * 1e6, flush=True)


def blocking_receive(port: int, qos: int, messages: int, **settings: Any) -> None:
    clock = Clock(messages)
    with (
        curier.connect_sync(f"mqtt://127.0.0.1:{port}", client_id="bench", **settings) as client,
        client.subscribe(TOPIC, qos=qos) as stream,
    ):
        ready()
        for _ in stream:
            if clock.one():
                break
        clock.report()


def paho_publish(port: int, qos: int, messages: int) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    client = mqtt.Client(CallbackAPIVersion.VERSION2, "bench")
    client.max_inflight_messages_set(WINDOW)
    room = threading.Semaphore(WINDOW)
    client.on_publish = lambda *_: room.release()
    client.connect("127.0.0.1", port)
    client.loop_start()
    began = 0.0
    for number in range(messages + WARM_UP):
        if number == WARM_UP:
            began = time.process_time()
        room.acquire()
        client.publish(TOPIC, PAYLOAD, qos)
    for _ in range(WINDOW):
        room.acquire()
    print((time.process_time() - began) / messages * 1e6, flush=True)
    client.disconnect()
    client.loop_stop()


def paho_receive(port: int, qos: int, messages: int) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    clock = Clock(messages)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "bench")

    def on_message(*_: Any) -> None:
        if clock.one():
            clock.report()
            client.disconnect()

    client.on_message = on_message
    client.on_subscribe = lambda *_: ready()
    client.connect("127.0.0.1", port)
    client.subscribe(TOPIC, qos)
    client.loop_forever()


async def gmqtt_publish(port: int, qos: int, messages: int) -> None:
    import gmqtt

    client = gmqtt.Client("bench")
    handler = client._package_handler
    room = asyncio.Semaphore(WINDOW)
    for name in ("_handle_puback_packet", "_handle_pubcomp_packet"):  # it has no public way to be told
        inner = getattr(handler, name)

        def told(cmd: int, packet: bytes, inner: Any = inner) -> None:
            inner(cmd, packet)
            room.release()

        setattr(handler, name, told)
    await client.connect("127.0.0.1", port, version=4)
    began = 0.0
    for number in range(messages + WARM_UP):
        if number == WARM_UP:
            began = time.process_time()
        if qos:
            await room.acquire()
        elif number % WINDOW == 0:
            await asyncio.sleep(0)
        client.publish(TOPIC, PAYLOAD, qos)
    for _ in range(WINDOW if qos else 0):
        await room.acquire()
    print((time.process_time() - began) / messages * 1e6, flush=True)
    await client.disconnect()


async def gmqtt_receive(port: int, qos: int, messages: int) -> None:
    import gmqtt

    clock = Clock(messages)
    over = asyncio.Event()
    client = gmqtt.Client("bench")

    def on_message(*_: Any) -> int:
        if clock.one():
            clock.report()
            over.set()
        return 0

    client.on_message = on_message
    client.on_subscribe = lambda *_: ready()
    await client.connect("127.0.0.1", port, version=4)
    client.subscribe(TOPIC, qos)
    await over.wait()
    await client.disconnect()


async def aiomqtt_publish(port: int, qos: int, messages: int) -> None:
    import aiomqtt

    async with aiomqtt.Client(
        "127.0.0.1", port, identifier="bench", max_inflight_messages=WINDOW, max_queued_outgoing_messages=0
    ) as client:
        client.pending_calls_threshold = 10**9  # it warns of a window of more than ten

        async def some(count: int) -> None:
            for _ in range(count):
                await client.publish(TOPIC, PAYLOAD, qos, timeout=60)

        async def all_of_it(count: int) -> None:
            await asyncio.gather(*[some(count // WINDOW) for _ in range(WINDOW)])

        await all_of_it(WARM_UP)
        began = time.process_time()
        await all_of_it(messages)
        print((time.process_time() - began) / messages * 1e6, flush=True)


async def aiomqtt_receive(port: int, qos: int, messages: int) -> None:
    import aiomqtt

    clock = Clock(messages)
    async with aiomqtt.Client("127.0.0.1", port, identifier="bench") as client:
        await client.subscribe(TOPIC, qos)
        ready()
        async for _ in client.messages:
            if clock.one():
                break
        clock.report()


async def mqttium_publish(port: int, qos: int, messages: int) -> None:
    from mqttium.api import AsyncClient

    client = AsyncClient("bench", max_outbound_inflight=WINDOW)
    await client.connect("127.0.0.1", port)
    receipts: deque[Any] = deque()
    began = 0.0
    for number in range(messages + WARM_UP):
        if number == WARM_UP:
            began = time.process_time()
        receipts.append(await client.publish(TOPIC, PAYLOAD, qos=qos))
        if len(receipts) == WINDOW:
            await receipts.popleft().wait()
    for receipt in receipts:
        await receipt.wait()
    print((time.process_time() - began) / messages * 1e6, flush=True)
    await client.disconnect()


async def mqttium_receive(port: int, qos: int, messages: int) -> None:
    from mqttium.api import AsyncClient

    clock = Clock(messages)
    client = AsyncClient("bench")
    await client.connect("127.0.0.1", port)
    await client.subscribe(TOPIC, qos=qos)
    ready()
    async for _ in client.messages():
        if clock.one():
            break
    clock.report()
    await client.disconnect()


CLIENTS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "curier": (curier_publish, curier_receive, {"version": 4, "max_inflight": WINDOW}),
    "curier, 5.0": (curier_publish, curier_receive, {"version": 5}),
    "curier, uvloop": (curier_publish, curier_receive, {"version": 4, "max_inflight": WINDOW}),
    "curier, blocking": (blocking_publish, blocking_receive, {"version": 4, "max_inflight": WINDOW}),
    "paho-mqtt": (paho_publish, paho_receive, {}),
    "gmqtt": (gmqtt_publish, gmqtt_receive, {}),
    "mqttium": (mqttium_publish, mqttium_receive, {}),
    "aiomqtt": (aiomqtt_publish, aiomqtt_receive, {}),
}
NEEDS = {"curier, uvloop": "uvloop", "paho-mqtt": "paho"}
NEEDS.update({name: name for name in ("gmqtt", "mqttium", "aiomqtt")})


def run_client(name: str, direction: str, port: int, qos: int, messages: int) -> None:
    """Be the client's process."""
    publish, receive, settings = CLIENTS[name]
    work = (publish if direction == "publish" else receive)(port, qos, messages, **settings)
    if not asyncio.iscoroutine(work):
        return
    if "uvloop" in name:
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


# ---- the other side ----


@contextmanager
def broker(is_mosquitto: bool) -> Iterator[int]:
    """A broker in a process of its own; its port."""
    with tempfile.TemporaryDirectory() as folder:
        if is_mosquitto:
            program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
            if program is None:
                raise SystemExit("mosquitto is not installed")
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = int(free.getsockname()[1])
            config = os.path.join(folder, "mosquitto.conf")
            with open(config, "w") as file:
                file.write(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
                file.write(f"max_inflight_messages {WINDOW}\n")  # it ends clients that have more at QoS 2
            process = subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL, text=True)
        else:
            code = (
                "import asyncio, curier\n"
                "async def main():\n"
                "    async with curier.Broker(listen=['tcp://127.0.0.1:0']) as broker:\n"
                "        print(broker.port, flush=True)\n"
                "        await asyncio.Event().wait()\n"
                "asyncio.run(main())\n"
            )
            process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            port = int(process.stdout.readline())
        try:
            for _ in range(100):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait()


def load(port: int, qos: int, messages: int, reports: IO[str]) -> None:
    """Publish as a plain socket, a window at a time, never far ahead of the receiver, which reports."""
    with socket.create_connection(("127.0.0.1", port), 60) as sock:
        sock.settimeout(None)  # with one, MSG_WAITALL would not wait
        sock.sendall(encode(Connect(4, "load", True, 0), 4))
        sock.recv(4, socket.MSG_WAITALL)
        packets = [
            encode(Publish(TOPIC, PAYLOAD, qos, packet_id=number + 1 if qos else 0), 4)
            for number in range(WINDOW)
        ]
        chunk = b"".join(packets)
        release = b"".join([b"\x62\x02" + (number + 1).to_bytes(2, "big") for number in range(WINDOW)])
        reported = 0
        for number in range(0, messages, WINDOW):
            while number - reported > AHEAD:
                if reports.readline() != "more\n":
                    raise SystemExit("the receiver has ended")
                reported += 1000
            sock.sendall(chunk)
            if qos:
                sock.recv(4 * WINDOW, socket.MSG_WAITALL)
            if qos == 2:
                sock.sendall(release)
                sock.recv(4 * WINDOW, socket.MSG_WAITALL)
        sock.sendall(b"\xe0\x00")


def measure(name: str, direction: str, port: int, qos: int, messages: int) -> float:
    """CPU microseconds for one message."""
    arguments = ["--client", name, direction, str(port), str(qos), str(messages)]
    with subprocess.Popen(
        [sys.executable, "-m", "bench.client", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        if direction == "receive":
            if process.stdout.readline().strip() != "ready":
                raise SystemExit(f"{name} did not subscribe")
            load(port, qos, messages + WARM_UP, process.stdout)
        said = process.stdout.readline()
        while said == "more\n":
            said = process.stdout.readline()
        if not re.fullmatch(r"[\d.]+\n", said):
            raise SystemExit(f"{name} {direction} QoS {qos}: no result")
        return float(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=20_000, help="messages in one round (20000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts (3)")
    parser.add_argument("--only", default="", help="clients whose name begins so")
    parser.add_argument("--mosquitto", action="store_true", help="against mosquitto instead of curier")
    parser.add_argument("--client", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        name, direction, port, qos, messages = arguments.client
        run_client(name, direction, int(port), int(qos), int(messages))
        return
    names = [
        name
        for name in CLIENTS
        if name.startswith(arguments.only) and (name not in NEEDS or find_spec(NEEDS[name]) is not None)
    ]
    columns = [(direction, qos) for direction in ("publish", "receive") for qos in (0, 1, 2)]
    best = {(name, *column): float("inf") for name in names for column in columns}
    with broker(arguments.mosquitto) as port:
        for _ in range(arguments.rounds):
            for direction, qos in columns:
                for name in names:
                    took = measure(name, direction, port, qos, arguments.messages)
                    key = (name, direction, qos)
                    best[key] = min(best[key], took)
    form = "compiled" if curier.COMPILED else "interpreted"
    server = "mosquitto" if arguments.mosquitto else "curier"
    print(f"CPU µs of the client per message; curier's core {form}, broker {server}, window {WINDOW}\n")
    print("| client |" + "".join(f" {direction} QoS {qos} |" for direction, qos in columns))
    print("|---|" + "---:|" * len(columns))
    for name in names:
        print(f"| {name} |" + "".join(f" {best[name, direction, qos]:.1f} |" for direction, qos in columns))


if __name__ == "__main__":
    main()
