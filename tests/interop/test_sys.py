"""$SYS is what dashboards for Mosquitto look for: its names, and the form of its values."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

import curier
from tests.interop.mosquitto_process import TIMEOUT, MosquittoProcess
from tests.interop.process import BrokerProcess

pytestmark = pytest.mark.slow

LAST = "$SYS/broker/load/bytes/sent/15min"
SETTLED = 3  # reports after which a broker has told everything


def told(port: int) -> dict[str, bytes]:
    """Everything below $SYS of the broker there."""
    values: dict[str, bytes] = {}
    url = f"mqtt://127.0.0.1:{port}"
    with curier.connect_sync(url) as client, client.subscribe("$SYS/#") as stream:
        reports = 0
        while reports < SETTLED:
            message = stream.get(timeout=TIMEOUT)
            values[message.topic] = message.payload
            reports += message.topic == LAST
    return values


def form(value: bytes) -> str:
    return re.sub(r"\d+", "0", value.decode()).replace("0.0", "0")


def test_all_of_mosquittos_names_are_there_with_values_of_its_form(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path, "--sys-interval", "1", memory=True)
    with closing(broker), closing(MosquittoProcess(tmp_path, "sys_interval 1")) as mosquitto:
        theirs, ours = told(mosquitto.port), told(broker.port)
        broker.stop()
    assert len(theirs) > 40
    del theirs["$SYS/broker/version"]
    assert {name: form(ours.get(name, b"missing")) for name in theirs} == {
        name: form(value) for name, value in theirs.items()
    }
