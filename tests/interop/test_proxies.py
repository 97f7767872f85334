"""HAProxy and nginx in front of a broker: what they say with the PROXY protocol of who is behind them."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

import curier
from curier.auth import Action, Authorizer, Verdict
from curier.listeners import Listener
from tests.conftest import require_peer
from tests.interop.proxy import CLIENT, Doorkeeper, Proxy
from tests.ports import free_port
from tests.waiting import until

HERE = (ip_network("127.0.0.0/8"),)
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def haproxy(running: contextlib.ExitStack, folder: Path, to: str, bind: str = "", more: str = "") -> Proxy:
    """An HAProxy with one door, whose server is ``to`` (address and options)."""
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(
        f"""
        defaults
            mode tcp
            timeout connect 10s
            timeout client 60s
            timeout server 60s
        listen mqtt
            bind 127.0.0.1:{port} {bind}
            {more}
            server broker {to}
        \n"""
    )
    proxy = Proxy(folder, [require_peer("haproxy"), "-db", "-f", str(config)], port)
    running.callback(proxy.close)
    return proxy


def nginx(running: contextlib.ExitStack, folder: Path, to: str) -> Proxy:
    """An nginx with one door, which sends a header of version 1."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(
        f"""
        load_module {STREAM_MODULE};
        daemon off;
        master_process off;
        pid {folder}/nginx.pid;
        error_log stderr;
        events {{}}
        stream {{
            server {{
                listen 127.0.0.1:{port};
                proxy_pass {to};
                proxy_protocol on;
            }}
        }}
        """
    )
    program = require_peer("nginx" if STREAM_MODULE.exists() else "libnginx-mod-stream")
    proxy = Proxy(folder, [program, "-p", str(folder), "-e", "stderr", "-c", str(config)], port)
    running.callback(proxy.close)
    return proxy


class Steward(Authorizer):
    """Lets everybody do everything, and remembers who that was."""

    def __init__(self) -> None:
        self.seen: set[str | None] = set()

    async def authorize(
        self, identity: str | None, client_id: str, action: Action, topic: str, qos: int, retain: bool
    ) -> Verdict:
        self.seen.add(identity)
        return Verdict(0)


@contextlib.asynccontextmanager
async def broker(
    doorkeeper: Doorkeeper,
    url: str = "tcp://127.0.0.1:0",
    certificates: bool = False,
    steward: Steward | None = None,
) -> AsyncIterator[curier.Broker]:
    listener = Listener(url, proxy_protocol=HERE, proxy_certificates=certificates)
    async with curier.Broker([listener], authenticator=doorkeeper, authorizer=steward) as made:
        yield made


async def exchange(url: str, tls: ssl.SSLContext | None = None) -> str:
    """Publish and receive, also what fills many buffers; returns where the client came from."""
    large = os.urandom(300_000)
    async with (
        curier.connect(url, local_address=CLIENT, tls=tls) as client,
        client.subscribe("t/#", qos=1) as stream,
    ):
        for number in range(20):
            await client.publish(f"t/{number}", b"%d" % number, qos=number % 3)
        await client.publish("t/large", large, qos=1)
        heard = [(await anext(stream)).payload for _ in range(21)]
    assert sorted(heard[:20], key=int) == [b"%d" % number for number in range(20)]
    assert heard[20] == large
    return CLIENT


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
async def test_haproxy(version: str, folder: Path, running: contextlib.ExitStack) -> None:
    doorkeeper = Doorkeeper()
    async with broker(doorkeeper) as made:
        proxy = haproxy(running, folder, f"127.0.0.1:{made.port} {version}")
        await exchange(proxy.url)
    [credentials] = doorkeeper.seen
    assert credentials.address.startswith(f"{CLIENT}:")
    assert credentials.certificate_name is None


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
async def test_haproxy_to_a_unix_socket(version: str, folder: Path, running: contextlib.ExitStack) -> None:
    doorkeeper = Doorkeeper()
    async with broker(doorkeeper, f"unix://{folder}/c.sock"):
        proxy = haproxy(running, folder, f"unix@{folder}/c.sock {version}")
        await exchange(proxy.url)
    [credentials] = doorkeeper.seen
    assert credentials.address.startswith(f"{CLIENT}:")
    assert credentials.local_peer is None  # that would be the proxy


