"""What a proxy in front says of who asks: heard from those alone that are trusted to."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from starlette.types import Scope

from curier.server import Broker
from curier.web.proxies import behind
from curier.web.roles import Role
from curier.web.table import PREFIX
from curier.web.tokens import add_token
from tests.web.asking import window

TRUSTED = (ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8"))


def asked(*headers: tuple[str, str], peer: str = "127.0.0.1", kind: str = "http") -> tuple[object, object]:
    scope: Scope = {
        "type": kind,
        "scheme": "http" if kind == "http" else "ws",
        "client": (peer, 5000),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    found = behind(scope, TRUSTED)
    return found["client"], found["scheme"]


FOR, PROTO = "x-forwarded-for", "x-forwarded-proto"


@pytest.mark.parametrize("peer", ["127.0.0.1", "::ffff:10.1.2.3", "10.1.2.3"])
def test_a_trusted_proxy_is_believed(peer: str) -> None:
    said = ((FOR, "192.0.2.7"), (PROTO, "https"))
    assert asked(*said, peer=peer) == (("192.0.2.7", 0), "https")
    assert asked((FOR, "[2001:db8::7]:80"), peer=peer) == (("2001:db8::7", 80), "http")


@pytest.mark.parametrize("peer", ["192.0.2.1", "::1", "2001:db8::7"])
def test_nobody_else_is(peer: str) -> None:
    assert asked((FOR, "192.0.2.7"), (PROTO, "https"), peer=peer) == ((peer, 5000), "http")


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ([], "http"),
        (["http"], "http"),
        ([""], "http"),
        (["HTTPS"], "https"),
        (["https, http"], "https"),
        (["http", "https"], "https"),
        (["httpsx"], "http"),
    ],
)
def test_the_way_counts_as_tls_where_a_proxy_says_so(said: list[str], scheme: str) -> None:
    assert asked(*((PROTO, one) for one in said))[1] == scheme


def test_what_a_browser_invents_is_not_believed_and_a_websocket_stays_one() -> None:
    assert asked((FOR, "127.0.0.9, 192.0.2.7, 10.0.0.2"))[0] == ("192.0.2.7", 0)
    assert asked((FOR, "nonsense"))[0] == ("127.0.0.1", 5000)
    assert asked((FOR, "192.0.2.7"), (PROTO, "https"), kind="websocket") == (("192.0.2.7", 0), "ws")


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_a_login_by_a_proxy_that_ends_tls_is_for_tls_alone(tmp_path: Path, is_trusted: bool) -> None:
    path = tmp_path / "tokens"
    token = add_token(path, "ana", Role.VIEWER)
    proxies = TRUSTED if is_trusted else ()
    async with (
        Broker(listen=["tcp://127.0.0.1:0"]) as broker,
        window(broker, tokens=path, proxies=proxies) as (_, client),
    ):
        for said, is_secure in (("https", is_trusted), ("http", False)):
            headers = {"authorization": f"Bearer {token}", PROTO: said}
            answer = await client.post(f"{PREFIX}/session", headers=headers)
            assert answer.status_code == 204
            assert ("; secure" in answer.headers["set-cookie"].lower()) == is_secure
