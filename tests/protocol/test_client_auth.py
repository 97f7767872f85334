"""The client's half of enhanced authentication (5.0 section 4.12)."""

from __future__ import annotations

import pytest

from curier.codec.packets import (
    Auth,
    Connack,
    Disconnect,
    Packet,
    Publish,
)
from curier.errors import LocalProtocolError
from curier.protocol.events import (
    AuthContinue,
    AuthDone,
    Connected,
    Disconnected,
)
from tests.protocol.stage import Stage, properties, refusal

SCRAM = properties(authentication_method="SCRAM", authentication_data=b"client-first")


def auth(code: int, data: bytes | None, method: str = "SCRAM") -> Auth:
    return Auth(code, properties(authentication_method=method, authentication_data=data))


@pytest.mark.statement("5.0/MQTT-3.1.2-30", "5.0/MQTT-4.12.0-3", "5.0/MQTT-4.12.0-5")
def test_an_exchange_before_connack() -> None:
    stage = Stage()
    stage.connect(True, 0, SCRAM)
    stage.publish(1)
    with pytest.raises(LocalProtocolError, match="has not asked"):
        stage.client.auth(b"early", stage.now)
    stage.serve(auth(0x18, b"server-first"))
    asked = stage.event(AuthContinue)
    assert asked.data == b"server-first"
    assert asked.properties == auth(0x18, b"server-first").properties
    for call in (lambda: stage.client.subscribe([("a", 0)], stage.now), lambda: stage.client.ping(stage.now)):
        with pytest.raises(LocalProtocolError, match="only while connected"):
            call()
    stage.client.auth(b"client-final", stage.now)
    assert stage.sent() == [auth(0x18, b"client-final")]
    stage.serve(Connack(False, 0, properties(authentication_method="SCRAM", authentication_data=b"final")))
    connected = stage.event(Connected)
    assert connected.connack.properties is not None
    assert connected.connack.properties.authentication_data == b"final"
    assert [type(packet) for packet in stage.sent()] == [Publish]


@pytest.mark.statement("5.0/MQTT-4.12.1-1")
def test_re_authentication_while_connected() -> None:
    stage = Stage()
    stage.connect(True, 0, SCRAM)
    stage.serve(Connack(False, 0, properties(authentication_method="SCRAM")))
    stage.event(Connected)
    stage.client.reauthenticate(b"again", stage.now)
    assert stage.sent() == [auth(0x19, b"again")]
    with pytest.raises(LocalProtocolError, match="going on already"):
        stage.client.reauthenticate(b"again", stage.now)
    stage.serve(auth(0x18, b"what"), Publish("a", b"meanwhile"))
    asked, _ = stage.events()
    assert isinstance(asked, AuthContinue)
    stage.client.auth(None, stage.now)
    assert stage.sent() == [auth(0x18, None)]
    stage.serve(auth(0, b"well"))
    assert stage.event(AuthDone).data == b"well"
    stage.client.reauthenticate(None, stage.now)
    assert stage.sent() == [auth(0x19, None)]


@pytest.mark.statement("5.0/MQTT-4.12.1-2")
@pytest.mark.parametrize("is_asked", [False, True])
def test_a_re_authentication_that_is_not_finished_ends_the_connection(is_asked: bool) -> None:
    """Whether the server does not answer, or the program has no answer to what it asks."""
    stage = Stage()
    stage.connect(True, 0, SCRAM)
    stage.serve(Connack(False, 0, properties(authentication_method="SCRAM")))
    for _ in range(3):
        stage.client.reauthenticate(b"again", stage.now)
        stage.wait(9.0)
        stage.serve(auth(0, b"well"))
    stage.client.reauthenticate(b"again", stage.now)
    stage.events()
    if is_asked:
        stage.serve(auth(0x18, b"what"))
        stage.event(AuthContinue)
    stage.wait(9.9)
    assert stage.events() == []
    stage.wait(0.2)
    assert stage.event(Disconnected).why == "the re-authentication was not finished within 10 seconds"


@pytest.mark.statement("5.0/MQTT-4.12.0-7")
def test_without_an_authentication_method_there_is_no_auth() -> None:
    stage = Stage.connected()
    with pytest.raises(LocalProtocolError, match=r"MQTT-4\.12\.0-7"):
        stage.client.reauthenticate(b"", stage.now)
    with pytest.raises(LocalProtocolError, match="has not asked"):
        stage.client.auth(b"", stage.now)
    assert stage.sent() == []


@pytest.mark.statement("5.0/MQTT-4.12.0-6")
@pytest.mark.parametrize(
    "packet", [auth(0x18, b""), Connack(False, 0, properties(authentication_method="x"))]
)
def test_a_server_does_not_begin_an_exchange(packet: Packet) -> None:
    stage = Stage()
    stage.connect()
    stage.serve(packet)
    refusal(stage, 0x82, "MQTT-4.12.0-6")


@pytest.mark.statement("5.0/MQTT-4.12.0-5")
@pytest.mark.parametrize("packet", [auth(0x18, b"", "PLAIN"), Connack(False)])
def test_the_authentication_method_stays_the_same(packet: Packet) -> None:
    stage = Stage()
    stage.connect(True, 0, SCRAM)
    stage.serve(packet)
    refusal(stage, 0x82, "MQTT-4.12.0-5")


@pytest.mark.statement("5.0/MQTT-4.12.0-2")
@pytest.mark.parametrize("code", [0x00, 0x19])
def test_before_connack_the_server_only_asks_for_more(code: int) -> None:
    stage = Stage()
    stage.connect(True, 0, SCRAM)
    stage.serve(auth(code, b""))
    refusal(stage, 0x82, "MQTT-4.12.0-2")


def test_an_auth_without_properties_has_no_method() -> None:
    stage = Stage()
    stage.connect(True, 0, SCRAM)
    stage.serve(b"\xf0\x00")
    refusal(stage, 0x82, "MQTT-4.12.0-5")


@pytest.mark.parametrize("is_connected", [True, False])
def test_the_server_waits_for_its_answer(is_connected: bool) -> None:
    stage = Stage()
    stage.connect(True, 0, SCRAM)
    if is_connected:
        stage.serve(Connack(False, 0, properties(authentication_method="SCRAM")), auth(0x18, b""))
    else:
        stage.serve(auth(0x18, b""), auth(0x18, b""))
    refusal(stage, 0x82, "out of turn")


@pytest.mark.statement("5.0/MQTT-4.12.1-2")
def test_a_failed_re_authentication_ends_the_connection() -> None:
    stage = Stage()
    stage.connect(True, 0, SCRAM)
    stage.serve(Connack(False, 0, properties(authentication_method="SCRAM")))
    stage.client.reauthenticate(b"again", stage.now)
    stage.serve(auth(0x18, b"who"))
    stage.sent()
    stage.client.disconnect(stage.now, 0x80, None, "cannot prove that")
    (packet,) = stage.sent()
    assert packet == Disconnect(0x80, properties(reason_string="cannot prove that"))
    assert stage.is_closed
