"""Topics in the pages, in a browser: values of every form, what they were before, what is drawn of them."""

from __future__ import annotations

from curier.types import Message, QoS
from tests.interop.chromium import Tab
from tests.interop.pages import Window, click, go, shows, tab, window, write
from tests.waiting import wait_until
from tests.web.nasty import PAYLOADS, TOPICS

__all__ = ["tab", "window"]  # fixtures

FORMS = ["", "json", "text", "hex", "cbor", "msgpack", "sparkplug"]


def test_a_value_is_compared_drawn_and_looked_back_at(tab: Tab, window: Window) -> None:
    def put(said: str) -> None:
        window.broker.publish(Message("live/<x>", said.encode(), QoS(1), True))

    put('{"a.b": {"t": 1}, "on": "OFF"}')
    go(tab, 'topics?topic=live%2F%3Cx%3E&draw=["/a.b/t","/on"]')
    shows(tab, "Draw over time")
    wait_until(lambda: tab.run("document.querySelectorAll('.chart canvas').length") == 2)
    put('{"a.b": {"t": 2}, "on": "ON"}')
    shows(tab, "Changed since the value before")
    changed = "[...document.querySelectorAll('.changes tbody tr')].map((one) => one.innerText)"
    assert tab.run(changed) == ["/a.b/t\t1\t2", '/on\t"OFF"\t"ON"']
    click(tab, "Freeze")
    put("[]")
    shows(tab, "Go on (1 new)")
    assert len(tab.run(changed)) == 2
    tab.run("[...document.querySelectorAll('.heard button')].at(-1).click()")
    shows(tab, "This is a value from before.")
    assert '"t": 1' in tab.run("document.querySelector('.payload pre').innerText")
    click(tab, "Go on (1 new)")
    wait_until(lambda: tab.run("document.querySelector('.payload pre').innerText") == "[]")
    shows(tab, "1 of 3 values has no number there: gaps.")


def test_nasty_topics_and_payloads_are_shown_in_every_form(tab: Tab, window: Window) -> None:
    for number, payload in enumerate(PAYLOADS):
        topic = TOPICS[number]
        window.broker.publish(Message(topic, payload, QoS(1), True))
        for form in FORMS:
            window.broker.publish(Message(topic, payload, QoS(1), True))
            tab.run(
                "(topic, form) => { location.hash = '/topics?' + new URLSearchParams({ topic, form }); }",
                topic,
                form,
            )
            wait_until(lambda form=form: tab.run("document.querySelector('.payload select')?.value") == form)  # type: ignore[misc]
        shown = tab.run("document.querySelector('.payload pre').innerText")
        assert shown.startswith("000000  "), topic  # none of them is Sparkplug B, which says so
        assert tab.run("document.querySelector('.payload p')?.innerText ?? ''"), topic
    assert tab.run("document.querySelectorAll('main img').length") == 0


def test_a_message_is_published_with_its_properties(tab: Tab, window: Window) -> None:
    go(tab, "topics?topic=made")
    shows(tab, "Nothing is retained here.")
    tab.run("document.querySelector('.publish details').open = true")
    write(tab, ".publish textarea", "a1 6161 01")
    write(tab, ".publish input[placeholder='application/json']", "application/cbor")
    write(tab, ".publish input[placeholder='00 ff']", "00 f")
    write(tab, ".publish details textarea", "a=1=2\n\nb=")
    tab.run("document.querySelector('.publish input[type=checkbox]').click()")
    tab.run(
        """(() => {
            const kind = document.querySelector(".publish select");
            kind.value = "hex";
            kind.dispatchEvent(new Event("change"));
        })()"""
    )
    tab.run("document.querySelector('.publish button').click()")
    shows(tab, "Bytes are written in figures from 0 to f, two each.")
    write(tab, ".publish input[placeholder='00 ff']", "00 ff")
    tab.run("document.querySelector('.publish button').click()")
    shows(tab, "CBOR, as recognised")
    assert tab.run("document.querySelector('.payload pre').innerText") == '{\n  "a": 1\n}'
    message = window.broker.core.retained.get(b"made")
    assert message is not None
    assert message.payload == b"\xa1aa\x01"
    for said in ("00 ff", "application/cbor", "1=2"):
        shows(tab, said)


