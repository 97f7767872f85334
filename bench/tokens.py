"""What tokens by the 10 000 cost a broker, and others, as a Markdown table.

    python -m bench.tokens [--logins 10000] [--at-once 50]

Each row is a new broker, whose keys are at a URL. Columns: how the logins were answered; processor time of
the broker's process for each, in µs; its memory at the end, more than before, in MiB; 99 of 100 messages that
a connected client sends itself every 5 ms meanwhile, in ms; how often the URL was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.server
import json
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import jwt
import psutil
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from bench.logins import CURIER, Other, read_packet
from curier.codec.encode import encode
from curier.codec.packets import Connect

KEY = ec.generate_private_key(ec.SECP256R1())
SET = json.dumps({"keys": [json.loads(ECAlgorithm.to_jwk(KEY.public_key())) | {"kid": "k"}]}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--logins", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=50)
    options = parser.parse_args()
    print("| attack | answers | µs each | MiB | p99 | asked |\n|---|---|---:|---:|---:|---:|", flush=True)
    right = signed({"sub": "ana", "exp": time.time() + 3600})
    attacks: tuple[tuple[str, Callable[[int], bytes]], ...] = (
        ("none: tokens that are right", lambda number: right),
        ("`alg: none`", lambda number: forged({"alg": "none"})),
        ("signed with another key", lambda number: right[:-8] + b"AAAAAAAA"),
        ("an `exp` of 400 digits", lambda number: signed({"sub": "ana", "exp": -int("9" * 400)})),
        ("10 KB of brackets", lambda number: forged({"alg": "ES256"}, b"[" * 7500)),
        ("made-up keys", lambda number: forged({"alg": "ES256", "kid": f"made-up {number}"})),
        ("made-up keys, and the URL hangs", lambda number: forged({"alg": "ES256", "kid": f"x{number}"})),
    )
    for name, token in attacks:
        attack(options, name, token)


def signed(claims: dict[str, object]) -> bytes:
    return jwt.encode(claims, KEY, "ES256", {"kid": "k"}).encode()


def forged(header: dict[str, str], claims: bytes = b'{"sub": "ana"}') -> bytes:
    parts = (json.dumps(header).encode(), claims, b"x" * 64)
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


class Keys(http.server.BaseHTTPRequestHandler):
    """Answers the first; the others as well, unless ``hangs`` is set."""

    asked = 0
    hangs = False
    over = threading.Event()

    def do_GET(self) -> None:
        Keys.asked += 1
        if Keys.hangs and Keys.asked > 1:
            Keys.over.wait(60)
        with suppress(OSError):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(SET)

    def log_message(self, *_: object) -> None:
        pass


def attack(options: argparse.Namespace, name: str, token: Callable[[int], bytes]) -> None:
    Keys.asked, Keys.hangs, Keys.over = 0, "hangs" in name, threading.Event()
    keys = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=keys.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "b.toml"
        url = f"http://127.0.0.1:{keys.server_address[1]}/"
        config.write_text(f'[[authenticator]]\nkind = "jwt"\njwks_url = "{url}"\nleeway = 0\n')
        command = [*CURIER, "broker", "--memory", "--listen", "tcp://127.0.0.1:0", "--log-level", "error"]
        with subprocess.Popen(
            [*command, "--config", str(config)], stdout=subprocess.PIPE, text=True
        ) as broker:
            assert broker.stdout is not None
            port = int(broker.stdout.readline().rpartition(":")[2])
            try:
                asyncio.run(measure(options, name, port, token, psutil.Process(broker.pid)))
            finally:
                Keys.over.set()
                broker.terminate()
    keys.shutdown()


async def measure(
    options: argparse.Namespace,
    name: str,
    port: int,
    token: Callable[[int], bytes],
    process: psutil.Process,
) -> None:
    others = await Other.connect(port, "other", signed({"sub": "other", "exp": time.time() + 3600}))
    talking = asyncio.create_task(others.talk(time.monotonic() + 10_000.0))
    answers: Counter[str] = Counter()
    numbers = iter(range(options.logins))

    async def guess() -> None:
        for number in numbers:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(encode(Connect(5, f"c{number}", True, 0, "ana", token(number)), 5))
            answers[f"0x{(await read_packet(reader))[1]:02X}"] += 1
            writer.close()

    before, cpu = process.memory_info().rss, process.cpu_times()
    await asyncio.gather(*(guess() for _ in range(options.at_once)))
    after = process.cpu_times()
    spent = after.user + after.system - cpu.user - cpu.system
    talking.cancel()
    said = ", ".join(f"{count} {answer}" for answer, count in answers.most_common())
    grown = (process.memory_info().rss - before) / 2**20
    p99 = sorted(others.times)[int(0.99 * (len(others.times) - 1))]
    each = 1e6 * spent / options.logins
    print(f"| {name} | {said} | {each:.0f} | {grown:.1f} | {1000 * p99:.1f} | {Keys.asked} |", flush=True)


if __name__ == "__main__":
    main()
