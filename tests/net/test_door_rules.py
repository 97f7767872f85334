"""Listeners that decide by themselves who may come in, beside others that do not."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
import trustme

import curier
from curier.auth import AllowAnonymous, Authenticator, Credentials, Verdict
from curier.broker.hooks import Hook
from curier.codec.packets import Connack, Connect, Disconnect, Puback, Publish, Suback, Subscribe
from curier.errors import ConfigError
from curier.listeners import parse_listen
from curier.types import ReasonCode
from tests.codec.cases import properties
from tests.net.harness import Peer, options
from tests.net.pki import write_pair
from tests.waiting import until


class Names(Hook):
    """Remembers who has connected."""

    def __init__(self) -> None:
        self.seen: list[tuple[str | None, str]] = []

    def on_connect(self, connection: Any, session_present: bool) -> None:
        self.seen.append((connection.identity, connection.listener))


class Nobody(Authenticator):
    """Lets nobody in."""

    async def authenticate(self, credentials: Credentials) -> Verdict:
        return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD)


async def test_each_listener_has_its_own(tmp_path: Path, use_reactor: bool) -> None:
    authority = trustme.CA()
    certificate, key = write_pair(tmp_path, authority.issue_cert("127.0.0.1"))
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    device, device_key = write_pair(tmp_path, authority.issue_cert("x", common_name="dev1"), "device")
    names = Names()
    listen = [
        curier.Listener(
            "tls://127.0.0.1:0",
            certificate=certificate,
            key=key,
            client_ca=tmp_path / "ca.pem",
            client_certificates="optional",
            identity="common-name",
        ),
        curier.Listener("tcp://127.0.0.1:0", allow_anonymous=True),
        curier.Listener("tcp://127.0.0.1:0"),
    ]
    async with curier.Broker(
        listen, authenticator=Nobody(), hooks=[names], use_reactor=use_reactor
    ) as broker:
        secure, welcoming, strict = broker.urls
        assert list(broker.listeners.values()) == listen
        trust: dict[str, Any] = {"ca_file": str(tmp_path / "ca.pem")}
        shown = {**trust, "certificate": str(device), "key": str(device_key)}
        secure = secure.replace("tls://", "mqtts://")
        async with curier.connect(secure, tls=curier.TlsSettings(**shown), username="admin"):
            pass
        async with curier.connect(welcoming.replace("tcp", "mqtt")):
            pass
        refused: list[tuple[str, Any]] = [
            (secure, {"tls": curier.TlsSettings(**trust)}),
            (strict.replace("tcp", "mqtt"), {}),
        ]
        for url, settings in refused:
            with pytest.raises(curier.Refused) as caught:
                async with asyncio.timeout(100), curier.connect(url, **settings):
                    pass
            assert caught.value.reason_code == ReasonCode.BAD_USER_NAME_OR_PASSWORD
        assert names.seen == [("dev1", broker.urls[0]), (None, broker.urls[1])]


async def test_limits_of_one_listener_are_no_limits_of_another(use_reactor: bool) -> None:
    listen = [
        curier.Listener("tcp://127.0.0.1:0", name="small", max_connections=1, max_packet_size=1000),
        curier.Listener("tcp://127.0.0.1:0"),
    ]
    settings = options()
    settings.max_connecting = 0  # all of these come from one address
    async with curier.Broker(listen, options=settings, use_reactor=use_reactor) as broker:
        small, large = (parse_listen(url).port for url in broker.urls)
        first = await Peer.open(small, version=5)
        await first.send(Connect(5, "a"))
        connack = await first.expect(Connack)
        assert connack.properties is not None
        assert connack.properties.maximum_packet_size == 1000
        second = await Peer.open(small, version=5)
        await second.send(Connect(5, "b"))
        assert (await second.expect(Connack)).reason_code == ReasonCode.SERVER_BUSY
        await second.ended()
        waiting = [await Peer.open(small, version=5) for _ in range(2)]
        await until(lambda: len(broker.core.connections) == 3)
        over = await Peer.open(small, version=5)
        with pytest.raises((asyncio.IncompleteReadError, OSError)):
            await over.receive()
        others = [await Peer.connect(large, f"c{number}", 5) for number in range(3)]
        await others[0].send(Publish("t", b"x" * 2000))
        await first.send(Publish("t", b"x" * 2000))
        assert (await first.expect(Disconnect)).reason_code == ReasonCode.PACKET_TOO_LARGE
        await until(lambda: [one.connected for one in broker.core.statistics.entrances] == [0, 3])
        for peer in [first, second, *waiting, over, *others]:
            await peer.close()


async def test_the_name_of_a_listener_is_told_everywhere(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="curier")
    asked: list[tuple[str, str]] = []
    heard: list[tuple[str, str]] = []

    class Asked(Authenticator):
        async def authenticate(self, credentials: Credentials) -> Verdict:
            asked.append((credentials.listener, credentials.listener_name))
            return Verdict(0)

    class Heard(Hook):
        def on_connect(self, connection: Any, session_present: bool) -> None:
            heard.append((connection.listener, connection.listener_name))

    listen = [curier.Listener("tcp://127.0.0.1:0", name) for name in ("", "front", "")]
    often = options(sys_interval=0.05)
    async with curier.Broker(
        listen, options=often, authenticator=Asked(), hooks=[Heard()], use_reactor=use_reactor
    ) as broker:
        expected = list(zip(broker.urls, [broker.urls[0], "front", broker.urls[2]], strict=True))
        peers = [await Peer.connect(parse_listen(url).port, f"c{url[-1]}", 5) for url in broker.urls]
        assert asked == heard == expected
        for url, name in expected:
            assert f"c{url[-1]} connected from " in caplog.text
            assert f" at {name}, MQTT 5.0" in caplog.text
        levels = ["tcp-127.0.0.1:0", "front", "tcp-127.0.0.1:0-2"]
        async with curier.connect(broker.urls[2].replace("tcp", "mqtt")) as client:
            for level in levels:
                topic = f"$SYS/broker/listeners/{level}/sockets"
                async with client.subscribe(topic) as messages:
                    while (await anext(messages)).payload == b"0":  # what was told at the start
                        pass
        for peer in peers:
            await peer.close()


async def test_a_mount_over_the_network_and_a_restart(use_reactor: bool, tmp_path: Path) -> None:
    listen = [
        curier.Listener("tcp://127.0.0.1:0", mount="site-a/"),
        curier.Listener("tcp://127.0.0.1:0"),
    ]
    forever = properties(session_expiry_interval=0xFFFFFFFF)
    for life in range(2):
        async with curier.Broker(listen, options=options(), data=tmp_path, use_reactor=use_reactor) as broker:
            inside, outside = (parse_listen(url).port for url in broker.urls)
            client = await Peer.connect(inside, "c", 5, clean=False, properties=forever)
            if life == 0:
                await client.send(Subscribe(1, [("t/#", 1)]))
                assert (await client.expect(Suback)).reason_codes == [1]
            else:
                again = await client.expect(Publish)
                assert (again.topic, again.payload, again.dup) == ("t/0", b"0", True)
            sender = await Peer.connect(outside, "s", 5)
            await sender.send(Publish(f"site-a/t/{life}", b"%d" % life, 1, False, False, 1))
            await sender.expect(Puback)
            assert (await client.expect(Publish)).topic == f"t/{life}"
            await client.close()
            await sender.close()


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ([{"name": "a/b"}], r"name is one level of a topic, printable and without / \+ #, not 'a/b'"),
        ([{"name": "a+"}], "name is one level"),
        ([{"name": "#"}], "name is one level"),
        ([{"name": "a\n"}], "name is one level"),
        ([{"name": "front"}, {}, {"name": "front"}], "two listeners have the name 'front'"),
        ([{"mount": "site"}], "mount, such as \"site-a/\", ends with /; not 'site'"),
        ([{"mount": "a/+/"}], "is printable and has no wildcards"),
        ([{"mount": "a\0/"}], "is printable and has no wildcards"),
        ([{"mount": "\ud800/"}], "is printable and has no wildcards"),
        ([{"mount": "$SYS/"}], r"has no level that begins with \$"),
        ([{"mount": "a/$b/"}], r"has no level that begins with \$"),
        ([{"mount": "x" * 1024 + "/"}], "has 1024 bytes at most"),
        ([{"max_connections": -1}], "max_connections must be 1 or more, or 0"),
        ([{"max_packet_size": 63}], "max_packet_size must be 64 or more, or 0"),
    ],
)
def test_what_cannot_be_is_refused_at_once(listen: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        curier.Broker([curier.Listener("tcp://127.0.0.1:0", **settings) for settings in listen])


def test_a_listener_where_nobody_may_come_in_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="nobody can connect there"):
        curier.Broker(curier.Listener("tcp://127.0.0.1:0", allow_anonymous=False))


def test_one_for_others_needs_somebody_to_decide() -> None:
    curier.Broker(curier.Listener("tcp://0.0.0.0:0", allow_anonymous=True))
    curier.Broker(curier.Listener("tcp://0.0.0.0:0"), authenticator=AllowAnonymous())
    with pytest.raises(ConfigError, match="can be reached from other machines"):
        curier.Broker([curier.Listener("tcp://0.0.0.0:0", name="b"), "tcp://127.0.0.1:0"])
