"""Where clients come in: the URLs of listeners."""

from __future__ import annotations

import pytest

from curier.errors import ConfigError
from curier.listeners import Listen, Listener, parse_listen
from tests.each import each


@each(
    ("url", "expected", "shown", "is_loopback"),
    [
        ("tcp://127.0.0.1:1883", Listen("tcp", "127.0.0.1", 1883), "tcp://127.0.0.1:1883", True),
        ("tcp://127.0.0.1", Listen("tcp", "127.0.0.1", 1883), "tcp://127.0.0.1:1883", True),
        ("TCP://127.1.2.3/", Listen("tcp", "127.1.2.3", 1883), "tcp://127.1.2.3:1883", True),
        ("tcp://localhost:0", Listen("tcp", "localhost", 0), "tcp://localhost:0", True),
        ("tcp://[::1]", Listen("tcp", "::1", 1883), "tcp://[::1]:1883", True),
        (
            "tcp://[::ffff:127.0.0.1]:7",
            Listen("tcp", "::ffff:127.0.0.1", 7),
            "tcp://[::ffff:127.0.0.1]:7",
            True,
        ),
        (
            "tcp://[::ffff:10.0.0.1]:7",
            Listen("tcp", "::ffff:10.0.0.1", 7),
            "tcp://[::ffff:10.0.0.1]:7",
            False,
        ),
        ("mqtt://127.0.0.1", Listen("tcp", "127.0.0.1", 1883), "tcp://127.0.0.1:1883", True),
        ("tls://0.0.0.0", Listen("tls", "0.0.0.0", 8883), "tls://0.0.0.0:8883", False),
        ("MQTTS://[::1]:0", Listen("tls", "::1", 0), "tls://[::1]:0", True),
        (
            "ws://localhost:8083/mqtt",
            Listen("ws", "localhost", 8083, "/mqtt"),
            "ws://localhost:8083/mqtt",
            True,
        ),
        ("wss://0.0.0.0:443/", Listen("wss", "0.0.0.0", 443), "wss://0.0.0.0:443", False),
        ("unix:///run/c.sock", Listen("unix", "", 0, "/run/c.sock"), "unix:///run/c.sock", True),
        ("unix:///run/a%20b", Listen("unix", "", 0, "/run/a b"), "unix:///run/a%20b", True),
        ("mqtt+unix:///c", Listen("unix", "", 0, "/c"), "unix:///c", True),
        ("WS+unix:///c", Listen("ws+unix", "", 0, "/c"), "ws+unix:///c", True),
        ("mqtts+unix:///c", Listen("tls+unix", "", 0, "/c"), "tls+unix:///c", True),
        ("fd://3", Listen("fd", "", 0, "3"), "fd://3", False),
        ("wss+fd://web", Listen("wss+fd", "", 0, "web"), "wss+fd://web", False),
        ("tcp://[::]:65535", Listen("tcp", "::", 65535), "tcp://[::]:65535", False),
        ("tcp://0.0.0.0", Listen("tcp", "0.0.0.0", 1883), "tcp://0.0.0.0:1883", False),
        ("tcp://Broker.example:99", Listen("tcp", "broker.example", 99), "tcp://broker.example:99", False),
        (
            "tcp://localhost.example",
            Listen("tcp", "localhost.example", 1883),
            "tcp://localhost.example:1883",
            False,
        ),
    ],
)
def test_listeners_are_urls(url: str, expected: Listen, shown: str, is_loopback: bool) -> None:
    listen = parse_listen(url)
    assert listen == expected
    assert str(listen) == shown
    assert listen.is_loopback is is_loopback


@each(
    ("url", "expected"),
    [
        ("http://127.0.0.1", "not http://"),
        ("ws://127.0.0.1", "expected a port, as in ws://127.0.0.1:8083/mqtt"),
        ("wss://[::1]/mqtt", "expected a port, as in wss://[::1]:8083/mqtt"),
        ("unix://run/curier.sock", "expected the whole path of a socket"),
        ("unix://@abstract", "expected the whole path of a socket in the file system"),
        ("unix:///%00abstract", "expected the whole path of a socket"),
        ("unix:///c?x", "expected the whole path of a socket"),
        ("unix:///%ff", "expected UTF-8"),
        ("http+unix:///c", "not http+unix://"),
        ("unix+unix:///c", "not unix+unix://"),
        ("unix:///run/", "expected the whole path of a socket"),
        ("fd://", "expected the number or name"),
        ("fd:///3", "expected the number or name"),
        ("tls://127.0.0.1/mqtt", "expected nothing but host and port"),
        ("ws://127.0.0.1:8083/mqtt?x=1", "expected nothing but host and port"),
        ("127.0.0.1:1883", "expected a URL such as tcp://127.0.0.1:1883"),
        ("localhost:1883", "expected a URL such as tcp://127.0.0.1:1883"),
        ("", "expected a URL such as tcp://127.0.0.1:1883"),
        ("tcp://::1:1883", "expected an IPv6 address in brackets"),
        ("tcp://[::1", "expected host and port"),
        ("tcp://[nonsense]", "expected host and port"),
        ("tcp://127.0.0.1:65536", "ports go to 65535"),
        ("tcp://127.0.0.1:x", "expected host and port"),
        ("tcp://", "expected a host"),
        ("tcp://:1883", "expected a host"),
        ("tcp://127.0.0.1/path", "expected nothing but host and port"),
        ("tcp://127.0.0.1?tls=1", "expected nothing but host and port"),
        ("tcp://user@127.0.0.1", "expected nothing but host and port"),
    ],
)
def test_what_is_no_listener_is_told_why(url: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_listen(url)
    assert str(caught.value).startswith(f"{url!r}: ")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("url", "speech", "carrier", "is_secure", "is_web"),
    [
        ("tcp://[::1]", "tcp", "tcp", False, False),
        ("tls://[::1]", "tls", "tcp", True, False),
        ("wss://[::1]:1", "wss", "tcp", True, True),
        ("unix:///c", "tcp", "unix", False, False),
        ("tls+unix:///c", "tls", "unix", True, False),
        ("ws+unix:///c", "ws", "unix", False, True),
        ("fd://3", "tcp", "fd", False, False),
        ("wss+fd://3", "wss", "fd", True, True),
    ],
)
def test_what_is_spoken_and_what_carries_it(
    url: str, speech: str, carrier: str, is_secure: bool, is_web: bool
) -> None:
    listen = parse_listen(url)
    assert (listen.speech, listen.carrier) == (speech, carrier)
    assert (listen.is_secure, listen.is_web) == (is_secure, is_web)


@each(
    ("name", "value", "why"),
    [
        ("identity", "cn", "one of common-name, dns, uri, email, subject, fingerprint, not 'cn'"),
        ("client_certificates", "maybe", "one of none, optional, required, not 'maybe'"),
        ("lowest_tls", "1.1", "one of 1.2, 1.3, not '1.1'"),
    ],
)
def test_a_word_that_there_is_not_is_refused_before_anybody_comes(name: str, value: str, why: str) -> None:
    with pytest.raises(ConfigError) as met:
        Listener("tls://127.0.0.1:0", **{name: value}).check()  # type: ignore[arg-type]  # as programs may
    assert str(met.value) == f"tls://127.0.0.1:0: {name}: {why}"
