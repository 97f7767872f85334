"""What parsing one PUBLISH costs: the flat parser against the readable one.

python -m bench.codec [--rounds N]
"""

from __future__ import annotations

import argparse
import timeit

import curier
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Publish
from curier.codec.properties import Properties
from curier.codec.publish import parse_publish


def with_properties() -> Properties:
    """A request with what requests have."""
    properties = Properties()
    properties.response_topic = "answers/here"
    properties.correlation_data = b"12345678"
    properties.user_properties = [("trace", "0af7651916cd43dd8448eb211c80319c")]
    return properties


CASES = (
    ("3.1.1, QoS 0", 4, Publish("plant/line/4/temperature", b"x" * 64, 0)),
    ("5.0, QoS 1", 5, Publish("plant/line/4/temperature", b"x" * 64, 1, packet_id=7)),
    (
        "5.0, QoS 1, Properties",
        5,
        Publish("plant/line/4/temperature", b"x" * 64, 1, False, False, 7, with_properties()),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the best counts (7)")
    rounds = parser.parse_args().rounds
    form = "compiled" if curier.COMPILED else "interpreted"
    print(f"curier {curier.__version__}, {form}; ns per PUBLISH")
    print("| packet | flat | readable |\n|---|---:|---:|")
    for name, version, packet in CASES:
        raw = encode(packet, version)
        size = len(raw)
        number = 20_000
        flat = timeit.Timer(
            "f(raw, 0, size, version)",
            globals={"f": parse_publish, "raw": raw, "size": size, "version": version},
        )
        readable = timeit.Timer(
            "f(raw, 0, size, version)", globals={"f": decode, "raw": raw, "size": size, "version": version}
        )
        best = [min(timer.repeat(rounds, number)) / number * 1e9 for timer in (flat, readable)]
        print(f"| {name} | {best[0]:,.0f} | {best[1]:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
