"""What a broker that is stopped and started again still knows."""

from pathlib import Path

from curier import Message, QoS, Subscription, Will
from tests.interop.conftest import Side
from tests.interop.peer import Connect
from tests.interop.process import BrokerProcess


def test_everything_is_still_there(side_5: Side, topic: str, tmp_path: Path) -> None:
    """Messages that wait, subscriptions, retained messages, the will of who went down with the broker."""
    client_id = Connect(0, 0).client_id
    subscription = Subscription(f"{topic}/#", QoS(2))
    messages = [Message(f"{topic}/{n}", f"number {n}".encode(), QoS(1 + n % 2)) for n in range(6)]
    retained = Message(f"{topic}/retained", b"kept", QoS(1), retain=True)
    will = Message(f"{topic}/will", b"gone", QoS(2))

    first = BrokerProcess(tmp_path)
    try:
        away = side_5.connect(port=first.port, client_id=client_id, clean=False)
        away.subscribe(subscription)
        away.disconnect()
        publisher = side_5.connect(port=first.port)
        publisher.publish(*messages, retained)
        publisher.disconnect()
        side_5.connect(port=first.port, clean=False, will=Will(will))
    finally:
        first.stop()

    second = BrokerProcess(tmp_path)
    try:
        back = side_5.connect(port=second.port, client_id=client_id, clean=False)
        if side_5.subscribes_to_connect:
            back.subscribe(subscription)
        assert back.session_present in (True, None)
        # The retained message comes once more to who subscribes again. Order holds per QoS [MQTT-4.6.0-5].
        found = [back.next() for _ in range(8 + side_5.subscribes_to_connect)]
        numbers = [one for one in found if one.payload.startswith(b"number")]
        assert sorted(numbers, key=lambda one: one.qos) == messages[::2] + messages[1::2]
        assert {one.payload for one in found} - {one.payload for one in numbers} == {b"kept", b"gone"}
        late = side_5.connect(port=second.port)
        late.subscribe(subscription)
        assert late.next() == retained
    finally:
        second.stop()
