"""A broker that gets its certificate: the process beside it, from the first start to the end."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import curier
from curier.acme import process
from curier.acme.certificate import placeholder
from curier.acme.plan import Plan
from curier.auth import AllowAnonymous
from curier.errors import ConfigError
from curier.net import certificates, renewal
from tests.acme.authority import ROOT, Authority, serving
from tests.ports import free_port
from tests.waiting import until

NAME = "broker.example"


def listener(authority: Authority, **settings: Any) -> curier.Listener:
    made = {
        "acme": "mail@broker.example",
        "acme_names": (NAME,),
        "acme_directory": f"{authority.url}/directory",
        "acme_http": f"127.0.0.1:{authority.http_port}",
    }
    return curier.Listener("tls://127.0.0.1:0", **(made | settings))


async def shown(port: int) -> str:
    """What a client that trusts the authority sees: "" for its certificate, or why it goes away."""
    context = ssl.create_default_context(cadata=ROOT.cert_pem.bytes().decode())
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    writer.close()
    return ""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
async def test_a_broker_gets_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renewal, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(certificates, "LOOK_SECONDS", 0.05)
    caplog.set_level("INFO")
    authority = Authority(free_port())
    authority.finalizes = False
    with serving(authority):
        broker = curier.Broker(listener(authority), data=tmp_path / "data")
        assert "there is no certificate for broker.example yet" in caplog.text
        async with broker:
            assert "self-signed" in await shown(broker.port)
            assert broker._acme is not None
            await until(lambda: "finalize" in authority.log)
            authority.finalizes = True
            await until(lambda: "is new for new connections" in caplog.text)
            assert await shown(broker.port) == ""
            pid = broker._acme.pid
            assert pid is not None
            assert is_alive(pid)
        assert not is_alive(pid)
        assert "broker.example: a certificate for broker.example has come, valid until" in caplog.text
        caplog.clear()
        asked = len(authority.log)
        async with curier.Broker(listener(authority), data=tmp_path / "data") as broker:
            assert await shown(broker.port) == ""
            await asyncio.sleep(1.5)  # in which the process starts
        assert len(authority.log) == asked
        assert [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")] == []
    assert (tmp_path / "data" / "acme").stat().st_mode & 0o077 == 0


def test_the_process_ends_with_the_broker(tmp_path: Path) -> None:
    """Even one that is killed: its end of the pipe is gone then."""
    port = free_port()
    plan = Plan("m@x.example", (NAME,), f"http://127.0.0.1:{port}/none", f"127.0.0.1:{port}", str(tmp_path))
    placeholder(plan)
    with subprocess.Popen(
        [sys.executable, "-m", "curier.acme"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps([plan.as_json()]).encode() + b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == f"INFO {NAME}: asking {plan.directory} for a certificate\n".encode()
        assert b"cannot be reached: " in child.stdout.readline()
        child.stdin.close()
        assert child.wait(100) == 0


async def test_a_process_that_ends_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "AGAIN_SECONDS", 0.01)
    authority = Authority(free_port())
    authority.url = f"http://127.0.0.1:{free_port()}"
    async with curier.Broker(listener(authority, acme_files=tmp_path)) as broker:
        assert broker._acme is not None
        await until(lambda: broker._acme is not None and broker._acme.pid is not None)
        first = broker._acme.pid
        assert first is not None
        os.kill(first, 9)
        await until(lambda: broker._acme is not None and broker._acme.pid not in (None, first))
    assert "the process that gets certificates ended with code -9" in caplog.text


def test_where_nothing_is_kept() -> None:
    authority = Authority(5002)
    authority.url = "https://127.0.0.1"
    for kept in ({}, {"data": "d", "durability": "memory"}):
        with pytest.raises(ConfigError, match="this broker keeps nothing: give it a data directory, or set"):
            curier.Broker(listener(authority), **kept)  # type: ignore[arg-type]


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    authority = Authority(5002)
    authority.url = "https://127.0.0.1"
    with pytest.raises(ConfigError, match="it has to be a directory that this user may write to"):
        curier.Broker(listener(authority, acme_files=tmp_path / "file"))


def test_listeners_that_share_a_certificate(tmp_path: Path) -> None:
    authority = Authority(5002)
    authority.url = "https://127.0.0.1"
    one = listener(authority, acme_files=tmp_path, name="one")
    two = listener(authority, acme_files=tmp_path, name="two")
    found, keeper = process.with_acme([one, two], None)
    assert found[0].certificate == found[1].certificate
    assert keeper is not None
    for other, said in (
        ({"acme": "other@broker.example"}, "would share one account"),
        ({"acme_names": (NAME, "b.example")}, "two listeners want a certificate for broker.example"),
    ):
        with pytest.raises(ConfigError, match=said):
            curier.Broker(
                [one, listener(authority, acme_files=tmp_path, **other)], authenticator=AllowAnonymous()
            )
