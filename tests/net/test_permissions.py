"""Rules of a file, in a broker that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from curier.codec.packets import Puback, Publish, Suback, Subscribe
from curier.permissions import RuleFile
from tests.net.harness import Peer, running


async def test_new_rules_hold_for_clients_that_are_connected(
    tmp_path: Path, use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "acl"
    path.write_text("topic readwrite a\n")
    rules = RuleFile(path)
    async with (
        running(use_reactor, permissions=rules) as broker,
        await Peer.connect(broker.port, "one", 5) as one,
        await Peer.connect(broker.port, "two", 5) as two,
    ):
        await one.send(Subscribe(1, [("#", 0)]))
        assert (await one.expect(Suback)).reason_codes == [0]
        await two.send(Publish("b", b"", 1, False, False, 1))
        assert (await two.expect(Puback)).reason_code == 0x87
        assert f"refused: may not publish to b with QoS 1: {path}: no line allows it" in caplog.text
        await two.send(Publish("a", b"first", 1, False, False, 2))
        assert (await two.expect(Puback)).reason_code == 0
        assert (await one.expect(Publish)).payload == b"first"
        path.write_text("topic readwrite b\n")
        await rules.reload()
        await two.send(Publish("a", b"lost", 1, False, False, 3), Publish("b", b"second", 1, False, False, 4))
        assert [(await two.expect(Puback)).reason_code for _ in range(2)] == [0x87, 0]
        assert (await one.expect(Publish)).payload == b"second"
