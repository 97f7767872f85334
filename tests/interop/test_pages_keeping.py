"""Fates, retained messages and sessions in the pages, in a browser."""

from __future__ import annotations

from curier import connect_sync
from curier.types import Message, QoS
from tests.interop.chromium import Tab
from tests.interop.pages import Window, browser, click, go, shows, tab, window, write
from tests.waiting import wait_until

__all__ = ["browser", "tab", "window"]  # fixtures


def test_it_tells_what_becomes_of_a_message(tab: Tab, window: Window) -> None:
    url = f"mqtt://127.0.0.1:{window.broker.port}"
    go(tab, "fate")
    shows(tab, "Of what is over")
    write(tab, "#search", "fate/#")
    click(tab, "Look on for 25 s")
    wait_until(lambda: window.broker.core.hooks.witness is not None)
    with connect_sync(url, client_id="c\u202e <b>") as client, client.subscribe("fate/#", qos=1) as got:
        client.publish("fate/<i>", "21.5", qos=2)
        assert got.get().payload == b"21.5"
        shows(tab, "✓ got it")
    text = tab.run("document.querySelector('main').innerText")
    assert "fate/<i>" in text
    assert text.count("c\\u{202e} <b>") == 2  # the publisher, and the receiver


def test_one_click_from_a_topic_it_tells_who_did_not_get_a_message(tab: Tab, window: Window) -> None:
    url = f"mqtt://127.0.0.1:{window.broker.port}"
    with connect_sync(url, client_id="away", session_expiry=60) as client:
        client.subscribe("full", qos=1, keep=True).__enter__()
    window.broker.core.options.max_queued_messages, before = 1, window.broker.core.options.max_queued_messages
    for _ in range(2):
        window.do(published(window, Message("full", b"x", QoS(1))))
    window.broker.core.options.max_queued_messages = before
    go(tab, "topics?topic=full")
    shows(tab, "What became of messages here?")
    tab.run("[...document.querySelectorAll('main a')].find((one) => one.hash.startsWith('#/fate')).click()")
    shows(tab, "✗ did not get it")
    shows(tab, "its queue is full")


async def published(window: Window, message: Message) -> None:
    window.broker.publish(message)


def test_old_retained_messages_are_counted_deleted_and_brought_back(tab: Tab, window: Window) -> None:
    retained = window.broker.core.retained
    for name in ("a", "<b>", "c", "d"):
        window.broker.publish(Message(f"old/{name}", b"x", QoS(0), True))
    go(tab, "retained?search=old%2F")
    shows(tab, "old/<b>")
    write(tab, "main form input", "0")
    write(tab, "main form label.grow input", "old/#")
    click(tab, "Count them")
    shows(tab, "4 messages, 4 B in all, would be deleted.")
    assert retained.get(b"old/a") is not None
    assert tab.run("document.querySelector('main div[role=status] button').disabled")  # without the words
    write(tab, "main div[role=status] input", "Delete 4")
    click(tab, "Delete them")
    shows(tab, "4 are deleted.")
    assert retained.get(b"old/a") is retained.get(b"old/<b>") is None
    click(tab, "Undo")
    shows(tab, "4 are back.")
    assert retained.get(b"old/a") is not None
    one = """document.querySelector('button[aria-label="Delete old/<b>"]')"""
    wait_until(lambda: bool(tab.run(f"{one} !== null")))
    tab.run(f"{one}.click()")
    shows(tab, "Deleted.")
    assert retained.get(b"old/<b>") is None
