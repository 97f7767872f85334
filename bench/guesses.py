"""What wrong logins by the 100 000 cost a broker that bans who guesses, and others, as a Markdown table.

    python -m bench.guesses [--logins 100000] [--at-once 50]

Each row is a new broker. Columns: how the logins were answered; processor time of the broker's process for
each, in µs; its memory at the end, more than before, in MiB; 99 of 100 messages that a connected client sends
itself every 5 ms meanwhile, in ms. In the row with many addresses each guess comes from another of 16 000
of 127.0.0.0/8, in 250 regions, and the user whose password is guessed logs in from a place
of its own every hundred guesses. The last row has no broker: a wrong login from each of 100 000 networks of
IPv6.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import tempfile
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import psutil

from bench.logins import CURIER, Other, read_packet
from curier.auth.bans import Bans, BanSettings
from curier.auth.hashes import new_hash, new_token
from curier.codec.encode import encode
from curier.codec.packets import Connect, Disconnect

USERS = 1000
ADDRESSES = 16_000
OWNER = "127.2.0.1"
NOBODY = "never = []\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--logins", type=int, default=100_000)
    parser.add_argument("--at-once", type=int, default=50)
    options = parser.parse_args()
    print("| attack | answers | µs each | MiB | p99 |\n|---|---|---:|---:|---:|", flush=True)
    for name, users, bans, names, addresses in (
        ("one user, banned", new_hash(b"right"), "never = []", 1, 1),
        ("one user, from thousands of addresses", new_hash(b"right"), "never = []", 1, ADDRESSES),
        ("a thousand users, the address banned", new_hash(b"right"), "never = []", USERS, 1),
        ("a thousand users with tokens, nobody banned", new_token()[1], "", USERS, 1),
    ):
        attack(options, name, users, bans, names, addresses)
    count_alone(options.logins)


def attack(
    options: argparse.Namespace, name: str, encoded: str, bans: str, names: int, addresses: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        users = [*(f"user{number}:{encoded}" for number in range(USERS)), f"other:{new_hash(b'other')}"]
        (folder / "users").write_text("\n".join(users))
        (folder / "users").chmod(0o600)
        (folder / "b.toml").write_text(f'password_file = "users"\n[ban]\n{bans}\n')
        command = [*CURIER, "broker", "--memory", "--listen", "tcp://127.0.0.1:0", "--log-level", "error"]
        command += ["--config", str(folder / "b.toml")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as broker:
            assert broker.stdout is not None
            port = int(broker.stdout.readline().rpartition(":")[2])
            try:
                asyncio.run(measure(options, name, port, names, addresses, psutil.Process(broker.pid)))
            finally:
                broker.terminate()


async def measure(
    options: argparse.Namespace, name: str, port: int, names: int, addresses: int, process: psutil.Process
) -> None:
    others = await Other.connect(port, "other", b"other")
    talking = asyncio.create_task(others.talk(time.monotonic() + 10_000.0))
    answers: Counter[str] = Counter()
    numbers = iter(range(options.logins))
    owner: Counter[str] = Counter()

    async def log_in(user: str, client_id: str, password: bytes, place: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(place, 0))
        writer.write(encode(Connect(5, client_id, True, 0, user, password), 5))
        answer = f"0x{(await read_packet(reader))[1]:02X}"
        if answer == "0x00":
            writer.write(encode(Disconnect(), 5))
        writer.close()
        return answer

    async def guess() -> None:
        for number in numbers:
            if addresses > 1 and number % 100 == 0:
                owner[await log_in("user0", "owner", b"right", OWNER)] += 1
            at = number % addresses
            place = f"127.{at % 250 + 3}.{at // 250 + 1}.1" if addresses > 1 else "127.0.0.1"
            user = f"user{number % names}"
            answers[await log_in(user, f"c{number}", b"wrong %d" % number, place)] += 1

    if addresses > 1:
        owner[await log_in("user0", "owner", b"right", OWNER)] += 1
    before, cpu = process.memory_info().rss, process.cpu_times()
    await asyncio.gather(*(guess() for _ in range(options.at_once)))
    after = process.cpu_times()
    spent = after.user + after.system - cpu.user - cpu.system
    talking.cancel()
    said = ", ".join(f"{count} {answer}" for answer, count in answers.most_common())
    if owner:
        said += "; the owner: " + ", ".join(f"{count} {answer}" for answer, count in owner.most_common())
    grown = (process.memory_info().rss - before) / 2**20
    p99 = sorted(others.times)[int(0.99 * (len(others.times) - 1))]
    each = 1e6 * spent / options.logins
    print(f"| {name} | {said} | {each:.0f} | {grown:.1f} | {1000 * p99:.1f} |", flush=True)


def count_alone(logins: int) -> None:
    addresses = [f"[2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1]:1" for number in range(logins)]
    bans = Bans(BanSettings())
    began = time.process_time()
    for address in addresses:
        list(bans.failed(address, "user ana", 0.0))
    each = 1e6 * (time.process_time() - began) / logins
    bans = Bans(BanSettings())
    tracemalloc.start()  # which makes it slow
    for address in addresses:
        list(bans.failed(address, "user ana", 0.0))
    grown = tracemalloc.get_traced_memory()[0] / 2**20
    print(f"| as many networks, the counting alone | | {each:.0f} | {grown:.1f} | |")


if __name__ == "__main__":
    main()
