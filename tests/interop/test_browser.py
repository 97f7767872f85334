"""MQTT.js in a browser, in a page that another server has."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curier import Message, QoS, Subscription
from tests.interop.chromium import Chromium, Tab, web_server
from tests.interop.conftest import Peers
from tests.interop.peer import VERSIONS
from tests.interop.process import BrokerProcess
from tests.interop.web_proxies import COMPLAINT, PROXIES, Setup
from tests.net.doors import server_files
from tests.ports import free_port
from tests.waiting import wait_until

MIB = 1024 * 1024
PAYLOADS = (b"in plain words", b"", "naïve café ☕".encode(), bytes(range(256)), bytes(100_000))
CONNECT = bytes.fromhex("100d 0004 4d515454 05 02 0000 00 0000")
CONNACK = b"\x20"
DISCONNECT = b"\xe0\x00"


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def page_port() -> Iterator[int]:
    """Where the page is."""
    with web_server() as found:
        yield found


@pytest.fixture(scope="module")
def origin(page_port: int) -> str:
    """Of the page: another one than the broker's."""
    return f"http://127.0.0.1:{page_port}"


class Doors:
    """The broker, with listeners for all pages, for ours alone, and for others' alone."""

    def __init__(self, folder: Path, origin: str) -> None:
        certificate, key = map(str, server_files())
        tls = {"certificate": certificate, "key": key}
        self.process = BrokerProcess(
            folder,
            memory=True,
            listeners=(
                {"url": "tcp://127.0.0.1:0"},
                {"url": "ws://127.0.0.1:0/mqtt", "health_path": "/health"},
                {"url": "wss://127.0.0.1:0/mqtt", **tls},
                {"name": "ours", "url": "ws://127.0.0.1:0/mqtt", "origins": [origin]},
                {"name": "ours, with TLS", "url": "wss://127.0.0.1:0/mqtt", "origins": [origin], **tls},
                {"name": "theirs", "url": "ws://127.0.0.1:0/mqtt", "origins": ["https://example.org"]},
            ),
        )
        self.port = self.process.port
        schemes = ("ws", "wss", "ws", "wss", "ws")
        urls = (
            f"{scheme}://127.0.0.1:{port}/mqtt"
            for scheme, port in zip(schemes, self.process.ports[1:], strict=True)
        )
        self.ws, self.wss, self.ours, self.ours_with_tls, self.theirs = urls


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, origin: str) -> Iterator[Doors]:
    made = Doors(tmp_path_factory.mktemp("doors"), origin)
    try:
        yield made
    finally:
        made.process.stop()


@pytest.fixture
def page(browser: Chromium, origin: str, doors: Doors) -> Iterator[Tab]:
    tab = Tab(browser, f"{origin}/")
    try:
        yield tab
    finally:
        tab.close()


by_url = pytest.mark.parametrize("door", ["ws", "wss"])
by_version = pytest.mark.parametrize("version", [3, 4, 5], ids=lambda version: VERSIONS[version])


def options(version: int, **more: Any) -> dict[str, Any]:
    return {"protocolVersion": version, **({"protocolId": "MQIsdp"} if version == 3 else {}), **more}


