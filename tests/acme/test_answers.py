"""The answer to HTTP-01, as strangers meet it."""

from __future__ import annotations

import http.client
import socket

import pytest

from curier.acme import answers
from curier.acme.answers import PATH, Answers
from tests.waiting import wait_until


def port_of(made: Answers) -> int:
    assert made._server is not None
    port: int = made._server.socket.getsockname()[1]
    return port


def get(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
    try:
        link.request(method, path)
        answer = link.getresponse()
        return answer.status, answer.read()
    finally:
        link.close()


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_only_what_is_asked_for_now(host: str) -> None:
    with Answers(host, 0) as made:
        port = port_of(made)
        made.known["token"] = "token.thumbprint"
        assert get(port, f"{PATH}token") == (200, b"token.thumbprint")
        for path in ("/", "/token", PATH, f"{PATH}other", f"{PATH}../token", f"{PATH}token/", "//token"):
            assert get(port, path)[0] == 404
        assert get(port, f"{PATH}token", "POST")[0] == 501
    with pytest.raises(OSError):
        get(port, "/")


def test_strangers_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are bounded in number and time, and the end does not wait for them."""
    monkeypatch.setattr(answers, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(answers._Handler, "timeout", 0.5)
    with Answers("127.0.0.1", 0) as made:
        made.known["token"] = "answer"
        port = port_of(made)
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        held[0].sendall(b"GET / HT")
        with socket.create_connection(("127.0.0.1", port), timeout=100) as third:
            assert third.recv(1) == b""
        for one in held:
            one.settimeout(100)
            assert one.recv(1) == b""
            one.close()

        def is_answered() -> bool:  # a place is free a moment after its connection has ended
            try:
                return get(port, f"{PATH}token") == (200, b"answer")
            except (http.client.RemoteDisconnected, ConnectionResetError):
                return False

        wait_until(is_answered)
