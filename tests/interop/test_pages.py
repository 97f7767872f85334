"""The pages in a browser, with nasty names and payloads: each view shows what is there and breaks not."""

from __future__ import annotations

import pytest

from curier import connect_sync
from curier.inside import BridgeNumbers
from curier.session.message import ApplicationMessage
from tests.interop.chromium import Chromium, Tab
from tests.interop.pages import TOPIC, Window, click, go, shows, tab, window, write
from tests.waiting import wait_until
from tests.web.asking import serving
from tests.web.clusters import NO_NATS, SILENT, Said

__all__ = ["tab", "window"]  # fixtures

VIEWS = [
    "overview",
    "clients",
    "sessions",
    "topics",
    "retained",
    "wire",
    "fate",
    "tryit",
    "log",
    "access",
    "listeners",
    "configuration",
]


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_opens_in_both_languages(tab: Tab, view: str) -> None:
    go(tab, view)
    for language in ("ro", "en"):
        tab.run(
            """(language) => {
                const choice = [...document.querySelectorAll("header select")].at(-1);
                choice.value = language;
                choice.dispatchEvent(new Event("change"));
            }""",
            language,
        )
        wait_until(
            lambda language=language: tab.run("document.documentElement.lang") == language  # type: ignore[misc]
        )
    wait_until(lambda: tab.run("document.querySelector('h1').innerText").lower().replace(" ", "") == view)
    wait_until(lambda: tab.run("document.querySelector('main').innerText.length") > len(view) + 10)
    alarm = tab.run("document.querySelector('[role=alert]')?.innerText ?? ''")
    has_settings = view != "configuration"
    assert alarm == ("" if has_settings else "this broker is part of a program, which has its settings")


def test_without_a_cluster_there_is_no_view_of_it_and_its_place_says_why(tab: Tab) -> None:
    shows(tab, "Configuration")
    assert "Cluster" not in tab.run("document.querySelector('nav').innerText")
    go(tab, "cluster")
    shows(tab, "This broker is alone: it is no node of a cluster.")