@by_url
@by_version
def test_messages_of_all_qos(page: Tab, doors: Doors, door: str, version: int, topic: str) -> None:
    messages = [[f"{topic}/ŝtupo {n}", text(PAYLOADS[n // 3]), n % 3] for n in range(3 * len(PAYLOADS))]
    told = page.run("exchange", getattr(doors, door), options(version), f"{topic}/+", messages)
    assert told["granted"] == [2]
    assert sorted(told["heard"], key=messages.index) == messages


@by_url
def test_large_messages(page: Tab, doors: Doors, door: str, topic: str) -> None:
    for size in (MIB, 15 * MIB):
        assert page.run("large", getattr(doors, door), options(5), topic, size) is True


@by_url
@pytest.mark.parametrize("version", [4, 5], ids=lambda version: VERSIONS[version])
def test_the_will_of_a_page_that_is_closed(
    browser: Chromium, origin: str, peers: Peers, doors: Doors, door: str, version: int, topic: str
) -> None:
    witness = peers.connect("paho", 5, port=doors.port)
    witness.subscribe(Subscription(topic, QoS(1)))
    tab = Tab(browser, f"{origin}/")
    will = {"topic": topic, "payload": "closed", "qos": 1}
    tab.run("stay", getattr(doors, door), options(version, will=will))
    tab.close()
    assert witness.next() == Message(topic, b"closed", QoS(1))


@pytest.mark.parametrize("door", ["ours", "ours_with_tls"])
def test_a_page_whose_origin_is_allowed(page: Tab, doors: Doors, door: str, topic: str) -> None:
    messages = [[topic, text(b"hello"), 1]]
    assert page.run("exchange", getattr(doors, door), options(5), topic, messages)["heard"] == messages


def test_a_page_whose_origin_is_not_allowed(page: Tab, doors: Doors, origin: str) -> None:
    """It learns nothing of why; the log does."""
    seen = page.run("look", doors.theirs, ["mqtt"], [])
    assert (seen["opened"], seen["code"]) == (False, 1006)
    why = f"a page of {origin}, which is refused: it is not among the origins"
    wait_until(lambda: why in doors.process.log.read_text())


@by_url
@pytest.mark.parametrize(
    "offered", [["mqtt"], ["mqttv3.1"], ["mqttv3.1", "mqtt"], ["other", "mqtt"]], ids=" ".join
)
def test_what_a_page_sees_of_it(page: Tab, doors: Doors, door: str, offered: list[str]) -> None:
    """A subprotocol that it offered, or it would not open; compression, which it offers, is not agreed to."""
    seen = page.run("look", getattr(doors, door), offered, [text(CONNECT), text(DISCONNECT)])
    [connack] = [base64.b64decode(one) for one in seen["heard"]]
    assert connack.startswith(CONNACK)
    assert seen["protocol"] in offered
    assert seen["extensions"] == ""
    assert (seen["code"], seen["wasClean"]) == (1000, True)


@by_url
def test_how_a_page_is_told_what_it_did_wrong(page: Tab, doors: Doors, door: str) -> None:
    url = getattr(doors, door)
    text_frame = page.run("look", url, ["mqtt"], ["text: hello"])
    assert (text_frame["code"], text_frame["wasClean"]) == (1003, True)
    no_mqtt = page.run("look", url, ["mqtt"], [text(b"\x00\x00")])
    assert (no_mqtt["code"], no_mqtt["wasClean"]) == (1002, True)
    not_at_all = page.run("look", url, ["chat"], [])
    assert (not_at_all["opened"], not_at_all["code"]) == (False, 1006)


def test_a_person_who_visits_the_port(browser: Chromium, doors: Doors, tmp_path: Path) -> None:
    """Gets to read what this is. (Chromium shows what an answer 426 says.)"""
    tab = Tab(browser, doors.ws.replace("ws:", "http:"))
    try:
        assert tab.run("document.body.innerText").startswith("This is an MQTT broker (curier).")
        (tmp_path / "page.png").write_bytes(tab.screenshot())
    finally:
        tab.close()


@pytest.mark.parametrize("name", PROXIES)
def test_a_page_and_the_broker_behind_the_same_proxy(
    browser: Chromium, page_port: int, doors: Doors, name: str, folder: Path, topic: str
) -> None:
    """It speaks HTTP/2 with the browser; the page's WebSocket may go by the same connection."""
    proxy = PROXIES[name](folder, Setup(page=page_port), free_port(), doors.process.ports[1])
    try:
        tab = Tab(browser, f"https://127.0.0.1:{proxy.port}/")
        spoken = tab.run("performance.getEntriesByType('navigation')[0].nextHopProtocol")
        assert spoken == "h2"
        messages = [[topic, text(b"%d" % number), number % 3] for number in range(30)]
        url = f"wss://127.0.0.1:{proxy.port}/mqtt"
        told = tab.run("exchange", url, options(5), topic, messages)
        assert sorted(told["heard"], key=messages.index) == messages
        assert tab.run("large", url, options(5), topic, 15 * MIB) is True
        tab.close()
    finally:
        proxy.close()
    said = proxy.log.read_text()
    assert not COMPLAINT.search(said), said
