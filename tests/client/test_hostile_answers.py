"""A server that answers late, twice, wrongly or in garbage: no delivery is lost, doubled or taken for done.

What MQTT calls harmless does no harm; what it calls an error ends the connection and not the client, which
comes back and goes on where it was.
"""

from __future__ import annotations

import asyncio

import pytest

import curier
from curier.codec.encode import encode
from curier.codec.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from tests.client.stage import Stage, Watch, Wire, make_properties, settle, virtual

SESSION = {"client_id": "me", "session_expiry": 1000}


async def comes_back(stage: Stage, wire: Wire) -> Wire:
    """The client has closed `wire`; the next connection, whose session goes on."""
    await wire.closed()
    again = await stage.wire()
    connect = await again.accept(session_present=True)
    assert not connect.clean_start
    return again


# ---- acknowledgements ----


@pytest.mark.parametrize("version", [4, 5])
@virtual
async def test_every_acknowledgement_comes_twice(stage: Stage, version: int) -> None:
    async with stage.connect(version=version, **SESSION) as (client, wire):
        first = client.publish_nowait("a", b"1", qos=1)
        second = client.publish_nowait("a", b"2", qos=2)
        third = client.publish_nowait("a", b"3", qos=1)
        one, two, three = [await wire.receive(Publish) for _ in range(3)]
        wire.send(Puback(one.packet_id), Puback(one.packet_id))
        await settle()
        assert (first.done(), second.done(), third.done()) == (True, False, False)
        wire.send(Pubrec(two.packet_id), Pubrec(two.packet_id))
        await settle()
        assert [(await wire.receive(Pubrel)).packet_id for _ in range(2)] == [two.packet_id] * 2
        assert not second.done()
        wire.send(Pubcomp(two.packet_id), Pubcomp(two.packet_id))
        await settle()
        assert (second.done(), third.done()) == (True, False)
        wire.send(Puback(three.packet_id))
        await third
        assert client.is_connected
        assert len(stage.dialled) == 1
        assert client.statistics.unfinished == 0


@pytest.mark.parametrize("version", [4, 5])
@virtual
async def test_acknowledgements_of_what_nobody_sent(stage: Stage, version: int) -> None:
    async with stage.connect(version=version, max_inflight=1, **SESSION) as (client, wire):
        receipt = client.publish_nowait("a", qos=2)
        waiting = client.publish_nowait("b", qos=1)
        publish = await wire.receive(Publish)
        for packet_id in (publish.packet_id + 1, 65535):
            wire.send(Puback(packet_id), Pubcomp(packet_id), Pubrec(packet_id), Pubrel(packet_id))
        await settle()
        assert {type(packet) for packet in wire.packets} == {Pubrel, Pubcomp}  # and no second PUBLISH
        if version == 5:
            assert {packet.reason_code for packet in wire.packets} == {0x92}  # type: ignore[attr-defined]
        assert not receipt.done()
        wire.packets.clear()
        wire.send(Pubrec(publish.packet_id))
        await wire.receive(Pubrel)
        wire.send(Pubcomp(publish.packet_id))
        await receipt
        assert (await wire.published()).topic == "b"
        await waiting


@pytest.mark.parametrize("version", [4, 5])
@virtual
async def test_pubrec_for_qos_1(stage: Stage, version: int) -> None:
    async with stage.connect(version=version, **SESSION) as (client, wire):
        receipt = client.publish_nowait("a", b"x", qos=1)
        wire.send(Pubrec((await wire.receive(Publish)).packet_id))
        again = await comes_back(stage, wire)
        assert not receipt.done()
        assert (await again.published()).dup
        await receipt


@pytest.mark.parametrize("version", [4, 5])
@virtual
async def test_puback_for_qos_2(stage: Stage, version: int, caplog: pytest.LogCaptureFixture) -> None:
    """As RabbitMQ does: the delivery is over, once, with one line in the log."""
    async with stage.connect(version=version, max_inflight=2, **SESSION) as (client, wire):
        receipts = [client.publish_nowait("a", str(number), qos=2) for number in range(4)]
        for number in range(4):
            publish = await wire.receive(Publish)
            assert publish.payload == str(number).encode()
            wire.send(Puback(publish.packet_id))
            assert await receipts[number] == curier.PublishResult()
        assert client.statistics.tolerated == 4
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "QoS 2 with PUBACK" in caplog.text
        if version == 5:
            refused = client.publish_nowait("a", qos=2)
            wire.send(Puback((await wire.receive(Publish)).packet_id, 0x87))
            with pytest.raises(curier.PublishRefused):
                await refused
        wire.cut()
        again = await stage.wire()
        await again.accept(session_present=True)
        await settle()
        assert again.packets == []  # nothing is sent again