def test_a_cluster_has_a_view(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said(monkeypatch)
    said.says(wrong=(SILENT, NO_NATS))
    tab.run("location.reload()")
    wait_until(lambda: "Cluster" in (tab.run("document.querySelector('nav')?.innerText") or ""))
    go(tab, "cluster")
    for text in (
        "node b has not renewed",
        "see whether it runs",
        "CURIER_LOG_0",
        "2 / 3",
        "silent",
        "s1, 2.15.1",
    ):
        shows(tab, text)
    click(tab, "Empty this node")
    shows(tab, "Its sessions go to the other nodes")
    click(tab, "Leave it")
    assert said.given_up == []
    said.says(state="draining")
    shows(tab, "gives its sessions up")
    wait_until(lambda: "Empty this node" not in tab.run("document.querySelector('main').innerText"))


def test_the_view_of_a_cluster_says_how_long_the_log_is_and_what_holds_it(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Said(monkeypatch)
    go(tab, "cluster")
    shows(tab, "125 entries, 8.8 KiB")
    shows(tab, "Nothing holds the log")
    said.says(held="node b: the session '</p><b>'")
    shows(tab, "The session '</p><b>' at b holds the log")
    said.says(held="node c: it reads what is retained")
    shows(tab, "c holds the log: it still reads what is retained.")
    said.says(held="node b: it is silent")
    shows(tab, "b holds the log: it is silent")
    said.says(held="words of a later version")
    shows(tab, "words of a later version")
    said.says(streams=())
    shows(tab, "Log of messages\n–")


def test_the_view_of_workers_speaks_of_no_nats(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    Said(monkeypatch).says(cluster="workers", sync="memory", server="this machine", version="")
    go(tab, "cluster")
    shows(tab, "in memory")
    shows(tab, "This worker")
    said = tab.run("document.querySelector('main').innerText")
    assert "NATS" not in said
    assert "Empty this node" not in said


def test_the_tree_has_every_nasty_topic_as_text(tab: Tab) -> None:
    go(tab, "topics")
    shows(tab, "<img src=x onerror=alert(1)>")
    shows(tab, "\\u{202e}txet")
    shows(tab, "\\u{1b}[31m")
    assert tab.run("document.querySelectorAll('main img').length") == 0


def test_a_retained_message_is_shown_deleted_and_brought_back(tab: Tab, window: Window) -> None:
    go(tab, f"topics?topic={TOPIC.replace('/', '%2F')}")
    shows(tab, '"value": 9007199254740993')  # which no number of JavaScript is
    click(tab, "Delete")
    click(tab, "Delete")
    shows(tab, "Deleted.")
    assert window.broker.core.retained.get(TOPIC.encode()) is None
    click(tab, "Undo")
    shows(tab, "It is back.")
    back = window.broker.core.retained.get(TOPIC.encode())
    assert back is not None
    assert back.payload == b'{"value": 9007199254740993}'


def test_a_message_is_published(tab: Tab, window: Window) -> None:
    go(tab, "topics?topic=said")
    shows(tab, "Nobody: no subscription matches.")
    shows(tab, "Nothing is retained here.")
    assert tab.run("document.querySelector('[role=alert]')") is None  # that is nothing wrong
    write(tab, ".publish textarea", "ŝtupo")
    tab.run("document.querySelector('.publish input[type=checkbox]').click()")
    tab.run("document.querySelector('.publish button').click()")
    shows(tab, "published on")
    message = window.broker.core.retained.get(b"said")
    assert message is not None
    assert message.payload == "ŝtupo".encode()


def test_a_publication_is_drawn_and_taken_apart(tab: Tab, window: Window) -> None:
    go(tab, "wire")
    shows(tab, "Nothing has gone by since you look.")
    wait_until(lambda: serving(window.web).wire._readers == 1)
    name = "c\u202e <b>"
    url = f"mqtt://127.0.0.1:{window.broker.port}"
    with connect_sync(url, client_id=name, username="ana", password="no one's") as client:
        with client.subscribe("drawn/#", qos=2):
            client.publish("drawn/<i>", "21.5", qos=2)
    shows(tab, "drawn/<i> QoS 2, 4 B")
    tab.run(
        "[...document.querySelectorAll('.flow')].find((one) => one.innerText.includes('drawn/<i>')).click()"
    )
    drawn = "[...document.querySelectorAll('svg.diagram text')].map((one) => one.textContent).join()"
    wait_until(lambda: tab.run(drawn).count("PUBREL #") == 2)
    assert "c\\u202e <b>" in tab.run(drawn)
    tab.run("document.querySelector('svg .can').dispatchEvent(new MouseEvent('click', { bubbles: true }))")
    shows(tab, "MQTT-3.3.1-2")  # the statement about DUP
    assert "no one's" not in tab.run("document.documentElement.innerHTML")


SAVES = """
(() => {
    window.saved = [];
    const before = URL.createObjectURL;
    URL.createObjectURL = (blob) => {
        void blob.text().then((text) => saved.push(text));
        return before(blob);
    };
})()
"""


def test_flows_are_stepped_through_and_saved(tab: Tab, window: Window) -> None:
    go(tab, "wire?topic=step%2F%23")
    wait_until(lambda: serving(window.web).wire._readers == 1)
    click(tab, "Pause")
    with connect_sync(f"mqtt://127.0.0.1:{window.broker.port}", client_id="lamp") as client:
        for name in ("<a>", "b"):
            client.publish(f"step/{name}", "21.5", qos=1)
    shows(tab, "Go on (2 new)")
    click(tab, "Step")
    shows(tab, "Go on (1 new)")
    shows(tab, "step/<a> QoS 1")
    assert "step/b" not in tab.run("document.querySelector('main').innerText")
    tab.run(SAVES)
    for number, (format, begin) in enumerate(
        (("SVG", "<svg"), ("Mermaid", "sequenceDiagram"), ("pcapng", "\n\r\r\n"), ("JSON", "{")), 1
    ):
        click(tab, format)
        wait_until(lambda number=number: tab.run("saved.length") == number)  # type: ignore[misc]
        assert tab.run("saved.at(-1)").startswith(begin), format
    click(tab, "Step")
    shows(tab, "step/b QoS 1")


SEEN = """
(hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}
"""


def test_a_tab_that_nobody_sees_leaves_its_stream_to_others(tab: Tab, window: Window) -> None:
    """Over HTTP/1.1 a browser has six connections to a place, for all tabs."""
    go(tab, "wire")
    wait_until(lambda: serving(window.web).wire._readers == 1)
    tab.run(SEEN, True)
    wait_until(lambda: serving(window.web).wire._readers == 0)
    tab.run(SEEN, False)
    wait_until(lambda: serving(window.web).wire._readers == 1)


def test_ten_windows_of_one_browser_share_a_stream(browser: Chromium, tab: Tab, window: Window) -> None:
    """It has six connections to a place: with one for each, the seventh would hang."""
    go(tab, "wire?topic=shared%2F%23")
    wait_until(lambda: serving(window.web).wire._readers == 1)
    front = window.web.urls[0]
    others = [Tab(browser, f"{front}/#/wire?topic=shared%2F%23", apart=True) for _ in range(9)]
    for one in others:
        shows(one, "Nothing has gone by since you look.")
    assert serving(window.web).wire._readers == 1
    with connect_sync(f"mqtt://127.0.0.1:{window.broker.port}", client_id="lamp") as client:
        client.publish("shared/a", "21.5")
    for one in (tab, *others):
        shows(one, "shared/a QoS 0")
        if one is not tab:
            one.close()
    wait_until(lambda: serving(window.web).wire._readers == 1)


def test_windows_that_look_at_too_many_different_things_say_so(
    browser: Chromium, tab: Tab, window: Window
) -> None:
    wire = serving(window.web).wire
    go(tab, "wire?topic=a")
    wait_until(lambda: wire._readers == 1)
    front = window.web.urls[0]
    others = [Tab(browser, f"{front}/#/wire?topic={topic}", apart=True) for topic in ("b", "c", "d")]
    wait_until(lambda: wire._readers == 4)
    others.append(Tab(browser, f"{front}/#/wire?topic=e", apart=True))
    shows(others[-1], "Four other windows of this browser")
    assert wire._readers == 4
    others.pop(0).close()
    wait_until(lambda: "Four other" not in others[-1].run("document.querySelector('main').innerText"))
    wait_until(lambda: wire._readers == 4)
    for one in others:
        one.close()


def test_what_happens_is_told_as_it_happens(tab: Tab, window: Window) -> None:
    hub = window.web.scene.hub
    go(tab, "log?kind=connects")
    wait_until(lambda: hub.wants("connects"))
    with connect_sync(f"mqtt://127.0.0.1:{window.broker.port}", client_id="c\u202e <b>"):
        shows(tab, "c\\u{202e} <b>")
    click(tab, "Drops")
    shows(tab, "Nothing was dropped.")
    message = ApplicationMessage(b"a/<i>", b"", 0, False)

    async def drop() -> None:
        for _ in range(2):
            hub.on_drop("lamp", message, "its queue is full")
            hub.tick()

    window.do(drop())
    shows(tab, "its queue is full")
    wait_until(lambda: tab.run("document.querySelector('main td').innerText") == "2")
    assert "a/<i>" in tab.run("document.querySelector('main tbody').innerText")


def test_a_telephone_needs_no_scrolling_to_the_side(tab: Tab, window: Window) -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    go(tab, "wire")
    wait_until(lambda: serving(window.web).wire._readers == 1)
    with connect_sync(f"mqtt://127.0.0.1:{window.broker.port}", client_id="c" * 9000) as client:
        with client.subscribe("drawn/#", qos=1):
            client.publish("drawn/x", "21.5", qos=1)
    shows(tab, "drawn/x QoS 1, 4 B")
    for view in (*VIEWS, "tour", "faults"):
        go(tab, view)
        wait_until(lambda view=view: tab.run("location.hash") == f"#/{view}")  # type: ignore[misc]
        root = "document.documentElement"
        assert tab.run(f"{root}.scrollWidth - {root}.clientWidth") == 0, view


def test_a_login_that_has_ended_says_so(tab: Tab, window: Window) -> None:
    go(tab, "clients")
    tab.run("fetch('api/v1/session/end', { method: 'POST', headers: { 'X-Curier': '1' } })")
    shows(tab, "Your login has ended")


def test_the_rules_are_asked(tab: Tab) -> None:
    go(tab, "access")
    shows(tab, "Ask the rules")
    write(tab, "input[aria-label=Topic]", "a/b")
    click(tab, "Ask")
    shows(tab, "there are no rules")


def test_who_logs_out_sees_nothing_more(tab: Tab) -> None:
    go(tab, "topics")
    shows(tab, "home")
    click(tab, "Log out")
    shows(tab, "curier admin login")
    assert "home" not in tab.run("document.body.innerText")


@pytest.mark.parametrize("view", ["configuration", "fate", "tryit"])
@pytest.mark.usefixtures("window")  # which looks for what is needed
def test_a_broker_that_goes_is_noticed_where_nothing_is_asked(browser: Chromium, view: str) -> None:
    other = Window()
    try:
        tab = Tab(browser, "about:blank")
        tab.call("Page.navigate", url=other.link())
        shows(tab, "Overview")
        go(tab, view)
        wait_until(lambda: bool(tab.run("document.querySelector('h1')?.innerText !== 'Overview'")))
    finally:
        other.stop()
    shows(tab, "The broker does not answer")
    tab.close()


def test_the_overview_has_a_line_for_each_bridge(tab: Tab, window: Window) -> None:
    lost = {"not_connected": 0, "refused": 0, "circle": 0}
    since = window.broker.core.started_at
    window.broker.bridges = lambda: [
        BridgeNumbers("roof", "mqtts://roof.example", "connected", since, "", 1, 12345, 7, lost, 0),
        BridgeNumbers("cloud", "mqtt://cloud", "away", since, "refused: <i>go</i> away", 0, 0, 0, lost, 9),
    ]
    try:
        go(tab, "overview")
        shows(tab, "mqtts://roof.example")
        shows(tab, "12,345")
        shows(tab, "refused: <i>go</i> away")
        shows(tab, "the bridge cloud is not connected to mqtt://cloud: refused: <i>go</i> away")
        assert tab.run("document.querySelectorAll('main table tbody tr').length") == 2
    finally:
        window.broker.bridges = tuple
