"""Large messages of a client, both ways: in pieces that come, and in pieces to be written."""

from __future__ import annotations

import pytest

from curier.codec import packets as p
from curier.codec.encode import encode
from curier.protocol.events import MessageReceived
from tests.protocol.stage import Stage, message, properties

PAYLOAD = bytes(range(256)) * 1200  # 300 KiB


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("size", [1, 60, 1000, 262_144])
def test_a_large_message_is_the_same_in_any_pieces(version: int, size: int) -> None:
    stage = Stage.connected(version=version)
    values = properties(user_properties=[("k", "v" * 100)], topic_alias=None) if version == 5 else None
    sent = p.Publish("a/b", PAYLOAD, 1, packet_id=7, properties=values)
    data = encode(sent, version) + encode(p.Publish("c", b"later"), version)
    if size == 1:  # byte by byte over what comes before the payload
        chunks = [data[at : at + 1] for at in range(200)] + [data[200:]]
    else:
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
    for chunk in chunks:
        stage.serve(chunk)
    came = [event.publish for event in stage.events() if isinstance(event, MessageReceived)]
    assert [(one.topic, one.payload) for one in came] == [("a/b", PAYLOAD), ("c", b"later")]
    assert came[0].properties == values
    assert stage.sent() == [p.Puback(7)]
    assert stage.client.waiting_bytes() == 0


def test_what_is_published_is_written_without_a_copy() -> None:
    stage = Stage.connected()
    stage.client.publish(message("a/b", PAYLOAD, 1), stage.now)
    pieces = stage.client.take_pieces()
    assert pieces[-1] is PAYLOAD
    assert b"".join(pieces) == encode(p.Publish("a/b", PAYLOAD, 1, packet_id=1), 5)
    stage.client.publish(message("a/b", PAYLOAD), stage.now)
    assert stage.client.take_output() == encode(p.Publish("a/b", PAYLOAD), 5)
