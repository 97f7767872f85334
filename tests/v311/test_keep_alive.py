"""Keep Alive (3.1.1: 3.1.2.10) and PINGREQ (3.12)."""

from __future__ import annotations

import pytest

from curier.codec.packets import Pingreq, Pingresp, Puback, Publish
from tests.v311.harness import Network

statement = pytest.mark.statement


@statement("3.1.1/MQTT-3.12.4-1")
def test_every_pingreq_is_answered(net: Network) -> None:
    client = net.connect()
    client.send(Pingreq())
    assert client.take() == [Pingresp()]
    client.send(Pingreq(), Pingreq())
    assert client.take() == [Pingresp(), Pingresp()]


@statement("3.1.1/MQTT-3.1.2-24")
@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("keep_alive", [1, 10, 65_535])
def test_silence_for_one_and_a_half_keep_alives_closes(net: Network, keep_alive: int, version: int) -> None:
    client = net.connect("c", version, keep_alive=keep_alive)
    net.advance(keep_alive * 1.5 - 0.01)
    early = client.closed
    net.advance(0.02)
    assert (early, client.closed) == (False, True)
    assert client.take() == []


@statement("3.1.1/MQTT-3.1.2-24")
def test_every_packet_counts_from_anew(net: Network) -> None:
    client = net.connect("c", keep_alive=10)
    for packet in (Pingreq(), Publish("t", b""), Publish("t", b"", 1, False, False, 1), Puback(9)):
        net.advance(14.9)
        client.send(packet)
        assert not client.closed
    net.advance(14.9)
    early = client.closed
    net.advance(0.2)
    assert (early, client.closed) == (False, True)


@statement("3.1.1/MQTT-3.1.2-24")
def test_what_the_server_sends_does_not_count(net: Network) -> None:
    client = net.connect("c", keep_alive=10)
    client.subscribe("t")
    sender = net.connect("sender")
    for _ in range(15):
        net.advance(1)
        sender.publish("t", b"x")
    assert client.closed


@statement("3.1.1/MQTT-3.1.2-24")
def test_keep_alive_0_means_none(net: Network) -> None:
    client = net.connect("c", keep_alive=0)
    net.advance(10_000_000)
    client.send(Pingreq())
    assert client.take() == [Pingresp()]


@statement("3.1.1/MQTT-3.1.2-24")
def test_the_session_is_kept(net: Network) -> None:
    client = net.connect("c", clean=False, keep_alive=10)
    client.subscribe("t")
    net.advance(16)
    assert client.closed
    net.connect("sender").publish("t", b"x", 1)
    again = net.connect("c", clean=False)
    assert again.session_present
    assert again.payloads() == [b"x"]
