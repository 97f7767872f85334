"""``[[bridge]]`` in the file of a broker that runs, changed and read again at SIGHUP."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import curier
from tests.bridge.brokers import SECONDS, brokers, came, client
from tests.cli.test_broker_process import Process
from tests.waiting import until

pytestmark = pytest.mark.slow

HEAD = 'listen = ["tcp://127.0.0.1:0"]\n'
BRIDGE = """
[[bridge]]
name = "hall"
url = "mqtt://127.0.0.1:{port}"
topics = [{topics}]
password = "{password}"
username = "hall"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "broker.toml"


@pytest.fixture
def started(file: Path, tmp_path: Path) -> Iterator[Process]:
    file.write_text(HEAD)
    process = Process("--config", file, "--data", tmp_path / "data", "--no-web")
    yield process
    process.close()


async def reread(process: Process, file: Path, text: str, log: str) -> None:
    """Have this in the file, and wait until the log says so."""
    await asyncio.to_thread(file.write_text, text)
    process.popen.send_signal(signal.SIGHUP)
    await asyncio.to_thread(process.wait_for_log, log)


async def test_a_bridge_comes_changes_and_goes(started: Process, file: Path) -> None:
    async with (
        brokers(1) as (there,),
        client(there) as (remote, to),
        curier.connect(f"mqtt://127.0.0.1:{started.port}") as local,
        local.subscribe("#", "$SYS/broker/connection/#", qos=1) as at,
    ):

        def bridge(topics: str, password: str = "first") -> str:
            return HEAD + BRIDGE.format(port=there.port, topics=topics, password=password)

        def held() -> list[set[str]]:
            """What bridges have subscribed to there."""
            found = [one for name, one in there.core.sessions.items() if name.endswith(".hall")]
            return [{name.decode() for name in one.subscriptions} for one in found]

        await reread(
            started, file, bridge('"a/# out 1", "b/# out 1", "in/# in 1"'), "SIGHUP: the bridge hall is there"
        )
        assert await came(at, b"1") in ([b"1"], [b"0", b"1"])
        await until(lambda: held() == [{"in/#"}])
        await local.publish("a/x", b"from a", qos=1)
        assert await came(to, b"from a") == [b"from a"]

        await reread(
            started,
            file,
            bridge('"b/# out 1", "home/# in 1"', "second"),
            "SIGHUP: the bridge hall begins anew",
        )
        await until(lambda: held() == [{"home/#"}])
        await local.publish("a/x", b"stays", qos=1)
        await local.publish("b/x", b"from b", qos=1)
        assert await came(to, b"from b") == [b"from b"]
        await remote.publish("in/x", b"stays there", qos=1)
        await remote.publish("home/x", b"from home", qos=1)
        seen = await came(at, b"from home")
        assert b"stays there" not in seen

        await reread(started, file, bridge('"b/# outwards 1"'), "nothing has changed")
        await local.publish("b/x", b"as before", qos=1)
        assert (await came(to, b"as before"))[-1] == b"as before"

        await reread(started, file, HEAD, "SIGHUP: the bridge hall is gone")
        await until(lambda: held() == [])
        await local.publish("b/x", b"is not carried", qos=1)
    code, _, err = started.stop()
    assert code == 0, err
    assert "Traceback" not in err


async def test_messages_that_wait_outlive_a_change(started: Process, file: Path) -> None:
    """What was acknowledged while the other broker was away arrives, with the settings that hold then."""
    async with brokers(1) as (there,), curier.connect(f"mqtt://127.0.0.1:{started.port}") as local:
        wrong = HEAD + BRIDGE.format(port=1, topics='"# out 1"', password="x")
        await reread(started, file, wrong, "attempt 1 follows")
        numbers = [b"%d" % number for number in range(20)]
        for number in numbers:
            await local.publish("a", number, qos=1)
        async with client(there) as (_, to):
            await reread(
                started,
                file,
                wrong.replace("127.0.0.1:1", f"127.0.0.1:{there.port}"),
                "SIGHUP: the bridge hall begins anew",
            )
            found = [(await to.get(SECONDS)).payload for _ in numbers]
            assert found == numbers
    assert started.stop()[0] == 0
