"""How large the database grows under steady load: messages come and go, a bounded number of them is there.

Batches as a broker makes them are applied directly; each message is saved, queued, sent and, ``--backlog``
messages later, acknowledged. Sizes are those of ``curier.db`` with its write-ahead log.

    python bench/store_growth.py --messages 1000000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from curier.session.message import ApplicationMessage
from curier.session.records import Delivered, MessageRemoved, MessageSaved, Queued, Record, Sent, SessionSaved
from curier.store.database import Database

BATCH = 200
REPORTS = 10


def size_of(directory: Path) -> float:
    """In MiB."""
    return sum(file.stat().st_size for file in directory.iterdir() if not file.name.endswith("-shm")) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--backlog", type=int, default=10_000, help="messages that are not yet acknowledged")
    parser.add_argument("--size", type=int, default=200, help="bytes of each payload")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        database = Database(directory, "os")
        database.apply([SessionSaved(1, "bench", 5, 0xFFFFFFFF, 0.0)])
        began = time.perf_counter()
        step = max(BATCH, options.messages // REPORTS // BATCH * BATCH)
        for first in range(0, options.messages, BATCH):
            records: list[Record] = []
            for index in range(first, first + BATCH):
                number = 10 + 2 * index
                message = ApplicationMessage(b"bench/%d" % (index % 100), b"x" * options.size, 1, False)
                records.append(MessageSaved(number, message))
                records.append(Queued(1, number + 1, number, 1, False, b"", b""))
                records.append(Sent(1, number + 1, 1 + index % 65535))
                gone = number - 2 * options.backlog
                if gone >= 10:
                    records.append(Delivered(1, gone + 1))
                    records.append(MessageRemoved(gone))
            database.apply(records)
            if (first + BATCH) % step == 0:
                seconds = time.perf_counter() - began
                print(f"{first + BATCH:>9} messages, {seconds:5.0f} s: {size_of(directory):6.1f} MiB")
        database.close()
        print(
            f"closed: {size_of(directory):.1f} MiB, {options.backlog} messages of {options.size} bytes in it"
        )


if __name__ == "__main__":
    main()
