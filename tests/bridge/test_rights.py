"""What a bridge may do at the broker it belongs to: what its topics say, or what its user may."""

from __future__ import annotations

from pathlib import Path

import pytest

import curier
from curier.auth import Authenticator, Authorizer, Credentials, Verdict
from curier.permissions.rule_file import RuleFile
from curier.server import Broker
from tests.bridge.brokers import SECONDS, bridged, brokers, client, peer, settings
from tests.waiting import until

RULES = """
user gate
topic readwrite in/#
topic readwrite out/#
user watch
topic readwrite #
topic read $SYS/#
"""


class OnlyWatch(Authenticator):
    """Lets in who is called watch, and nobody else."""

    async def authenticate(self, credentials: Credentials) -> Verdict:
        return Verdict(0) if credentials.username == "watch" else Verdict(0x87)


class Nobody(Authorizer):
    """Lets watch do all, and no other user anything."""

    async def authorize(
        self, identity: str | None, client_id: str, action: str, topic: str, qos: int, retain: bool
    ) -> Verdict:
        return Verdict(0) if identity == "watch" else Verdict(0x87)


async def carries(here: Broker, there: Broker, **more: str) -> list[bytes]:
    """What of three messages of the other side comes in by a bridge: in/, other/, in/last."""
    async with bridged(here, settings(peer(there), "in/# in 1", "other/# in 1", **more)) as house:
        async with client(here, username="watch") as (_, at), client(there) as (remote, _):
            for topic in ("in/1", "other/1", "in/last"):
                await remote.publish(topic, topic.encode(), qos=1)
            bridge = house.running["hall"]
            await until(lambda: bridge.into.carried + bridge.into.refused == 3)
            found: list[bytes] = []
            while not found or found[-1] != b"in/last":
                found.append((await at.get(SECONDS)).payload)
            return found


async def test_without_a_user_a_bridge_may_do_what_its_topics_say(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text(RULES)
    for more in ({"permissions": RuleFile(rules)}, {"authorizer": Nobody()}):
        async with (
            brokers(1) as (there,),
            Broker("tcp://127.0.0.1:0", authenticator=OnlyWatch(), **more) as here,
        ):
            assert await carries(here, there) == [b"in/1", b"other/1", b"in/last"]


async def test_with_a_user_its_rules_hold_for_what_comes_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = tmp_path / "acl"
    rules.write_text(RULES)
    async with (
        brokers(1) as (there,),
        Broker("tcp://127.0.0.1:0", authenticator=OnlyWatch(), permissions=RuleFile(rules)) as here,
    ):
        assert await carries(here, there, user="gate") == [b"in/1", b"in/last"]
    assert "other/1 with 7 bytes is not taken here" in caplog.text


async def test_nobody_else_comes_in_as_a_bridge() -> None:
    async with brokers(1) as (there,), Broker("tcp://127.0.0.1:0", authenticator=OnlyWatch()) as here:
        async with bridged(here, settings(peer(there), "in/# in 1")):
            for name in ("bridge hall", None):
                with pytest.raises(curier.ConnectRefused):
                    async with curier.connect(f"mqtt://127.0.0.1:{here.port}", username=name):
                        pass
            url = f"mqtt://127.0.0.1:{here.port}"
            with pytest.raises(curier.ConnectRefused):  # its session belongs to another user
                async with curier.connect(url, client_id="bridge.hall", username="watch"):
                    pass