@pytest.mark.parametrize("kind", [Puback, Pubrec])
@virtual
async def test_a_refusal_that_comes_late_refuses_nothing(stage: Stage, kind: type[Puback | Pubrec]) -> None:
    """PUBREC has taken the message; what refuses it afterwards is for no message that there is."""
    async with stage.connect(**SESSION) as (client, wire):
        receipt = client.publish_nowait("a", qos=2)
        publish = await wire.receive(Publish)
        wire.send(Pubrec(publish.packet_id))
        await wire.receive(Pubrel)
        wire.send(kind(publish.packet_id, 0x87))
        if kind is Puback:  # of QoS 2: an error
            wire = await comes_back(stage, wire)
            await wire.receive(Pubrel)
        await settle()
        assert not receipt.done()
        wire.send(Pubcomp(publish.packet_id))
        assert (await receipt).reason_code == 0


@pytest.mark.parametrize("version", [4, 5])
@virtual
async def test_acknowledgements_out_of_order(stage: Stage, version: int) -> None:
    async with stage.connect(version=version, **SESSION) as (client, wire):
        receipts = [client.publish_nowait("a", str(number), qos=1) for number in range(5)]
        ids = [(await wire.receive(Publish)).packet_id for _ in range(5)]
        for number in (3, 0, 4, 2, 1):
            wire.send(Puback(ids[number]))
            await receipts[number]
        assert client.statistics.unfinished == 0


@pytest.mark.parametrize("version", [4, 5])
@virtual
async def test_acknowledgements_that_belong_to_the_connection_before(stage: Stage, version: int) -> None:
    """They come before anything is sent again, and there is nothing left to send then."""
    async with stage.connect(version=version, max_inflight=2, **SESSION) as (client, wire):
        receipts = [client.publish_nowait("a", str(number), qos=1) for number in range(4)]
        ids = [(await wire.receive(Publish)).packet_id for _ in range(2)]
        wire.cut()
        again = await stage.wire()
        await again.receive(Connect)
        again.send(Connack(True, 0), Puback(ids[0]), Puback(ids[1]))
        await settle()
        assert [receipt.done() for receipt in receipts] == [True, True, False, False]
        sent = [packet for packet in again.packets if isinstance(packet, Publish) and not packet.dup]
        assert [publish.payload for publish in sent] == [b"2", b"3"]
        again.send(*[Puback(publish.packet_id) for publish in sent])
        await asyncio.gather(*[_result(receipt) for receipt in receipts])


async def _result(receipt: curier.Receipt) -> curier.PublishResult:
    return await receipt


@pytest.mark.parametrize("answer", ["wrong id", "twice", "too few codes", "too many codes", "wrong kind"])
@virtual
async def test_subacks_that_answer_nothing(stage: Stage, answer: str) -> None:
    async with stage.connect(**SESSION) as (client, wire):
        stream = client.subscribe("a", "b", qos=1, keep=False)
        opening = asyncio.ensure_future(stream.open())
        packet_id = (await wire.receive(Subscribe)).packet_id
        answers: dict[str, list[Packet]] = {
            "wrong id": [Suback(packet_id + 1, [1, 1])],
            "twice": [Suback(packet_id, [1, 1]), Suback(packet_id, [1, 1])],
            "too few codes": [Suback(packet_id, [1])],
            "too many codes": [Suback(packet_id, [1, 1, 1])],
            "wrong kind": [Unsuback(packet_id, [0, 0])],
        }
        wire.send(*answers[answer])
        again = await comes_back(stage, wire)
        if answer != "twice":
            assert not opening.done()
            await again.subscribed()
        await opening
        again.send(Publish("b", b"x"))
        assert (await stream.get()).payload == b"x"
        closing = asyncio.ensure_future(stream.close())
        unsubscribe = await again.receive(Unsubscribe)
        again.send(Unsuback(unsubscribe.packet_id, [0]))  # one too few
        third = await comes_back(stage, again)
        await third.unsubscribed()
        await closing


# ---- what is not a packet, or not one a server sends ----

