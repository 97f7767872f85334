"""Begins handshakes of TLS at a steady rate, and leaves when the server has done its part of the work.

    python -m bench.hellos HOST PORT RATE SECONDS

One ClientHello is sent again and again: the server makes its key and its signature, which is most of what a
handshake costs it, for the price of a connection here. So one core can ask for more than a core can give.
Prints, as JSON, how many were answered, and how many a second.
"""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import sys
import time

FLIGHT_BYTES = 500
"""A server's whole answer is longer: it has a certificate in it."""


def client_hello() -> bytes:
    """As Python's ``ssl`` says it."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def main() -> None:
    host, port, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    hello = client_hello()
    waiting = selectors.DefaultSelector()
    began = time.monotonic()
    begun = answered = 0
    while (now := time.monotonic()) - began < seconds:
        while begun < (now - began) * rate and len(waiting.get_map()) < 2000:
            begun += 1
            sock = socket.create_connection((host, port))
            sock.sendall(hello)
            waiting.register(sock, selectors.EVENT_READ, 0)
        for key, _ in waiting.select(0.002):
            assert isinstance(key.fileobj, socket.socket)
            chunk = key.fileobj.recv(4096)
            if chunk and key.data + len(chunk) < FLIGHT_BYTES:
                waiting.modify(key.fileobj, selectors.EVENT_READ, key.data + len(chunk))
                continue
            answered += bool(chunk)
            waiting.unregister(key.fileobj)
            key.fileobj.close()
    print(json.dumps({"answered": answered, "answered_per_s": round(answered / seconds, 1)}))


if __name__ == "__main__":
    main()
