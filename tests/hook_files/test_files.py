"""Hook files in a broker: what they decide, and what a change of them does to clients that are connected."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent

import pytest

import curier
from curier.errors import ConfigError, ConnectRefused, PublishRefused
from curier.hook_files.files import HookFiles
from curier.server import Broker

EXAMPLE = Path(__file__).parents[2] / "examples" / "refuse_humidity.py"

HOOK = """
    from curier.broker.hooks import Hook
    class Only(Hook):
        def on_publish(self, connection, message):
            return 0 if message.payload == b"%s" else 0x99
"""

DOORS = """
    from curier.auth import Authenticator, Authorizer, Verdict
    class Doors(Authenticator):
        async def authenticate(self, credentials):
            return Verdict(0 if credentials.username == "%s" else 0x87)
    class Topics(Authorizer):
        async def authorize(self, identity, client_id, action, topic, qos, retain):
            return Verdict(0 if topic == "%s" else 0x87)
"""


@asynccontextmanager
async def running(files: HookFiles) -> AsyncIterator[Broker]:
    await files.load()
    broker = Broker(
        "tcp://127.0.0.1:0",
        hooks=files.defined.hooks,
        authenticator=files.authenticator,
        authorizer=files.authorizer,
    )
    async with broker:
        yield broker


async def publishes(client: curier.Client, topic: str, payload: str) -> int:
    """The Reason Code that it is answered with."""
    try:
        await client.publish(topic, payload, qos=1)
    except PublishRefused as error:
        return error.reason_code
    return 0


async def test_the_example_refuses_a_humidity_over_100() -> None:
    async with (
        running(HookFiles([str(EXAMPLE)])) as broker,
        curier.connect(f"mqtt://127.0.0.1:{broker.port}") as client,
    ):
        assert await publishes(client, "kitchen/humidity", "100") == 0
        assert await publishes(client, "kitchen/humidity", "100.5") == 0x99
        assert await publishes(client, "kitchen/humidity", "wet") == 0x83
        assert await publishes(client, "kitchen/other", "101") == 0


async def test_hooks_are_replaced_or_stay(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(dedent(HOOK % "one"))
    files = HookFiles([str(EXAMPLE), str(path)])
    async with (
        running(files) as broker,
        curier.connect(f"mqtt://127.0.0.1:{broker.port}") as client,
    ):
        assert [await publishes(client, "t", text) for text in ("one", "two")] == [0, 0x99]
        path.write_text(dedent(HOOK % "two"))
        assert [await publishes(client, "t", text) for text in ("one", "two")] == [0, 0x99]
        await files.reload(broker)
        assert [await publishes(client, "t", text) for text in ("one", "two")] == [0x99, 0]
        path.write_text("class")
        with pytest.raises(ConfigError, match=r"own.py, line 1: "):
            await files.reload(broker)
        assert [await publishes(client, "t", text) for text in ("one", "two")] == [0x99, 0]
        assert len(broker.core.hooks.all) == 4  # and the log, and who keeps the last mishaps


async def test_who_may_connect_and_do_what_is_asked_anew(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(dedent(DOORS % ("ana", "a")))
    files = HookFiles([str(path)])
    async with running(files) as broker:
        url = f"mqtt://%s:x@127.0.0.1:{broker.port}"
        async with curier.connect(url % "ana") as client:
            assert [await publishes(client, topic, "") for topic in "ab"] == [0, 0x87]
            path.write_text(dedent(DOORS % ("bob", "b")))
            await files.reload(broker)
            assert [await publishes(client, topic, "") for topic in "ab"] == [0x87, 0]
            async with curier.connect(url % "bob"):
                pass
            with pytest.raises(ConnectRefused):
                async with curier.connect(url % "ana"):
                    pass


async def test_nothing_is_open_because_of_a_slip(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(dedent(DOORS % ("ana", "a")))
    files = HookFiles([str(path)])
    async with running(files) as broker:
        path.write_text(dedent(HOOK % "one"))
        with pytest.raises(ConfigError, match="no longer define an authenticator; that needs a restart"):
            await files.reload(broker)
        with pytest.raises(ConnectRefused):
            async with curier.connect(f"mqtt://bob:x@127.0.0.1:{broker.port}"):
                pass


async def test_one_authenticator_decides(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(dedent(DOORS % ("ana", "a")))
    with pytest.raises(ConfigError, match=r"one authenticator can decide who connects, not Doors and Doors"):
        await HookFiles([str(path), str(path)]).load()
