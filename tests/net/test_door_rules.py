"""Listeners that decide by themselves who may come in, beside others that do not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import trustme

import curier
from curier.auth import AllowAnonymous, Authenticator, Credentials, Verdict
from curier.broker.hooks import Hook
from curier.errors import ConfigError
from curier.types import ReasonCode
from tests.net.pki import write_pair


class Names(Hook):
    """Remembers who has connected."""

    def __init__(self) -> None:
        self.seen: list[tuple[str | None, str]] = []

    def on_connect(self, connection: Any, session_present: bool) -> None:
        self.seen.append((connection.identity, connection.listener))


class Nobody(Authenticator):
    """Lets nobody in."""

    async def authenticate(self, credentials: Credentials) -> Verdict:
        return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD)


async def test_each_listener_has_its_own(tmp_path: Path, use_reactor: bool) -> None:
    authority = trustme.CA()
    certificate, key = write_pair(tmp_path, authority.issue_cert("127.0.0.1"))
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    device, device_key = write_pair(tmp_path, authority.issue_cert("x", common_name="dev1"), "device")
    names = Names()
    listen = [
        curier.Listener(
            "tls://127.0.0.1:0",
            certificate=certificate,
            key=key,
            client_ca=tmp_path / "ca.pem",
            client_certificates="optional",
            identity="common-name",
        ),
        curier.Listener("tcp://127.0.0.1:0", allow_anonymous=True),
        curier.Listener("tcp://127.0.0.1:0"),
    ]
    async with curier.Broker(
        listen, authenticator=Nobody(), hooks=[names], use_reactor=use_reactor
    ) as broker:
        secure, welcoming, strict = broker.urls
        assert list(broker.listeners.values()) == listen
        trust: dict[str, Any] = {"ca_file": str(tmp_path / "ca.pem")}
        shown = {**trust, "certificate": str(device), "key": str(device_key)}
        secure = secure.replace("tls://", "mqtts://")
        async with curier.connect(secure, tls=curier.TlsSettings(**shown), username="admin"):
            pass
        async with curier.connect(welcoming.replace("tcp", "mqtt")):
            pass
        refused: list[tuple[str, Any]] = [
            (secure, {"tls": curier.TlsSettings(**trust)}),
            (strict.replace("tcp", "mqtt"), {}),
        ]
        for url, settings in refused:
            with pytest.raises(curier.Refused) as caught:
                async with asyncio.timeout(10), curier.connect(url, **settings):
                    pass
            assert caught.value.reason_code == ReasonCode.BAD_USER_NAME_OR_PASSWORD
        assert names.seen == [("dev1", broker.urls[0]), (None, broker.urls[1])]


def test_a_listener_where_nobody_may_come_in_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="nobody can connect there"):
        curier.Broker(curier.Listener("tcp://127.0.0.1:0", allow_anonymous=False))


def test_one_for_others_needs_somebody_to_decide() -> None:
    curier.Broker(curier.Listener("tcp://0.0.0.0:0", allow_anonymous=True))
    curier.Broker(curier.Listener("tcp://0.0.0.0:0"), authenticator=AllowAnonymous())
    with pytest.raises(ConfigError, match="can be reached from other machines"):
        curier.Broker([curier.Listener("tcp://0.0.0.0:0", name="b"), "tcp://127.0.0.1:0"])