async def test_haproxy_that_asks_whether_we_are_there(
    folder: Path, running: contextlib.ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="curier")
    doorkeeper = Doorkeeper()
    async with broker(doorkeeper) as made:
        checked = f"127.0.0.1:{made.port} send-proxy-v2 check inter 50ms"
        proxy = haproxy(running, folder, checked)
        await until(lambda: made.core.statistics.accepted > 5)
        await exchange(proxy.url)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("shows", [True, False])
async def test_haproxy_with_tls(shows: bool, folder: Path, running: contextlib.ExitStack) -> None:
    """It ends TLS, and says whose certificate it has seen: that is who the client is."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if shows:
        authority.issue_cert("d.example", common_name="device-7").configure_cert(context)
    doorkeeper = Doorkeeper()
    steward = Steward()
    async with broker(doorkeeper, certificates=True, steward=steward) as made:
        proxy = haproxy(
            running,
            folder,
            f"127.0.0.1:{made.port} send-proxy-v2-ssl-cn "
            "proxy-v2-options ssl,cert-cn,cert-sig,cert-key,ssl-cipher,crc32c,authority,unique-id",
            bind=f"ssl crt {folder}/server.pem ca-file {folder}/ca.pem verify optional",
            more="unique-id-format %{+X}o-%ci:%cp-%fi:%fp-%Ts-%rt",
        )
        await exchange(proxy.url.replace("mqtt:", "mqtts:"), context)
    assert steward.seen == {"device-7" if shows else None}
    assert [one.address.partition(":")[0] for one in doorkeeper.seen] == ([] if shows else [CLIENT])


async def test_nginx(folder: Path, running: contextlib.ExitStack) -> None:
    doorkeeper = Doorkeeper()
    async with broker(doorkeeper) as made:
        await exchange(nginx(running, folder, f"127.0.0.1:{made.port}").url)
    [credentials] = doorkeeper.seen
    assert credentials.address.startswith(f"{CLIENT}:")


async def test_a_proxy_behind_another_that_is_not_asked_to_take_its_header(
    folder: Path, running: contextlib.ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """nginx writes a header, and hands on that of HAProxy: nobody can say which is a client's own."""
    doorkeeper = Doorkeeper()
    async with broker(doorkeeper) as made:
        inner = nginx(running, folder, f"127.0.0.1:{made.port}")
        outer = haproxy(running, folder, f"127.0.0.1:{inner.port} send-proxy-v2")
        with pytest.raises(curier.ConnectionLost):
            await exchange(outer.url)
        await until(lambda: "a second PROXY header" in caplog.text)
    assert doorkeeper.seen == []


async def test_a_proxy_that_was_not_told(
    folder: Path, running: contextlib.ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    doorkeeper = Doorkeeper()
    async with broker(doorkeeper) as made:
        proxy = haproxy(running, folder, f"127.0.0.1:{made.port}")
        with pytest.raises(curier.ConnectRefused, match="for proxies"):
            await exchange(proxy.url)
        await until(lambda: "a PROXY header is expected here" in caplog.text)
    assert doorkeeper.seen == []


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
async def test_a_listener_that_was_not_told(
    version: str, folder: Path, running: contextlib.ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    async with curier.Broker("tcp://127.0.0.1:0") as made:
        proxy = haproxy(running, folder, f"127.0.0.1:{made.port} {version}")
        with pytest.raises(curier.ConnectionLost):
            await exchange(proxy.url)
        await until(lambda: "this looks like a PROXY header" in caplog.text)
