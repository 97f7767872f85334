"""Fates, retained messages and sessions in the pages, in a browser."""

from __future__ import annotations

from curier import connect_sync
from curier.laboratory import Laboratory
from curier.testing import Faults
from curier.types import Message, QoS
from tests.interop.chromium import Tab
from tests.interop.pages import Window, click, go, shows, tab, window, write
from tests.waiting import wait_until

__all__ = ["tab", "window"]  # fixtures


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


def test_what_waits_in_a_session_is_looked_at_and_purged_and_the_session_forgotten(
    tab: Tab, window: Window
) -> None:
    name = "away \u202e<b>"
    with connect_sync(f"mqtt://127.0.0.1:{window.broker.port}", client_id=name, session_expiry=60) as client:
        client.subscribe("queue/#", qos=1, keep=True).__enter__()
    for topic in ("queue/<i>", "queue/b", "queue/c"):
        window.do(published(window, Message(topic, b"21.5", QoS(1))))
    outgoing = window.broker.core.sessions[name].outgoing
    go(tab, "sessions")
    shows(tab, "away \\u{202e}<b>")
    tab.run(
        "[...document.querySelectorAll('main td a')].find((one) => one.innerText.includes('<b>')).click()"
    )
    shows(tab, "3 messages wait")
    shows(tab, "queue/<i>")
    tab.run("""document.querySelector('button[aria-label="Purge queue/<i>"]').click()""")
    click(tab, "Purge")
    shows(tab, "2 messages wait")
    assert [one.message.topic for one in outgoing.queue] == [b"queue/b", b"queue/c"]
    tab.run("""document.querySelector('button[aria-label^="Purge away"]').click()""")
    click(tab, "Purge")
    shows(tab, "Nothing waits.")
    assert len(outgoing.queue) == 0
    tab.run("""document.querySelector('button[aria-label^="Forget away"]').click()""")
    click(tab, "Forget")
    shows(tab, "There is no such session.")
    assert name not in window.broker.core.sessions


def test_a_broker_that_is_no_laboratory_says_how_to_have_one(tab: Tab) -> None:
    go(tab, "faults")
    shows(tab, "start another one with --lab FILE")


def test_a_laboratory_is_given_rules(tab: Tab, window: Window) -> None:
    lab = Laboratory(Faults())
    window.broker.lab = lab  # which connections of this broker do not know: only its rules are looked at
    try:
        go(tab, "faults")
        shows(tab, "There is no rule, so nothing is broken.")
        write(tab, "main form input", "lose everything")
        click(tab, "Add")
        shows(tab, "rule: ")
        write(tab, "main form input", "lose 1st PUBACK to '<b>'")
        click(tab, "Add")
        shows(tab, "0 ×")
        assert [str(kept.rule) for kept in lab.faults.kept] == ["lose 1st PUBACK to '<b>'"]
        click(tab, "Remove")
        shows(tab, "There is no rule, so nothing is broken.")
        assert not lab.faults.kept
    finally:
        window.broker.lab = None
