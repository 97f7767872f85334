"""What the settings of ACME may be; each slip gets an error that names it."""

from __future__ import annotations

from typing import Any

import pytest

from curier.acme_settings import LETS_ENCRYPT, http_address, names_of
from curier.errors import ConfigError
from curier.listeners import Listener


def made(url: str = "tls://broker.example", **settings: Any) -> Listener:
    return Listener(url, **({"acme": "mail@broker.example"} | settings))


@pytest.mark.parametrize(
    "listener",
    [
        made(),
        made("wss://broker.example:443"),
        made("tls://0.0.0.0", acme_names=("broker.example", "*.no".replace("*", "yes"))),
        made("tls+unix:///run/c", acme_names=("broker.example",)),
        made(acme_directory="http://127.0.0.1:14000/dir", acme_http="[::1]:5002"),
        made(certificates=(("c.pem", "k.pem"),)),
    ],
)
def test_what_may_be(listener: Listener) -> None:
    listener.check()
    assert listener.acme_directory.startswith("http")


@pytest.mark.parametrize(
    ("listener", "said"),
    [
        (made("tcp://broker.example"), "acme is for tls:// and wss://"),
        (made("tls://0.0.0.0"), "'0.0.0.0' is an address; set it with acme_names"),
        (made("tls://[::1]"), "'::1' is an address"),
        (made("tls+fd://3"), "is no name of DNS"),
        (made("tls://localhost"), "known on this machine or network only"),
        (made(acme_names=("*.broker.example",)), "has a wildcard, which HTTP-01 cannot prove"),
        (made(acme_names=("bröker.example",)), "its xn-- form is"),
        (made(acme_names=("../../etc.x",)), "is no name of DNS"),
        (made(acme_names=("a..b",)), "is no name of DNS"),
        (made(acme_names=("-a.b",)), "is no name of DNS"),
        (made(acme_names=tuple(f"n{n}.example" for n in range(101))), "100 names at most"),
        (made(acme="me"), "acme is your mail address"),
        (made(acme="a@b, c@d"), "acme is your mail address"),
        (made(acme="a@b\n"), "acme is your mail address"),
        (made(certificate="c.pem"), "certificate and acme cannot both be"),
        (made(key="k.pem"), "key and acme cannot both be"),
        (made(acme_directory="ftp://x"), "acme_directory is a URL such as https://acme-v02"),
        (made(acme_directory="https://x:99999/"), "acme_directory is a URL"),
        (made(acme_directory="http://ca.example/dir"), "acme_directory has to be https://"),
        (made(acme_http="80"), "acme_http is an address and port"),
        (made(acme_http="::1:80"), "acme_http is an address and port"),
        (made(acme_http=":0"), "acme_http is an address and port"),
        (made(acme_http=":70000"), "acme_http is an address and port"),
        (Listener("tls://x", acme_names=("a.b",)), 'acme_names is for acme; set acme = "mail@'),
        (Listener("tls://x", acme_http=":81"), "acme_http is for acme"),
    ],
)
def test_what_cannot_be(listener: Listener, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        listener.check()
    assert said in str(caught.value)


def test_the_names() -> None:
    assert names_of((), "Broker.Example") == ("broker.example",)
    assert names_of(("A.example", "a.example", "b.example"), "0.0.0.0") == ("a.example", "b.example")
    assert http_address(":80") == ("", 80)
    assert http_address("[::1]:5002") == ("::1", 5002)
    assert made().acme_directory == LETS_ENCRYPT
