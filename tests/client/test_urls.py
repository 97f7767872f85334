"""URLs of servers and proxies."""

from __future__ import annotations

import logging
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.client.urls import ProxyUrl, ServerUrl, parse_proxy_url, parse_server_url
from curier.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://localhost", ServerUrl("mqtt", "localhost", 1883)),
        ("MQTT://Localhost:1884/", ServerUrl("mqtt", "Localhost", 1884)),
        ("mqtts://broker.example", ServerUrl("mqtts", "broker.example", 8883)),
        ("mqtt://192.0.2.1:1", ServerUrl("mqtt", "192.0.2.1", 1)),
        ("mqtt://[::1]", ServerUrl("mqtt", "::1", 1883)),
        ("mqtt://[2001:db8::7]:65535", ServerUrl("mqtt", "2001:db8::7", 65535)),
        ("mqtt://[fe80::1%25eth0]:1883", ServerUrl("mqtt", "fe80::1%eth0", 1883)),
        ("mqtt://bücher.example", ServerUrl("mqtt", "xn--bcher-kva.example", 1883)),
        ("ws://h", ServerUrl("ws", "h", 80, "/mqtt")),
        ("ws://h/", ServerUrl("ws", "h", 80, "/")),
        ("ws://h:8080/a/b%20c", ServerUrl("ws", "h", 8080, "/a/b%20c")),
        ("wss://h/ü?token=a%2Fb", ServerUrl("wss", "h", 443, "/%C3%BC", "token=a%2Fb")),
        ("wss://h?x=1@2", ServerUrl("wss", "h", 443, "/mqtt", "x=1@2")),
        ("unix:///run/my%20broker.sock", ServerUrl("unix", "", 0, "/run/my broker.sock")),
        ("unix://me:pw@/run/b", ServerUrl("unix", "", 0, "/run/b", "", "me", "pw")),
        ("mqtt://me:pw@h", ServerUrl("mqtt", "h", 1883, "", "", "me", "pw")),
        ("mqtt://me@h", ServerUrl("mqtt", "h", 1883, "", "", "me", None)),
        ("mqtt://me:@h", ServerUrl("mqtt", "h", 1883, "", "", "me", "")),
        ("mqtt://:token@h", ServerUrl("mqtt", "h", 1883, "", "", None, "token")),
        ("mqtt://a%3Ab:c:d%40%2F%E2%82%AC@h", ServerUrl("mqtt", "h", 1883, "", "", "a:b", "c:d@/€")),
    ],
)
def test_urls_of_servers(url: str, expected: ServerUrl) -> None:
    assert parse_server_url(url) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:1883", "write mqtt://localhost:1883"),
        ("", "is not a URL"),
        ("tcp://h", "did you mean mqtt://?"),
        ("https://h", "did you mean wss://?"),
        ("ftp://h", "expected mqtt://, mqtts://, ws://, wss://, unix://"),
        ("mqtt://", "expected a host, such as mqtt://localhost"),
        ("mqtt://:1883", "expected a host"),
        ("mqtt://h:0", "expected a port of 1 to 65535 after the host"),
        ("mqtt://h:65536", "expected a port of 1 to 65535"),
        ("mqtt://h:-1", "expected a port of 1 to 65535"),
        ("mqtt://h:١٢", "expected a port of 1 to 65535"),
        ("mqtt://::1", "write an IPv6 address in brackets"),
        ("mqtt://[h]", "IPv6 address"),
        ("mqtt://[::1]x", "expected an IPv6 address in the brackets"),
        ("mqtt://[::1", "cannot be read"),
        ("mqtt://h/path", "takes nothing after the port"),
        ("mqtt://h?x=1", "takes nothing after the port"),
        ("mqtt://h#x", "has no #"),
        ("mqtt://a b", "no blanks or control characters"),
        ("mqtt://h\r\nEvil: 1", "no blanks or control characters"),
        ("mqtt://a_b!", "that cannot be the name of a host"),
        ("mqtt://a..b", "that cannot be the name of a host"),
        ("mqtt://-a", "that cannot be the name of a host"),
        (f"mqtt://{'a' * 64}.example", "that cannot be the name of a host"),
        (f"mqtt://{'ü' * 70}.example", "that cannot be the name of a host"),
        ("unix://run/x", "three slashes"),
        ("unix:///", "expected the path of a socket"),
        ("unix:///a%00b", "expected the path of a socket"),
        ("unix:///a%ff", "the path is not percent-encoded UTF-8"),
        ("mqtt://u%2@h", "followed by two hex digits"),
    ],
)
def test_what_is_no_url_of_a_server(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_server_url(url)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://me:s3cret@h:x",
        "mqtt://me:s3/cret@h",
        "mqtt://me:s3#cret@h",
        "mqtt://me:s3?cret@h",
        "mqtt://me:s3@cret@h",
        "wss://me:s3?cret@h",
        "mqtt://me:s3[cret@h",
        "mqtt://me:s3 cret@h",
        "mqtt://me:s3℀cret@h",  # urllib repeats this one in its own error
        "mqtt://me:s3%ffcret@h",
        "mqtt://me:s3%cret@h",
        "tcp://me:s3cret@h",
        "me:s3cret@h",
    ],
)
def test_no_error_repeats_a_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_server_url(url)
    shown = "".join(traceback.format_exception(caught.value)).rpartition("ConfigError")[2]
    assert "s3" not in shown
    assert "cret" not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_secrets_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    url = parse_server_url("wss://me:s3cret@h/mqtt?signature=abc")
    proxy = parse_proxy_url("http://me:s3cret@proxy:3128")
    caplog.set_level(logging.DEBUG)
    logging.getLogger("test").info("%s %r %s %r", url, url, proxy, proxy)
    assert "s3cret" not in caplog.text
    assert "abc" not in caplog.text
    assert str(url) == "wss://h:443/mqtt"
    assert str(proxy) == "http://proxy:3128"
    assert str(parse_server_url("mqtt://[::1]")) == "mqtt://[::1]:1883"
    assert str(parse_server_url("unix:///run/x")) == "unix:///run/x"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy:3128", ProxyUrl("http", "proxy", 3128)),
        ("http://proxy", ProxyUrl("http", "proxy", 80)),
        ("socks5://me:a%40b@[::1]:9050/", ProxyUrl("socks5", "::1", 9050, "me", "a@b")),
        ("socks5h://proxy", ProxyUrl("socks5", "proxy", 1080)),
    ],
)
def test_urls_of_proxies(url: str, expected: ProxyUrl) -> None:
    assert parse_proxy_url(url) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("proxy:3128", "write socks5://proxy:3128"),
        ("https://proxy", "did you mean http://?"),
        ("socks://proxy", "did you mean socks5://?"),
        ("socks4://proxy", "expected http://, socks5://, socks5h://"),
        ("http://proxy/x", "and nothing more"),
        (f"socks5://{'u' * 256}@proxy", "the user for a proxy is longer than 255 bytes"),
        (f"socks5://u:{'%C3%BC' * 128}@proxy", "the password for a proxy is longer than 255 bytes"),
        ("http://:b@proxy", "needs a user before it"),
        ("http://a%3Ab:c@proxy", "cannot have a colon"),
    ],
)
def test_what_is_no_url_of_a_proxy(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_proxy_url(url)
    assert said in str(caught.value)


@given(st.text())
def test_any_text_is_a_url_or_a_config_error(text: str) -> None:
    for url in (text, f"mqtt://{text}", f"ws://h/{text}", f"unix://{text}", f"mqtt://{text}@h"):
        try:
            parsed = parse_server_url(url)
        except ConfigError:
            continue
        assert (parsed.path + parsed.query).isascii() or parsed.scheme == "unix"
        assert parsed.host.isascii()
