"""A broker with its window, and the pages of it in a browser: what their tests share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from curier.auditing import Audit
from curier.listeners import Network
from curier.server import Broker
from curier.types import Message, QoS
from curier.web.libraries import missing
from curier.web.server import Web
from tests.conftest import require_peer
from tests.interop.chromium import Chromium, Tab
from tests.waiting import wait_until
from tests.web.nasty import PAYLOADS, TOPICS

WATCHED = """
(() => {
  window.heard = [];
  addEventListener("error", (event) => heard.push(event.message));
  addEventListener("unhandledrejection", (event) => heard.push(String(event.reason)));
  document.addEventListener("securitypolicyviolation", (event) => heard.push(event.violatedDirective));
})()
"""
TOPIC = "home/kitchen/temp"


class Window:
    """A broker with its window, on a loop of its own."""

    def __init__(self, prefix: str = "", proxies: tuple[Network, ...] = ()) -> None:
        self.prefix = prefix
        self.proxies = proxies  # that are believed
        self.audited: list[str] = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.broker: Broker
        self.web: Web
        self.do(self._start())

    def do(self, coroutine: Any) -> Any:
        made: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        return made.result(100)

    async def _start(self) -> None:
        audit = Audit(self.audited.append)
        self.broker = await Broker(listen=["tcp://127.0.0.1:0"], audit=audit).__aenter__()
        self.web = Web(self.broker, "http://127.0.0.1:0", prefix=self.prefix, proxies=self.proxies)
        await self.web.start()
        for number, topic in enumerate(TOPICS[:-1]):  # the last has more levels than a broker takes
            self.broker.publish(Message(topic, PAYLOADS[number % len(PAYLOADS)], QoS(1), True))
        self.broker.publish(Message(TOPIC, b'{"value": 9007199254740993}', QoS(1), True))

    async def _stop(self) -> None:
        await self.web.stop()
        await self.broker.__aexit__(None, None, None)

    def link(self) -> str:
        async def link() -> str:
            return self.web.login_link()

        return str(self.do(link()))

    def stop(self) -> None:
        self.do(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(100)
        self.loop.close()


@pytest.fixture(scope="module")
def window() -> Iterator[Window]:
    require_peer("chromium")
    if missing():
        require_peer("the libraries of the pages (make .venv/.pages)")
    made = Window()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def tab(browser: Chromium, window: Window) -> Iterator[Tab]:
    """Logged in, by the link. What a page has to complain of fails the test."""
    made = Tab(browser, "about:blank")
    made.call("Page.addScriptToEvaluateOnNewDocument", source=WATCHED)
    made.call("Page.navigate", url=window.link())
    shows(made, "Overview")
    yield made
    complaints = made.run("window.heard")
    made.close()
    assert complaints == []


def shows(tab: Tab, text: str) -> None:
    """Wait until it does."""
    wait_until(lambda: bool(tab.run("(text) => document.body?.innerText.includes(text) ?? false", text)))


def go(tab: Tab, place: str) -> None:
    tab.run("(place) => { location.hash = place; }", f"/{place}")


def click(tab: Tab, text: str) -> None:
    """The button of this text, in a dialog if one is open, as soon as it is there and can be clicked."""
    clicked = """(text) => {
        const found = [...(document.querySelector("dialog[open]") ?? document).querySelectorAll("button")]
            .find((one) => one.innerText.trim() === text && !one.disabled);
        found?.click();
        return found !== undefined;
    }"""
    wait_until(lambda: bool(tab.run(clicked, text)))


def write(tab: Tab, field: str, text: str) -> None:
    """Type into a field."""
    tab.run(
        """(field, text) => {
            const found = document.querySelector(field);
            found.value = text;
            found.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        field,
        text,
    )