def test_the_tree_is_walked_by_keyboard(tab: Tab, window: Window) -> None:
    for topic in ("walk/two-10", "walk/one/x", "walk/two-9"):
        window.broker.publish(Message(topic, b"1", QoS(1), True))
    go(tab, "topics")
    shows(tab, "walk")
    tab.run("[...document.querySelectorAll('.above')].find((one) => one.innerText.includes('walk')).focus()")

    def press(*keys: str) -> str:
        for key in keys:
            tab.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        return str(tab.run("document.activeElement.innerText")).strip()

    press("ArrowRight")
    shows(tab, "two-9")
    assert [press("ArrowDown").split()[-1] for _ in range(3)] == ["one", "two-9", "two-10"]
    assert press("ArrowLeft").endswith("walk")
    press("ArrowLeft")
    wait_until(lambda: "two-9" not in tab.run("document.querySelector('.tree').innerText").split())


def test_topics_that_went_by_are_in_the_tree_with_a_hollow_mark(tab: Tab, window: Window) -> None:
    window.broker.publish(Message("gone/by", b"1", QoS(0), False))
    window.broker.publish(Message("gone/kept", b"1", QoS(0), True))
    go(tab, "topics")
    shows(tab, "gone")
    tab.run("[...document.querySelectorAll('.above')].find((one) => one.innerText.includes('gone')).click()")
    shows(tab, "kept")
    marked = "[...document.querySelectorAll('.tree a.lately')].map((one) => one.innerText.trim())"
    assert tab.run(marked) == ["◦ by"]
    shows(tab, "◦ went by, not retained")
    tab.run("document.querySelector('.tree a.lately').click()")
    shows(tab, "Pin the topic to see the values that go by.")
    shows(tab, "Nobody: no subscription matches.")
    click(tab, "Pin")
    shows(tab, "The next value is shown when it comes.")
    window.broker.publish(Message("gone/by", b"seen-now", QoS(0), False))
    shows(tab, "seen-now")
    click(tab, "Pinned")
    go(tab, "topics?search=gone%2F")
    shows(tab, "gone/kept")
    assert tab.run(marked) == ["◦ gone/by"]


def test_values_of_a_pinned_topic_are_there_for_who_looks_later(tab: Tab, window: Window) -> None:
    topic = "pinned/<i>"

    def put(*said: str) -> None:
        for one in said:
            window.broker.publish(
                Message(topic, one.encode(), QoS(0), False, content_type="application/json")
            )

    go(tab, f"topics?topic={topic.replace('/', '%2F')}")
    shows(tab, "Nothing is retained here.")
    click(tab, "Pin")
    shows(tab, "Pinned")
    go(tab, "overview")
    put(*(f'{{"t": {number}}}' for number in range(5)))
    go(tab, f"topics?topic={topic.replace('/', '%2F')}&draw=[%22/t%22]")
    shows(tab, '"t": 4')
    wait_until(lambda: tab.run("document.querySelectorAll('.heard tbody tr').length") == 5)
    put("5", '{"t": 6}')
    shows(tab, '"t": 6')
    assert tab.run("document.querySelectorAll('.heard tbody tr').length") == 7
    shows(tab, "1 of 7 values has no number there: gaps.")
    shows(tab, "application/json")  # which came with it
    click(tab, "Pinned")
    shows(tab, "Pin the topic, and the broker keeps them.")
    assert window.web.scene.past.pins == {}


def test_pins_are_listed_made_and_removed(tab: Tab, window: Window) -> None:
    go(tab, "topics")
    shows(tab, "Pinned topics")
    write(tab, ".pins input", "a/\u202e<b>/#")
    click(tab, "Pin")
    shows(tab, "a/\\u{202e}<b>/#")
    assert [*window.web.scene.past.pins] == ["a/\u202e<b>/#"]
    click(tab, "Remove")
    wait_until(lambda: window.web.scene.past.pins == {})
    shows(tab, "None. Of a pinned topic")