PACKETS: dict[str, Packet] = {
    "CONNACK": Connack(False, 0, make_properties(receive_maximum=10)),
    "PUBLISH": Publish("a/b", b"x", 1, False, False, 7, make_properties(message_expiry_interval=5)),
    "PUBACK": Puback(7, 0x10, make_properties(reason_string="why")),
    "PUBREC": Pubrec(7, 0x10, make_properties(reason_string="why")),
    "PUBREL": Pubrel(7, 0x92, make_properties(reason_string="why")),
    "PUBCOMP": Pubcomp(7, 0x92, make_properties(reason_string="why")),
    "SUBACK": Suback(7, [0], make_properties(reason_string="why")),
    "UNSUBACK": Unsuback(7, [0], make_properties(reason_string="why")),
    "DISCONNECT": Disconnect(0x8B, make_properties(reason_string="why")),
    "AUTH": Auth(0x18, make_properties(authentication_method="x")),
}
MALFORMED = {
    "PUBLISH of QoS 3": b"\x36\x06\x00\x01a\x00\x01\x00",
    "PUBLISH of QoS 0 with DUP": b"\x38\x04\x00\x01a\x00",
    "PUBLISH with Packet Identifier 0": b"\x32\x06\x00\x01a\x00\x00\x00",
    "PUBLISH with a wildcard": b"\x30\x04\x00\x01#\x00",
    "PUBLISH with no UTF-8": b"\x30\x04\x00\x01\xff\x00",
    "PUBLISH with U+0000": b"\x30\x04\x00\x01\x00\x00",
    "PUBLISH without topic and alias": b"\x30\x03\x00\x00\x00",
    "PUBLISH with a property twice": b"\x30\x08\x00\x01a\x04\x01\x00\x01\x00",
    "PUBLISH with an unknown property": b"\x30\x06\x00\x01a\x02\x7f\x00",
    "PUBLISH with a property of CONNECT": b"\x30\x09\x00\x01a\x05\x11\x00\x00\x00\x01",
    "PUBLISH whose properties are longer than it": b"\x30\x04\x00\x01a\x7f",
    "PUBACK with Packet Identifier 0": b"\x40\x02\x00\x00",
    "PUBACK with flags": b"\x41\x02\x00\x01",
    "PUBACK of one byte": b"\x40\x01\x00",
    "PUBREL without its flags": b"\x60\x02\x00\x01",
    "PUBREC with Reason Code 0x01": b"\x50\x03\x00\x01\x01",
    "SUBACK with nothing in it": b"\x90\x03\x00\x01\x00",
    "SUBACK with Reason Code 0x03": b"\x90\x04\x00\x01\x00\x03",
    "PINGRESP with a payload": b"\xd0\x01\x00",
    "DISCONNECT with Reason Code 0x04": b"\xe0\x01\x04",
    "a second CONNACK": b"\x20\x03\x00\x00\x00",
    "CONNECT": b"\x10\x0d\x00\x04MQTT\x05\x00\x00\x00\x00\x00\x00",
    "SUBSCRIBE": b"\x82\x07\x00\x01\x00\x00\x01a\x00",
    "UNSUBSCRIBE": b"\xa2\x06\x00\x01\x00\x00\x01a",
    "PINGREQ": b"\xc0\x00",
    "packet type 0": b"\x00\x00",
    "AUTH though there is no method": b"\xf0\x00",
    "a Remaining Length of five bytes": b"\x30\xff\xff\xff\xff\x01",
}


@pytest.mark.parametrize("name", list(MALFORMED))
@virtual
async def test_what_a_server_must_not_send(stage: Stage, name: str) -> None:
    async with stage.connect(**SESSION) as (client, wire), Watch(client) as watch:
        receipt = client.publish_nowait("a", qos=1)
        await wire.receive(Publish)
        wire.send_bytes(MALFORMED[name])
        goodbye = await wire.receive(Disconnect)
        assert goodbye.reason_code in (0x81, 0x82), goodbye
        assert goodbye.properties is not None
        assert goodbye.properties.reason_string
        again = await comes_back(stage, wire)
        await again.published()
        await receipt
        assert watch.kinds() == ["ConnectionLost", "Reconnecting", "Connected"]


@pytest.mark.parametrize("name", list(PACKETS))
@virtual
async def test_packets_that_end_too_early(stage: Stage, name: str) -> None:
    """Each packet cut short at every byte, its length corrected: nothing of it gets through half done."""
    whole = encode(PACKETS[name], 5)
    assert whole[1] == len(whole) - 2
    async with stage.connect(**SESSION) as (client, wire):
        stream = client.subscribe("a/b", qos=1, keep=False)
        opening = asyncio.ensure_future(stream.open())
        await wire.subscribed()
        await opening
        receipt = client.publish_nowait("z", qos=2)
        packet_id = (await wire.receive(Publish)).packet_id
        for end in range(2, len(whole)):
            wire.send_bytes(whole[:1] + bytes([end - 2]) + whole[2:end])
            await settle()
            if wire.is_closed:
                wire = await stage.wire()
                await wire.accept(session_present=True)
                await settle()
            assert not receipt.done()
            while (message := stream.get_nowait()) is not None:
                assert (message.topic, whole[:1]) == ("a/b", b"\x32")
        await settle()
        wire.packets.clear()
        wire.send(Pubrec(packet_id))
        await wire.find(Pubrel)
        wire.send(Pubcomp(packet_id))
        await receipt
        closing = asyncio.ensure_future(stream.close())
        while not closing.done():
            await settle()
            if wire.packets:
                await wire.unsubscribed()
        await closing


@virtual
async def test_garbage_again_and_again(stage: Stage) -> None:
    """Nothing but garbage, on every connection: the pauses grow, and the client waits for better times."""
    async with stage.connect(**SESSION, keep_alive=0) as (client, wire):
        receipt = client.publish_nowait("a", qos=1)
        for number in range(12):
            await wire.find(Publish)
            wire.send_bytes(bytes(range(number, 200)))
            wire = await comes_back(stage, wire)
        assert stage.dialled[-1][0] - stage.dialled[0][0] > 10
        assert not any(isinstance(packet, Pingreq) for packet in wire.log)
        await wire.published()
        await receipt
